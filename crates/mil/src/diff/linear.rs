//! Derivatives of convolutions and matrix products.

use super::{WeightGradient, tape::Tape};
use crate::{
    Arg, Call, CallError, Constant, Opcode, ValueId,
    infer::linear::{Equation, is_pointwise},
};

type Result<T> = std::result::Result<T, CallError>;

/// y = W·x + b over channels: dx = Wᵀ·dy, dW = dy·xᵀ, db = Σ dy
pub(super) fn conv(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let dy = tape.full_dy(call)?;
    bias(tape, call, dy, 1)?;
    let (x, weight) = (tape.wants(call, "x")?, tape.wants(call, "weight")?);
    if x.is_none() && weight.is_none() {
        return Ok(());
    }
    if !is_pointwise(call) {
        return super::window::conv(tape, call, dy);
    }
    if let Some(x) = x {
        let weight = tape.operand(call, "weight")?;
        let dx = pointwise_input(tape, x, weight, dy)?;
        tape.give(x, dx);
    }
    if let Some(weight) = weight {
        let x = tape.operand(call, "x")?;
        if tape.f.value(weight).constant.as_ref().is_some_and(|c| c.blob_ref().is_some()) {
            tape.jobs.push(WeightGradient { weight, dy, x });
        } else {
            let dw = pointwise_weight(tape, x, weight, dy)?;
            tape.give(weight, dw);
        }
    }
    Ok(())
}

/// `[N, C, H, W]` as the matrices `[N, 1, C, H·W]`.
fn pixels(tape: &mut Tape<'_>, x: ValueId) -> Result<ValueId> {
    let s = tape.b.shape(x).to_vec();
    tape.b.reshape(x, &[s[0], 1, s[1], s[2].saturating_mul(s[3])])
}

/// `matmul([1, 1, O, I]ᵀ, [N, 1, O, H·W])` as `[N, I, H, W]`: the form that
/// [`transposed_weights`](crate::pass::transposed_weights) and [`weights_to_inputs`](crate::pass::weights_to_inputs)
/// know.
fn pointwise_input(tape: &mut Tape<'_>, x: ValueId, weight: ValueId, dy: ValueId) -> Result<ValueId> {
    let (o, i) = (tape.b.shape(weight)[0], tape.b.shape(weight)[1]);
    let matrix = tape.b.reshape(weight, &[1, 1, o, i])?;
    let dy = pixels(tape, dy)?;
    let dx = tape.b.matmul(matrix, dy, true, false)?;
    let shape = tape.b.shape(x).to_vec();
    tape.b.reshape(dx, &shape)
}

/// `Σ_N matmul([N, 1, O, H·W], [N, 1, I, H·W]ᵀ)` as `[O, I, 1, 1]`.
fn pointwise_weight(tape: &mut Tape<'_>, x: ValueId, weight: ValueId, dy: ValueId) -> Result<ValueId> {
    let (x, dy) = (pixels(tape, x)?, pixels(tape, dy)?);
    let mut dw = tape.b.matmul(dy, x, false, true)?;
    if tape.b.shape(dw)[0] != 1 {
        dw = tape.b.reduce(Opcode::ReduceSum, dw, &[0])?;
    }
    let shape = tape.b.shape(weight).to_vec();
    tape.b.reshape(dw, &shape)
}

/// Z = A·B with A = X or Xᵀ and B = Y or Yᵀ: dA = dZ·Bᵀ, dB = Aᵀ·dZ, transposed back and summed over batches that were
/// broadcast.
pub(super) fn matmul(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let dz = tape.full_dy(call)?;
    let (x, y) = (tape.operand(call, "x")?, tape.operand(call, "y")?);
    let (tx, ty) = (call.bool("transpose_x")?, call.bool("transpose_y")?);
    if let Some(v) = tape.wants(call, "x")? {
        let dx = match tx {
            false => tape.b.matmul(dz, y, false, !ty)?,
            true => tape.b.matmul(y, dz, ty, true)?,
        };
        give_matrices(tape, v, dx)?;
    }
    if let Some(v) = tape.wants(call, "y")? {
        let dy = match ty {
            false => tape.b.matmul(x, dz, !tx, false)?,
            true => tape.b.matmul(dz, x, true, tx)?,
        };
        give_matrices(tape, v, dy)?;
    }
    Ok(())
}

/// Sums over the batches an operand was broadcast to. Its own matrices keep their extents, 1 or not.
fn give_matrices(tape: &mut Tape<'_>, v: ValueId, gradient: ValueId) -> Result<()> {
    let shape = tape.b.shape(gradient).to_vec();
    tape.give_summed(v, gradient, &shape)
}

/// Gives the bias the sum of `dy` over all axes but `axis`.
pub(super) fn bias(tape: &mut Tape<'_>, call: Call<'_>, dy: ValueId, axis: usize) -> Result<()> {
    let Some(bias) = tape.wants(call, "bias")? else { return Ok(()) };
    let axes: Vec<i32> = (0..tape.b.shape(dy).len()).filter(|&a| a != axis).map(|a| a as i32).collect();
    let sum = if axes.is_empty() { dy } else { tape.b.reduce(Opcode::ReduceSum, dy, &axes)? };
    let shape = tape.b.shape(bias).to_vec();
    let sum = tape.b.reshape(sum, &shape)?;
    tape.give(bias, sum);
    Ok(())
}

