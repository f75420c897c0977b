//! Derivatives of elementwise ops.

use std::f64::consts::{FRAC_2_SQRT_PI, LN_2};

use super::tape::Tape;
use crate::{Builder, Call, CallError, Constant, Opcode, ValueId};

type Result<T> = std::result::Result<T, CallError>;

/// 1 − x
pub(super) fn one_minus(b: &mut Builder, x: ValueId) -> Result<ValueId> {
    let one = b.scalar_like(x, 1.0);
    b.sub(one, x)
}

/// 1 where x > 0, else 0. Without comparisons, which the engine is not known to compute.
pub(super) fn step(b: &mut Builder, x: ValueId) -> Result<ValueId> {
    let positive = b.unary(Opcode::Relu, x)?;
    b.unary(Opcode::Sign, positive)
}

/// 1 where x = y, else 0.
pub(super) fn equal(b: &mut Builder, x: ValueId, y: ValueId) -> Result<ValueId> {
    let difference = b.sub(x, y)?;
    let sign = b.unary(Opcode::Sign, difference)?;
    let differs = b.unary(Opcode::Abs, sign)?;
    one_minus(b, differs)
}

/// y = f(x): dx = dy · f′(x)
pub(super) fn unary(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let (y, dy) = (call.op.result(), tape.dy(call)?);
    let b = &mut tape.b;
    use Opcode::*;
    let dx = match call.code() {
        Abs => {
            let sign = b.unary(Sign, x)?;
            b.mul(dy, sign)?
        }
        Acos => {
            let dx = over_root_of_one_minus_square(b, x, dy)?;
            b.scale(dx, -1.0)?
        }
        Asin => over_root_of_one_minus_square(b, x, dy)?,
        Atan => {
            let square = b.mul(x, x)?;
            let divisor = b.with_scalar(Add, square, 1.0)?;
            b.binary(RealDiv, dy, divisor)?
        }
        Atanh => {
            let square = b.mul(x, x)?;
            let divisor = one_minus(b, square)?;
            b.binary(RealDiv, dy, divisor)?
        }
        Clip | Threshold => {
            let inside = equal(b, x, y)?;
            b.mul(dy, inside)?
        }
        Cos => {
            let sin = b.unary(Sin, x)?;
            let dx = b.mul(dy, sin)?;
            b.scale(dx, -1.0)?
        }
        Cosh => {
            let sinh = b.unary(Sinh, x)?;
            b.mul(dy, sinh)?
        }
        Erf => {
            let square = b.mul(x, x)?;
            let exponent = b.scale(square, -1.0)?;
            let power = b.unary(Exp, exponent)?;
            let slope = b.scale(power, FRAC_2_SQRT_PI)?;
            b.mul(dy, slope)?
        }
        Exp => b.mul(dy, y)?,
        Exp2 => {
            let dx = b.mul(dy, y)?;
            b.scale(dx, LN_2)?
        }
        Identity => dy,
        // dx = −dy · y²
        Inverse => {
            let dx = b.mul(dy, y)?;
            let dx = b.mul(dx, y)?;
            b.scale(dx, -1.0)?
        }
        Log => {
            let epsilon = call.float("epsilon")?.unwrap_or(0.0);
            // A smaller one changes no normal number.
            let normal = epsilon.abs() >= f64::from(f32::MIN_POSITIVE);
            let divisor = if normal { b.with_scalar(Add, x, epsilon)? } else { x };
            b.binary(RealDiv, dy, divisor)?
        }
        Rsqrt => inverse_root(b, y, dy)?,
        Sin => {
            let cos = b.unary(Cos, x)?;
            b.mul(dy, cos)?
        }
        Sinh => {
            let cosh = b.unary(Cosh, x)?;
            b.mul(dy, cosh)?
        }
        Sqrt => root(b, y, dy)?,
        Square => {
            let twice = b.scale(dy, 2.0)?;
            b.mul(twice, x)?
        }
        Tan => {
            let square = b.mul(y, y)?;
            let slope = b.with_scalar(Add, square, 1.0)?;
            b.mul(dy, slope)?
        }
        Tanh => {
            let square = b.mul(y, y)?;
            let slope = one_minus(b, square)?;
            b.mul(dy, slope)?
        }
        other => return Err(CallError::UnknownOp(other)),
    };
    tape.give(x, dx);
    Ok(())
}

