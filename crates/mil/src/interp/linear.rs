//! Convolutions and matrix products.

use super::{Operands, Tensor, tensor::for_each_index};
use crate::{CallError, infer::linear::ConvGeometry};

/// y[n, o, p] = bias[o] + Σ_{i, k} weight[o, i, k] · x[n, g·I + i, p·stride + k·dilation − pad], where g is the group of o.
pub(super) fn conv(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (x, weight, bias) = (o.tensor("x")?, o.tensor("weight")?, o.optional("bias")?);
    let (pixels, kernel) = (&x.shape[2..], &weight.shape[2..]);
    let geometry = ConvGeometry::read(o.call, pixels, kernel)?;
    let (channels_in, channels_out) = (weight.shape[1], weight.shape[0] / geometry.groups);
    let taps = positions(kernel);
    let mut at = vec![0; x.rank()];
    Ok(Tensor::from_fn(o.result_shape()?, |p| {
        let (n, out) = (p[0], p[1]);
        let first = out / channels_out * channels_in;
        let mut sum = bias.as_ref().map_or(0.0, |b| b.data[out]);
        for (k, tap) in taps.iter().enumerate() {
            let inside = (0..kernel.len()).all(|d| {
                let padded = p[2 + d] * geometry.strides[d] + tap[d] * geometry.dilations[d];
                at[2 + d] = padded.wrapping_sub(geometry.pad_before[d]);
                at[2 + d] < pixels[d]
            });
            if inside {
                at[0] = n;
                for i in 0..channels_in {
                    at[1] = first + i;
                    sum += weight.data[(out * channels_in + i) * taps.len() + k] * x.at(&at);
                }
            }
        }
        sum
    }))
}

/// Every index of a tensor of `shape`.
fn positions(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut positions = Vec::new();
    for_each_index(shape, |i| positions.push(i.to_vec()));
    positions
}

/// z[.., m, n] = Σ_k x[.., m, k] · y[.., k, n], after transposing; leading axes broadcast.
pub(super) fn matmul(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (x, y) = (o.tensor("x")?, o.tensor("y")?);
    let (transpose_x, transpose_y) = (o.call.bool("transpose_x")?, o.call.bool("transpose_y")?);
    let inner = x.shape[x.rank() - if transpose_x { 2 } else { 1 }];
    let shape = o.result_shape()?;
    let rank = shape.len();
    let (mut at_x, mut at_y) = (vec![0; rank], vec![0; rank]);
    Ok(Tensor::from_fn(shape, |p| {
        at_x.copy_from_slice(p);
        at_y.copy_from_slice(p);
        let (m, n) = (p[rank - 2], p[rank - 1]);
        let mut sum = 0.0;
        for k in 0..inner {
            (at_x[rank - 2], at_x[rank - 1]) = if transpose_x { (k, m) } else { (m, k) };
            (at_y[rank - 2], at_y[rank - 1]) = if transpose_y { (n, k) } else { (k, n) };
            sum += x.broadcast_at(&at_x) * y.broadcast_at(&at_y);
        }
        sum
    }))
}
