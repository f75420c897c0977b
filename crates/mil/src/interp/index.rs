//! Ops that pick or replace elements by index.
//!
//! Negative indices count from the end, as they did before iOS 17; since then they are outside. What an index outside its
//! axis means is undefined, unless `validate_indices` makes it an error: here gathers take the nearest element, scatters
//! do nothing.

use super::{
    Operands, Tensor,
    elementwise::{maximum, minimum},
    tensor::for_each_index,
};
use crate::{CallError, infer::index::ranges};

pub(super) fn slice_by_index(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let ranges = ranges(o.call, &x.shape)?;
    let counts: Vec<usize> = ranges.iter().map(|r| r.count).collect();
    let mut at = vec![0; x.rank()];
    let slice = Tensor::from_fn(counts, |i| {
        for (a, (i, range)) in at.iter_mut().zip(i.iter().zip(&ranges)) {
            *a = range.at(*i);
        }
        x.at(&at)
    });
    Ok(slice.reshaped(o.result_shape()?))
}

pub(super) fn slice_update(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (mut x, update) = (o.tensor("x")?.into_owned(), o.tensor("update")?);
    let ranges = ranges(o.call, &x.shape)?;
    let counts: Vec<usize> = ranges.iter().map(|r| r.count).collect();
    let mut elements = update.data.iter();
    let mut at = vec![0; x.rank()];
    for_each_index(&counts, |i| {
        for (a, (i, range)) in at.iter_mut().zip(i.iter().zip(&ranges)) {
            *a = range.at(*i);
        }
        if let Some(&element) = elements.next() {
            let offset = x.offset_of(&at);
            x.data[offset] = element;
        }
    });
    Ok(x)
}

/// `index` counted from the front of an axis; `None` when it is outside.
fn inside(o: Operands<'_>, index: f64, extent: usize) -> Result<Option<usize>, CallError> {
    let from_front = if index < 0.0 { index + extent as f64 } else { index };
    if (0.0..extent as f64).contains(&from_front) {
        return Ok(Some(from_front as usize));
    }
    match o.call.bool("validate_indices")? {
        false => Ok(None),
        true => Err(o.call.invalid(format!("index {index} is outside an axis of {extent} elements"))),
    }
}

/// As [`inside`], but the nearest element when it is outside.
fn nearest(o: Operands<'_>, index: f64, extent: usize) -> Result<usize, CallError> {
    let last = extent.saturating_sub(1);
    Ok(inside(o, index, extent)?.unwrap_or(if index < 0.0 { 0 } else { last }))
}

/// All of a tensor's elements as indices into an axis of `extent`.
fn nearest_all(o: Operands<'_>, indices: &Tensor, extent: usize) -> Result<Vec<usize>, CallError> {
    indices.data.iter().map(|&i| nearest(o, i, extent)).collect()
}

/// y[p.., i.., q..] = x[p.., indices[p[..batch].., i..], q..]
pub(super) fn gather(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (x, indices) = (o.tensor("x")?, o.tensor("indices")?);
    let axis = o.call.axis(o.call.int("axis")?.unwrap_or(0), x.rank())?;
    let batch = o.call.int("batch_dims")?.unwrap_or(0) as usize;
    let picked = Tensor::new(
        indices.shape.clone(),
        nearest_all(o, &indices, x.shape[axis])?.iter().map(|&i| i as f64).collect::<Vec<_>>(),
    );
    let inner = indices.rank() - batch;
    let mut from = vec![0; indices.rank()];
    let mut at = vec![0; x.rank()];
    Ok(Tensor::from_fn(o.result_shape()?, |i| {
        from[..batch].copy_from_slice(&i[..batch]);
        from[batch..].copy_from_slice(&i[axis..axis + inner]);
        at[..axis].copy_from_slice(&i[..axis]);
        at[axis] = picked.at(&from) as usize;
        at[axis + 1..].copy_from_slice(&i[axis + inner..]);
        x.at(&at)
    }))
}

/// y[p.., i, q..] = x[p.., indices[p.., i, q..], q..]
pub(super) fn gather_along_axis(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (x, indices) = (o.tensor("x")?, o.tensor("indices")?);
    let axis = o.call.axis(o.call.int("axis")?.unwrap_or(0), x.rank())?;
    let picked = nearest_all(o, &indices, x.shape[axis])?;
    let mut picked = picked.iter();
    let mut at = vec![0; x.rank()];
    Ok(Tensor::from_fn(indices.shape.clone(), |i| {
        at.copy_from_slice(i);
        at[axis] = picked.next().copied().unwrap_or(0);
        x.at(&at)
    }))
}

