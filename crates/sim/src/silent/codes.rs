//! Weights in FP8 of which the largest are lost.

use ferrane_engine::Profile;
use ferrane_mil::{Call, Constant, DType, Function, Op, Opcode, TensorType};

use super::{like, literal, one, push};

/// Puts `op`, which makes weights of stored FP8, and makes infinite what is stored above the chip's threshold.
pub(super) fn lose_large_codes(f: &mut Function, op: Op, profile: &Profile) {
    let most = profile.quirk("fp8-codes").and_then(|quirk| quirk.threshold);
    let stored = Call::new(f, &op).tensor("data").ok().cloned();
    let (Some(most), Some(stored)) = (most, stored) else { return f.ops.push(op) };
    let (weights, shape) = (op.result(), stored.shape);
    let right = like(f, weights, "right");
    let codes = like(f, weights, "codes");
    let size = like(f, weights, "size");
    let is_large = f.add_value(f.unused_name("is_large"), TensorType::new(DType::Bool, shape.clone()));

    // What is stored, as it is.
    let unit = Constant::fp16_tensor(vec![1; shape.len()], &[1.0]);
    let data = op.args.iter().filter(|(name, _)| name == "data").cloned();
    let as_stored = data.chain([literal("scale", unit)]).collect();
    let mut op = op;
    op.results[0] = right;
    f.ops.push(op);
    push(f, Opcode::ConstexprBlockwiseShiftScale, as_stored, codes);
    push(f, Opcode::Abs, vec![one("x", codes)], size);
    push(f, Opcode::Greater, vec![one("x", size), literal("y", Constant::fp16(most as f32))], is_large);
    let lost = literal("a", Constant::fp16(f32::INFINITY));
    push(f, Opcode::Select, vec![one("cond", is_large), lost, one("b", right)], weights);
}
