//! Ops that change nothing.

use std::collections::HashMap;

use super::replace_uses;
use crate::{Call, DType, Function, Op, Opcode, Operand, ValueId};

/// `f` without ops whose result is their operand: identities, casts to the type a value has, casts back of a widening cast,
/// reshapes to the same shape, transposes that move nothing, additions of 0 and products by 1, concatenations of one value,
/// slices of everything.
///
/// An output keeps its own op, because ports are found by name; where the op that makes the operand has no other use, that
/// op takes the output's name and the op that changes nothing is gone too.
pub fn clean_up(f: &Function) -> Function {
    let mut f = f.clone();
    let mut same: HashMap<ValueId, ValueId> = HashMap::new();
    let ops = std::mem::take(&mut f.ops);
    for mut op in ops {
        replace_uses(&mut op, &same);
        match unchanged(&f, &op) {
            Some(x) if !f.outputs.contains(&op.result()) => {
                same.insert(op.result(), x);
            }
            Some(x) if takes_over(&mut f, x, op.result()) => {
                same.insert(x, op.result());
            }
            _ => f.ops.push(op),
        }
    }
    // An op that took over a name may have had uses before the op that is gone.
    for op in &mut f.ops {
        replace_uses(op, &same);
    }
    super::dce(&f)
}

/// The operand that `op` gives back as it is.
fn unchanged(f: &Function, op: &Op) -> Option<ValueId> {
    let call = Call::new(f, op);
    let value = |name: &str| match call.operand(name).ok()?? {
        Operand::Value(v) => Some(*v),
        Operand::Literal(_) => None,
    };
    let number = |name: &str| f.constant(call.operand(name).ok()??)?.as_f64();
    let x = match op.code {
        Opcode::Identity | Opcode::Reshape | Opcode::SliceBySize | Opcode::Tile => value("x")?,
        Opcode::Cast => match widened(f, value("x")?) {
            Some(narrow) if f.value(narrow).ty == f.value(op.result()).ty => narrow,
            _ => value("x")?,
        },
        Opcode::Transpose => {
            let perm = call.ints("perm").ok()??;
            let rank = perm.len() as i64;
            let in_place = perm.iter().zip(0..).all(|(&p, i)| if p < 0 { p + rank == i } else { p == i });
            in_place.then(|| value("x"))??
        }
        Opcode::Add if number("y") == Some(0.0) => value("x")?,
        Opcode::Add if number("x") == Some(0.0) => value("y")?,
        Opcode::Sub if number("y") == Some(0.0) => value("x")?,
        Opcode::Mul if number("y") == Some(1.0) => value("x")?,
        Opcode::Mul if number("x") == Some(1.0) => value("y")?,
        Opcode::RealDiv if number("y") == Some(1.0) => value("x")?,
        Opcode::Concat => match call.operands("values").ok()? {
            [Operand::Value(v)] => *v,
            _ => return None,
        },
        _ => return None,
    };
    (f.value(x).ty == f.value(op.result()).ty).then_some(x)
}

/// What a cast to a type that holds every element of the operand's type was made from.
fn widened(f: &Function, v: ValueId) -> Option<ValueId> {
    let op = f.ops.iter().find(|op| op.results.contains(&v))?;
    let Operand::Value(x) = Call::new(f, op).operand("x").ok()?? else { return None };
    let (from, to) = (f.tensor_type(*x)?.dtype, f.tensor_type(v)?.dtype);
    let exact = matches!(
        (from, to),
        (DType::Fp16 | DType::Bf16, DType::Fp32 | DType::Fp64) | (DType::Fp32, DType::Fp64)
    );
    (op.code == Opcode::Cast && exact).then_some(*x)
}

/// Lets the op that makes `x` define `output` instead, if `x` is not a port or a constant.
fn takes_over(f: &mut Function, x: ValueId, output: ValueId) -> bool {
    if f.outputs.contains(&x) || f.inputs.contains(&x) || f.value(x).constant.is_some() {
        return false;
    }
    for op in &mut f.ops {
        if let Some(r) = op.results.iter_mut().find(|r| **r == x) {
            *r = output;
            op.name.clear();
            return true;
        }
    }
    false
}
