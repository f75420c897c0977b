//! Result types of elementwise ops.

use super::broadcast;
use crate::{
    DType, TensorType,
    call::{Call, CallError},
};

/// Operands of one element type, which broadcast.
pub(super) fn binary(call: Call<'_>) -> Result<TensorType, CallError> {
    let (x, y) = (call.tensor("x")?, call.tensor("y")?);
    if x.dtype != y.dtype {
        return Err(call.invalid(format!("x is {} but y is {}; cast one of them", x.dtype, y.dtype)));
    }
    let shape = broadcast(&x.shape, &y.shape).ok_or_else(|| {
        call.invalid(format!("x has shape {:?} and y {:?}, which do not broadcast", x.shape, y.shape))
    })?;
    Ok(TensorType::new(x.dtype, shape))
}

/// Three operands that broadcast; `cond` is `bool`.
pub(super) fn select(call: Call<'_>) -> Result<TensorType, CallError> {
    let (cond, a, b) = (call.tensor("cond")?, call.tensor("a")?, call.tensor("b")?);
    if cond.dtype != DType::Bool {
        return Err(call.invalid(format!("cond is {}; it must be bool", cond.dtype)));
    }
    if a.dtype != b.dtype {
        return Err(call.invalid(format!("a is {} but b is {}; cast one of them", a.dtype, b.dtype)));
    }
    let shape = broadcast(&a.shape, &b.shape).and_then(|s| broadcast(&cond.shape, &s)).ok_or_else(|| {
        call.invalid(format!(
            "cond has shape {:?}, a {:?} and b {:?}, which do not broadcast",
            cond.shape, a.shape, b.shape
        ))
    })?;
    Ok(TensorType::new(a.dtype, shape))
}

/// The type of `x`, when the arguments `names` are constant numbers.
pub(super) fn with_numbers(call: Call<'_>, names: &[&'static str]) -> Result<TensorType, CallError> {
    for name in names {
        call.float(name)?;
    }
    Ok(call.tensor("x")?.clone())
}

/// The type of `x [N, C, …]`, when the arguments `names` are vectors of C.
pub(super) fn per_channel(call: Call<'_>, names: &[&'static str]) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    for name in names {
        let parameter = call.tensor(name)?;
        if x.rank() < 2 || parameter.shape != x.shape[1..2] {
            return Err(call.invalid(format!(
                "{name} has shape {:?} and x {:?}; it must hold one number a channel, axis 1 of x",
                parameter.shape, x.shape
            )));
        }
    }
    Ok(x.clone())
}
