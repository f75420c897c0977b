//! Result types of ops that pick or replace elements by index.

use super::{extent, has_rank, has_shape};
use crate::{
    DType, TensorType,
    call::{Call, CallError},
};

/// What a slice takes along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Index of the first element.
    pub begin: usize,
    /// From one element to the next; negative backwards.
    pub stride: i64,
    /// Number of elements.
    pub count: usize,
    /// True when the axis is dropped from the result.
    pub squeezed: bool,
}

impl Range {
    /// Index of element `i` of the slice.
    pub fn at(&self, i: usize) -> usize {
        (self.begin as i64 + i as i64 * self.stride) as usize
    }
}

/// What `slice_by_index` and `slice_update` take of a tensor of `shape`: one range an axis, by NumPy's rules.
///
/// # Errors
/// When an argument has the wrong length, a stride is 0, or nothing is taken.
pub fn ranges(call: Call<'_>, shape: &[usize]) -> Result<Vec<Range>, CallError> {
    let rank = shape.len();
    let vector = |name: &'static str, absent: Option<i64>| -> Result<Vec<i64>, CallError> {
        let given = match (call.ints(name)?, absent) {
            (Some(v), _) => v,
            (None, Some(v)) => vec![v; rank],
            (None, None) => return Err(CallError::Missing { op: call.code(), arg: name }),
        };
        match given.len() == rank {
            true => Ok(given),
            false => {
                Err(call.invalid(format!("{name} {given:?} must hold {rank} integers, one an axis of x")))
            }
        }
    };
    let mask = |name: &'static str| -> Result<Vec<bool>, CallError> {
        let given = call.bools(name)?.unwrap_or_else(|| vec![false; rank]);
        match given.len() == rank {
            true => Ok(given),
            false => Err(call.invalid(format!("{name} must hold {rank} truth values, one an axis of x"))),
        }
    };
    let (begin, end, stride) = (vector("begin", None)?, vector("end", None)?, vector("stride", Some(1))?);
    let (begin_mask, end_mask) = (mask("begin_mask")?, mask("end_mask")?);
    let squeeze_mask = mask("squeeze_mask")?;
    let mut ranges = Vec::with_capacity(rank);
    for (i, &d) in shape.iter().enumerate() {
        let extent = d as i64;
        let from_front = |v: i64| if v < 0 { v.saturating_add(extent) } else { v };
        let nothing = || {
            call.invalid(format!(
                "begin {}, end {} and stride {} take nothing of axis {i}, whose extent is {extent}",
                begin[i], end[i], stride[i]
            ))
        };
        if squeeze_mask[i] {
            let at = if begin_mask[i] { 0 } else { from_front(begin[i]) };
            if !(0..extent).contains(&at) {
                return Err(nothing());
            }
            ranges.push(Range { begin: at as usize, stride: 1, count: 1, squeezed: true });
            continue;
        }
        // The first and the end beyond the last element, as Python's slices are read.
        let (low, high) = if stride[i] > 0 { (0, extent) } else { (-1, extent - 1) };
        let bound =
            |masked: bool, v: i64, open: i64| if masked { open } else { from_front(v).clamp(low, high) };
        let (first, last) = match stride[i] {
            0 => return Err(call.invalid(format!("the stride of axis {i} is 0"))),
            1.. => (bound(begin_mask[i], begin[i], low), bound(end_mask[i], end[i], high)),
            _ => (bound(begin_mask[i], begin[i], high), bound(end_mask[i], end[i], low)),
        };
        let distance = if stride[i] > 0 { last - first } else { first - last };
        if distance <= 0 {
            return Err(nothing());
        }
        let count = (distance as u64).div_ceil(stride[i].unsigned_abs()) as usize;
        ranges.push(Range { begin: first as usize, stride: stride[i], count, squeezed: false });
    }
    Ok(ranges)
}

pub(super) fn slice_by_index(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    let ranges = ranges(call, &x.shape)?;
    let shape: Vec<usize> = ranges.iter().filter(|r| !r.squeezed).map(|r| r.count).collect();
    Ok(TensorType::new(x.dtype, shape))
}

