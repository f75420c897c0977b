//! Derivatives of convolutions and matrix products.

use super::{WeightGradient, tape::Tape};
use crate::{Call, CallError, Opcode, ValueId, infer::linear::is_pointwise};

type Result<T> = std::result::Result<T, CallError>;

/// y = W·x + b over channels: dx = Wᵀ·dy, dW = dy·xᵀ, db = Σ dy
pub(super) fn conv(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let dy = tape.full_dy(call)?;
    if let Some(bias) = tape.wants(call, "bias")? {
        let axes: Vec<i32> = (0..tape.b.shape(dy).len() as i32).filter(|&a| a != 1).collect();
        let sum = tape.b.reduce(Opcode::ReduceSum, dy, &axes)?;
        let shape = tape.b.shape(bias).to_vec();
        let sum = tape.b.reshape(sum, &shape)?;
        tape.give(bias, sum);
    }
    let (x, weight) = (tape.wants(call, "x")?, tape.wants(call, "weight")?);
    if x.is_none() && weight.is_none() {
        return Ok(());
    }
    if !is_pointwise(call) {
        return Err(call.invalid(
            "only 1×1 convolutions over two axes with stride 1, no padding and one group are differentiated",
        ));
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
