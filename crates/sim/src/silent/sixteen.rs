//! Magnitudes that are formed at sixteen times their value on the way.

use ferrane_mil::{Arg, Call, Function, Op, Opcode, Operand, ValueId};

use super::{by_scalar, like};

/// Results of slices that begin inside the last axis.
pub(super) fn encode_slices(f: &mut Function) {
    encode(f, |f, op| begins_inside_last_axis(Call::new(f, op)).then(|| op.result()));
}

/// Where a slice does not begin at 0 of the last axis, the engine forms sixteen times its values on the way.
fn begins_inside_last_axis(call: Call<'_>) -> bool {
    let last = |name| call.ints(name).ok().flatten().and_then(|begin| begin.last().copied());
    match call.code() {
        Opcode::SliceBySize => last("begin").is_some_and(|begin| begin != 0),
        Opcode::SliceByIndex => {
            let masked = call.bools("begin_mask").ok().flatten().and_then(|mask| mask.last().copied());
            masked != Some(true) && last("begin").is_some_and(|begin| begin != 0)
        }
        _ => false,
    }
}

/// Takes the results that `which` picks through sixteen times their value and back: what fp16 cannot hold on the way stays
/// infinite.
fn encode(f: &mut Function, which: impl Fn(&Function, &Op) -> Option<ValueId>) {
    let ops = std::mem::take(&mut f.ops);
    for mut op in ops {
        let Some(result) = which(f, &op) else {
            f.ops.push(op);
            continue;
        };
        let plain = like(f, result, "before_x16");
        op.results.iter_mut().filter(|r| **r == result).for_each(|r| *r = plain);
        f.ops.push(op);
        through_sixteen(f, plain, result);
    }
}

/// `to = (from·16)/16`, each rounded to fp16.
fn through_sixteen(f: &mut Function, from: ValueId, to: ValueId) {
    let scaled = like(f, to, "x16");
    by_scalar(f, Opcode::Mul, from, 16.0, scaled);
    by_scalar(f, Opcode::Mul, scaled, 1.0 / 16.0, to);
}

/// Activations that meet int8 weights go through the same encoding.
pub(super) fn encode_int8_activations(f: &mut Function) {
    let int8: Vec<ValueId> = f.ops.iter().filter(|op| is_int8(f, op)).map(Op::result).collect();
    let ops = std::mem::take(&mut f.ops);
    for mut op in ops {
        let (weight, activation) = match op.code {
            Opcode::Conv | Opcode::Linear => ("weight", "x"),
            Opcode::Matmul => ("y", "x"),
            _ => ("", ""),
        };
        let value = |name: &str| match op.arg(name) {
            Some(Arg::One(Operand::Value(v))) => Some(*v),
            _ => None,
        };
        let meets = value(weight).is_some_and(|weight| int8.contains(&weight));
        if let Some(x) = value(activation).filter(|_| meets) {
            let encoded = like(f, x, "encoded");
            through_sixteen(f, x, encoded);
            let args = op.args.iter_mut().filter(|(name, _)| name == activation);
            args.for_each(|(_, arg)| *arg = Arg::One(Operand::Value(encoded)));
        }
        f.ops.push(op);
    }
}

/// True for an op that makes fp16 weights of stored int8.
fn is_int8(f: &Function, op: &Op) -> bool {
    let data = match op.code {
        Opcode::ConstexprAffineDequantize => "quantized_data",
        Opcode::ConstexprBlockwiseShiftScale => "data",
        _ => return false,
    };
    Call::new(f, op).tensor(data).is_ok_and(|ty| ty.dtype == ferrane_mil::DType::Int8)
}
