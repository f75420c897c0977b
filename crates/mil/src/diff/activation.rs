//! Derivatives of activations.

use std::f64::consts::PI;

use super::{
    elementwise::{equal, one_minus, step},
    tape::Tape,
};
use crate::{Builder, Call, CallError, Opcode, ValueId};

type Result<T> = std::result::Result<T, CallError>;

/// y = f(x): dx = dy · f′(x)
pub(super) fn plain(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let (y, dy) = (call.op.result(), tape.dy(call)?);
    let number = |name| call.float(name).map(|v| v.unwrap_or(0.0));
    let b = &mut tape.b;
    use Opcode::*;
    let slope = match call.code() {
        ClampedRelu => {
            let slope = leaky_slope(b, x, number("alpha")?)?;
            let unclamped = b.mul(x, slope)?;
            let inside = equal(b, unclamped, y)?;
            b.mul(slope, inside)?
        }
        // For x < 0, y + α = α·eˣ.
        Elu => {
            let positive = step(b, x)?;
            let shifted = b.with_scalar(Add, y, number("alpha")?)?;
            let negative = one_minus(b, positive)?;
            let below = b.mul(negative, shifted)?;
            b.add(positive, below)?
        }
        Gelu => gelu_slope(b, call, x)?,
        LeakyRelu => leaky_slope(b, x, number("alpha")?)?,
        LinearActivation => b.scalar_like(x, number("alpha")?),
        Relu => b.unary(Sign, y)?,
        Relu6 => equal(b, x, y)?,
        ScaledTanh => {
            let (alpha, beta) = (number("alpha")?, number("beta")?);
            let inner = b.scale(x, beta)?;
            let tanh = b.unary(Tanh, inner)?;
            let square = b.mul(tanh, tanh)?;
            let slope = one_minus(b, square)?;
            b.scale(slope, alpha * beta)?
        }
        Sigmoid => {
            let rest = one_minus(b, y)?;
            b.mul(y, rest)?
        }
        SigmoidHard => {
            let (alpha, beta) = (number("alpha")?, number("beta")?);
            let line = b.scale(x, alpha)?;
            let line = b.with_scalar(Add, line, beta)?;
            let inside = equal(b, line, y)?;
            b.scale(inside, alpha)?
        }
        // σ + x·σ·(1 − σ) = σ + y·(1 − σ)
        Silu => {
            let sigmoid = b.unary(Sigmoid, x)?;
            let rest = one_minus(b, sigmoid)?;
            let bend = b.mul(y, rest)?;
            b.add(sigmoid, bend)?
        }
        Softplus => b.unary(Sigmoid, x)?,
        // 1/(1 + |x|)² = (1 − |y|)²
        Softsign => {
            let size = b.unary(Abs, y)?;
            let rest = one_minus(b, size)?;
            b.mul(rest, rest)?
        }
        ThresholdedRelu => {
            let sign = b.unary(Sign, y)?;
            b.unary(Abs, sign)?
        }
        other => return Err(CallError::UnknownOp(other)),
    };
    let dx = b.mul(dy, slope)?;
    tape.give(x, dx);
    Ok(())
}

/// 1 for positive elements, `alpha` for others.
fn leaky_slope(b: &mut Builder, x: ValueId, alpha: f64) -> Result<ValueId> {
    let positive = step(b, x)?;
    let more = b.scale(positive, 1.0 - alpha)?;
    b.with_scalar(Opcode::Add, more, alpha)
}

fn gelu_slope(b: &mut Builder, call: Call<'_>, x: ValueId) -> Result<ValueId> {
    match call.string("mode")?.unwrap_or("EXACT") {
        // y = x·Φ(x): Φ(x) + x·φ(x)
        "EXACT" => {
            let inner = b.scale(x, std::f64::consts::FRAC_1_SQRT_2)?;
            let erf = b.unary(Opcode::Erf, inner)?;
            let twice = b.with_scalar(Opcode::Add, erf, 1.0)?;
            let below = b.scale(twice, 0.5)?;
            let square = b.mul(inner, inner)?;
            let exponent = b.scale(square, -1.0)?;
            let power = b.unary(Opcode::Exp, exponent)?;
            let density = b.scale(power, 1.0 / (2.0 * PI).sqrt())?;
            let bend = b.mul(x, density)?;
            b.add(below, bend)
        }
        // y = ½·x·(1 + t), t = tanh(c·(x + k·x³)): ½·(1 + t) + ½·x·(1 − t²)·c·(1 + 3k·x²)
        "TANH_APPROXIMATION" => {
            let (c, k) = ((2.0 / PI).sqrt(), 0.044715);
            let square = b.mul(x, x)?;
            let scaled = b.scale(square, c * k)?;
            let shifted = b.with_scalar(Opcode::Add, scaled, c)?;
            let inner = b.mul(x, shifted)?;
            let t = b.unary(Opcode::Tanh, inner)?;
            let twice = b.with_scalar(Opcode::Add, t, 1.0)?;
            let below = b.scale(twice, 0.5)?;
            let t_square = b.mul(t, t)?;
            let t_slope = one_minus(b, t_square)?;
            let inner_slope = b.scale(square, 1.5 * c * k)?;
            let inner_slope = b.with_scalar(Opcode::Add, inner_slope, 0.5 * c)?;
            let bend = b.mul(x, t_slope)?;
            let bend = b.mul(bend, inner_slope)?;
            b.add(below, bend)
        }
        // y = x·s, s = σ(c·x): s + c·y·(1 − s)
        _ => {
            let c = 1.702;
            let inner = b.scale(x, c)?;
            let s = b.unary(Opcode::Sigmoid, inner)?;
            let rest = one_minus(b, s)?;
            let bend = b.mul(call.op.result(), rest)?;
            let bend = b.scale(bend, c)?;
            b.add(s, bend)
        }
    }
}