/// y = x·Wᵀ + b over rows: dx = dy·W, dW = dyᵀ·x, db = Σ dy
pub(super) fn linear(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let dy = tape.full_dy(call)?;
    let last = tape.b.shape(dy).len() - 1;
    bias(tape, call, dy, last)?;
    let (x, weight) = (tape.operand(call, "x")?, tape.operand(call, "weight")?);
    let (out, inner) = (tape.b.shape(weight)[0], tape.b.shape(weight)[1]);
    let rows: usize = tape.b.shape(x)[..last].iter().product();
    let dy = tape.b.reshape(dy, &[rows, out])?;
    if let Some(v) = tape.wants(call, "x")? {
        let dx = tape.b.matmul(dy, weight, false, false)?;
        let shape = tape.b.shape(v).to_vec();
        let dx = tape.b.reshape(dx, &shape)?;
        tape.give(v, dx);
    }
    if let Some(v) = tape.wants(call, "weight")? {
        let x = tape.b.reshape(x, &[rows, inner])?;
        let dw = tape.b.matmul(dy, x, true, false)?;
        tape.give(v, dw);
    }
    Ok(())
}

/// The gradient of an operand is the product of the result's and the other operand over the axes it does not have.
pub(super) fn einsum(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let equation = Equation::read(call)?;
    let values = call.operands("values")?;
    let types: Vec<Vec<usize>> = call.tensors("values")?.iter().map(|t| t.shape.clone()).collect();
    let text = |axes: &[char]| axes.iter().collect::<String>();
    for n in 0..2 {
        let Some(v) = tape.wanted(&values[n]) else { continue };
        let (own, other) = (&equation.operands[n], &equation.operands[1 - n]);
        let extent = |c: &char| equation.extents.iter().find(|(k, _)| k == c).map_or(0, |e| e.1);
        let repeats = own.iter().zip(&types[n]).any(|(c, &d)| extent(c) != d);
        if repeats || own.iter().any(|c| !equation.result.contains(c) && !other.contains(c)) {
            return Err(call.invalid("is differentiated only if no operand repeats or is summed on its own"));
        }
        let dy = tape.full_dy(call)?;
        let backward = format!("{},{}->{}", text(&equation.result), text(other), text(own));
        let gradient = tape.b.op(
            Opcode::Einsum,
            vec![
                ("equation", Constant::string(backward).into()),
                ("values", Arg::Many(vec![dy.into(), values[1 - n].clone()])),
            ],
        )?;
        tape.give(v, gradient);
    }
    Ok(())
}

/// P = softmax(S), S = Q·Kᵀ/√E + mask, Y = P·V: dV = Pᵀ·dY, dP = dY·Vᵀ, dS = P·(dP − Σ dP·P), dQ = dS·K/√E,
/// dK = dSᵀ·Q/√E.
pub(super) fn attention(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let dy = tape.full_dy(call)?;
    let (q, k) = (tape.operand(call, "query")?, tape.operand(call, "key")?);
    let v = tape.operand(call, "value")?;
    let last = tape.b.shape(q).len() - 1;
    let scale = 1.0 / (tape.b.shape(q)[last] as f64).sqrt();
    let scores = tape.b.matmul(q, k, false, true)?;
    let mut scores = tape.b.scale(scores, scale)?;
    if call.has("attn_mask") {
        let mut mask = tape.operand(call, "attn_mask")?;
        if tape.b.ty(mask).dtype == crate::DType::Bool {
            // Far enough below every score for a share of zero, and inside binary16.
            let (zero, low) = (tape.b.scalar_like(q, 0.0), tape.b.scalar_like(q, -3e4));
            mask = tape
                .b
                .op(Opcode::Select, vec![("a", zero.into()), ("b", low.into()), ("cond", mask.into())])?;
        }
        scores = tape.b.add(scores, mask)?;
    }
    let p = tape.b.softmax(scores, -1)?;
    if let Some(value) = tape.wants(call, "value")? {
        let dv = tape.b.matmul(p, dy, true, false)?;
        tape.give(value, dv);
    }
    let dp = tape.b.matmul(dy, v, false, true)?;
    let weighed = tape.b.mul(dp, p)?;
    let sum = tape.b.reduce(Opcode::ReduceSum, weighed, &[last as i32])?;
    let rest = tape.b.sub(dp, sum)?;
    let ds = tape.b.mul(p, rest)?;
    if let Some(mask) = tape.wants(call, "attn_mask")? {
        let shape = tape.b.shape(ds).to_vec();
        tape.give_summed(mask, ds, &shape)?;
    }
    let ds = tape.b.scale(ds, scale)?;
    if let Some(query) = tape.wants(call, "query")? {
        let dq = tape.b.matmul(ds, k, false, false)?;
        tape.give(query, dq);
    }
    if let Some(key) = tape.wants(call, "key")? {
        let dk = tape.b.matmul(ds, q, true, false)?;
        tape.give(key, dk);
    }
    Ok(())
}