/// dy / √(1 − x²)
fn over_root_of_one_minus_square(b: &mut Builder, x: ValueId, dy: ValueId) -> Result<ValueId> {
    let square = b.mul(x, x)?;
    let rest = one_minus(b, square)?;
    let root = b.unary(Opcode::Sqrt, rest)?;
    b.binary(Opcode::RealDiv, dy, root)
}

/// y = √x: dx = ½ · dy / y
fn root(b: &mut Builder, y: ValueId, dy: ValueId) -> Result<ValueId> {
    let dx = b.binary(Opcode::RealDiv, dy, y)?;
    b.scale(dx, 0.5)
}

/// y = x^−½: dx = −½ · dy · y³, one factor at a time from dy on: y³ alone leaves fp16's range for y over 40.
fn inverse_root(b: &mut Builder, y: ValueId, dy: ValueId) -> Result<ValueId> {
    let dx = b.mul(dy, y)?;
    let dx = b.mul(dx, y)?;
    let dx = b.mul(dx, y)?;
    b.scale(dx, -0.5)
}

/// Back to the type it was cast from.
pub(super) fn cast(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let dy = tape.dy(call)?;
    let dtype = call.tensor("x")?.dtype;
    let dx = match tape.b.ty(dy).dtype == dtype {
        true => dy,
        false => {
            let dtype = Constant::string(dtype.name());
            tape.b.op(Opcode::Cast, vec![("dtype", dtype.into()), ("x", dy.into())])?
        }
    };
    tape.give(x, dx);
    Ok(())
}

/// The shape of the only result.
fn result_shape(tape: &Tape<'_>, call: Call<'_>) -> Vec<usize> {
    tape.b.shape(call.op.result()).to_vec()
}

/// z = x + y: dx = dz, dy = dz
pub(super) fn add(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let (dz, shape) = (tape.dy(call)?, result_shape(tape, call));
    for name in ["x", "y"] {
        if let Some(v) = tape.wants(call, name)? {
            tape.give_summed(v, dz, &shape)?;
        }
    }
    Ok(())
}

/// z = x − y: dx = dz, dy = −dz
pub(super) fn sub(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let (dz, shape) = (tape.dy(call)?, result_shape(tape, call));
    if let Some(x) = tape.wants(call, "x")? {
        tape.give_summed(x, dz, &shape)?;
    }
    if let Some(y) = tape.wants(call, "y")? {
        let dy = tape.b.scale(dz, -1.0)?;
        tape.give_summed(y, dy, &shape)?;
    }
    Ok(())
}

/// z = x · y: dx = dz · y, dy = dz · x; z = x · x: dx = 2 · dz · x
pub(super) fn mul(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let (dz, shape) = (tape.dy(call)?, result_shape(tape, call));
    if let Some(x) = tape.wants(call, "x")?.filter(|_| call.op.arg("x") == call.op.arg("y")) {
        let twice = tape.b.scale(dz, 2.0)?;
        let dx = tape.b.mul(twice, x)?;
        tape.give(x, dx);
        return Ok(());
    }
    for (name, other) in [("x", "y"), ("y", "x")] {
        if let Some(v) = tape.wants(call, name)? {
            let other = tape.operand(call, other)?;
            let gradient = tape.b.mul(dz, other)?;
            tape.give_summed(v, gradient, &shape)?;
        }
    }
    Ok(())
}

/// z = x / y: dx = dz / y, dy = −dz / y · z
pub(super) fn real_div(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let (z, dz, shape) = (call.op.result(), tape.dy(call)?, result_shape(tape, call));
    let divisor = tape.operand(call, "y")?;
    let quotient = tape.b.binary(Opcode::RealDiv, dz, divisor)?;
    if let Some(x) = tape.wants(call, "x")? {
        tape.give_summed(x, quotient, &shape)?;
    }
    if let Some(y) = tape.wants(call, "y")? {
        let dy = tape.b.mul(quotient, z)?;
        let dy = tape.b.scale(dy, -1.0)?;
        tape.give_summed(y, dy, &shape)?;
    }
    Ok(())
}

