//! The elementwise engine: ordinary fp16, denormals kept, half-way cases away from zero, and never a NaN.

use super::fp16::{self, Ties};
use super::gemm::{ShapeError, check};
use super::table::{Generation, Unary};
use super::{Saturation, dispatch};

/// Functions of two arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "MIL's names")]
pub enum Binary {
    Add,
    Sub,
    Mul,
    /// By the inverse's table.
    Div,
    Maximum,
    Minimum,
}

/// Applies a function to every element.
///
/// # Errors
/// [`ShapeError`] if the lengths differ.
pub fn unary(
    op: Unary,
    x: &[f32],
    out: &mut [f32],
    generation: Generation,
) -> Result<Saturation, ShapeError> {
    check("the output", out.len(), x.len())?;
    let image = op.image(generation);
    out.iter_mut().zip(x).for_each(|(y, x)| *y = image[usize::from(fp16::bits(*x))]);
    Ok(count(out, |i| x[i].is_finite()))
}

/// Applies a function to every pair of elements.
///
/// # Errors
/// [`ShapeError`] if the lengths differ.
pub fn binary(
    op: Binary,
    a: &[f32],
    b: &[f32],
    out: &mut [f32],
    generation: Generation,
) -> Result<Saturation, ShapeError> {
    check("the second operand", b.len(), a.len())?;
    check("the output", out.len(), a.len())?;
    let ties = generation.ties();
    match op {
        Binary::Add => each(a, b, out, ties, |a, b| a + b),
        Binary::Sub => each(a, b, out, ties, |a, b| a - b),
        Binary::Mul => each(a, b, out, ties, |a, b| a * b),
        Binary::Maximum => each(a, b, out, ties, |a, b| if a > b { a } else { b }),
        Binary::Minimum => each(a, b, out, ties, |a, b| if a < b { a } else { b }),
        Binary::Div => {
            let inverse = Unary::Inverse.image(generation);
            for ((y, a), b) in out.iter_mut().zip(a).zip(b) {
                let inverse = f64::from(inverse[usize::from(fp16::bits(*b))]);
                *y = one(f64::from(decode(*a)) * inverse, ties);
            }
        }
    }
    Ok(count(out, |i| a[i].is_finite() && b[i].is_finite()))
}

/// What is not a number counts as +∞.
#[inline(always)]
fn decode(x: f32) -> f32 {
    if x.is_nan() { f32::INFINITY } else { x }
}

/// Rounds; what is indeterminate is +0.
#[inline(always)]
fn one(y: f64, ties: Ties) -> f32 {
    let rounded = fp16::round(y, ties);
    if y.is_nan() { 0.0 } else { rounded }
}

/// Doubles hold every sum and product of two fp16 values exactly.
#[inline(always)]
fn each(a: &[f32], b: &[f32], out: &mut [f32], ties: Ties, f: impl Fn(f64, f64) -> f64) {
    dispatch(
        #[inline(always)]
        || {
            for ((y, a), b) in out.iter_mut().zip(a).zip(b) {
                *y = one(f(f64::from(decode(*a)), f64::from(decode(*b))), ties);
            }
        },
    );
}

/// Counts infinite results of finite operands.
fn count(out: &[f32], finite: impl Fn(usize) -> bool) -> Saturation {
    let saturated = out.iter().enumerate().filter(|(i, y)| y.is_infinite() && finite(*i)).count();
    Saturation { results: out.len() as u64, saturated: saturated as u64 }
}

/// What a slice that begins inside the last axis does to values on M1 and M2: sixteen times the value is formed on
/// the way, so that magnitudes above 4094 become infinite.
pub fn slice_scale(values: &mut [f32], ties: Ties) -> Saturation {
    let mut saturation = Saturation { results: values.len() as u64, saturated: 0 };
    for value in values {
        let scaled = fp16::round(f64::from(*value) * 16.0, ties);
        saturation.saturated += u64::from(scaled.is_infinite() && value.is_finite());
        *value = if scaled.is_infinite() { scaled } else { *value };
    }
    saturation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(op: Binary, a: f32, b: f32) -> f32 {
        let mut y = [f32::NAN];
        binary(op, &[a], &[b], &mut y, Generation::M4).unwrap();
        y[0]
    }

    #[test]
    fn published_cases() {
        let inf = f32::INFINITY;
        let tiny = 2f32.powi(-24);
        let cases = [
            (Binary::Add, 2048.0, 1.0, 2050.0),
            (Binary::Add, -2048.0, -1.0, -2050.0),
            (Binary::Add, 4096.0, 2.0, 4100.0),
            (Binary::Add, 1.0, 1.0 / 2048.0, 1.0 + 1.0 / 1024.0),
            (Binary::Add, 16384.0, 16384.0, 32768.0),
            (Binary::Add, 32752.0, 16.0, 32768.0),
            (Binary::Add, 65504.0, 0.0, 65504.0),
            (Binary::Add, 40000.0, 1.0, 40000.0),
            (Binary::Add, tiny, 0.0, tiny),
            (Binary::Add, f32::NAN, 1.0, inf),
            (Binary::Add, inf, 1.0, inf),
            (Binary::Add, inf, -inf, 0.0),
            (Binary::Mul, -2048.0, -1.0, 2048.0),
            (Binary::Mul, 16384.0, 16384.0, inf),
            (Binary::Mul, 256.0, 256.0, inf),
            (Binary::Mul, 200.0, 200.0, 40000.0),
            (Binary::Mul, 2f32.powi(-12), 2f32.powi(-12), tiny),
            (Binary::Mul, 0.0, inf, 0.0),
            (Binary::Mul, f32::NAN, 1.0, inf),
            (Binary::Sub, 2048.0, 1.0, 2047.0),
            (Binary::Sub, 1.0, 1.0 / 2048.0, 0.999_511_7),
            (Binary::Sub, 32752.0, 16.0, 32736.0),
            (Binary::Sub, f32::NAN, 1.0, inf),
            (Binary::Maximum, -1.0, 3.0, 3.0),
            (Binary::Minimum, -1.0, 3.0, -1.0),
            (Binary::Div, 3.0, 4.0, 0.75),
        ];
        for (op, a, b, y) in cases {
            assert_eq!(of(op, a, b), y, "{op:?} {a} {b}");
        }
    }

    #[test]
    fn a_sum_is_rounded_once() {
        // 2049 - 2⁻¹⁴ is not half-way, though single precision would make it so.
        assert_eq!(of(Binary::Add, 2049.0f32.floor() - 1.0, 1.0 - 2f32.powi(-11)), 2048.0);
        assert_eq!(of(Binary::Add, 2050.0, -1.0 - 2f32.powi(-10)), 2048.0);
    }

    #[test]
    fn saturation_is_counted_once_where_it_begins() {
        let mut y = [0.0; 4];
        let a = [256.0, 1.0, f32::INFINITY, 300.0];
        let counted = binary(Binary::Mul, &a, &a, &mut y, Generation::M4).unwrap();
        assert_eq!(counted, Saturation { results: 4, saturated: 2 });
    }

    #[test]
    fn slices_on_m1_saturate_above_4094() {
        let mut values = [4094.0, -4094.0, 4096.0, -5000.0, 1.5];
        let counted = slice_scale(&mut values, Ties::Even);
        assert_eq!(values, [4094.0, -4094.0, f32::INFINITY, f32::NEG_INFINITY, 1.5]);
        assert_eq!(counted.saturated, 2);
    }
}
