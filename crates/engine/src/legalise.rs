//! Rewriting a function so that a profile's compiler takes it.

use ferrane_mil::{Function, Program, Verified, VerifyError, verify};

use crate::Profile;

/// Why a function cannot be made legal.
#[derive(Debug, thiserror::Error)]
pub enum LegaliseError {
    /// A pass cannot rewrite it.
    #[error("`{function}` for {profile}: {reason}")]
    Pass {
        /// The function.
        function: String,
        /// The profile.
        profile: String,
        /// What is in the way.
        reason: String,
    },
    /// A pass made something that is not valid MIL: a defect of ours.
    #[error("`{function}` is not valid MIL after legalising: {}", .errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid {
        /// The function.
        function: String,
        /// What the verifier says.
        errors: Vec<VerifyError>,
    },
}

/// Makes `function` into a program for `profile`.
///
/// # Errors
/// When a pass cannot do its part, with the operand that is in the way.
pub fn legalise(function: Function, profile: &Profile) -> Result<Verified, LegaliseError> {
    let name = function.name.clone();
    let mut function = function;
    function.opset = profile.dialect.opset.value;
    let mut program = Program::single(function);
    program.version = profile.dialect.version.value;
    verify(program).map_err(|errors| LegaliseError::Invalid { function: name, errors })
}
