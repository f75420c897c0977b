//! Ops that move elements.

use super::{Operands, Tensor};
use crate::{CallError, infer::movement::permutation};

/// An integer vector argument that inference has found to be there and not negative.
fn extents(o: Operands<'_>, name: &'static str) -> Result<Vec<usize>, CallError> {
    let given = o.call.ints(name)?.unwrap_or_default();
    Ok(given.iter().map(|&i| usize::try_from(i).unwrap_or(0)).collect())
}

fn axis(o: Operands<'_>, rank: usize) -> Result<usize, CallError> {
    o.call.axis(o.call.int("axis")?.unwrap_or(0), rank)
}

pub(super) fn transpose(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let perm = permutation(o.call, x.rank())?;
    let mut at = vec![0; x.rank()];
    Ok(Tensor::from_fn(o.result_shape()?, |i| {
        for (result_axis, &x_axis) in perm.iter().enumerate() {
            at[x_axis] = i[result_axis];
        }
        x.at(&at)
    }))
}

/// One after the other; interleaved: element 0 of each value, then element 1 of each, …
pub(super) fn concat(o: Operands<'_>) -> Result<Tensor, CallError> {
    let values = o.tensors("values")?;
    let shape = o.result_shape()?;
    let axis = axis(o, shape.len())?;
    let interleave = o.call.bool("interleave")?;
    let mut at = vec![0; shape.len()];
    Ok(Tensor::from_fn(shape, |i| {
        at.copy_from_slice(i);
        if interleave {
            at[axis] = i[axis] / values.len();
            return values[i[axis] % values.len()].at(&at);
        }
        let mut which = 0;
        while at[axis] >= values[which].shape[axis] {
            at[axis] -= values[which].shape[axis];
            which += 1;
        }
        values[which].at(&at)
    }))
}

pub(super) fn slice_by_size(o: Operands<'_>) -> Result<Tensor, CallError> {
    Ok(slice(&*o.tensor("x")?, o.result_shape()?, &extents(o, "begin")?))
}

/// The part of `x` of `shape` that begins at `begin`.
fn slice(x: &Tensor, shape: Vec<usize>, begin: &[usize]) -> Tensor {
    let mut at = vec![0; x.rank()];
    Tensor::from_fn(shape, |i| {
        for (a, (i, b)) in at.iter_mut().zip(i.iter().zip(begin)) {
            *a = i + b;
        }
        x.at(&at)
    })
}

pub(super) fn split(o: Operands<'_>) -> Result<Vec<Tensor>, CallError> {
    let x = o.tensor("x")?;
    let axis = axis(o, x.rank())?;
    let mut begin = vec![0; x.rank()];
    let mut parts = Vec::new();
    for shape in o.result_shapes()? {
        let size = shape[axis];
        parts.push(slice(&x, shape, &begin));
        begin[axis] += size;
    }
    Ok(parts)
}

/// The last axes padded with a constant, the mirrored elements (without the edge), or the edge.
pub(super) fn pad(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let pad = extents(o, "pad")?;
    let value = o.call.float("constant_val")?.unwrap_or(0.0);
    let mode = o.call.string("mode")?.unwrap_or("constant");
    let first = x.rank() - pad.len() / 2;
    let mut at = vec![0; x.rank()];
    Ok(Tensor::from_fn(o.result_shape()?, |i| {
        for (d, &extent) in x.shape.iter().enumerate() {
            let before = if d < first { 0 } else { pad[2 * (d - first)] };
            let last = extent as i64 - 1;
            let from_start = i[d] as i64 - before as i64;
            at[d] = match mode {
                _ if (0..=last).contains(&from_start) => from_start,
                "reflect" if from_start < 0 => -from_start,
                "reflect" => 2 * last - from_start,
                "replicate" => from_start.clamp(0, last),
                _ => return value,
            } as usize;
        }
        x.at(&at)
    }))
}

pub(super) fn tile(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let mut at = vec![0; x.rank()];
    Ok(Tensor::from_fn(o.result_shape()?, |i| {
        for (a, (i, d)) in at.iter_mut().zip(i.iter().zip(&x.shape)) {
            *a = i % d;
        }
        x.at(&at)
    }))
}