pub(super) fn slice_update(call: Call<'_>) -> Result<TensorType, CallError> {
    let (x, update) = (call.tensor("x")?, call.tensor("update")?);
    let slice = slice_by_index(call)?;
    if *update != slice {
        return Err(call.invalid(format!("update is {update}, but the slice of x it replaces is {slice}")));
    }
    Ok(x.clone())
}

fn indices<'a>(call: Call<'a>) -> Result<&'a TensorType, CallError> {
    let indices = call.tensor("indices")?;
    match indices.dtype.is_int() {
        true => Ok(indices),
        false => Err(call.invalid(format!("indices is {indices}; it must hold integers"))),
    }
}

/// `batch_dims`, at most `rank`.
fn batch_dims(call: Call<'_>, rank: usize) -> Result<usize, CallError> {
    let given = call.int("batch_dims")?.unwrap_or(0);
    extent(call, "batch_dims", given)
        .ok()
        .filter(|&b| b <= rank)
        .ok_or_else(|| call.invalid(format!("batch_dims is {given}; it must be 0 to {rank}")))
}

/// `x.shape[..axis] + indices.shape[batch_dims..] + x.shape[axis + 1..]`
pub(super) fn gather(call: Call<'_>) -> Result<TensorType, CallError> {
    let (x, indices) = (call.tensor("x")?, indices(call)?);
    let axis = call.axis(call.int("axis")?.unwrap_or(0), x.rank())?;
    let batch = batch_dims(call, axis.min(indices.rank()))?;
    if x.shape[..batch] != indices.shape[..batch] {
        return Err(call.invalid(format!(
            "the first {batch} extents of x {:?} and indices {:?} differ",
            x.shape, indices.shape
        )));
    }
    let shape = [&x.shape[..axis], &indices.shape[batch..], &x.shape[axis + 1..]].concat();
    Ok(TensorType::new(x.dtype, shape))
}

pub(super) fn gather_along_axis(call: Call<'_>) -> Result<TensorType, CallError> {
    let (x, indices) = (call.tensor("x")?, indices(call)?);
    along_axis(call, "x", x, indices)?;
    Ok(TensorType::new(x.dtype, indices.shape.clone()))
}

/// Indices that have the extents of `x` but along the axis.
fn along_axis(call: Call<'_>, name: &str, x: &TensorType, indices: &TensorType) -> Result<(), CallError> {
    let axis = call.axis(call.int("axis")?.unwrap_or(0), x.rank())?;
    let fits =
        x.rank() == indices.rank() && (0..x.rank()).all(|i| i == axis || x.shape[i] == indices.shape[i]);
    match fits {
        true => Ok(()),
        false => Err(call.invalid(format!(
            "indices has shape {:?} and {name} {:?}; they may differ along axis {axis} only",
            indices.shape, x.shape
        ))),
    }
}

/// `indices.shape[..last] + x.shape[batch_dims + indices.shape[last]..]`
pub(super) fn gather_nd(call: Call<'_>) -> Result<TensorType, CallError> {
    let (x, indices) = (call.tensor("x")?, indices(call)?);
    let (&depth, outer) = indices.shape.split_last().ok_or_else(|| call.invalid("indices is a scalar"))?;
    let batch = batch_dims(call, outer.len().min(x.rank()))?;
    if x.shape[..batch] != outer[..batch] || batch + depth > x.rank() {
        return Err(call.invalid(format!(
            "indices of shape {:?} with {batch} batch axes do not index x of shape {:?}",
            indices.shape, x.shape
        )));
    }
    Ok(TensorType::new(x.dtype, [outer, &x.shape[batch + depth..]].concat()))
}

fn check_mode(call: Call<'_>) -> Result<(), CallError> {
    match call.string("mode")?.unwrap_or("add") {
        "update" | "add" | "sub" | "mul" | "div" | "max" | "min" => Ok(()),
        other => {
            Err(call
                .invalid(format!("mode is \"{other}\"; it must be update, add, sub, mul, div, max or min")))
        }
    }
}

