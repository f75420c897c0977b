//! Reductions and softmax.
//!
//! Sums are wide: exact, and rounded to fp16 once at the end. Sources disagree on that (`docs/simulator.md`).

use super::fp16::{self, Ties};
use super::gemm::{ShapeError, check};
use super::table::{Generation, Unary};
use super::{Saturation, dispatch};

/// Reductions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "MIL's names")]
pub enum Reduce {
    Sum,
    Mean,
    Max,
    Min,
    SumSquare,
}

/// Reduces the middle axis of `x`, `[outer, length, inner]` with `outer` what is left over, to `[outer, inner]`.
///
/// # Errors
/// [`ShapeError`] if the sizes don't match.
pub fn reduce(
    op: Reduce,
    x: &[f32],
    (length, inner): (usize, usize),
    out: &mut [f32],
    ties: Ties,
) -> Result<Saturation, ShapeError> {
    let plane = length * inner;
    check("the operand", x.len(), out.len().checked_div(inner).unwrap_or(0) * plane)?;
    let mut saturation = Saturation::default();
    let mut sums = vec![0f64; inner];
    for (x, out) in x.chunks_exact(plane.max(1)).zip(out.chunks_exact_mut(inner.max(1))) {
        let start = match op {
            Reduce::Max => f64::NEG_INFINITY,
            Reduce::Min => f64::INFINITY,
            Reduce::Sum | Reduce::Mean | Reduce::SumSquare => 0.0,
        };
        sums.fill(start);
        for row in x.chunks_exact(inner) {
            for (sum, x) in sums.iter_mut().zip(row) {
                let x = if x.is_nan() { f64::INFINITY } else { f64::from(*x) };
                *sum = match op {
                    Reduce::Sum | Reduce::Mean => *sum + x,
                    // The square is a result of the elementwise engine.
                    Reduce::SumSquare => *sum + f64::from(fp16::round(x * x, ties)),
                    Reduce::Max => sum.max(x),
                    Reduce::Min => sum.min(x),
                };
            }
        }
        let share = if op == Reduce::Mean { 1.0 / length as f64 } else { 1.0 };
        for (y, sum) in out.iter_mut().zip(&sums) {
            *y = if sum.is_nan() { 0.0 } else { fp16::round(sum * share, ties) };
            saturation.results += 1;
            saturation.saturated += u64::from(y.is_infinite() && sum.is_finite());
        }
    }
    Ok(saturation)
}

/// Softmax of each row of `length` numbers: the maximum comes off first, then the exponential's table, a sum, the
/// inverse's table and a product, each rounded.
///
/// # Errors
/// [`ShapeError`] if the sizes don't match.
pub fn softmax(
    x: &[f32],
    length: usize,
    out: &mut [f32],
    generation: Generation,
) -> Result<Saturation, ShapeError> {
    check("the output", out.len(), x.len())?;
    check("what is left over by the rows", if length == 0 { x.len() } else { x.len() % length }, 0)?;
    let (exp, inverse) = (Unary::Exp.image(generation), Unary::Inverse.image(generation));
    dispatch(
        #[inline(always)]
        || {
            for (x, out) in x.chunks_exact(length.max(1)).zip(out.chunks_exact_mut(length.max(1))) {
                softmax_row(x, out, exp, inverse, generation.ties());
            }
        },
    );
    Ok(Saturation { results: out.len() as u64, saturated: 0 })
}

#[inline(always)]
fn softmax_row(x: &[f32], out: &mut [f32], exp: &[f32], inverse: &[f32], ties: Ties) {
    let decode = |x: f32| if x.is_nan() { f32::INFINITY } else { x };
    let look_up = |image: &[f32], x: f32| image[usize::from(fp16::bits(x))];
    let most = x.iter().fold(f32::NEG_INFINITY, |most, x| if decode(*x) > most { decode(*x) } else { most });
    for (y, x) in out.iter_mut().zip(x) {
        // Two infinities differ by +0.
        let below = f64::from(decode(*x)) - f64::from(most);
        *y = if below.is_nan() { 0.0 } else { fp16::round(below, ties) };
    }
    out.iter_mut().for_each(|y| *y = look_up(exp, *y));
    let sum = out.iter().map(|y| f64::from(*y)).sum();
    let scale = f64::from(look_up(inverse, fp16::round(sum, ties)));
    out.iter_mut().for_each(|y| *y = fp16::round(f64::from(*y) * scale, ties));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(x: &[f32]) -> f32 {
        let mut y = [0.0];
        reduce(Reduce::Sum, x, (x.len(), 1), &mut y, Ties::Away).unwrap();
        y[0]
    }

    #[test]
    fn sums_of_ones() {
        assert_eq!(sum(&[1.0; 2048]), 2048.0);
        assert_eq!(sum(&[1.0; 2049]), 2050.0);
        assert_eq!(sum(&[1.0; 16000]), 16000.0);
        assert_eq!(sum(&[40000.0, 20000.0]), 60000.0); // above the 32768 of the products
        assert_eq!(sum(&[40000.0, 40000.0]), f32::INFINITY);
    }

    #[test]
    fn the_middle_axis_goes() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0];
        let of = |op| {
            let mut y = [0.0; 4];
            reduce(op, &x, (3, 2), &mut y, Ties::Away).unwrap();
            y
        };
        assert_eq!(of(Reduce::Sum), [9.0, 12.0, 27.0, 30.0]);
        assert_eq!(of(Reduce::Mean), [3.0, 4.0, 9.0, 10.0]);
        assert_eq!(of(Reduce::Max), [5.0, 6.0, 11.0, 12.0]);
        assert_eq!(of(Reduce::Min), [1.0, 2.0, 7.0, 8.0]);
        assert_eq!(of(Reduce::SumSquare), [35.0, 56.0, 251.0, 308.0]);
        assert!(reduce(Reduce::Sum, &x, (5, 2), &mut [0.0; 4], Ties::Away).is_err());
    }

    #[test]
    fn softmax_of_published_rows() {
        let x = [1000.0, 1.0, 2.0, 3.0, 7.0, 7.0, 7.0, 7.0];
        let mut y = [f32::NAN; 8];
        softmax(&x, 4, &mut y, Generation::M4).unwrap();
        assert_eq!(y, [1.0, 0.0, 0.0, 0.0, 0.25, 0.25, 0.25, 0.25]);
        let mut masked = [f32::NAN; 2];
        softmax(&[f32::INFINITY, f32::NEG_INFINITY], 2, &mut masked, Generation::M4).unwrap();
        assert_eq!(masked, [1.0, 0.0]);
        assert!(softmax(&x, 3, &mut y, Generation::M4).is_err());
    }
}
