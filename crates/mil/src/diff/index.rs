//! Derivatives of ops that pick elements by index: elements go back where they came from, adding up.

use super::tape::{Tape, zeros};
use crate::{
    Arg, Call, CallError, Constant,
    Opcode::{self, *},
    TensorType, ValueId,
    infer::index::ranges,
};

type Result<T> = std::result::Result<T, CallError>;

/// Zeros of the type of `v`.
fn zeros_like(tape: &mut Tape<'_>, v: ValueId) -> ValueId {
    let ty = tape.b.ty(v).clone();
    tape.b.constant("zeros", zeros(ty))
}

/// The arguments of `call` called `names`, as far as they are given.
fn kept(tape: &mut Tape<'_>, call: Call<'_>, names: &[&'static str]) -> Result<Vec<(&'static str, Arg)>> {
    let given = names.iter().filter(|name| call.has(name));
    given.map(|name| Ok((*name, tape.operand(call, name)?.into()))).collect()
}

const SLICE: [&str; 6] = ["begin", "end", "stride", "begin_mask", "end_mask", "squeeze_mask"];

/// Zeros around; with steps between elements, the slice of zeros replaced.
pub(super) fn slice_by_index(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let dy = tape.full_dy(call)?;
    let shape = tape.b.shape(x).to_vec();
    let ranges = ranges(call, &shape)?;
    if ranges.iter().all(|r| r.stride == 1) {
        let counts: Vec<usize> = ranges.iter().map(|r| r.count).collect();
        let begin: Vec<usize> = ranges.iter().map(|r| r.begin).collect();
        let part = tape.b.reshape(dy, &counts)?;
        let cut: Vec<usize> = (0..shape.len()).filter(|&i| counts[i] != shape[i]).collect();
        match cut[..] {
            [] => tape.give(x, part),
            [axis] => tape.give_part(x, axis, begin[axis], part),
            _ => {
                let dx = tape.pad_to(part, &begin, &shape)?;
                tape.give(x, dx);
            }
        }
        return Ok(());
    }
    let mut args = kept(tape, call, &SLICE)?;
    let zeros = zeros_like(tape, x);
    args.extend([("update", dy.into()), ("x", zeros.into())]);
    let dx = tape.b.op(SliceUpdate, args)?;
    tape.give(x, dx);
    Ok(())
}

/// The slice of the gradient is the update's, the rest that of `x`.
pub(super) fn slice_update(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let dy = tape.full_dy(call)?;
    let args = kept(tape, call, &SLICE)?;
    if let Some(update) = tape.wants(call, "update")? {
        let mut args = args.clone();
        args.push(("x", dy.into()));
        let slice = tape.b.op(SliceByIndex, args)?;
        tape.give(update, slice);
    }
    if let Some(x) = tape.wants(call, "x")? {
        let ty = call.tensor("update")?.clone();
        let zeros = tape.b.constant("zeros", zeros(ty));
        let mut args = args;
        args.extend([("update", zeros.into()), ("x", dy.into())]);
        let dx = tape.b.op(SliceUpdate, args)?;
        tape.give(x, dx);
    }
    Ok(())
}

/// Scattered back, adding.
pub(super) fn gather(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    if call.int("batch_dims")?.unwrap_or(0) != 0 {
        return Err(call.invalid("is differentiated without batch_dims only"));
    }
    let dy = tape.full_dy(call)?;
    let mut indices = tape.operand(call, "indices")?;
    let mut updates = dy;
    let code = match call.code() {
        Gather => {
            let axis = call.axis(call.int("axis")?.unwrap_or(0), tape.b.shape(x).len())?;
            let count = tape.b.ty(indices).elements();
            let mut shape = tape.b.shape(x).to_vec();
            shape[axis] = count;
            updates = tape.b.reshape(dy, &shape)?;
            indices = tape.b.reshape(indices, &[count])?;
            Scatter
        }
        GatherAlongAxis => ScatterAlongAxis,
        _ => ScatterNd,
    };
    let zeros = zeros_like(tape, x);
    let mut args = kept(tape, call, &["axis"])?;
    args.extend([
        ("data", zeros.into()),
        ("indices", indices.into()),
        ("mode", Constant::string("add").into()),
        ("updates", updates.into()),
    ]);
    let dx = tape.b.op(code, args)?;
    tape.give(x, dx);
    Ok(())
}

/// Only where updates are added: the data's gradient is the result's, the updates' is picked from it.
pub(super) fn scatter(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    if call.string("mode")? != Some("add") {
        return Err(call.invalid("is differentiated in the mode \"add\" only"));
    }
    let dy = tape.full_dy(call)?;
    if let Some(data) = tape.wants(call, "data")? {
        tape.give(data, dy);
    }
    if let Some(updates) = tape.wants(call, "updates")? {
        let code = match call.code() {
            Scatter => Gather,
            ScatterAlongAxis => GatherAlongAxis,
            _ => GatherNd,
        };
        let mut args = kept(tape, call, &["axis"])?;
        let indices = tape.operand(call, "indices")?;
        args.extend([("indices", indices.into()), ("x", dy.into())]);
        let picked = tape.b.op(code, args)?;
        tape.give(updates, picked);
    }
    Ok(())
}

/// The values' gradient scattered back to where the indices say they came from.
pub(super) fn topk(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let [values, indices] = call.op.results[..] else {
        return Err(call.invalid("is differentiated only if it returns indices"));
    };
    let Some(dy) = tape.full_gradient(values)? else { return Ok(()) };
    let axis = call.axis(call.int("axis")?.unwrap_or(-1), tape.b.shape(x).len())?;
    let zeros = zeros_like(tape, x);
    let args = vec![
        ("axis", Constant::int(axis as i32).into()),
        ("data", zeros.into()),
        ("indices", indices.into()),
        ("mode", Constant::string("add").into()),
        ("updates", dy.into()),
    ];
    let dx = tape.b.op(ScatterAlongAxis, args)?;
    tape.give(x, dx);
    Ok(())
}

/// Ops that only move elements around, in a way another op, or the same, undoes: `code` with the arguments `names`
/// renamed.
fn undo(
    tape: &mut Tape<'_>,
    call: Call<'_>,
    code: Opcode,
    names: &[(&'static str, &'static str)],
) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let mut args: Vec<(&'static str, Arg)> = Vec::new();
    for (from, to) in names.iter().filter(|(from, _)| call.has(from)) {
        args.push((to, tape.operand(call, from)?.into()));
    }
    args.push(("x", tape.full_dy(call)?.into()));
    let dx = tape.b.op(code, args)?;
    tape.give(x, dx);
    Ok(())
}

/// Rearrangements by the inverse one.
pub(super) fn rearrange(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    match call.code() {
        Reverse => undo(tape, call, Reverse, &[("axes", "axes")]),
        ReverseSequence => {
            let same = |name| (name, name);
            let names = ["lengths", "seq_axis", "batch_axis"].map(same);
            undo(tape, call, ReverseSequence, &names)
        }
        BandPart => undo(tape, call, BandPart, &[("lower", "lower"), ("upper", "upper")]),
        DepthToSpace => undo(tape, call, SpaceToDepth, &[("block_size", "block_size")]),
        SpaceToDepth => undo(tape, call, DepthToSpace, &[("block_size", "block_size")]),
        PixelShuffle => undo(tape, call, PixelUnshuffle, &[("upscale_factor", "downscale_factor")]),
        PixelUnshuffle => undo(tape, call, PixelShuffle, &[("downscale_factor", "upscale_factor")]),
        SpaceToBatch => {
            undo(tape, call, BatchToSpace, &[("block_shape", "block_shape"), ("paddings", "crops")])
        }
        BatchToSpace => {
            undo(tape, call, SpaceToBatch, &[("block_shape", "block_shape"), ("crops", "paddings")])
        }
        other => Err(CallError::UnknownOp(other)),
    }
}

/// Sums from the other end.
pub(super) fn cumsum(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let dy = tape.full_dy(call)?;
    let args = vec![
        ("axis", Constant::int(call.int("axis")?.unwrap_or(0) as i32).into()),
        ("exclusive", Constant::bool(call.bool("exclusive")?).into()),
        ("reverse", Constant::bool(!call.bool("reverse")?).into()),
        ("x", dy.into()),
    ];
    let dx = tape.b.op(Cumsum, args)?;
    tape.give(x, dx);
    Ok(())
}

/// Zeros for the margins.
pub(super) fn crop(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let dy = tape.full_dy(call)?;
    let shape = tape.b.shape(x).to_vec();
    let margins = crate::infer::image::margins(call)?;
    let mut begin = vec![0; shape.len()];
    begin[shape.len() - 2] = margins[0];
    begin[shape.len() - 1] = margins[2];
    let dx = tape.pad_to(dy, &begin, &shape)?;
    tape.give(x, dx);
    Ok(())
}

/// Each value gets its slice of the new axis.
pub(super) fn stack(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let dy = tape.full_dy(call)?;
    let axis = call.axis(call.int("axis")?.unwrap_or(0), tape.b.shape(dy).len())?;
    for (i, operand) in call.operands("values")?.iter().enumerate() {
        let Some(v) = tape.wanted(operand) else { continue };
        let slice = tape.b.slice_axis(dy, axis, i, 1)?;
        let TensorType { shape, .. } = tape.b.ty(v).clone();
        let slice = tape.b.reshape(slice, &shape)?;
        tape.give(v, slice);
    }
    Ok(())
}
