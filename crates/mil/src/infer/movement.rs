//! Result types of ops that move elements without computing on them.

use crate::{
    TensorType,
    call::{Call, CallError},
};

fn extents(call: Call<'_>, name: &'static str) -> Result<Vec<i64>, CallError> {
    call.ints(name)?.ok_or(CallError::Missing { op: call.code(), arg: name })
}

/// `shape` may hold one −1 (the extent that keeps the number of elements) and zeros (the extent of `x` there).
pub(super) fn reshape(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    let wanted = extents(call, "shape")?;
    let mismatch = || {
        call.invalid(format!(
            "shape {wanted:?} does not hold the {} elements of x {:?}",
            x.elements(),
            x.shape
        ))
    };
    let mut shape = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (i, &d) in wanted.iter().enumerate() {
        shape.push(match d {
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            0 if i < x.rank() => x.shape[i],
            d => usize::try_from(d).map_err(|_| mismatch())?,
        });
    }
    let elements = x.checked_elements().ok_or_else(mismatch)?;
    let known = TensorType::new(x.dtype, shape.clone()).checked_elements().ok_or_else(mismatch)?;
    if let Some(i) = open {
        if known == 0 || !elements.is_multiple_of(known) {
            return Err(mismatch());
        }
        shape[i] = elements / known;
    } else if known != elements {
        return Err(mismatch());
    }
    Ok(TensorType::new(x.dtype, shape))
}

/// Result axis `i` is axis `perm[i]` of `x`.
pub(super) fn transpose(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    let perm = permutation(call, x.rank())?;
    Ok(TensorType::new(x.dtype, perm.iter().map(|&p| x.shape[p]).collect::<Vec<_>>()))
}

/// The `perm` argument as axes counted from the front, each exactly once.
pub(crate) fn permutation(call: Call<'_>, rank: usize) -> Result<Vec<usize>, CallError> {
    let given = extents(call, "perm")?;
    let perm = given.iter().map(|&a| call.axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    match sorted.iter().copied().eq(0..rank) {
        true => Ok(perm),
        false => Err(call.invalid(format!("perm {given:?} must name each of the {rank} axes once"))),
    }
}

pub(super) fn expand_dims(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    let given = extents(call, "axes")?;
    let rank = x.rank() + given.len();
    let mut axes = given.iter().map(|&a| call.axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    axes.dedup();
    if axes.len() != given.len() {
        return Err(call.invalid(format!("axes {given:?} name an axis twice")));
    }
    let mut rest = x.shape.iter();
    let shape = (0..rank).map(|i| if axes.contains(&i) { 1 } else { rest.next().copied().unwrap_or(1) });
    Ok(TensorType::new(x.dtype, shape.collect::<Vec<_>>()))
}

pub(super) fn squeeze(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    let axes = match call.ints("axes")? {
        Some(axes) => axes.iter().map(|&a| call.axis(a, x.rank())).collect::<Result<Vec<_>, _>>()?,
        None => (0..x.rank()).filter(|&i| x.shape[i] == 1).collect(),
    };
    if let Some(&a) = axes.iter().find(|&&a| x.shape[a] != 1) {
        return Err(call.invalid(format!("axis {a} of x {:?} is not of extent 1", x.shape)));
    }
    let shape = x.shape.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, &d)| d);
    Ok(TensorType::new(x.dtype, shape.collect::<Vec<_>>()))
}

pub(super) fn concat(call: Call<'_>) -> Result<TensorType, CallError> {
    let values = call.tensors("values")?;
    let [first, rest @ ..] = values.as_slice() else {
        return Err(call.invalid("values is empty"));
    };
    let axis = call.int("axis")?.ok_or(CallError::Missing { op: call.code(), arg: "axis" })?;
    let axis = call.axis(axis, first.rank())?;
    let interleave = call.bool("interleave")?;
    let mut shape = first.shape.clone();
    for (i, t) in rest.iter().enumerate() {
        let same = t.rank() == first.rank()
            && t.dtype == first.dtype
            && t.shape
                .iter()
                .zip(&first.shape)
                .enumerate()
                .all(|(j, (a, b))| a == b || (j == axis && !interleave));
        if !same {
            return Err(call.invalid(format!(
                "value {} is {t} and value 0 is {first}; only axis {axis} may differ",
                i + 1
            )));
        }
        shape[axis] = shape[axis].saturating_add(t.shape[axis]);
    }
    Ok(TensorType::new(first.dtype, shape))
}