/// To the operand that was taken; half to each where they are equal.
pub(super) fn extreme(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let (dz, shape) = (tape.dy(call)?, result_shape(tape, call));
    let (x, y) = (tape.operand(call, "x")?, tape.operand(call, "y")?);
    for (name, own, other) in [("x", x, y), ("y", y, x)] {
        if let Some(v) = tape.wants(call, name)? {
            let b = &mut tape.b;
            let lead = match call.code() {
                Opcode::Maximum => b.sub(own, other)?,
                _ => b.sub(other, own)?,
            };
            // sign is 1, 0 or −1; the share 1, ½ or 0
            let sign = b.unary(Opcode::Sign, lead)?;
            let share = b.scale(sign, 0.5)?;
            let share = b.with_scalar(Opcode::Add, share, 0.5)?;
            let gradient = b.mul(dz, share)?;
            tape.give_summed(v, gradient, &shape)?;
        }
    }
    Ok(())
}

/// z = x^y: dx = dz · y · x^(y−1), dy = dz · z · ln x, the latter for positive x only.
pub(super) fn pow(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let (z, dz, shape) = (call.op.result(), tape.dy(call)?, result_shape(tape, call));
    let x = tape.operand(call, "x")?;
    if let Some(v) = tape.wants(call, "x")? {
        let exponent = call.function.constant(call.required("y")?).and_then(Constant::as_f64);
        let dx = match exponent {
            Some(exponent) => constant_power(&mut tape.b, x, z, dz, exponent)?,
            None => {
                let y = tape.operand(call, "y")?;
                let b = &mut tape.b;
                let less = b.with_scalar(Opcode::Sub, y, 1.0)?;
                let power = b.binary(Opcode::Pow, x, less)?;
                let dx = b.mul(dz, y)?;
                b.mul(dx, power)?
            }
        };
        tape.give_summed(v, dx, &shape)?;
    }
    if let Some(v) = tape.wants(call, "y")? {
        let b = &mut tape.b;
        let log = b.op(Opcode::Log, vec![("x", x.into())])?;
        let dy = b.mul(dz, z)?;
        let dy = b.mul(dy, log)?;
        tape.give_summed(v, dy, &shape)?;
    }
    Ok(())
}

/// The gradient of x in z = x^c.
fn constant_power(b: &mut Builder, x: ValueId, z: ValueId, dz: ValueId, c: f64) -> Result<ValueId> {
    if c == 0.5 {
        return root(b, z, dz);
    }
    if c == -0.5 {
        return inverse_root(b, z, dz);
    }
    if c == 1.0 {
        return Ok(dz);
    }
    if c == 2.0 {
        let dx = b.mul(dz, x)?;
        return b.scale(dx, 2.0);
    }
    if c == -1.0 {
        let dx = b.mul(dz, z)?;
        let dx = b.mul(dx, z)?;
        return b.scale(dx, -1.0);
    }
    let power = b.with_scalar(Opcode::Pow, x, c - 1.0)?;
    let dx = b.mul(dz, power)?;
    b.scale(dx, c)
}

/// z = cond ? a : b: da = cond ? dz : 0, db = cond ? 0 : dz
pub(super) fn select(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let (dz, shape) = (tape.dy(call)?, result_shape(tape, call));
    let cond = tape.operand(call, "cond")?;
    for name in ["a", "b"] {
        if let Some(v) = tape.wants(call, name)? {
            let zero = tape.b.scalar_like(dz, 0.0);
            let (a, b) = if name == "a" { (dz, zero) } else { (zero, dz) };
            let args = vec![("a", a.into()), ("b", b.into()), ("cond", cond.into())];
            let gradient = tape.b.op(Opcode::Select, args)?;
            tape.give_summed(v, gradient, &shape)?;
        }
    }
    Ok(())
}
