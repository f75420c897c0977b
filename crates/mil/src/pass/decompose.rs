//! Compound ops as simple ones.

use super::{PassError, define, reopen};
use crate::{Builder, Call, CallError, Constant, DType, Function, Op, Opcode, Operand, ValueId};

/// `f` with every attention, gelu and silu written with simpler ops: for compilers that refuse them, that ignore an
/// attention's mask, or whose tables are coarser than sums and products.
///
/// * `scaled_dot_product_attention(query, key, value, attn_mask)` = `softmax(query·keyᵀ/√E + mask)·value`; a mask of truth
///   values becomes 0 where true and −10000 where false.
/// * `gelu(x)` = `x/2·(1 + erf(x/√2))`, with mode `TANH_APPROXIMATION` `x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`, with
///   `SIGMOID_APPROXIMATION` `x·sigmoid(1.702·x)`.
/// * `silu(x)` = `x·sigmoid(x)`.
///
/// # Errors
/// When an op of `f` does not fit its arguments.
pub fn decompose(f: &Function) -> Result<Function, PassError> {
    rewrite(f, &[Opcode::Silu, Opcode::Gelu, Opcode::ScaledDotProductAttention])
}

/// As [`decompose`], but attentions alone.
///
/// # Errors
/// When an attention of `f` does not fit its arguments.
pub fn decompose_attention(f: &Function) -> Result<Function, PassError> {
    rewrite(f, &[Opcode::ScaledDotProductAttention])
}

fn rewrite(f: &Function, codes: &[Opcode]) -> Result<Function, PassError> {
    let (mut b, ops) = reopen(f);
    for op in ops {
        match op.code {
            code if !codes.contains(&code) => {
                b.append(op);
                continue;
            }
            Opcode::Silu => silu(&mut b, f, &op)?,
            Opcode::Gelu => gelu(&mut b, f, &op)?,
            _ => attention(&mut b, f, &op)?,
        }
        define(&mut b, op.result());
    }
    Ok(super::dce(&b.finish(&f.outputs)))
}

fn operand(b: &mut Builder, f: &Function, op: &Op, name: &'static str) -> Result<ValueId, CallError> {
    Ok(match Call::new(f, op).required(name)? {
        Operand::Value(v) => *v,
        Operand::Literal(c) => b.constant(name, c.clone()),
    })
}

fn silu(b: &mut Builder, f: &Function, op: &Op) -> Result<(), CallError> {
    let x = operand(b, f, op, "x")?;
    let gate = b.unary(Opcode::Sigmoid, x)?;
    b.mul(x, gate).map(|_| ())
}

fn gelu(b: &mut Builder, f: &Function, op: &Op) -> Result<(), CallError> {
    let call = Call::new(f, op);
    let x = operand(b, f, op, "x")?;
    let mode = match f.constant_arg(op, "mode") {
        Some(mode) => mode.as_str().unwrap_or_default(),
        None => "EXACT",
    };
    let bell = match mode {
        "EXACT" => {
            let scaled = b.scale(x, std::f64::consts::FRAC_1_SQRT_2)?;
            b.unary(Opcode::Erf, scaled)?
        }
        "TANH_APPROXIMATION" => {
            let square = b.mul(x, x)?;
            let cube = b.mul(square, x)?;
            let small = b.scale(cube, 0.044715)?;
            let sum = b.add(x, small)?;
            let scaled = b.scale(sum, (2.0 / std::f64::consts::PI).sqrt())?;
            b.unary(Opcode::Tanh, scaled)?
        }
        "SIGMOID_APPROXIMATION" => {
            let scaled = b.scale(x, 1.702)?;
            let gate = b.unary(Opcode::Sigmoid, scaled)?;
            return b.mul(x, gate).map(|_| ());
        }
        other => return Err(call.invalid(format!("there is no mode `{other}`"))),
    };
    let half = b.scale(x, 0.5)?;
    let raised = b.with_scalar(Opcode::Add, bell, 1.0)?;
    b.mul(half, raised).map(|_| ())
}

/// What is added to a score that the mask excludes. Far below any score and far inside fp16.
const EXCLUDED: f64 = -1e4;

fn attention(b: &mut Builder, f: &Function, op: &Op) -> Result<(), CallError> {
    let query = operand(b, f, op, "query")?;
    let key = operand(b, f, op, "key")?;
    let value = operand(b, f, op, "value")?;
    let width = b.shape(query).last().copied().unwrap_or(1);
    // The query is scaled and not the scores: fewer elements, and smaller sums in fp16.
    let query = b.scale(query, 1.0 / (width as f64).sqrt())?;
    let mut scores = b.matmul(query, key, false, true)?;
    if op.arg("attn_mask").is_some() {
        let mut mask = operand(b, f, op, "attn_mask")?;
        if b.ty(mask).dtype == DType::Bool {
            let ty = b.ty(query).dtype;
            let kept =
                b.op(Opcode::Cast, vec![("dtype", Constant::string(ty.name()).into()), ("x", mask.into())])?;
            let excluded = b.with_scalar(Opcode::Sub, kept, 1.0)?;
            mask = b.scale(excluded, -EXCLUDED)?;
        }
        scores = b.add(scores, mask)?;
    }
    let weights = b.softmax(scores, -1)?;
    b.matmul(weights, value, false, false).map(|_| ())
}
