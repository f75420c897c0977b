//! Elementwise ops of one, two and three operands.

use super::{Operands, Tensor};
use crate::{CallError, DType, Opcode};

pub(super) fn unary(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let float = |name| o.call.float(name).map(|v| v.unwrap_or(0.0));
    use Opcode::*;
    Ok(match o.call.code() {
        Abs => x.map(f64::abs),
        Acos => x.map(f64::acos),
        Asin => x.map(f64::asin),
        Atan => x.map(f64::atan),
        Atanh => x.map(f64::atanh),
        Ceil => x.map(f64::ceil),
        Clip => {
            let (low, high) = (float("alpha")?, float("beta")?);
            x.map(|x| minimum(maximum(x, low), high))
        }
        Cos => x.map(f64::cos),
        Cosh => x.map(f64::cosh),
        Erf => x.map(erf),
        Exp => x.map(f64::exp),
        Exp2 => x.map(f64::exp2),
        Floor => x.map(f64::floor),
        Identity => x.into_owned(),
        Inverse => {
            let epsilon = float("epsilon")?;
            x.map(|x| 1.0 / (x + epsilon))
        }
        Log => {
            let epsilon = float("epsilon")?;
            x.map(|x| (x + epsilon).ln())
        }
        LogicalNot => x.map(|x| truth(x == 0.0)),
        Round => x.map(f64::round_ties_even),
        Rsqrt => {
            let epsilon = float("epsilon")?;
            x.map(|x| 1.0 / (x + epsilon).sqrt())
        }
        Sign => x.map(|x| if x == 0.0 { 0.0 } else { x.signum() }),
        Sin => x.map(f64::sin),
        Sinh => x.map(f64::sinh),
        Sqrt => x.map(f64::sqrt),
        Square => x.map(|x| x * x),
        Tan => x.map(f64::tan),
        Tanh => x.map(f64::tanh),
        Threshold => {
            let alpha = float("alpha")?;
            x.map(|x| maximum(x, alpha))
        }
        other => return Err(CallError::UnknownOp(other)),
    })
}

pub(super) fn binary(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (x, y) = (o.tensor("x")?, o.tensor("y")?);
    use Opcode::*;
    let f: fn(f64, f64) -> f64 = match o.call.code() {
        Add => |x, y| x + y,
        Equal => |x, y| truth(x == y),
        FloorDiv => |x, y| (x / y).floor(),
        Greater => |x, y| truth(x > y),
        GreaterEqual => |x, y| truth(x >= y),
        Less => |x, y| truth(x < y),
        LessEqual => |x, y| truth(x <= y),
        LogicalAnd => |x, y| truth(x != 0.0 && y != 0.0),
        LogicalOr => |x, y| truth(x != 0.0 || y != 0.0),
        LogicalXor => |x, y| truth((x != 0.0) != (y != 0.0)),
        Maximum => maximum,
        Minimum => minimum,
        // The remainder has the sign of the divisor.
        Mod => |x, y| x - y * (x / y).floor(),
        Mul => |x, y| x * y,
        NotEqual => |x, y| truth(x != y),
        Pow => f64::powf,
        RealDiv => |x, y| x / y,
        Sub => |x, y| x - y,
        other => return Err(CallError::UnknownOp(other)),
    };
    let is_int = o.call.tensor("x")?.dtype.is_int();
    let result = Tensor::from_fn(o.result_shape()?, |i| f(x.broadcast_at(i), y.broadcast_at(i)));
    // The quotient and the power of integers are integers.
    Ok(if is_int { result.map(f64::trunc) } else { result })
}

/// `a` where `cond` holds, `b` elsewhere.
pub(super) fn select(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (cond, a, b) = (o.tensor("cond")?, o.tensor("a")?, o.tensor("b")?);
    Ok(Tensor::from_fn(o.result_shape()?, |i| {
        if cond.broadcast_at(i) != 0.0 { a.broadcast_at(i) } else { b.broadcast_at(i) }
    }))
}

/// To integers by dropping the fraction, held at the ends of the range; to `bool` by comparing with zero. Between
/// floating-point types nothing happens here: rounding is the business of the interpreter's option.
pub(super) fn cast(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let dtype = o.call.dtype("dtype")?;
    Ok(match dtype {
        DType::Bool => x.map(|x| truth(x != 0.0)),
        _ if dtype.is_int() => {
            let bits = dtype.bits() as i32;
            let signed = dtype < DType::Uint1;
            let (low, high) = match signed {
                true => (-(2f64.powi(bits - 1)), 2f64.powi(bits - 1) - 1.0),
                false => (0.0, 2f64.powi(bits) - 1.0),
            };
            x.map(|x| if x.is_nan() { 0.0 } else { x.trunc().clamp(low, high) })
        }
        _ => x.into_owned(),
    })
}

fn truth(b: bool) -> f64 {
    f64::from(u8::from(b))
}

/// The larger; NaN when either is.
pub(super) fn maximum(x: f64, y: f64) -> f64 {
    if x >= y || x.is_nan() { x } else { y }
}

/// The smaller; NaN when either is.
pub(super) fn minimum(x: f64, y: f64) -> f64 {
    if x <= y || x.is_nan() { x } else { y }
}

/// The error function, by the series 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1)), whose terms all have one sign.
pub(super) fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let mut term = x;
    let mut sum = x;
    let mut n = 0.0;
    while term.abs() > 1e-18 * sum.abs() {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_agrees_with_tables() {
        for (x, y) in [
            (0.0, 0.0),
            (0.1, 0.112_462_916_018_284_89),
            (-0.5, -0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.5, 0.999_999_256_901_627_7),
            (7.0, 1.0),
        ] {
            assert!((erf(x) - y).abs() < 1e-14, "erf({x}) = {}", erf(x));
        }
        assert!(erf(f64::NAN).is_nan());
    }

    #[test]
    fn extremes_carry_nan_and_mod_has_the_sign_of_the_divisor() {
        assert!(maximum(f64::NAN, 1.0).is_nan() && maximum(1.0, f64::NAN).is_nan());
        assert!(minimum(f64::NAN, 1.0).is_nan() && minimum(1.0, f64::NAN).is_nan());
        assert_eq!(maximum(-1.0, 2.0), 2.0);
        assert_eq!(minimum(-1.0, 2.0), -1.0);
    }
}