/// The type of `data`, when `updates` has its element type and `shape`.
fn updated(call: Call<'_>, shape: &[usize]) -> Result<TensorType, CallError> {
    check_mode(call)?;
    let (data, updates) = (call.tensor("data")?, call.tensor("updates")?);
    has_shape(call, "updates", shape)?;
    match data.dtype == updates.dtype {
        true => Ok(data.clone()),
        false => Err(call.invalid(format!("data is {} but updates is {}", data.dtype, updates.dtype))),
    }
}

pub(super) fn scatter(call: Call<'_>) -> Result<TensorType, CallError> {
    let (data, indices) = (call.tensor("data")?, indices(call)?);
    has_rank(call, "indices", indices, 1..=1)?;
    let axis = call.axis(call.int("axis")?.unwrap_or(0), data.rank())?;
    updated(call, &[&data.shape[..axis], &indices.shape, &data.shape[axis + 1..]].concat())
}

pub(super) fn scatter_along_axis(call: Call<'_>) -> Result<TensorType, CallError> {
    let (data, indices) = (call.tensor("data")?, indices(call)?);
    along_axis(call, "data", data, indices)?;
    updated(call, &indices.shape)
}

pub(super) fn scatter_nd(call: Call<'_>) -> Result<TensorType, CallError> {
    let (data, indices) = (call.tensor("data")?, indices(call)?);
    let (&depth, outer) = indices.shape.split_last().ok_or_else(|| call.invalid("indices is a scalar"))?;
    let inner = data.shape.get(depth..).ok_or_else(|| {
        call.invalid(format!("indices of shape {:?} do not index data of {:?}", indices.shape, data.shape))
    })?;
    updated(call, &[outer, inner].concat())
}

/// A new axis of `one_hot_vector_size`; elements are of the type of `on_value`, integers when it is absent.
pub(super) fn one_hot(call: Call<'_>) -> Result<TensorType, CallError> {
    let indices = indices(call)?;
    let size = super::positive(call, "one_hot_vector_size")?;
    let axis = call.axis(call.int("axis")?.unwrap_or(-1), indices.rank() + 1)?;
    let (on, off) = (call.constant("on_value")?, call.constant("off_value")?);
    let dtype = on.or(off).map_or(DType::Int32, |c| c.ty.dtype);
    if let (Some(on), Some(off)) = (on, off)
        && on.ty.dtype != off.ty.dtype
    {
        return Err(call.invalid(format!("on_value is {} but off_value is {}", on.ty, off.ty)));
    }
    call.float("on_value")?;
    call.float("off_value")?;
    let mut shape = indices.shape.clone();
    shape.insert(axis, size);
    Ok(TensorType::new(dtype, shape))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, Constant, Opcode, Opset};

    #[test]
    fn slices_follow_numpy() {
        let taken = |begin: i32, end: i32, stride: i32| {
            let mut b = Builder::new("main", Opset::Ios18);
            let x = b.input("x", TensorType::fp16([5]));
            let args = vec![
                ("begin", Constant::ints(&[begin]).into()),
                ("end", Constant::ints(&[end]).into()),
                ("stride", Constant::ints(&[stride]).into()),
                ("x", x.into()),
            ];
            let y = b.op(Opcode::SliceByIndex, args)?;
            let f = b.finish(&[y]);
            let range = ranges(Call::new(&f, f.ops.last().unwrap()), &[5])?[0];
            Ok::<Vec<usize>, CallError>((0..range.count).map(|i| range.at(i)).collect())
        };
        assert_eq!(taken(1, 4, 2).unwrap(), [1, 3]);
        assert_eq!(taken(-2, 100, 1).unwrap(), [3, 4]);
        assert_eq!(taken(4, -6, -3).unwrap(), [4, 1]);
        assert!(taken(3, 3, 1).is_err());
        assert!(taken(0, 5, 0).is_err());
    }
}
