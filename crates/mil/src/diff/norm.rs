//! Derivatives of normalisations.

use super::tape::Tape;
use crate::{
    Builder, Call, CallError,
    Opcode::{self, *},
    ValueId,
};

type Result<T> = std::result::Result<T, CallError>;

/// `v`, which lies along `axes` of a tensor of `rank`, with extents of 1 elsewhere.
fn spread(b: &mut Builder, v: ValueId, axes: &[usize], rank: usize) -> Result<ValueId> {
    let mut shape = vec![1; rank];
    for (&axis, &d) in axes.iter().zip(&b.shape(v).to_vec()) {
        shape[axis] = d;
    }
    b.reshape(v, &shape)
}

/// Gives gamma and beta their share: Σ dy·unit and Σ dy over the other axes.
fn give_parameters(
    tape: &mut Tape<'_>,
    call: Call<'_>,
    dy: ValueId,
    unit: ValueId,
    axes: &[usize],
) -> Result<()> {
    let others: Vec<i32> =
        (0..tape.b.shape(dy).len()).filter(|a| !axes.contains(a)).map(|a| a as i32).collect();
    for name in ["gamma", "beta"] {
        let Some(v) = tape.wants(call, name)? else { continue };
        let mut gradient = if name == "gamma" { tape.b.mul(dy, unit)? } else { dy };
        if !others.is_empty() {
            gradient = tape.b.reduce(ReduceSum, gradient, &others)?;
        }
        let shape = tape.b.shape(v).to_vec();
        let gradient = tape.b.reshape(gradient, &shape)?;
        tape.give(v, gradient);
    }
    Ok(())
}

/// dy·gamma, or dy.
fn weighed(tape: &mut Tape<'_>, call: Call<'_>, dy: ValueId, axes: &[usize]) -> Result<ValueId> {
    if !call.has("gamma") {
        return Ok(dy);
    }
    let gamma = tape.operand(call, "gamma")?;
    let rank = tape.b.shape(dy).len();
    let gamma = spread(&mut tape.b, gamma, axes, rank)?;
    tape.b.mul(dy, gamma)
}

fn power(b: &mut Builder, x: ValueId, epsilon: f64, exponent: f64) -> Result<ValueId> {
    let sum = b.with_scalar(Add, x, epsilon)?;
    b.with_scalar(Pow, sum, exponent)
}

/// unit = (x − mean)·r with r = 1/√(variance + ε): dx = dy·gamma·r
pub(super) fn batch(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    if tape.wants(call, "mean")?.is_some() || tape.wants(call, "variance")?.is_some() {
        return Err(call.invalid("is not differentiated by its mean and variance"));
    }
    let (dy, x) = (tape.full_dy(call)?, tape.operand(call, "x")?);
    let rank = tape.b.shape(x).len();
    let (mean, variance) = (tape.operand(call, "mean")?, tape.operand(call, "variance")?);
    let mean = spread(&mut tape.b, mean, &[1], rank)?;
    let variance = spread(&mut tape.b, variance, &[1], rank)?;
    let r = power(&mut tape.b, variance, call.float("epsilon")?.unwrap_or(0.0), -0.5)?;
    let centred = tape.b.sub(x, mean)?;
    let unit = tape.b.mul(centred, r)?;
    give_parameters(tape, call, dy, unit, &[1])?;
    if let Some(v) = tape.wants(call, "x")? {
        let g = weighed(tape, call, dy, &[1])?;
        let dx = tape.b.mul(g, r)?;
        tape.give(v, dx);
    }
    Ok(())
}

/// unit = (x − E\[x\])·r with r = 1/√(Var\[x\] + ε), g = dy·gamma: dx = r·(g − E\[g\] − unit·E\[g·unit\])
pub(super) fn standardise(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let (dy, x) = (tape.full_dy(call)?, tape.operand(call, "x")?);
    let rank = tape.b.shape(x).len();
    let (axes, parameters) = match call.code() {
        InstanceNorm => ((2..rank).collect(), vec![1]),
        _ => (call.reduced_axes(rank)?, call.reduced_axes(rank)?),
    };
    let axes: Vec<i32> = axes.iter().map(|&a: &usize| a as i32).collect();
    let b = &mut tape.b;
    let mean = b.reduce(ReduceMean, x, &axes)?;
    let centred = b.sub(x, mean)?;
    let square = b.mul(centred, centred)?;
    let variance = b.reduce(ReduceMean, square, &axes)?;
    let r = power(b, variance, call.float("epsilon")?.unwrap_or(0.0), -0.5)?;
    let unit = b.mul(centred, r)?;
    give_parameters(tape, call, dy, unit, &parameters)?;
    if let Some(v) = tape.wants(call, "x")? {
        let g = weighed(tape, call, dy, &parameters)?;
        let b = &mut tape.b;
        let mean = b.reduce(ReduceMean, g, &axes)?;
        let product = b.mul(g, unit)?;
        let slope = b.reduce(ReduceMean, product, &axes)?;
        let along = b.mul(unit, slope)?;
        let rest = b.sub(g, mean)?;
        let rest = b.sub(rest, along)?;
        let dx = b.mul(rest, r)?;
        tape.give(v, dx);
    }
    Ok(())
}

/// y = x·r with r = 1/√(Σ x² + ε): dx = r·(dy − y·r·Σ dy·x)
pub(super) fn l2(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let (dy, y) = (tape.full_dy(call)?, call.op.result());
    let b = &mut tape.b;
    let rank = b.shape(x).len() as i32;
    let axes = [rank - 3, rank - 2, rank - 1];
    let squares = b.reduce(Opcode::ReduceSumSquare, x, &axes)?;
    let r = power(b, squares, call.float("epsilon")?.unwrap_or(0.0), -0.5)?;
    let product = b.mul(dy, x)?;
    let sum = b.reduce(ReduceSum, product, &axes)?;
    let sum = b.mul(sum, r)?;
    let along = b.mul(y, sum)?;
    let rest = b.sub(dy, along)?;
    let dx = b.mul(rest, r)?;
    tape.give(x, dx);
    Ok(())
}
