//! What the chip computes in place of what the program says, without an error: the profile's silent quirks as rewritings
//! of the function, so that the executor shows their results.
//!
//! Where the rules of `ferrane_engine::legality` say which ops a quirk meets, they are asked, so that `mil check` and the
//! simulation cannot disagree.

mod attention;
mod codes;
mod elements;
mod sixteen;

use std::borrow::Cow;

use ferrane_engine::Profile;
use ferrane_engine::legality::{self, Breach};
use ferrane_mil::{Arg, Constant, DType, Function, Op, Opcode, Operand, Program, ValueId};

/// `function` as the chip of `profile` computes it.
pub(crate) fn rewrite(function: &Function, profile: &Profile) -> Function {
    let breaches = legality::breaches(&Program::single(function.clone()), profile);
    let mut f = function.clone();
    wrong_ops(&mut f, &breaches, profile);
    if profile.quirk("sdpa-mask-ignored").is_some() {
        attention::drop_masks(&mut f);
    }
    if profile.quirk("slice-scale").is_some() {
        sixteen::encode_slices(&mut f);
    }
    if profile.quirk("int8-activation-limit").is_some() {
        sixteen::encode_int8_activations(&mut f);
    }
    f
}

/// Ops that give something else than they say.
fn wrong_ops(f: &mut Function, breaches: &[Breach], profile: &Profile) {
    let breaks =
        |op: usize, id: &str| breaches.iter().any(|breach| breach.op() == Some(op) && breach.rule.id == id);
    let ops = std::mem::take(&mut f.ops);
    for (i, mut op) in ops.iter().cloned().enumerate() {
        if breaks(i, "concat-of-width-slices") {
            elements::lose_offsets(f, &mut op, &ops);
        }
        if breaks(i, "gather-index") {
            elements::round_indices(f, &mut op, profile.numerics.ties_away.value);
        }
        if breaks(i, "sdpa-mask-planes") {
            attention::share_first_plane(f, &mut op);
        }
        if breaks(i, "fp8-codes") {
            codes::lose_large_codes(f, op, profile);
            continue;
        }
        // What is garbage nobody says; it is finite, for the engine knows no NaN.
        let garbage = breaks(i, "sdpa-extent").then_some((Opcode::Mul, -1.0));
        let infinite = breaks(i, "transposed-products").then_some((Opcode::Add, f32::INFINITY));
        match garbage.or(infinite) {
            None => f.ops.push(op),
            Some((code, scalar)) => {
                let result = op.result();
                let right = like(f, result, "right");
                op.results[0] = right;
                f.ops.push(op);
                by_scalar(f, code, right, scalar, result);
            }
        }
    }
}

/// The op `y = code(x, scalar)`, in the type of `y`.
fn by_scalar(f: &mut Function, code: Opcode, x: ValueId, scalar: f32, y: ValueId) {
    let scalar = match f.tensor_type(y).map(|ty| ty.dtype) {
        Some(DType::Fp16) => Constant::fp16(scalar),
        _ => Constant::fp32(scalar),
    };
    push(f, code, vec![one("x", x), ("y".into(), Arg::One(Operand::Literal(scalar)))], y);
}

type Argument = (Cow<'static, str>, Arg);

/// The argument `name = x`.
fn one(name: &'static str, x: ValueId) -> Argument {
    (name.into(), Arg::One(Operand::Value(x)))
}

/// The argument `name = constant`.
fn literal(name: &'static str, constant: Constant) -> Argument {
    (name.into(), Arg::One(Operand::Literal(constant)))
}

/// A constant of extents or offsets.
fn ints(values: &[usize]) -> Constant {
    Constant::ints(&values.iter().map(|&v| v as i32).collect::<Vec<_>>())
}

fn push(f: &mut Function, code: Opcode, args: Vec<Argument>, result: ValueId) {
    f.ops.push(Op { code, name: String::new(), args, results: vec![result], attrs: Vec::new() });
}

/// A new value of the type of `v`, named after it.
fn like(f: &mut Function, v: ValueId, what: &str) -> ValueId {
    let value = f.value(v);
    let (name, ty) = (f.unused_name(&format!("{}_{what}", value.name)), value.ty.clone());
    f.add_value(name, ty)
}
