//! Derivatives of ops that move elements: the elements move back.

use super::tape::Tape;
use crate::{Call, CallError, Opcode, infer::movement::permutation};

type Result<T> = std::result::Result<T, CallError>;

/// Back to the shape of `x`.
pub(super) fn reshape(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let dy = tape.full_dy(call)?;
    let shape = tape.b.shape(x).to_vec();
    let dx = tape.b.reshape(dy, &shape)?;
    tape.give(x, dx);
    Ok(())
}

/// By the inverse permutation.
pub(super) fn transpose(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let dy = tape.dy(call)?;
    let perm = permutation(call, tape.b.shape(x).len())?;
    let mut inverse = vec![0; perm.len()];
    for (result_axis, &x_axis) in perm.iter().enumerate() {
        inverse[x_axis] = result_axis;
    }
    let dx = tape.b.transpose(dy, &inverse)?;
    tape.give(x, dx);
    Ok(())
}

/// Each value gets its slice.
pub(super) fn concat(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let dy = tape.full_dy(call)?;
    let shape = tape.b.shape(dy).to_vec();
    let axis = call.axis(call.int("axis")?.unwrap_or(0), shape.len())?;
    let values = call.operands("values")?;
    // Interleaved, element i of value j is element i·n + j of the result: element [i, j] of the axis split in two.
    let interleaved = match call.bool("interleave")? {
        true => {
            let mut split = shape.clone();
            split[axis] /= values.len();
            split.insert(axis + 1, values.len());
            Some(tape.b.reshape(dy, &split)?)
        }
        false => None,
    };
    let mut begin = 0;
    for (j, (operand, ty)) in values.iter().zip(call.tensors("values")?).enumerate() {
        let size = ty.shape[axis];
        if let Some(v) = tape.wanted(operand) {
            let part = match interleaved {
                Some(split) => tape.b.slice_axis(split, axis + 1, j, 1)?,
                None => tape.b.slice_axis(dy, axis, begin, size)?,
            };
            let part = tape.b.reshape(part, &ty.shape)?;
            tape.give(v, part);
        }
        begin += size;
    }
    Ok(())
}

/// Zeros around; parts that together cover an axis are joined instead.
pub(super) fn slice_by_size(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let dy = tape.full_dy(call)?;
    let begin: Vec<usize> =
        call.ints("begin")?.unwrap_or_default().iter().map(|&i| usize::try_from(i).unwrap_or(0)).collect();
    let shape = tape.b.shape(x).to_vec();
    let cut: Vec<usize> = (0..shape.len()).filter(|&i| tape.b.shape(dy)[i] != shape[i]).collect();
    match cut[..] {
        [] => tape.give(x, dy),
        [axis] => tape.give_part(x, axis, begin[axis], dy),
        _ => {
            let dx = tape.pad_to(dy, &begin, &shape)?;
            tape.give(x, dx);
        }
    }
    Ok(())
}

/// The parts joined; zeros for those without a gradient.
pub(super) fn split(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let axis = call.axis(call.int("axis")?.unwrap_or(0), tape.b.shape(x).len())?;
    let mut begin = 0;
    for &part in &call.op.results {
        if let Some(gradient) = tape.full_gradient(part)? {
            tape.give_part(x, axis, begin, gradient);
        }
        begin += tape.b.shape(part)[axis];
    }
    Ok(())
}

/// The part that is not padding.
pub(super) fn pad(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    if call.string("mode")?.is_some_and(|mode| mode != "constant") {
        return Err(call.invalid("only padding with a constant is differentiated"));
    }
    let mut dx = tape.full_dy(call)?;
    let shape = tape.b.shape(x).to_vec();
    let pad = call.ints("pad")?.unwrap_or_default();
    let first = shape.len() - pad.len() / 2;
    for (i, pair) in pad.chunks_exact(2).enumerate() {
        let axis = first + i;
        if tape.b.shape(dx)[axis] != shape[axis] {
            dx = tape.b.slice_axis(dx, axis, usize::try_from(pair[0]).unwrap_or(0), shape[axis])?;
        }
    }
    tape.give(x, dx);
    Ok(())
}

/// The copies summed, one axis after the other.
pub(super) fn tile(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let mut dx = tape.full_dy(call)?;
    let shape = tape.b.shape(x).to_vec();
    for (axis, &extent) in shape.iter().enumerate() {
        let tiled = tape.b.shape(dx).to_vec();
        if tiled[axis] != extent {
            let mut split = tiled.clone();
            split[axis] = extent;
            split.insert(axis, tiled[axis] / extent);
            let copies = tape.b.reshape(dx, &split)?;
            let sum = tape.b.reduce(Opcode::ReduceSum, copies, &[axis as i32])?;
            let mut summed = tiled;
            summed[axis] = extent;
            dx = tape.b.reshape(sum, &summed)?;
        }
    }
    tape.give(x, dx);
    Ok(())
}
