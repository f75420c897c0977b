//! Pools.

use super::{Operands, Tensor, elementwise::maximum, tensor::for_each_index};
use crate::{CallError, Opcode, infer::pool::PoolGeometry};

/// What each window holds, reduced. The mean counts padding as zeros unless it is told not to; elements beyond the
/// padding, which `ceil_mode` reaches, never count.
pub(super) fn pool(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let geometry = PoolGeometry::read(o.call)?;
    let only_elements = o.call.bool("exclude_padding_from_average")?;
    let code = o.call.code();
    let axes = geometry.kernel.len();
    let mut taps = Vec::new();
    for_each_index(&geometry.kernel, |tap| taps.push(tap.to_vec()));
    let mut at = vec![0; x.rank()];
    Ok(Tensor::from_fn(o.result_shape()?, |i| {
        at[..2].copy_from_slice(&i[..2]);
        let mut window = Vec::with_capacity(taps.len());
        let mut padded = 0;
        for tap in &taps {
            let place = |d: usize| i[2 + d] * geometry.strides[d] + tap[d];
            let input = &x.shape[2..];
            let counts =
                (0..axes).all(|d| place(d) < geometry.pad_before[d] + input[d] + geometry.pad_after[d]);
            let inside = (0..axes).all(|d| {
                at[2 + d] = place(d).wrapping_sub(geometry.pad_before[d]);
                at[2 + d] < input[d]
            });
            if inside {
                window.push(x.at(&at));
            }
            padded += usize::from(counts);
        }
        let count = if only_elements { window.len() } else { padded };
        match code {
            Opcode::MaxPool => window.iter().copied().fold(f64::NEG_INFINITY, maximum),
            Opcode::L2Pool => window.iter().map(|x| x * x).sum::<f64>().sqrt(),
            _ => window.iter().sum::<f64>() / count as f64,
        }
    }))
}