/// y[b.., i.., q..] = x[b.., indices[b.., i..].., q..]
pub(super) fn gather_nd(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (x, indices) = (o.tensor("x")?, o.tensor("indices")?);
    let batch = o.call.int("batch_dims")?.unwrap_or(0) as usize;
    let outer = indices.rank() - 1;
    let depth = indices.shape[outer];
    let mut picked = Vec::with_capacity(indices.data.len());
    for vector in indices.data.chunks(depth.max(1)) {
        for (k, &index) in vector.iter().enumerate() {
            picked.push(nearest(o, index, x.shape[batch + k])?);
        }
    }
    let mut at = vec![0; x.rank()];
    Ok(Tensor::from_fn(o.result_shape()?, |i| {
        let row = i[..outer].iter().zip(&indices.shape).fold(0, |row, (i, d)| row * d + i);
        at[..batch].copy_from_slice(&i[..batch]);
        at[batch..batch + depth].copy_from_slice(&picked[row * depth..(row + 1) * depth]);
        at[batch + depth..].copy_from_slice(&i[outer..]);
        x.at(&at)
    }))
}

/// How an update changes an element.
fn combination(o: Operands<'_>) -> Result<fn(f64, f64) -> f64, CallError> {
    Ok(match o.call.string("mode")?.unwrap_or("add") {
        "update" => |_, new| new,
        "add" => |old, new| old + new,
        "sub" => |old, new| old - new,
        "mul" => |old, new| old * new,
        "div" => |old, new| old / new,
        "max" => maximum,
        "min" => minimum,
        other => return Err(o.call.invalid(format!("mode is \"{other}\""))),
    })
}

/// Combines each element of `updates`, in order, with the element of `data` whose index `place` finds.
fn combine(
    o: Operands<'_>,
    mut place: impl FnMut(&[usize], &mut [usize]) -> Result<bool, CallError>,
) -> Result<Tensor, CallError> {
    let (mut data, updates) = (o.tensor("data")?.into_owned(), o.tensor("updates")?);
    let f = combination(o)?;
    let mut at = vec![0; data.rank()];
    let mut elements = updates.data.iter();
    let mut outcome = Ok(());
    for_each_index(&updates.shape, |i| {
        let Some(&new) = elements.next() else { return };
        match place(i, &mut at) {
            Ok(true) => {
                let offset = data.offset_of(&at);
                data.data[offset] = f(data.data[offset], new);
            }
            Ok(false) => {}
            Err(e) => outcome = Err(e),
        }
    });
    outcome.map(|()| data)
}

pub(super) fn scatter(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (data, indices) = (o.tensor("data")?, o.tensor("indices")?);
    let axis = o.call.axis(o.call.int("axis")?.unwrap_or(0), data.rank())?;
    combine(o, |i, at| {
        at.copy_from_slice(i);
        let index = inside(o, indices.data[i[axis]], data.shape[axis])?;
        at[axis] = index.unwrap_or(0);
        Ok(index.is_some())
    })
}

pub(super) fn scatter_along_axis(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (data, indices) = (o.tensor("data")?, o.tensor("indices")?);
    let axis = o.call.axis(o.call.int("axis")?.unwrap_or(0), data.rank())?;
    combine(o, |i, at| {
        at.copy_from_slice(i);
        let index = inside(o, indices.at(i), data.shape[axis])?;
        at[axis] = index.unwrap_or(0);
        Ok(index.is_some())
    })
}

pub(super) fn scatter_nd(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (data, indices) = (o.tensor("data")?, o.tensor("indices")?);
    let outer = indices.rank() - 1;
    let depth = indices.shape[outer];
    combine(o, |i, at| {
        let row = i[..outer].iter().zip(&indices.shape).fold(0, |row, (i, d)| row * d + i);
        for (k, place) in at.iter_mut().enumerate().take(depth) {
            match inside(o, indices.data[row * depth + k], data.shape[k])? {
                Some(index) => *place = index,
                None => return Ok(false),
            }
        }
        at[depth..].copy_from_slice(&i[outer..]);
        Ok(true)
    })
}

pub(super) fn one_hot(o: Operands<'_>) -> Result<Tensor, CallError> {
    let indices = o.tensor("indices")?;
    let axis = o.call.axis(o.call.int("axis")?.unwrap_or(-1), indices.rank() + 1)?;
    let on = o.call.float("on_value")?.unwrap_or(1.0);
    let off = o.call.float("off_value")?.unwrap_or(0.0);
    let shape = o.result_shape()?;
    let size = shape[axis] as f64;
    let mut from = vec![0; indices.rank()];
    Ok(Tensor::from_fn(shape, |i| {
        from[..axis].copy_from_slice(&i[..axis]);
        from[axis..].copy_from_slice(&i[axis + 1..]);
        let index = indices.at(&from);
        let from_front = if index < 0.0 { index + size } else { index };
        if from_front == i[axis] as f64 { on } else { off }
    }))
}
