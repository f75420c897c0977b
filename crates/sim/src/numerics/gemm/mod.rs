//! Matrix products through the multiply-accumulate unit, bit for bit those of [`mac`] and fast.
//!
//! A product of two fp16 values has at most 22 significant bits. With the weight scaled to units of 2⁻¹⁶ and its last
//! `f32` bit raised, one fused multiply-add onto an integer near 1.5·2²³ therefore adds the product rounded to a whole
//! unit, half-way cases away from zero: the raise carries those over and is too small for anything else. While the sum
//! of a run of products stays below 64 its units can be read from the bits, so the unit costs one instruction. The
//! exponent gate is one comparison more, of `x` with the power of two that the weight's exponent asks for, and
//! most steps can be seen not to need it.
//!
//! A bound on each tile (Cauchy–Schwarz and Hölder) says how long such a run may be. Between runs no sum may have come within
//! one run of 32768. A tile where one has, or where one product may be 64, takes the exact road: double precision, in
//! order, with the sum held where it first overflowed.

mod pack;
mod tile;

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Saturation, fp16::Ties, is_any_infinite, mac};
use pack::{PANEL, Panel, Rows};

/// A matrix of fp16 values held as `f32`, in place and strided.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

/// Sizes that don't fit each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A matrix reaches past its slice.
    #[error(
        "a {rows}×{columns} matrix of strides {row_stride} and {column_stride} does not fit {len} numbers"
    )]
    Matrix {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
        /// Distance between rows.
        row_stride: usize,
        /// Distance between columns.
        column_stride: usize,
        /// Numbers there are.
        len: usize,
    },
    /// Operands of a product or an elementwise function don't match.
    #[error("{what} is {given} where the other operand has {wanted}")]
    Operand {
        /// Which extent.
        what: &'static str,
        /// Its value.
        given: usize,
        /// What it should be.
        wanted: usize,
    },
}

impl<'a> Matrix<'a> {
    /// A view of `data` as a matrix.
    ///
    /// # Errors
    /// [`ShapeError::Matrix`] if the last element lies outside.
    pub fn new(
        data: &'a [f32],
        (rows, columns): (usize, usize),
        (row_stride, column_stride): (usize, usize),
    ) -> Result<Self, ShapeError> {
        let last = |n: usize, stride: usize| n.checked_sub(1).map_or(Some(0), |n| n.checked_mul(stride));
        let end =
            last(rows, row_stride).zip(last(columns, column_stride)).and_then(|(r, c)| r.checked_add(c));
        if rows != 0 && columns != 0 && end.is_none_or(|end| end >= data.len()) {
            let len = data.len();
            return Err(ShapeError::Matrix { rows, columns, row_stride, column_stride, len });
        }
        Ok(Matrix { data, rows, columns, row_stride, column_stride })
    }

    #[inline(always)]
    fn at(&self, row: usize, column: usize) -> f32 {
        self.data[row * self.row_stride + column * self.column_stride]
    }
}

/// The left-hand operand of products, decoded and packed once for any number of right-hand ones.
#[derive(Clone, Debug)]
pub struct Prepared {
    rows: usize,
    depth: usize,
    kernel: tile::Kernel,
    tiles: Vec<Rows>,
}

impl Prepared {
    /// Packs `a`, `[m, k]`, on `parts` threads. `bias` has one number a row, from which its sums start.
    ///
    /// # Errors
    /// [`ShapeError`] if the bias does not match.
    pub fn new(a: Matrix<'_>, bias: Option<&[f32]>, parts: usize) -> Result<Self, ShapeError> {
        if let Some(bias) = bias {
            check("the bias", bias.len(), a.rows)?;
        }
        let kernel = tile::Kernel::best();
        let pack = |tile: usize| {
            let first = tile * kernel.rows;
            Rows::new(&a, bias, first..a.rows.min(first + kernel.rows), kernel.rows)
        };
        let tiles = a.rows.div_ceil(kernel.rows);
        Ok(Self { rows: a.rows, depth: a.columns, kernel, tiles: map(tiles, parts, pack) })
    }

