//! Result types of ops that order elements or sum them up along an axis.

use crate::{
    DType, TensorType,
    call::{Call, CallError},
};

fn axis(call: Call<'_>, x: &TensorType) -> Result<usize, CallError> {
    call.axis(call.int("axis")?.unwrap_or(-1), x.rank())
}

pub(super) fn argsort(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    axis(call, x)?;
    call.bool("ascending")?;
    Ok(TensorType::new(DType::Int32, x.shape.clone()))
}

pub(super) fn cumsum(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    axis(call, x)?;
    call.bool("exclusive")?;
    call.bool("reverse")?;
    Ok(x.clone())
}

/// The type of indices that a string argument names.
fn index_type(call: Call<'_>, name: &'static str) -> Result<DType, CallError> {
    match call.dtype(name)? {
        dtype @ (DType::Int32 | DType::Uint16) => Ok(dtype),
        other => Err(call.invalid(format!("{name} is {other}; it must be int32 or uint16"))),
    }
}

pub(super) fn extreme_index(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    let axis = axis(call, x)?;
    let mut shape = x.shape.clone();
    match call.bool("keep_dims")? {
        true => shape[axis] = 1,
        false => _ = shape.remove(axis),
    }
    Ok(TensorType::new(index_type(call, "output_dtype")?, shape))
}

/// Values and, if asked for, indices.
pub(super) fn topk(call: Call<'_>) -> Result<Vec<TensorType>, CallError> {
    let x = call.tensor("x")?;
    let axis = axis(call, x)?;
    let k = match call.int("k")?.unwrap_or(1) {
        -1 => x.shape[axis],
        k => usize::try_from(k).ok().filter(|k| (1..=x.shape[axis]).contains(k)).ok_or_else(|| {
            call.invalid(format!(
                "k is {k}; it must be 1 to {}, the extent of axis {axis}, or -1",
                x.shape[axis]
            ))
        })?,
    };
    call.bool("ascending")?;
    let mut shape = x.shape.clone();
    shape[axis] = k;
    let mut results = vec![TensorType::new(x.dtype, shape.clone())];
    if call.bool("return_indices")? {
        results.push(TensorType::new(index_type(call, "output_indices_dtype")?, shape));
    }
    Ok(results)
}
