//! Reductions and softmax.
//!
//! Sums are wide: exact, and rounded to fp16 once at the end. Sources disagree on that (`docs/simulator.md`).

use ferrane_cpu::{Fold, Strided};

use super::elementwise::{decode, wide};
use super::fp16::{self, Ties};
use super::gemm::{ShapeError, check};
use super::table::{Generation, Unary};
use super::{Saturation, dispatch};

/// Columns that are reduced side by side.
const LANES: usize = 32;

/// Reduces the rows of `x` to one number a column.
///
/// # Errors
/// [`ShapeError`] if the sizes don't match.
pub fn fold(op: Fold, x: Strided<'_>, out: &mut [f32], ties: Ties) -> Result<Saturation, ShapeError> {
    check("the output", out.len(), x.columns)?;
    let reach = match x.rows * x.columns {
        0 => 0,
        _ => (x.rows - 1) * x.row + (x.columns - 1) * x.column + 1,
    };
    check("the operand", x.data.len().min(reach), reach)?;
    let mut saturation = Saturation { results: out.len() as u64, saturated: 0 };
    for (first, out) in out.chunks_mut(LANES).enumerate().map(|(i, out)| (i * LANES, out)) {
        let sums = dispatch(
            #[inline(always)]
            || match op {
                Fold::Sum | Fold::Mean => columns(x, first..first + out.len(), 0.0, |sum, x| sum + x),
                Fold::Max => columns(x, first..first + out.len(), f64::NEG_INFINITY, f64::max),
                Fold::Min => columns(x, first..first + out.len(), f64::INFINITY, f64::min),
            },
        );
        let share = if op == Fold::Mean { 1.0 / x.rows as f64 } else { 1.0 };
        for (y, sum) in out.iter_mut().zip(sums) {
            *y = wide(sum * share, ties);
            saturation.saturated += u64::from(y.is_infinite() && sum.is_finite());
        }
    }
    Ok(saturation)
}

/// Reduces some columns. Doubles hold every sum of up to 2¹² fp16 values exactly, and of more if they are not extreme.
#[inline(always)]
fn columns(
    x: Strided<'_>,
    range: std::ops::Range<usize>,
    start: f64,
    f: impl Fn(f64, f64) -> f64,
) -> [f64; LANES] {
    let mut sums = [start; LANES];
    let each = |sums: &mut [f64], row: &[f32]| {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum = f(*sum, f64::from(decode(*x))));
    };
    if x.column == 1 {
        for row in 0..x.rows {
            each(&mut sums, &x.data[row * x.row..][range.clone()]);
        }
    } else if x.row == 1 {
        // A column's elements are neighbours: partial results side by side, then those.
        for (to, column) in range.enumerate() {
            let mut lanes = [start; LANES];
            for part in x.data[column * x.column..][..x.rows].chunks(LANES) {
                each(&mut lanes, part);
            }
            sums[to] = lanes.into_iter().fold(start, &f);
        }
    } else {
        for (to, column) in range.enumerate() {
            for row in 0..x.rows {
                sums[to] = f(sums[to], f64::from(decode(x.data[row * x.row + column * x.column])));
            }
        }
    }
    sums
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
    let look_up = |image: &[f32], x: f32| image[usize::from(fp16::bits(x))];
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for part in x.chunks(LANES) {
        lanes
            .iter_mut()
            .zip(part)
            .for_each(|(most, x)| *most = if decode(*x) > *most { decode(*x) } else { *most });
    }
    let most = lanes.into_iter().fold(f32::NEG_INFINITY, f32::max);
    match ties {
        Ties::Away => out.iter_mut().zip(x).for_each(|(y, x)| *y = fp16::add_away(decode(*x), -most)),
        Ties::Even => {
            out.iter_mut().zip(x).for_each(|(y, x)| *y = wide(f64::from(decode(*x)) - f64::from(most), ties));
        }
    }
    out.iter_mut().for_each(|y| *y = look_up(exp, *y));
    let mut sums = [0f64; LANES];
    for part in out.chunks(LANES) {
        sums.iter_mut().zip(part).for_each(|(sum, y)| *sum += f64::from(*y));
    }
    let scale = look_up(inverse, fp16::round(sums.into_iter().sum(), ties));
    out.iter_mut().for_each(|y| *y = fp16::mul(*y, scale, ties));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        op: Fold,
        data: &[f32],
        (rows, columns): (usize, usize),
        (row, column): (usize, usize),
    ) -> Vec<f32> {
        let mut y = vec![f32::NAN; columns];
        fold(op, Strided { data, rows, columns, row, column }, &mut y, Ties::Away).unwrap();
        y
    }

    fn sum(x: &[f32]) -> f32 {
        of(Fold::Sum, x, (x.len(), 1), (1, x.len()))[0]
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
    fn rows_go_whatever_their_strides() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        for (op, y) in [
            (Fold::Sum, [9.0, 12.0]),
            (Fold::Mean, [3.0, 4.0]),
            (Fold::Max, [5.0, 6.0]),
            (Fold::Min, [1.0, 2.0]),
        ] {
            assert_eq!(of(op, &x, (3, 2), (2, 1)), y);
            let turned = [1.0, 3.0, 5.0, 2.0, 4.0, 6.0];
            assert_eq!(of(op, &turned, (3, 2), (1, 3)), y);
            let apart = [1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0, 0.0, 5.0, 0.0, 6.0];
            assert_eq!(of(op, &apart, (3, 2), (4, 2)), y);
        }
        assert_eq!(of(Fold::Sum, &[f32::INFINITY, f32::NEG_INFINITY], (2, 1), (1, 1)), [0.0]);
        assert_eq!(of(Fold::Max, &[f32::NAN, 1.0], (2, 1), (1, 1)), [f32::INFINITY]);
        let short = Strided { data: &x, rows: 4, columns: 2, row: 2, column: 1 };
        assert!(fold(Fold::Sum, short, &mut [0.0; 2], Ties::Away).is_err());
        let many: Vec<f32> = (0..70 * 3).map(|i| i as f32).collect();
        let expected: Vec<f32> = (0..70).map(|c| (c * 3 + 70 * 3) as f32).collect();
        assert_eq!(of(Fold::Sum, &many, (3, 70), (70, 1)), expected);
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
