//! Operands as the tile kernels read them, with the bounds that choose between them.

use super::Matrix;
use crate::numerics::dispatch;
use crate::numerics::mac::{self, UNITS, decode};

/// Columns of a packed right-hand operand that travel together.
pub(super) const PANEL: usize = 32;

/// Below this a sum keeps its units in the bits of an `f32`.
const SMALL: f32 = 63.9;

/// From below this, in units, no run of products can reach the accumulator's limit.
pub(super) const SAFE: i64 = mac::LIMIT - 64 * UNITS as i64;

/// What rounding in single precision may take off a bound, with much to spare.
const SLACK: f32 = 1.001;

/// Lanes in which a row is summed up.
const LANES: usize = 16;

/// Sizes of a set of vectors, of which products are bounded.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    /// Largest magnitude.
    max: f32,
    /// Largest sum of magnitudes of one vector.
    l1: f32,
    /// Largest Euclidean norm of one vector.
    l2: f32,
}

impl Bounds {
    fn and(self, other: Self) -> Self {
        Bounds { max: self.max.max(other.max), l1: self.l1.max(other.l1), l2: self.l2.max(other.l2) }
    }
}

/// Up to [`PANEL`] columns of the right-hand operand, `[k, PANEL]`, decoded; the rest is zero.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub(super) values: Vec<f32>,
    /// For each k the least magnitude that is not zero, and at least 2⁻¹⁴.
    pub(super) least: Vec<f32>,
    bounds: Bounds,
}

impl Panel {
    pub(super) fn new(b: &Matrix<'_>, first: usize) -> Self {
        let columns = PANEL.min(b.columns - first);
        let mut values = vec![0.0; b.rows * PANEL];
        if b.column_stride == 1 {
            for (k, to) in values.chunks_exact_mut(PANEL).enumerate() {
                to[..columns].copy_from_slice(&b.data[k * b.row_stride + first..][..columns]);
            }
        } else {
            for c in 0..columns {
                let to = values[c..].iter_mut().step_by(PANEL);
                to.enumerate().for_each(|(k, to)| *to = b.at(k, first + c));
            }
        }
        let mut least = vec![0.0; b.rows];
        let bounds = dispatch(
            #[inline(always)]
            || survey(&mut values, &mut least),
        );
        Panel { values, least, bounds }
    }
}

/// Decodes a panel in place and sizes it up.
#[inline(always)]
fn survey(values: &mut [f32], least: &mut [f32]) -> Bounds {
    let (mut max, mut l1, mut squares) = ([0f32; PANEL], [0f32; PANEL], [0f32; PANEL]);
    for (row, least) in values.as_chunks_mut::<PANEL>().0.iter_mut().zip(least) {
        let mut low = [f32::INFINITY; PANEL];
        for c in 0..PANEL {
            row[c] = decode(row[c]);
            let x = row[c].abs();
            max[c] = if x > max[c] { x } else { max[c] };
            l1[c] += x;
            squares[c] += x * x;
            low[c] = if x == 0.0 { f32::INFINITY } else { x };
        }
        *least = minimum(low).max(1.0 / 16384.0);
    }
    let columns = (0..PANEL).map(|c| Bounds { max: max[c], l1: l1[c], l2: squares[c].sqrt() });
    columns.fold(Bounds::default(), Bounds::and)
}

/// The least of a row, by halves so that it vectorises.
#[inline(always)]
fn minimum(mut low: [f32; PANEL]) -> f32 {
    let mut half = PANEL / 2;
    while half > 0 {
        for c in 0..half {
            low[c] = if low[c + half] < low[c] { low[c + half] } else { low[c] };
        }
        half /= 2;
    }
    low[0]
}

