//! Result types of normalisations: all have that of `x`.

use super::{has_rank, has_shape, positive};
use crate::{
    TensorType,
    call::{Call, CallError},
};

/// `x [N, C, …]` with one mean, variance, gamma and beta a channel, as far as they are given.
pub(super) fn per_channel(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    has_rank(call, "x", x, 3..=5)?;
    call.float("epsilon")?;
    for name in ["mean", "variance", "gamma", "beta"] {
        has_shape(call, name, &x.shape[1..2])?;
    }
    Ok(x.clone())
}

/// `gamma` and `beta` have the extents of `axes`.
pub(super) fn layer(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    let axes = call.reduced_axes(x.rank())?;
    call.float("epsilon")?;
    let shape: Vec<usize> = axes.iter().map(|&a| x.shape[a]).collect();
    has_shape(call, "gamma", &shape)?;
    has_shape(call, "beta", &shape)?;
    Ok(x.clone())
}

pub(super) fn l2(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    has_rank(call, "x", x, 3..=5)?;
    call.float("epsilon")?;
    Ok(x.clone())
}

pub(super) fn local_response(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    has_rank(call, "x", x, 3..=4)?;
    positive(call, "size")?;
    for name in ["alpha", "beta", "k"] {
        call.float(name)?;
    }
    Ok(x.clone())
}
