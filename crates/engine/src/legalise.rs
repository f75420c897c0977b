//! Rewriting a function so that a profile's compiler takes it.

use ferrane_mil::{
    DType, Function, Program, Verified, VerifyError,
    pass::{
        PackedInput, PassError, lower_to_fp16, order_ports, order_products, pack_inputs, tile_products,
        widen_inputs,
    },
    verify,
};

use crate::Profile;

/// Why a function cannot be made legal.
#[derive(Debug, thiserror::Error)]
pub enum LegaliseError {
    /// A pass cannot rewrite it.
    #[error("`{function}` cannot be made legal for {profile}: {source}")]
    Pass {
        /// The function.
        function: String,
        /// The profile.
        profile: String,
        /// What is in the way.
        source: PassError,
    },
    /// An op that the profile's dialect does not have; else a defect of ours.
    #[error("`{function}` is not valid MIL after legalising: {}", first_of(.errors))]
    Invalid {
        /// The function.
        function: String,
        /// What the verifier says.
        errors: Vec<VerifyError>,
    },
}

/// The first error; a chain of the same op has one for each.
fn first_of(errors: &[VerifyError]) -> String {
    match errors {
        [] => String::new(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first}; and {} more", rest.len()),
    }
}

/// Makes `function`, whose ports are `[1, C, 1, W]`, into a program for `profile`: lowered to the profile's element type,
/// products cut to its working set, inputs widened to its minimum, ports in the order it binds them, in its dialect.
///
/// # Errors
/// When a pass cannot do its part, with the operand that is in the way.
pub fn legalise(function: Function, profile: &Profile) -> Result<Verified, LegaliseError> {
    let name = function.name.clone();
    let mut function = rewrite(function, profile).map_err(|source| LegaliseError::Pass {
        function: name.clone(),
        profile: profile.to_string(),
        source,
    })?;
    function.opset = profile.dialect.opset.value;
    let mut program = Program::single(function);
    program.version = profile.dialect.version.value;
    verify(program).map_err(|errors| LegaliseError::Invalid { function: name, errors })
}

/// `function` with all inputs in one where the profile's programs take one alone, and where each lies in it: nothing elsewhere.
///
/// # Errors
/// When an input is not `[1, C, 1, W]`, or of another type than the others.
pub fn share_input(
    function: Function,
    profile: &Profile,
) -> Result<(Function, Vec<PackedInput>), LegaliseError> {
    if profile.quirk("multiple-inputs").is_none() {
        return Ok((function, Vec::new()));
    }
    pack_inputs(&function, "inputs", profile.limits.max_extent.value).map_err(|source| LegaliseError::Pass {
        function: function.name.clone(),
        profile: profile.to_string(),
        source,
    })
}

fn rewrite(mut function: Function, profile: &Profile) -> Result<Function, PassError> {
    if profile.compute.value == DType::Fp16 {
        function = lower_to_fp16(&order_products(&function)?)?;
    }
    if let Some(megabytes) = &profile.speed.working_set_mb {
        function = tile_products(&function, (megabytes.value * 1e6) as usize)?;
    }
    let least = profile.limits.min_input_width.value;
    if least > 1 {
        function = widen_inputs(&function, least)?;
    }
    if profile.ports.alphabetical.value {
        function = order_ports(&function);
    }
    Ok(function)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrane_mil::{Builder, Opset, TensorType};

    fn scaled() -> Function {
        let mut b = Builder::new("main", Opset::Ios17);
        let x = b.input("x", TensorType::new(DType::Fp32, [1, 8, 1, 64]));
        let gain = b.input("gain", TensorType::new(DType::Fp32, [1, 8, 1, 1]));
        let y = b.mul(x, gain).unwrap();
        b.finish(&[y])
    }

    #[test]
    fn the_m4_gets_fp16_wide_inputs_in_alphabetical_order() {
        let program = legalise(scaled(), &Profile::built_in("m4").unwrap()).unwrap();
        let f = program.main();
        let inputs: Vec<_> =
            f.inputs.iter().map(|&v| (f.name_of(v), f.tensor_type(v).unwrap().clone())).collect();
        assert_eq!(inputs[0], ("gain", TensorType::fp16([1, 8, 1, 64])));
        assert_eq!(inputs[1], ("x", TensorType::fp16([1, 8, 1, 64])));
        assert_eq!(f.opset, Opset::Ios18);
    }

    #[test]
    fn the_cpu_gets_what_it_was_given() {
        let program = legalise(scaled(), &Profile::built_in("cpu").unwrap()).unwrap();
        let mut expected = scaled();
        expected.opset = Opset::Ios18;
        assert_eq!(*program.main(), expected);
    }

    #[test]
    fn inputs_share_a_surface_where_programs_take_one_alone() {
        let mut profile = Profile::built_in("m4").unwrap();
        assert!(share_input(scaled(), &profile).unwrap().1.is_empty());
        profile.quirks.get_mut("multiple-inputs").unwrap().holds.value = true;
        let (function, packed) = share_input(scaled(), &profile).unwrap();
        let program = legalise(function, &profile).unwrap();
        let f = program.main();
        assert_eq!(f.inputs.len(), 1);
        assert_eq!(*f.tensor_type(f.inputs[0]).unwrap(), TensorType::fp16([1, 8, 1, 65]));
        assert_eq!(
            packed.iter().map(|p| (p.name.as_str(), p.column)).collect::<Vec<_>>(),
            [("x", 0), ("gain", 64)]
        );
    }

    #[test]
    fn a_constant_beyond_fp16_is_named() {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", TensorType::new(DType::Fp32, [1, 8, 1, 64]));
        let y = b.scale(x, 1e6).unwrap();
        let error = legalise(b.finish(&[y]), &Profile::built_in("m4").unwrap()).unwrap_err();
        assert!(error.to_string().contains("scalar") && error.to_string().contains("m4"), "{error}");
    }
}
