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
    LocalResponse::read(call)?;
    Ok(x.clone())
}

/// x / (k + alpha/size · Σ x²)^beta, summed over `size` channels around each.
pub(crate) struct LocalResponse {
    pub(crate) size: usize,
    pub(crate) alpha: f64,
    pub(crate) beta: f64,
    pub(crate) k: f64,
}

impl LocalResponse {
    pub(crate) fn read(call: Call<'_>) -> Result<Self, CallError> {
        Ok(Self {
            size: positive(call, "size")?,
            alpha: call.float("alpha")?.unwrap_or(1e-4),
            beta: call.float("beta")?.unwrap_or(0.75),
            k: call.float("k")?.unwrap_or(1.0),
        })
    }

    /// The channels around one of `channels`: size/2 before it, the rest after.
    pub(crate) fn around(&self, channel: usize, channels: usize) -> std::ops::Range<usize> {
        let end = channel.saturating_add((self.size - 1) / 2).saturating_add(1);
        channel.saturating_sub(self.size / 2)..end.min(channels)
    }
}
