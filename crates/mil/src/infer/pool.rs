//! Result types of pools.

use super::{has_rank, linear::ConvGeometry, sizes};
use crate::{
    TensorType,
    call::{Call, CallError},
};

/// `x [N, C, *spatial]` → `[N, C, *spatial']`
pub(super) fn pool(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    let geometry = PoolGeometry::read(call)?;
    Ok(TensorType::new(x.dtype, [&x.shape[..2], &geometry.out].concat()))
}

/// Windows of a pool, one entry a spatial dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolGeometry {
    /// Extents of the window.
    pub kernel: Vec<usize>,
    /// Step of the window.
    pub strides: Vec<usize>,
    /// Padding before the first element.
    pub pad_before: Vec<usize>,
    /// Padding after the last element. With `ceil_mode` the last window may reach beyond it.
    pub pad_after: Vec<usize>,
    /// Output extents.
    pub out: Vec<usize>,
}

impl PoolGeometry {
    /// Reads the arguments of a pool.
    ///
    /// # Errors
    /// When an argument has the wrong length or sign, or the window does not fit the padded input.
    pub fn read(call: Call<'_>) -> Result<Self, CallError> {
        let x = call.tensor("x")?;
        has_rank(call, "x", x, 3..=5)?;
        let input = &x.shape[2..];
        let kernel = sizes(call, "kernel_sizes")?;
        if kernel.len() != input.len() {
            return Err(call.invalid(format!(
                "kernel_sizes {kernel:?} must hold {} extents, one a spatial axis of x",
                input.len()
            )));
        }
        let ConvGeometry { strides, pad_before, pad_after, mut out, .. } =
            ConvGeometry::read(call, input, &kernel)?;
        let unpadded = matches!(call.string("pad_type")?, Some("same" | "same_lower"));
        if call.bool("ceil_mode")? && !unpadded {
            for i in 0..out.len() {
                let room = (input[i] + pad_before[i] + pad_after[i]).saturating_sub(kernel[i]);
                // One more window for a remainder, but none that begins in the padding after the input.
                let more = !room.is_multiple_of(strides[i]) && out[i] * strides[i] < input[i] + pad_before[i];
                out[i] += usize::from(more);
            }
        }
        Ok(Self { kernel, strides, pad_before, pad_after, out })
    }
}