/// A few rows of the left-hand operand.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub(super) len: usize,
    /// For each k, one number a row: the decoded weight in units with its last bit raised.
    pub(super) weights: Vec<f32>,
    /// For each of them its [`threshold`].
    pub(super) thresholds: Vec<f32>,
    /// For each k the magnitude from which every row keeps its product.
    pub(super) enough: Vec<f32>,
    /// The bias of each row in units.
    pub(super) bias: Vec<i64>,
    bounds: Bounds,
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
        let mut straight = vec![0.0; depth * height];
        let mut enough = vec![0.0; depth];
        let mut bounds = Bounds::default();
        for (to, row) in straight.chunks_exact_mut(depth.max(1)).zip(rows.clone()) {
            if a.column_stride == 1 {
                to.copy_from_slice(&a.data[row * a.row_stride..][..depth]);
            } else {
                to.iter_mut().enumerate().for_each(|(k, to)| *to = a.at(row, k));
            }
            bounds = bounds.and(dispatch(
                #[inline(always)]
                || raise(to, &mut enough),
            ));
        }
        let mut weights = vec![0.0; depth * height];
        for (k, to) in weights.chunks_exact_mut(height).enumerate() {
            to.iter_mut().enumerate().for_each(|(r, to)| *to = straight[r * depth + k]);
        }
        let thresholds = dispatch(
            #[inline(always)]
            || weights.iter().map(|w| threshold(*w)).collect(),
        );
        let units = |b: f32| (f64::from(decode(b)) * UNITS).round() as i64;
        let bias = (0..height)
            .map(|r| bias.filter(|_| r < rows.len()).map_or(0, |bias| units(bias[rows.start + r])))
            .collect();
        Rows { len: rows.len(), weights, thresholds, enough, bias, bounds }
    }

    /// How many infinite results of a row come from finite operands: those whose row and column decode to none of
    /// 65536 or more.
    pub(super) fn saturated(&self, row: usize, panel: &Panel, results: &[f32]) -> u64 {
        const INFINITE: f32 = 65536.0;
        let height = self.weights.len().checked_div(self.enough.len()).unwrap_or(1).max(1);
        let bias = self.bias[row].unsigned_abs() as f64 >= f64::from(INFINITE) * UNITS;
        let weights = self.weights.iter().skip(row).step_by(height);
        if bias || weights.into_iter().any(|w| lowered(*w).abs() >= INFINITE * UNITS as f32) {
            return 0;
        }
        let finite = |c: &usize| panel.values.iter().skip(*c).step_by(PANEL).all(|x| x.abs() < INFINITE);
        (0..results.len()).filter(|&c| results[c].is_infinite()).filter(finite).count() as u64
    }

    /// How many products can be added up before a sum might leave the range of [`SMALL`], and whether it is sure
    /// that no sum, the bias included, comes near 32768. None if a single product may be too large.
    pub(super) fn run_length(&self, panel: &Panel) -> Option<(usize, bool)> {
        let (a, b) = (self.bounds, panel.bounds);
        let depth = self.enough.len() as f32;
        // Rounding adds up to half a unit a product.
        let sum = (a.l2 * b.l2).min(a.l1 * b.max).min(a.max * b.l1) * SLACK + depth * (0.5 / UNITS as f32);
        let bias = self.bias.iter().map(|b| b.abs()).max().unwrap_or(0);
        let sure = f64::from(sum) * UNITS + (bias as f64) < SAFE as f64;
        if sum < SMALL {
            return (bias < SAFE).then_some((usize::MAX, sure));
        }
        let run = (SMALL / (a.max * b.max * SLACK + 1.0 / UNITS as f32)) as usize;
        (run > 0 && bias < SAFE).then_some((run, sure))
    }
}

/// Decodes a row and puts it into units, each weight's last bit raised: one `f32` step farther from zero.
#[inline(always)]
fn raise(row: &mut [f32], enough: &mut [f32]) -> Bounds {
    let (mut max, mut l1, mut squares) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
    let mut chunk = |row: &mut [f32], enough: &mut [f32]| {
        for (lane, (w, enough)) in row.iter_mut().zip(enough).enumerate() {
            let decoded = decode(*w);
            let (magnitude, bits) = (decoded.abs(), (decoded * UNITS as f32).to_bits());
            *w = f32::from_bits(if decoded == 0.0 { 0 } else { bits + 1 });
            let least = if decoded == 0.0 { 0.0 } else { threshold(*w) };
            *enough = if least > *enough { least } else { *enough };
            max[lane] = if magnitude > max[lane] { magnitude } else { max[lane] };
            l1[lane] += magnitude;
            squares[lane] += magnitude * magnitude;
        }
    };
    let (rows, row_rest) = row.as_chunks_mut::<LANES>();
    let (enoughs, enough_rest) = enough.as_chunks_mut::<LANES>();
    rows.iter_mut().zip(enoughs).for_each(|(row, enough)| chunk(row, enough));
    chunk(row_rest, enough_rest);
    Bounds {
        max: max.into_iter().fold(0.0, f32::max),
        l1: l1.into_iter().sum(),
        l2: squares.into_iter().sum::<f32>().sqrt(),
    }
}

/// The least magnitude of `x`, taken as at least 2⁻¹⁴, whose exponent and that of a raised weight add up to -16.
/// A power of two; the weight's exponent counts as at least -14.
#[inline(always)]
pub(super) fn threshold(raised: f32) -> f32 {
    let exponent = (raised.to_bits() >> 23 & 0xff).max(127 + 16 - 14);
    // 127 - 16 - (exponent - 127 - 16)
    f32::from_bits((127 + 127 - exponent) << 23)
}

/// Takes a raised weight back to what it was, in units.
#[inline(always)]
pub(super) fn lowered(w: f32) -> f32 {
    if w == 0.0 { 0.0 } else { f32::from_bits(w.to_bits() - 1) }
}