/// A vector of one number a channel as a tensor `[1, C, 1, …]` that broadcasts with `x`.
fn channels(b: &mut Builder, vector: ValueId, rank: usize) -> Result<ValueId> {
    let mut shape = vec![1; rank];
    shape[1] = b.shape(vector)[0];
    b.reshape(vector, &shape)
}

/// Adds to the gradient of a vector of one number a channel a term given for every element of `x`.
fn give_channels(tape: &mut Tape<'_>, vector: ValueId, term: ValueId) -> Result<()> {
    let rank = tape.b.shape(term).len();
    let axes: Vec<i32> = (0..rank as i32).filter(|&a| a != 1).collect();
    let sum = tape.b.reduce(Opcode::ReduceSum, term, &axes)?;
    let shape = tape.b.shape(vector).to_vec();
    let sum = tape.b.reshape(sum, &shape)?;
    tape.give(vector, sum);
    Ok(())
}

/// y = x where positive, α·x elsewhere: dx = dy or dy·α, dα = Σ dy·x where x is negative.
pub(super) fn prelu(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let (x, alpha, dy) = (tape.operand(call, "x")?, tape.operand(call, "alpha")?, tape.full_dy(call)?);
    if let Some(v) = tape.wants(call, "x")? {
        let b = &mut tape.b;
        let rank = b.shape(x).len();
        let alpha = channels(b, alpha, rank)?;
        let positive = step(b, x)?;
        let negative = one_minus(b, positive)?;
        let below = b.mul(negative, alpha)?;
        let slope = b.add(positive, below)?;
        let dx = b.mul(dy, slope)?;
        tape.give(v, dx);
    }
    if let Some(v) = tape.wants(call, "alpha")? {
        let above = tape.b.unary(Opcode::Relu, x)?;
        let below = tape.b.sub(x, above)?;
        let term = tape.b.mul(dy, below)?;
        give_channels(tape, v, term)?;
    }
    Ok(())
}

/// y = α·log(1 + e^(βx)): dx = dy·α·β·σ(βx), dα = Σ dy·log(1 + e^(βx)), dβ = Σ dy·α·σ(βx)·x
pub(super) fn softplus_parametric(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let (x, dy) = (tape.operand(call, "x")?, tape.full_dy(call)?);
    let (alpha, beta) = (tape.operand(call, "alpha")?, tape.operand(call, "beta")?);
    let rank = tape.b.shape(x).len();
    let (alpha, beta) = (channels(&mut tape.b, alpha, rank)?, channels(&mut tape.b, beta, rank)?);
    let inner = tape.b.mul(x, beta)?;
    let sigmoid = tape.b.unary(Opcode::Sigmoid, inner)?;
    let outer = tape.b.mul(dy, alpha)?;
    let d_inner = tape.b.mul(outer, sigmoid)?;
    if let Some(v) = tape.wants(call, "x")? {
        let dx = tape.b.mul(d_inner, beta)?;
        tape.give(v, dx);
    }
    if let Some(v) = tape.wants(call, "alpha")? {
        let softplus = tape.b.unary(Opcode::Softplus, inner)?;
        let term = tape.b.mul(dy, softplus)?;
        give_channels(tape, v, term)?;
    }
    if let Some(v) = tape.wants(call, "beta")? {
        let term = tape.b.mul(d_inner, x)?;
        give_channels(tape, v, term)?;
    }
    Ok(())
}

/// p = softmax(x): dx = p∘(dp − Σ p∘dp)
pub(super) fn softmax(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let (p, dp) = (call.op.result(), tape.dy(call)?);
    let b = &mut tape.b;
    let axis = call.axis(call.int("axis")?.unwrap_or(-1), b.shape(p).len())?;
    let weighted = b.mul(p, dp)?;
    let mean = b.reduce(Opcode::ReduceSum, weighted, &[axis as i32])?;
    let centred = b.sub(dp, mean)?;
    let dx = b.mul(p, centred)?;
    tape.give(x, dx);
    Ok(())
}
