//! Elements that are taken from another place than was said.

use ferrane_mil::{Arg, Call, Constant, DType, Data, Function, Op, Opcode, Operand, TensorType, ValueId};

use super::{Argument, like, literal, one, push};
use crate::numerics::fp16::{self, Ties};

/// The slices that a concat joins begin at 0 of the last axis, wherever they should. `ops` are those of the function. Which
/// elements are picked instead of the right ones nobody says.
pub(super) fn lose_offsets(f: &mut Function, concat: &mut Op, ops: &[Op]) {
    let Some((_, Arg::Many(values))) = concat.args.iter_mut().find(|(name, _)| name == "values") else {
        return;
    };
    for value in values {
        let Operand::Value(v) = *value else { continue };
        let slice = ops.iter().find(|op| op.results.contains(&v));
        let Some(args) = slice.and_then(|slice| from_the_beginning(f, slice)) else { continue };
        let Some(slice) = slice else { continue };
        let moved = like(f, v, "from_0");
        f.ops.push(Op { args, results: vec![moved], ..slice.clone() });
        *value = Operand::Value(moved);
    }
}

/// The arguments of a slice that begins inside the last axis, beginning at 0 of it; none for any other op.
fn from_the_beginning(f: &Function, slice: &Op) -> Option<Vec<Argument>> {
    let call = Call::new(f, slice);
    let mut begin = call.ints("begin").ok()??;
    let last = begin.len().checked_sub(1)?;
    if std::mem::take(&mut begin[last]) == 0 {
        return None;
    }
    let begin = begin.iter().map(|&b| b as i32).collect::<Vec<_>>();
    let mut changed = vec![literal("begin", Constant::ints(&begin))];
    if slice.code == Opcode::SliceByIndex {
        let stride = call.ints("stride").ok()?.map_or(1, |stride| stride[last]);
        let taken = f.tensor_type(slice.result())?;
        if stride < 1 || taken.rank() != begin.len() {
            return None;
        }
        let mut end = call.ints("end").ok()??;
        end[last] = (*taken.shape.last()? as i64 - 1) * stride + 1;
        changed.push(literal("end", Constant::ints(&end.iter().map(|&e| e as i32).collect::<Vec<_>>())));
        for name in ["begin_mask", "end_mask"] {
            if let Some(mut mask) = call.bools(name).ok()? {
                mask[last] = false;
                let ty = TensorType::new(DType::Bool, [mask.len()]);
                changed.push(literal(name, Constant::inline(ty, Data::Bool(mask))));
            }
        }
    }
    let kept = slice.args.iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name));
    let kept: Vec<_> = kept.cloned().collect();
    Some(kept.into_iter().chain(changed).collect())
}

/// Indices are what fp16 makes of them, within the axis.
pub(super) fn round_indices(f: &mut Function, gather: &mut Op, ties_away: bool) {
    let Some(most) = last_index(f, gather) else { return };
    let Some((_, Arg::One(indices))) = gather.args.iter_mut().find(|(name, _)| name == "indices") else {
        return;
    };
    let ties = if ties_away { Ties::Away } else { Ties::Even };
    let rounded = match f.constant(indices) {
        Some(constant) => {
            let Some(values) = constant.as_ints() else { return };
            let round = |&i: &i64| (fp16::round(i as f64, ties) as i64).min(most as i64);
            Operand::Literal(Constant::inline(
                constant.ty.clone(),
                Data::Int(values.iter().map(round).collect()),
            ))
        }
        None => {
            let Operand::Value(v) = *indices else { return };
            let Some(rounded) = through_fp16(f, v, most) else { return };
            Operand::Value(rounded)
        }
    };
    *indices = rounded;
}

/// The last index of the axis that is gathered from.
fn last_index(f: &Function, gather: &Op) -> Option<usize> {
    let call = Call::new(f, gather);
    let x = call.tensor("x").ok()?;
    let axis = call.axis(call.int("axis").ok()??, x.rank()).ok()?;
    x.shape[axis].checked_sub(1)
}

/// Computed indices, rounded, and at most `most`.
fn through_fp16(f: &mut Function, indices: ValueId, most: usize) -> Option<ValueId> {
    let ty = f.tensor_type(indices)?.clone();
    let half = f.add_value(f.unused_name("indices_fp16"), TensorType::new(DType::Fp16, ty.shape.clone()));
    let whole = like(f, indices, "rounded");
    let within = like(f, indices, "within");
    push(f, Opcode::Cast, vec![one("x", indices), literal("dtype", Constant::string("fp16"))], half);
    push(f, Opcode::Cast, vec![one("x", half), literal("dtype", Constant::string(ty.dtype.name()))], whole);
    let most = Constant::inline(TensorType::scalar(ty.dtype), Data::Int(vec![most as i64]));
    push(f, Opcode::Minimum, vec![one("x", whole), literal("y", most)], within);
    Some(within)
}
