//! A matrix times a vector: what a layer does to one token. It takes each weight once, so memory bounds it; the arithmetic
//! only has to keep up.

use pulp::{Arch, Simd, WithSimd};

/// Rows that are computed side by side: their sums do not wait for each other, and share each load of the vector.
const ROWS: usize = 4;
/// Independent partial sums of a row, each of the machine's vector width.
const CHAINS: usize = 2;

/// `y[i] = Σ_j matrix[i·stride + j]·x[j]`. On one machine each sum has one order, whatever the number of rows.
///
/// # Panics
/// When `matrix` has not a whole row of `x.len()` elements for each of `y`.
pub fn matvec(matrix: &[f32], stride: usize, x: &[f32], y: &mut [f32]) {
    Arch::new().dispatch(Matvec { matrix, stride, x, y });
}

struct Matvec<'a> {
    matrix: &'a [f32],
    stride: usize,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Matvec<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { matrix, stride, x, y } = self;
        let row = |i: usize| &matrix[i * stride..][..x.len()];
        let mut groups = y.chunks_exact_mut(ROWS);
        let mut i = 0;
        for group in &mut groups {
            group.copy_from_slice(&dots(simd, [row(i), row(i + 1), row(i + 2), row(i + 3)], x));
            i += ROWS;
        }
        for y in groups.into_remainder() {
            [*y] = dots(simd, [row(i)], x);
            i += 1;
        }
    }
}

/// Products of each row with `x`.
#[inline(always)]
fn dots<S: Simd, const N: usize>(simd: S, rows: [&[f32]; N], x: &[f32]) -> [f32; N] {
    let (x, x_tail) = S::as_simd_f32s(x);
    let split = rows.map(|row| S::as_simd_f32s(row));
    let mut sums = [[simd.splat_f32s(0.0); CHAINS]; N];
    let whole = x.len() / CHAINS * CHAINS;
    for at in (0..whole).step_by(CHAINS) {
        for chain in 0..CHAINS {
            let x = x[at + chain];
            for row in 0..N {
                let weights = split[row].0[at + chain];
                sums[row][chain] = simd.mul_add_e_f32s(weights, x, sums[row][chain]);
            }
        }
    }
    let mut dots = [0.0; N];
    for row in 0..N {
        let (body, tail) = split[row];
        let [mut sum, second] = sums[row];
        for at in whole..x.len() {
            sum = simd.mul_add_e_f32s(body[at], x[at], sum);
        }
        dots[row] = simd.reduce_sum_f32s(simd.add_f32s(sum, second));
        dots[row] += tail.iter().zip(x_tail).map(|(a, b)| a * b).sum::<f32>();
    }
    dots
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize, seed: u32) -> Vec<f32> {
        (0..len as u32)
            .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 2e7 - 0.4)
            .collect()
    }

    #[test]
    fn every_extent_agrees_with_sums_in_double_precision() {
        for rows in 0..10 {
            for depth in [0, 1, 7, 16, 17, 31, 32, 100] {
                let stride = depth + 3;
                let (matrix, x) = (numbers(rows * stride, 1), numbers(depth, 2));
                let mut y = vec![f32::NAN; rows];
                matvec(&matrix, stride, &x, &mut y);
                for (i, &y) in y.iter().enumerate() {
                    let products =
                        matrix[i * stride..].iter().zip(&x).map(|(&a, &b)| f64::from(a) * f64::from(b));
                    let expected: f64 = products.sum();
                    assert!(
                        (f64::from(y) - expected).abs() < 1e-5,
                        "{rows} × {depth}, row {i}: {y} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_neighbours() {
        let (matrix, x) = (numbers(9 * 50, 3), numbers(50, 4));
        let mut whole = vec![0.0; 9];
        matvec(&matrix, 50, &x, &mut whole);
        for (i, whole) in whole.iter().enumerate() {
            let mut one = [0.0];
            matvec(&matrix[i * 50..], 50, &x, &mut one);
            assert_eq!(one[0].to_bits(), whole.to_bits(), "row {i}");
        }
    }
}
