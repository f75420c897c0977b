//! Operands as the tile kernels read them, with the bounds that choose between them.

use super::Matrix;
use crate::numerics::mac::{self, UNITS, decode, exponent};

/// Columns of a packed right-hand operand that travel together.
pub(super) const PANEL: usize = 32;

/// Sizes of a set of vectors, of which products are bounded.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    /// Largest magnitude.
    max: f64,
    /// Largest sum of magnitudes of one vector.
    l1: f64,
    /// Largest Euclidean norm of one vector.
    l2: f64,
}

impl Bounds {
    fn of(vector: impl Iterator<Item = f32>) -> Self {
        let (mut max, mut l1, mut squares) = (0f64, 0f64, 0f64);
        for x in vector {
            let x = f64::from(x.abs());
            max = max.max(x);
            l1 += x;
            squares += x * x;
        }
        Bounds { max, l1, l2: squares.sqrt() }
    }

    fn and(self, other: Self) -> Self {
        Bounds { max: self.max.max(other.max), l1: self.l1.max(other.l1), l2: self.l2.max(other.l2) }
    }
}

/// Up to [`PANEL`] columns of the right-hand operand, `[k, PANEL]`, decoded; the rest is zero.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub(super) values: Vec<f32>,
    bounds: Bounds,
}

impl Panel {
    pub(super) fn new(b: &Matrix<'_>, first: usize) -> Self {
        let columns = PANEL.min(b.columns - first);
        let mut values = vec![0.0; b.rows * PANEL];
        if b.column_stride == 1 {
            for (k, to) in values.chunks_exact_mut(PANEL).enumerate() {
                let from = &b.data[k * b.row_stride + first..][..columns];
                to.iter_mut().zip(from).for_each(|(to, x)| *to = decode(*x));
            }
        } else {
            for c in 0..columns {
                let to = values[c..].iter_mut().step_by(PANEL);
                to.enumerate().for_each(|(k, to)| *to = decode(b.at(k, first + c)));
            }
        }
        let bounds = column_bounds(&values);
        Panel { values, bounds }
    }
}

/// The bounds of all columns, a row at a time so that it vectorises.
fn column_bounds(values: &[f32]) -> Bounds {
    let (mut max, mut l1, mut squares) = ([0f64; PANEL], [0f64; PANEL], [0f64; PANEL]);
    crate::numerics::dispatch(
        #[inline(always)]
        || {
            for row in values.as_chunks::<PANEL>().0 {
                for c in 0..PANEL {
                    let x = f64::from(row[c].abs());
                    max[c] = if x > max[c] { x } else { max[c] };
                    l1[c] += x;
                    squares[c] += x * x;
                }
            }
        },
    );
    let columns = (0..PANEL).map(|c| Bounds { max: max[c], l1: l1[c], l2: squares[c].sqrt() });
    columns.fold(Bounds::default(), Bounds::and)
}

/// A few rows of the left-hand operand.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) first: usize,
    pub(super) len: usize,
    /// For each k, one number a row: the decoded weight in units with its last bit raised.
    /// Then for each row the magnitude that `x` must have for the product to be kept.
    pub(super) weights: Vec<f32>,
    /// The bias of each row in units.
    pub(super) bias: Vec<i64>,
    bounds: Bounds,
    depth: usize,
}

impl Rows {
    /// Packs rows of `a`, padded with zero rows to `height`.
    pub(super) fn new(
        a: &Matrix<'_>,
        bias: Option<&[f32]>,
        rows: std::ops::Range<usize>,
        height: usize,
    ) -> Self {
        let depth = a.columns;
        let mut weights = vec![0.0; depth * 2 * height];
        for (r, row) in rows.clone().enumerate() {
            for (k, to) in weights.chunks_exact_mut(2 * height).enumerate() {
                let w = decode(a.at(row, k));
                to[r] = raised(w);
                to[height + r] = threshold(w);
            }
        }
        let units = |b: f32| (f64::from(decode(b)) * UNITS).round() as i64;
        let bias: Vec<i64> = (0..height)
            .map(|r| bias.filter(|_| r < rows.len()).map_or(0, |bias| units(bias[rows.start + r])))
            .collect();
        let bounds = rows
            .clone()
            .map(|row| Bounds::of((0..depth).map(|k| decode(a.at(row, k)))))
            .fold(Bounds::default(), Bounds::and);
        Rows { first: rows.start, len: rows.len(), weights, bias, bounds, depth }
    }

    /// True if every product with the panel is below 64 and no sum of their magnitudes, rounding and bias
    /// included, reaches 32768.
    pub(super) fn surely_small(&self, panel: &Panel) -> bool {
        let (a, b) = (self.bounds, panel.bounds);
        let sum = (a.l2 * b.l2).min(a.l1 * b.max).min(a.max * b.l1);
        let bias = self.bias.iter().map(|b| b.abs()).max().unwrap_or(0) as f64;
        a.max * b.max < 63.99 && sum * UNITS * 1.000_001 + 0.5 * self.depth as f64 + bias < mac::LIMIT as f64
    }
}

/// The weight in units, one `f32` step farther from zero.
fn raised(w: f32) -> f32 {
    if w == 0.0 { 0.0 } else { f32::from_bits((w * UNITS as f32).to_bits() + 1) }
}

/// Undoes [`raised`].
#[inline(always)]
pub(super) fn lowered(w: f32) -> f32 {
    if w == 0.0 { 0.0 } else { f32::from_bits(w.to_bits() - 1) }
}

/// The least magnitude of `x`, taken as at least 2⁻¹⁴, whose exponent and the weight's add up to -16.
fn threshold(w: f32) -> f32 {
    f32::from_bits(((127 - 16 - exponent(w)) as u32) << 23)
}