    /// `a · b + bias` through the multiply-accumulate unit, on `parts` threads: `b` is `[k, n]` and `out` `[m, n]`. Products
    /// are added in the order of `k`; what is finite does not depend on it. Every result is computed by one thread alone.
    ///
    /// # Errors
    /// [`ShapeError`] if the operands don't match.
    pub fn times(
        &self,
        b: Matrix<'_>,
        out: &mut [f32],
        ties: Ties,
        parts: usize,
    ) -> Result<Saturation, ShapeError> {
        check("the depth", b.rows, self.depth)?;
        check("the output", out.len(), self.rows * b.columns)?;
        if out.is_empty() {
            return Ok(Saturation::default());
        }
        let panels = b.columns.div_ceil(PANEL);
        let pack = |panel: usize| Panel::new(&b, panel * PANEL);
        let panels = map(panels, parts, pack);
        let tiles = share(self.tiles.len(), parts);
        let saturated = AtomicU64::new(0);
        let shares = out.chunks_mut(tiles * self.kernel.rows * b.columns).zip(self.tiles.chunks(tiles));
        ferrane_team::each_of(shares, |_, (out, tiles)| {
            saturated.fetch_add(self.part(tiles, &panels, b.columns, out, ties), Ordering::Relaxed);
        });
        Ok(Saturation { results: out.len() as u64, saturated: saturated.into_inner() })
    }

    /// The rows of some tiles. Returns how many results saturated.
    fn part(&self, tiles: &[Rows], panels: &[Panel], columns: usize, out: &mut [f32], ties: Ties) -> u64 {
        // Rows that stay in the second-level cache while all panels pass.
        let block = ((1 << 17) / (self.depth.max(1) * self.kernel.rows)).max(1);
        let mut saturated = 0;
        for (tiles, out) in tiles.chunks(block).zip(out.chunks_mut(block * self.kernel.rows * columns)) {
            for (p, panel) in panels.iter().enumerate() {
                let width = PANEL.min(columns - p * PANEL);
                for (tile, rows) in tiles.iter().enumerate() {
                    let mut results = [[0.0; PANEL]; tile::MAX_ROWS];
                    self.kernel.run(rows, panel, ties, &mut results);
                    for (row, result) in results.iter().enumerate().take(rows.len) {
                        let at = (tile * self.kernel.rows + row) * columns + p * PANEL;
                        out[at..][..width].copy_from_slice(&result[..width]);
                        if is_any_infinite(&result[..width]) {
                            saturated += rows.saturated(row, panel, &result[..width]);
                        }
                    }
                }
            }
        }
        saturated
    }
}

/// What `f` gives for each item, by a team if there are several `parts`.
fn map<R: Send>(items: usize, parts: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    if parts > 1 { ferrane_team::map(0..items, |_, item| f(item)) } else { (0..items).map(f).collect() }
}

/// How many of `items` each of `parts` takes.
fn share(items: usize, parts: usize) -> usize {
    items.div_ceil(parts.max(1)).max(1)
}

pub(crate) fn check(what: &'static str, given: usize, wanted: usize) -> Result<(), ShapeError> {
    if given == wanted { Ok(()) } else { Err(ShapeError::Operand { what, given, wanted }) }
}

/// Products of int8 operands (W8A8): summed as integers, scaled at the end. A sum of 2³¹ or more is infinite; results
/// above 32768 are not.
///
/// `a` is `[m, k]` and `b` `[k, n]`, both packed row after row; `scale` multiplies every sum.
///
/// # Errors
/// [`ShapeError`] if the sizes don't match.
pub fn int8_gemm(
    (m, n, k): (usize, usize, usize),
    a: &[i8],
    b: &[i8],
    scale: f64,
    out: &mut [f32],
    ties: Ties,
) -> Result<Saturation, ShapeError> {
    check("the left operand", a.len(), m * k)?;
    check("the right operand", b.len(), k * n)?;
    check("the output", out.len(), m * n)?;
    let mut sums = vec![0i64; n];
    let mut saturated = 0;
    for (row, out) in out.chunks_exact_mut(n.max(1)).enumerate() {
        sums.fill(0);
        for (w, x) in a[row * k..][..k].iter().zip(b.chunks_exact(n.max(1))) {
            sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += i64::from(*w) * i64::from(*x));
        }
        for (y, sum) in out.iter_mut().zip(&sums) {
            let fits = sum.abs() < mac::LIMIT;
            *y = if fits {
                super::fp16::round(*sum as f64 * scale, ties)
            } else {
                f32::INFINITY.copysign(*sum as f32)
            };
            saturated += u64::from(y.is_infinite());
        }
    }
    Ok(Saturation { results: (m * n) as u64, saturated })
}

#[cfg(test)]
mod tests;
