//! Derivatives of reductions.

use super::{elementwise::one_minus, tape::Tape};
use crate::{Builder, Call, CallError, Opcode};

type Result<T> = std::result::Result<T, CallError>;

/// y = reduce(x): the gradient of y, and y where it is needed, keep the reduced axes with extent 1 and so broadcast to x.
pub(super) fn reduce(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let mut kept = tape.b.shape(x).to_vec();
    let axes = call.reduced_axes(kept.len())?;
    let count: usize = axes.iter().map(|&a| kept[a]).product();
    axes.iter().for_each(|&a| kept[a] = 1);
    let dy = tape.full_dy(call)?;
    let b = &mut tape.b;
    let dy = b.reshape(dy, &kept)?;
    let y = |b: &mut Builder| b.reshape(call.op.result(), &kept);
    let axes: Vec<i32> = axes.iter().map(|&a| a as i32).collect();
    use Opcode::*;
    let dx = match call.code() {
        ReduceL1Norm => {
            let sign = b.unary(Sign, x)?;
            b.mul(dy, sign)?
        }
        ReduceL2Norm => {
            let y = y(b)?;
            let ratio = b.binary(RealDiv, dy, y)?;
            b.mul(ratio, x)?
        }
        ReduceLogSum => {
            let y = y(b)?;
            let sum = b.unary(Exp, y)?;
            b.binary(RealDiv, dy, sum)?
        }
        ReduceLogSumExp => {
            let y = y(b)?;
            let exponent = b.sub(x, y)?;
            let share = b.unary(Exp, exponent)?;
            b.mul(dy, share)?
        }
        // Shared evenly by the elements that are the extreme.
        ReduceMax | ReduceMin => {
            let y = y(b)?;
            let distance = if call.code() == ReduceMax { b.sub(y, x)? } else { b.sub(x, y)? };
            let differs = b.unary(Sign, distance)?;
            let extreme = one_minus(b, differs)?;
            let ties = b.reduce(ReduceSum, extreme, &axes)?;
            let share = b.binary(RealDiv, dy, ties)?;
            b.mul(share, extreme)?
        }
        ReduceMean => b.scale(dy, 1.0 / count as f64)?,
        // For elements other than zero only.
        ReduceProd => {
            let y = y(b)?;
            let product = b.mul(dy, y)?;
            b.binary(RealDiv, product, x)?
        }
        ReduceSum => dy,
        ReduceSumSquare => {
            let twice = b.scale(dy, 2.0)?;
            b.mul(twice, x)?
        }
        other => return Err(CallError::UnknownOp(other)),
    };
    tape.give(x, dx);
    Ok(())
}
