//! The elementwise engine: ordinary fp16, denormals kept, half-way cases away from zero, and never a NaN.

use ferrane_cpu::Term;

use super::fp16::{self, Ties};
use super::gemm::{ShapeError, check};
use super::table::{Generation, Unary};
use super::{Saturation, dispatch, is_any_infinite};

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
    let ties = generation.ties();
    match op {
        // What needs no table is faster without.
        Unary::Square => dispatch(
            #[inline(always)]
            || out.iter_mut().zip(x).for_each(|(y, x)| *y = fp16::mul(decode(*x), decode(*x), ties)),
        ),
        _ => {
            let image = op.image(generation);
            dispatch(
                #[inline(always)]
                || out.iter_mut().zip(x).for_each(|(y, x)| *y = image[usize::from(fp16::bits(*x))]),
            );
        }
    }
    Ok(count(out, |i| x[i].is_finite()))
}

/// Applies a function to every pair of elements.
///
/// # Errors
/// [`ShapeError`] if the lengths differ.
pub fn binary(
    op: Binary,
    a: Term<'_>,
    b: Term<'_>,
    out: &mut [f32],
    generation: Generation,
) -> Result<Saturation, ShapeError> {
    for (what, term) in [("the first operand", a), ("the second operand", b)] {
        if let Term::Each(each) = term {
            check(what, each.len(), out.len())?;
        }
    }
    let ties = generation.ties();
    match (op, ties) {
        (Binary::Add, Ties::Away) => each(a, b, out, fp16::add_away),
        (Binary::Sub, Ties::Away) => each(a, b, out, |a, b| fp16::add_away(a, -b)),
        // Doubles hold every sum of two fp16 values exactly.
        (Binary::Add, Ties::Even) => each(a, b, out, |a, b| wide(f64::from(a) + f64::from(b), ties)),
        (Binary::Sub, Ties::Even) => each(a, b, out, |a, b| wide(f64::from(a) - f64::from(b), ties)),
        (Binary::Mul, _) => each(a, b, out, |a, b| fp16::mul(a, b, ties)),
        (Binary::Maximum, _) => each(a, b, out, |a, b| if a > b { a } else { b }),
        (Binary::Minimum, _) => each(a, b, out, |a, b| if a < b { a } else { b }),
        (Binary::Div, _) => {
            let inverse = Unary::Inverse.image(generation);
            each(a, b, out, |a, b| fp16::mul(a, inverse[usize::from(fp16::bits(b))], ties));
        }
    }
    Ok(count(out, |i| at(a, i).is_finite() && at(b, i).is_finite()))
}

/// The term of element `i`.
fn at(term: Term<'_>, i: usize) -> f32 {
    match term {
        Term::Each(each) => each[i],
        Term::One(one) => one,
    }
}

/// What is not a number counts as +∞.
#[inline(always)]
pub(super) fn decode(x: f32) -> f32 {
    if x.is_nan() { f32::INFINITY } else { x }
}

/// Rounds; what is indeterminate is +0.
#[inline(always)]
pub(super) fn wide(y: f64, ties: Ties) -> f32 {
    let rounded = fp16::round(y, ties);
    if y.is_nan() { 0.0 } else { rounded }
}

#[inline(always)]
fn each(a: Term<'_>, b: Term<'_>, out: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    dispatch(
        #[inline(always)]
        || match (a, b) {
            (Term::Each(a), Term::Each(b)) => {
                out.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y = f(decode(*a), decode(*b)));
            }
            (Term::Each(a), Term::One(b)) => {
                let b = decode(b);
                out.iter_mut().zip(a).for_each(|(y, a)| *y = f(decode(*a), b));
            }
            (Term::One(a), Term::Each(b)) => {
                let a = decode(a);
                out.iter_mut().zip(b).for_each(|(y, b)| *y = f(a, decode(*b)));
            }
            (Term::One(a), Term::One(b)) => out.fill(f(decode(a), decode(b))),
        },
    );
}

/// Counts infinite results of finite operands.
fn count(out: &[f32], finite: impl Fn(usize) -> bool) -> Saturation {
    let infinite = dispatch(
        #[inline(always)]
        || is_any_infinite(out),
    );
    let saturated = if infinite {
        out.iter().enumerate().filter(|(i, y)| y.is_infinite() && finite(*i)).count() as u64
    } else {
        0
    };
    Saturation { results: out.len() as u64, saturated }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(op: Binary, a: f32, b: f32) -> f32 {
        let mut y = [f32::NAN];
        binary(op, Term::Each(&[a]), Term::One(b), &mut y, Generation::M4).unwrap();
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
    fn sums_and_products_in_single_precision_are_those_in_double() {
        let mut bits = 1u64;
        let mut next = || {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            half::f16::from_bits((bits >> 40) as u16).to_f32()
        };
        for _ in 0..400_000 {
            let (a, b) = (decode(next()), decode(next()));
            let (x, y) = (f64::from(a), f64::from(b));
            for (op, exact) in [(Binary::Add, x + y), (Binary::Sub, x - y), (Binary::Mul, x * y)] {
                assert_eq!(of(op, a, b).to_bits(), wide(exact, Ties::Away).to_bits(), "{op:?} {a} {b}");
            }
        }
        // Just below, at and above a tie.
        let tiny = 2f32.powi(-24);
        for (b, y) in [(1.0 - tiny * 4096.0, 2048.0), (1.0, 2050.0), (3.0 - 2f32.powi(-9), 2050.0)] {
            assert_eq!(of(Binary::Add, 2048.0, b), y);
            assert_eq!(of(Binary::Sub, -2048.0, b), -y);
        }
        assert_eq!(of(Binary::Add, 2049.0 + 1.0, -tiny), 2050.0);
        assert_eq!(of(Binary::Sub, 4100.0, 2.0 + 2f32.powi(-9)), 4096.0);
    }

    #[test]
    fn saturation_is_counted_once_where_it_begins() {
        let mut y = [0.0; 4];
        let a = [256.0, 1.0, f32::INFINITY, 300.0];
        let counted = binary(Binary::Mul, Term::Each(&a), Term::Each(&a), &mut y, Generation::M4).unwrap();
        assert_eq!(counted, Saturation { results: 4, saturated: 2 });
    }
}