/// A `size` of −1 means "to the end".
pub(super) fn slice_by_size(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    let (begin, size) = (extents(call, "begin")?, extents(call, "size")?);
    let outside = || call.invalid(format!("begin {begin:?} and size {size:?} reach outside x {:?}", x.shape));
    if begin.len() != x.rank() || size.len() != x.rank() {
        return Err(outside());
    }
    let mut shape = Vec::with_capacity(x.rank());
    for (i, &d) in x.shape.iter().enumerate() {
        let room = usize::try_from(begin[i]).ok().and_then(|b| d.checked_sub(b)).ok_or_else(outside)?;
        let taken = if size[i] == -1 { Ok(room) } else { usize::try_from(size[i]) };
        shape.push(taken.ok().filter(|&n| n <= room).ok_or_else(outside)?);
    }
    Ok(TensorType::new(x.dtype, shape))
}

/// `pad` holds (before, after) pairs for the last `pad.len() / 2` axes.
pub(super) fn pad(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    let pad = extents(call, "pad")?;
    let pairs: Vec<usize> = pad.iter().filter_map(|&p| usize::try_from(p).ok()).collect();
    if pairs.len() != pad.len() || !pad.len().is_multiple_of(2) || pad.len() > 2 * x.rank() {
        return Err(call.invalid(format!(
            "pad {pad:?} must be (before, after) pairs for the last axes of x {:?}",
            x.shape
        )));
    }
    let first = x.rank() - pairs.len() / 2;
    // The most elements an edge of `extent` can give: reflection leaves the edge out, and nothing has no edge.
    let most = match call.string("mode")?.unwrap_or("constant") {
        "constant" => |_: usize| usize::MAX,
        "reflect" => |extent: usize| extent.saturating_sub(1),
        "replicate" => |extent: usize| if extent == 0 { 0 } else { usize::MAX },
        other => {
            return Err(
                call.invalid(format!("mode is \"{other}\"; it must be constant, reflect or replicate"))
            );
        }
    };
    if pairs.iter().zip(0..).any(|(&p, i)| p > most(x.shape[first + i / 2])) {
        return Err(
            call.invalid(format!("pad {pad:?} takes more elements than x {:?} has at its edges", x.shape))
        );
    }
    let mut shape = x.shape.clone();
    for (i, pair) in pairs.chunks_exact(2).enumerate() {
        shape[first + i] = shape[first + i].saturating_add(pair[0]).saturating_add(pair[1]);
    }
    Ok(TensorType::new(x.dtype, shape))
}

pub(super) fn tile(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    let reps = extents(call, "reps")?;
    let shape: Option<Vec<usize>> = (reps.len() == x.rank())
        .then(|| {
            reps.iter()
                .zip(&x.shape)
                .map(|(&r, &d)| usize::try_from(r).ok().filter(|&r| r > 0)?.checked_mul(d))
                .collect()
        })
        .flatten();
    let shape =
        shape.ok_or_else(|| call.invalid(format!("reps {reps:?} must be {} positive integers", x.rank())))?;
    Ok(TensorType::new(x.dtype, shape))
}

/// One result a part: `split_sizes` when given, else `num_splits` equal parts.
pub(super) fn split(call: Call<'_>) -> Result<Vec<TensorType>, CallError> {
    let x = call.tensor("x")?;
    let axis = call.int("axis")?.ok_or(CallError::Missing { op: call.code(), arg: "axis" })?;
    let axis = call.axis(axis, x.rank())?;
    let extent = x.shape[axis];
    let sizes: Option<Vec<usize>> = match (call.ints("split_sizes")?, call.int("num_splits")?) {
        (Some(sizes), _) => sizes.iter().map(|&s| usize::try_from(s).ok()).collect(),
        (None, Some(n)) => {
            let n = usize::try_from(n).unwrap_or(0);
            (n > 0 && n <= extent.max(1) && extent.is_multiple_of(n)).then(|| vec![extent / n; n])
        }
        (None, None) => None,
    };
    let sizes = sizes.filter(|s| s.iter().try_fold(0usize, |n, &s| n.checked_add(s)) == Some(extent));
    let sizes = sizes.ok_or_else(|| {
        call.invalid(format!("split_sizes or num_splits must divide the extent {extent} of axis {axis}"))
    })?;
    let part = |size: usize| {
        let mut shape = x.shape.clone();
        shape[axis] = size;
        TensorType::new(x.dtype, shape)
    };
    Ok(sizes.into_iter().map(part).collect())
}
