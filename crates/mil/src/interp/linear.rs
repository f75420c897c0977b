//! Convolutions and matrix products.

use super::{Operands, Tensor, tensor::for_each_index};
use crate::{
    CallError,
    infer::linear::{ConvGeometry, Equation, TransposedGeometry},
};

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

/// y[n, o, p·stride + k·dilation − pad] += weight[c, o, k] · x[n, c, p], channels within their group, from the bias on.
pub(super) fn conv_transpose(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (x, weight, bias) = (o.tensor("x")?, o.tensor("weight")?, o.optional("bias")?);
    let geometry = TransposedGeometry::read(o.call, &x.shape[2..], &weight.shape[2..])?;
    let (out, inner) = (weight.shape[1], x.shape[1] / geometry.groups);
    let taps = positions(&weight.shape[2..]);
    let mut y = Tensor::from_fn(o.result_shape()?, |i| bias.as_ref().map_or(0.0, |b| b.data[i[1]]));
    let mut at = vec![0; x.rank()];
    let mut elements = x.data.iter();
    for_each_index(&x.shape, |p| {
        let element = elements.next().copied().unwrap_or(0.0);
        let first = p[1] / inner * out;
        at[0] = p[0];
        for (k, tap) in taps.iter().enumerate() {
            let inside = (0..tap.len()).all(|d| {
                let spread = p[2 + d] * geometry.strides[d] + tap[d] * geometry.dilations[d];
                at[2 + d] = spread.wrapping_sub(geometry.pad_before[d]);
                at[2 + d] < geometry.out[d]
            });
            for channel in 0..if inside { out } else { 0 } {
                at[1] = first + channel;
                let offset = y.offset_of(&at);
                y.data[offset] += weight.data[(p[1] * out + channel) * taps.len() + k] * element;
            }
        }
    });
    Ok(y)
}

/// y[.., o] = bias[o] + Σ_i x[.., i] · weight[o, i]
pub(super) fn linear(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (x, weight, bias) = (o.tensor("x")?, o.tensor("weight")?, o.optional("bias")?);
    let inner = weight.shape[1];
    let mut at = vec![0; x.rank()];
    Ok(Tensor::from_fn(o.result_shape()?, |p| {
        at.copy_from_slice(p);
        let last = at.len() - 1;
        let row = &weight.data[p[last] * inner..][..inner];
        at[last] = 0;
        let first = x.offset_of(&at);
        let product = row.iter().zip(&x.data[first..]).map(|(w, x)| w * x).sum::<f64>();
        product + bias.as_ref().map_or(0.0, |b| b.data[p[last]])
    }))
}

/// Products summed over the axes the result does not have.
pub(super) fn einsum(o: Operands<'_>) -> Result<Tensor, CallError> {
    let values = o.tensors("values")?;
    let equation = Equation::read(o.call)?;
    let (kept, summed) = equation.extents.split_at(equation.result.len());
    let sums = positions(&summed.iter().map(|e| e.1).collect::<Vec<_>>());
    let mut index = vec![0; equation.extents.len()];
    // The place of each operand's axes among all axes.
    let axes = equation.operands.each_ref().map(|axes| {
        let place = |c: &char| equation.extents.iter().position(|(k, _)| k == c).unwrap_or(0);
        axes.iter().map(place).collect::<Vec<_>>()
    });
    Ok(Tensor::from_fn(o.result_shape()?, |p| {
        index[..kept.len()].copy_from_slice(p);
        let mut sum = 0.0;
        for s in &sums {
            index[kept.len()..].copy_from_slice(s);
            let element = |n: usize| {
                let at: Vec<usize> = axes[n].iter().map(|&a| index[a]).collect();
                values[n].broadcast_at(&at)
            };
            sum += element(0) * element(1);
        }
        sum
    }))
}

/// softmax(Q·Kᵀ/√E + mask)·V. Where a `bool` mask is false, an element takes no part.
pub(super) fn attention(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (q, k, v) = (o.tensor("query")?, o.tensor("key")?, o.tensor("value")?);
    let mask = o.optional("attn_mask")?;
    let is_bool = o.call.has("attn_mask") && o.call.tensor("attn_mask")?.dtype == crate::DType::Bool;
    let rank = q.rank();
    let (width, keys) = (q.shape[rank - 1], k.shape[rank - 2]);
    let scale = 1.0 / (width as f64).sqrt();
    let mut scores_shape = q.shape.clone();
    scores_shape[rank - 1] = keys;
    let (mut at_q, mut at_k) = (vec![0; rank], vec![0; rank]);
    let scores = Tensor::from_fn(scores_shape, |i| {
        at_q.copy_from_slice(i);
        at_k.copy_from_slice(i);
        at_k[rank - 2] = i[rank - 1];
        let mut sum = 0.0;
        for e in 0..width {
            at_q[rank - 1] = e;
            at_k[rank - 1] = e;
            sum += q.at(&at_q) * k.at(&at_k);
        }
        let masked = mask.as_ref().map_or(0.0, |m| match (m.broadcast_at(i), is_bool) {
            (m, false) => m,
            (0.0, true) => f64::NEG_INFINITY,
            (_, true) => 0.0,
        });
        sum * scale + masked
    });
    let shares = super::activation::softmax_along(&scores, rank - 1);
    let (mut at_p, mut at_v) = (vec![0; rank], vec![0; rank]);
    Ok(Tensor::from_fn(o.result_shape()?, |i| {
        at_p.copy_from_slice(i);
        at_v.copy_from_slice(i);
        let mut sum = 0.0;
        for s in 0..keys {
            at_p[rank - 1] = s;
            at_v[rank - 2] = s;
            sum += shares.at(&at_p) * v.at(&at_v);
        }
        sum
    }))
}
