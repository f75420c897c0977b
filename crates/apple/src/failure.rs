//! From what the framework says to errors that say what to do.

use ferrane_engine::legality;
use ferrane_engine::{EngineError, Profile, Status};
use ferrane_mil::Program;
use ferrane_mil::diagnostic::Severity;

/// Makes the errors of one program.
pub(crate) struct Failures<'a> {
    pub(crate) engine: &'a str,
    pub(crate) program: &'a str,
}

impl Failures<'_> {
    pub(crate) fn compile(&self, reason: impl Into<String>) -> EngineError {
        EngineError::Compile {
            engine: self.engine.into(),
            program: self.program.into(),
            reason: reason.into(),
        }
    }

    /// `words` are the framework's.
    pub(crate) fn load(&self, words: &str) -> EngineError {
        let status = status(words).unwrap_or(Status::LOAD);
        let help = "too many programs may be loaded, by this process or others: drop some, or end other users of \
                    the Neural Engine";
        EngineError::Load {
            engine: self.engine.into(),
            program: self.program.into(),
            status,
            reason: format!("{words}; {help}"),
        }
    }

    /// A program that cannot be given other weights, or is no longer loaded.
    pub(crate) fn reload(&self, reason: impl Into<String>) -> EngineError {
        EngineError::Load {
            engine: self.engine.into(),
            program: self.program.into(),
            status: Status::LOAD,
            reason: reason.into(),
        }
    }

    /// `words` are the framework's.
    pub(crate) fn evaluate(&self, words: &str) -> EngineError {
        let status = status(words).unwrap_or(Status::INFERENCE);
        let help = match status {
            Status::INFERENCE => {
                "; seen where the sizes or the order of surfaces are not what this system wants, where an input is \
                 too narrow, and after a program has spoiled the process: `ferrane doctor` finds out which"
            }
            _ => "",
        };
        EngineError::Evaluate {
            engine: self.engine.into(),
            program: self.program.into(),
            status,
            reason: format!("{words}{help}"),
        }
    }

    pub(crate) fn binding(&self, reason: String) -> EngineError {
        EngineError::Binding { program: self.program.into(), reason }
    }
}

/// The status in an error's words: its first hexadecimal number.
fn status(words: &str) -> Option<Status> {
    let digits = &words[words.find("0x")? + 2..];
    let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
    u32::from_str_radix(&digits[..end], 16).ok().map(Status)
}

/// What of a program the profile says its compiler refuses: the likely causes of a refusal.
pub(crate) fn suspects(program: &Program, profile: &Profile) -> String {
    let breaches = legality::breaches(program, profile);
    let errors: Vec<_> = breaches.iter().filter(|b| b.rule.severity() == Severity::Error).collect();
    match errors.as_slice() {
        [] => format!("; the profile {} knows of nothing against it", profile.name),
        some => some.iter().map(|b| format!("; {}", b.message(profile))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_the_first_hexadecimal_number() {
        assert_eq!(status("Program Inference error: status=0x1d (0x9)"), Some(Status::INFERENCE));
        assert_eq!(status("Program load failure (0x50004)"), Some(Status::LOAD));
        assert_eq!(status("code 15"), None);
        assert_eq!(status("0x"), None);
        assert_eq!(status("0xfffffffff"), None);
    }
}
