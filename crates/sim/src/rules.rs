//! What a profile's compiler and door refuse, and how they bind surfaces.

use ferrane_engine::{EngineError, Port, Profile, Status, Surface};
use ferrane_mil::{Call, DType, Function, Opcode, Operand, Program, Verified};

/// The framework's words for a refused program.
const REJECTED: &str = "ANECCompile() FAILED";

/// The framework's words for a program that is not MIL to it.
const INVALID: &str = "InvalidMILProgram";

/// Checks a program against everything the profile's compiler refuses.
///
/// # Errors
/// The first refusal: the framework says no more than one, and we add the cause.
pub(crate) fn compile(program: &Verified, profile: &Profile) -> Result<(), EngineError> {
    let function = program.main();
    let refuse = |words: &str, cause: String| EngineError::Compile {
        engine: format!("sim ({})", profile.name),
        program: function.name.clone(),
        reason: format!("{words}: {cause}"),
    };
    dialect(program.program(), function, profile).map_err(|cause| refuse(INVALID, cause))?;
    for op in &function.ops {
        let call = Call::new(function, op);
        conv(call, profile).map_err(|cause| refuse(INVALID, cause))?;
    }
    for value in &function.values {
        let Some(ty) = value.ty.as_tensor() else { continue };
        let name = &value.name;
        if value.constant.is_none() && ty.dtype == DType::Fp32 && profile.compute.value == DType::Fp16 {
            return Err(refuse(REJECTED, format!("`{name}` is {ty}, but the engine computes in fp16")));
        }
        extents(&ty.shape, profile)
            .map_err(|cause| refuse(REJECTED, format!("`{name}` is {ty}; {cause}")))?;
    }
    Ok(())
}

fn dialect(program: &Program, function: &Function, profile: &Profile) -> Result<(), String> {
    let (version, opset) = (profile.dialect.version.value, profile.dialect.opset.value);
    if program.version != version {
        let (major, minor) = program.version;
        return Err(format!(
            "program({major}.{minor}) where {profile} takes program({}.{})",
            version.0, version.1
        ));
    }
    if function.opset > opset {
        let given = function.opset.name();
        return Err(format!("func {}<{given}> where {profile} takes {}", function.name, opset.name()));
    }
    Ok(())
}

/// A convolution's weight must be constant; given as an input it would be ignored without a word.
fn conv(call: Call<'_>, profile: &Profile) -> Result<(), String> {
    if call.code() != Opcode::Conv || profile.ports.runtime_conv_weights.value {
        return Ok(());
    }
    match call.operand("weight") {
        Ok(Some(Operand::Value(v))) if call.function.value(*v).constant.is_none() => Err(format!(
            "`{}` is a convolution by `{}`, which is not constant; use a matmul",
            call.function.name_of(call.op.result()),
            call.function.name_of(*v)
        )),
        _ => Ok(()),
    }
}

fn extents(shape: &[usize], profile: &Profile) -> Result<(), String> {
    let limits = &profile.limits;
    if shape.len() > limits.max_rank.value {
        return Err(format!("its rank is over {}", limits.max_rank.value));
    }
    if let [_, channels, ..] = shape
        && *channels > limits.max_channels.value
    {
        return Err(format!("{channels} channels are over {}", limits.max_channels.value));
    }
    match shape.iter().rev().take(2).find(|&&d| d > limits.max_extent.value) {
        Some(d) => Err(format!("the extent {d} is over {}", limits.max_extent.value)),
        None => Ok(()),
    }
}

/// For each port, the index of the surface the framework binds to it: the given order, or for doors that bind by name the
/// alphabetical order of the ports.
pub(crate) fn binding(ports: &[Port], profile: &Profile) -> Vec<usize> {
    let mut by_name: Vec<usize> = (0..ports.len()).collect();
    if profile.ports.alphabetical.value {
        by_name.sort_by(|&a, &b| ports[a].name.cmp(&ports[b].name));
    }
    // The n-th surface goes to the n-th port in that order.
    let mut surface_of = vec![0; ports.len()];
    by_name.iter().enumerate().for_each(|(surface, &port)| surface_of[port] = surface);
    surface_of
}

/// Checks what the framework checks of one side's surfaces before it runs a request.
///
/// # Errors
/// Status 0x1d with the cause.
pub(crate) fn surfaces(
    program: &str,
    side: &str,
    ports: &[Port],
    surfaces: &[&Surface],
    profile: &Profile,
) -> Result<(), EngineError> {
    let refuse = |cause: String| EngineError::Evaluate {
        engine: format!("sim ({})", profile.name),
        program: program.into(),
        status: Status::INFERENCE,
        reason: cause,
    };
    if ports.len() != surfaces.len() {
        return Err(refuse(format!("{} {side} surfaces for {} ports", surfaces.len(), ports.len())));
    }
    let least = profile.limits.min_input_width.value;
    for (port, surface) in ports.iter().zip(surfaces) {
        if side == "input" && port.shape[3] < least {
            return Err(refuse(format!(
                "input `{}` is {} wide, and the least is {least}; use longer sequences or a larger batch",
                port.name, port.shape[3]
            )));
        }
        if surface.elements() != port.elements() {
            return Err(refuse(format!(
                "the surface bound to `{}` has {} elements instead of {}",
                port.name,
                surface.elements(),
                port.elements()
            )));
        }
    }
    let claims = || surfaces.iter().map(|s| s.allocation());
    if profile.ports.equal_allocation.value && claims().min() != claims().max() {
        let (min, max) = (claims().min().unwrap_or(0), claims().max().unwrap_or(0));
        return Err(refuse(format!(
            "the {side} surfaces claim {min} to {max} bytes, and all of a side must claim the same"
        )));
    }
    Ok(())
}
