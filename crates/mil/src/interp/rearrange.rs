//! Ops that lay elements out anew or make them from nothing.

use super::{Operands, Tensor};
use crate::{
    CallError, Opcode,
    infer::rearrange::{block, blocks},
};

/// Result axis `axis` counts the values.
pub(super) fn stack(o: Operands<'_>) -> Result<Tensor, CallError> {
    let values = o.tensors("values")?;
    let shape = o.result_shape()?;
    let axis = o.call.axis(o.call.int("axis")?.unwrap_or(0), shape.len())?;
    let mut at = vec![0; shape.len() - 1];
    Ok(Tensor::from_fn(shape, |i| {
        at[..axis].copy_from_slice(&i[..axis]);
        at[axis..].copy_from_slice(&i[axis + 1..]);
        values[i[axis]].at(&at)
    }))
}

/// The channel of `channels` that holds the pixel `(row, column)` of blocks of side `b` for channel `c` of the fewer:
/// blocks outermost for `depth_to_space` and its inverse, channels outermost for `pixel_shuffle` and its own.
fn deep_channel(code: Opcode, channels: usize, b: usize, c: usize, row: usize, column: usize) -> usize {
    match code {
        Opcode::DepthToSpace | Opcode::SpaceToDepth => (row * b + column) * channels + c,
        _ => (c * b + row) * b + column,
    }
}

/// y[n, c, h, w] = x[n, channel of (c, h mod b, w mod b), h/b, w/b]
pub(super) fn to_space(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let (b, code) = (block(o.call)?, o.call.code());
    let shape = o.result_shape()?;
    let channels = shape[1];
    Ok(Tensor::from_fn(shape, |i| {
        x.at(&[i[0], deep_channel(code, channels, b, i[1], i[2] % b, i[3] % b), i[2] / b, i[3] / b])
    }))
}

/// The inverse of [`to_space`].
pub(super) fn to_depth(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let (b, code) = (block(o.call)?, o.call.code());
    let channels = x.shape[1];
    let mut y = Tensor::from_fn(o.result_shape()?, |_| 0.0);
    let mut elements = x.data.iter();
    super::tensor::for_each_index(&x.shape, |i| {
        let deep = deep_channel(code, channels, b, i[1], i[2] % b, i[3] % b);
        let offset = y.offset_of(&[i[0], deep, i[2] / b, i[3] / b]);
        y.data[offset] = elements.next().copied().unwrap_or(0.0);
    });
    Ok(y)
}

/// Example (i·bw + j)·N + n of the result holds the pixels (h·bh + i, w·bw + j) of example n, padded.
pub(super) fn space_to_batch(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let (b, m) = blocks(o.call, "paddings")?;
    let batch = x.shape[0];
    Ok(Tensor::from_fn(o.result_shape()?, |i| {
        let block = i[0] / batch;
        let row = (i[2] * b[0] + block / b[1]).wrapping_sub(m[0]);
        let column = (i[3] * b[1] + block % b[1]).wrapping_sub(m[2]);
        match row < x.shape[2] && column < x.shape[3] {
            true => x.at(&[i[0] % batch, i[1], row, column]),
            false => 0.0,
        }
    }))
}

/// The inverse of [`space_to_batch`], cropped.
pub(super) fn batch_to_space(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let (b, m) = blocks(o.call, "crops")?;
    let shape = o.result_shape()?;
    let batch = shape[0];
    Ok(Tensor::from_fn(shape, |i| {
        let (row, column) = (i[2] + m[0], i[3] + m[2]);
        let block = row % b[0] * b[1] + column % b[1];
        x.at(&[block * batch + i[0], i[1], row / b[0], column / b[1]])
    }))
}

/// y[.., i, k, ..] = x[.., i·stride + k, ..]
pub(super) fn sliding_windows(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let axis = o.call.axis(o.call.int("axis")?.unwrap_or(0), x.rank())?;
    let stride = o.call.int("stride")?.unwrap_or(1) as usize;
    let mut at = vec![0; x.rank()];
    Ok(Tensor::from_fn(o.result_shape()?, |i| {
        at[..axis].copy_from_slice(&i[..axis]);
        at[axis] = i[axis] * stride + i[axis + 1];
        at[axis + 1..].copy_from_slice(&i[axis + 2..]);
        x.at(&at)
    }))
}

pub(super) fn fill(o: Operands<'_>) -> Result<Tensor, CallError> {
    let value = o.call.float("value")?.unwrap_or(0.0);
    Ok(Tensor::from_fn(o.result_shape()?, |_| value))
}

pub(super) fn range(o: Operands<'_>) -> Result<Tensor, CallError> {
    let start = o.call.float("start")?.unwrap_or(0.0);
    let step = o.call.float("step")?.unwrap_or(1.0);
    Ok(Tensor::from_fn(o.result_shape()?, |i| start + i[0] as f64 * step))
}

pub(super) fn shape(o: Operands<'_>) -> Result<Tensor, CallError> {
    let shape: Vec<f64> = o.call.tensor("x")?.shape.iter().map(|&d| d as f64).collect();
    Ok(Tensor::new([shape.len()], shape))
}

pub(super) fn reverse(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let axes = o.call.reduced_axes(x.rank())?;
    let mut at = vec![0; x.rank()];
    Ok(Tensor::from_fn(x.shape.clone(), |i| {
        at.copy_from_slice(i);
        axes.iter().for_each(|&a| at[a] = x.shape[a] - 1 - i[a]);
        x.at(&at)
    }))
}

/// The first `lengths[b]` elements along `seq_axis` in opposite order, for each place b along `batch_axis`.
pub(super) fn reverse_sequence(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (x, lengths) = (o.tensor("x")?, o.tensor("lengths")?);
    let sequence = o.call.axis(o.call.int("seq_axis")?.unwrap_or(0), x.rank())?;
    let batch = o.call.axis(o.call.int("batch_axis")?.unwrap_or(0), x.rank())?;
    let mut at = vec![0; x.rank()];
    Ok(Tensor::from_fn(x.shape.clone(), |i| {
        at.copy_from_slice(i);
        let length = lengths.data[i[batch]].clamp(0.0, x.shape[sequence] as f64) as usize;
        if i[sequence] < length {
            at[sequence] = length - 1 - i[sequence];
        }
        x.at(&at)
    }))
}

/// Elements at most `lower` below and `upper` above the diagonal; a negative bound is none.
pub(super) fn band_part(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let lower = o.call.int("lower")?.unwrap_or(-1);
    let upper = o.call.int("upper")?.unwrap_or(-1);
    let rank = x.rank();
    Ok(Tensor::from_fn(x.shape.clone(), |i| {
        let below = i[rank - 2] as i64 - i[rank - 1] as i64;
        let inside = (lower < 0 || below <= lower) && (upper < 0 || -below <= upper);
        if inside { x.at(i) } else { 0.0 }
    }))
}
