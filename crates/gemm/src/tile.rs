//! Tiles: as many rows and columns of a result as the registers hold sums of.

use pulp::{Simd, WithSimd};

use crate::{Left, Matrix, Product, Target, VECTORS, Write, prefetch};

/// Most of the depth that is summed up at a time: the rows of `a` and a strip of `b` then stay near.
const DEPTH: usize = 768;

/// Rows of `a` that share a pointer: an address can hold one or two strides beside it, so that the rows of a tile take few
/// registers.
const STEP: usize = 3;

/// Computes a product.
pub(crate) struct Compute(pub(crate) Product);

impl WithSimd for Compute {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Beside the sums of a tile, registers hold a row of the strip and an element of `a`.
        // SAFETY: the caller of the product promised what `by_depth` asks for.
        unsafe {
            match S::REGISTER_COUNT {
                32.. => by_depth::<S, 4, 12>(simd, self.0),
                _ => by_depth::<S, 2, 6>(simd, self.0),
            }
        }
    }
}

/// The product, summed up in parts of the depth, by tiles of `ROWS = GROUPS · STEP` rows.
///
/// # Safety
/// As [`Product::compute`].
#[inline(always)]
unsafe fn by_depth<S: Simd, const GROUPS: usize, const ROWS: usize>(simd: S, product: Product) {
    let strip = VECTORS * S::F32_LANES;
    let parts = product.depth.div_ceil(DEPTH).max(1);
    // Whole strips, for `a` can be in strips, too.
    let most = product.depth.div_ceil(parts).next_multiple_of(strip).max(1);
    let mut part = product;
    for begin in (0..product.depth.max(1)).step_by(most) {
        part.depth = most.min(product.depth - begin);
        part.a = match product.a {
            Left::Plain(a) => Left::Plain(Matrix { at: a.at.wrapping_add(begin * a.column), ..a }),
            Left::Strips { at, next } => Left::Strips { at: at.wrapping_add(begin / strip * next), next },
        };
        part.b = product.b.wrapping_add(begin * strip);
        // SAFETY: the caller's promise holds for every part.
        unsafe { by_rows::<S, GROUPS, ROWS>(simd, part) };
        part.write = Write::Add;
    }
}

/// The product tile by tile: each row of tiles takes its rows of `a` from memory once.
///
/// # Safety
/// As [`Product::compute`].
#[inline(always)]
unsafe fn by_rows<S: Simd, const GROUPS: usize, const ROWS: usize>(simd: S, product: Product) {
    let strip = VECTORS * S::F32_LANES;
    let Product { rows, columns, depth, .. } = product;
    for first in (0..rows).step_by(ROWS) {
        let a = match product.a {
            Left::Plain(a) => Rows {
                at: a.at.wrapping_add(first * a.row),
                row: a.row,
                column: a.column,
                block: depth,
                next: 0,
            },
            Left::Strips { at, next } => {
                Rows { at: at.wrapping_add(first * strip), row: strip, column: 1, block: strip, next }
            }
        };
        for index in 0..columns.div_ceil(strip) {
            let b = product.b.wrapping_add(index * product.b_next);
            let c = product.c.at.wrapping_add(first * product.c.row + index * product.c.next);
            let c = Target { at: c, ..product.c };
            let width = strip.min(columns - index * strip);
            let tile = Tile { simd, depth, a, b, c, width, write: product.write };
            // SAFETY: the caller's promise; the tile lies within the product.
            unsafe {
                match width > S::F32_LANES {
                    true => tile.of_height::<GROUPS, ROWS, 2>(rows - first),
                    false => tile.of_height::<GROUPS, ROWS, 1>(rows - first),
                }
            }
        }
    }
}

/// Rows of `a`, `row` apart. The elements of one are `column` apart in blocks of `block`, which begin `next` apart.
#[derive(Clone, Copy)]
struct Rows {
    at: *const f32,
    row: usize,
    column: usize,
    block: usize,
    next: usize,
}

/// A tile of a result.
struct Tile<S> {
    simd: S,
    depth: usize,
    a: Rows,
    b: *const f32,
    c: Target,
    /// Columns that are wanted.
    width: usize,
    write: Write,
}

impl<S: Simd> Tile<S> {
    /// Computes as many of `rows` rows as a tile has; `VECTORS` vectors hold the columns that are wanted.
    ///
    /// # Safety
    /// As [`Product::compute`], for the tile.
    #[inline(always)]
    unsafe fn of_height<const GROUPS: usize, const ROWS: usize, const VECTORS: usize>(self, rows: usize) {
        let transposed = self.a.row == 1;
        macro_rules! lower_than_a_tile {
            ($($rows:literal)*) => {
                match rows {
                    $($rows => self.compute::<1, $rows, VECTORS>(self.a.row),)*
                    // Neighbours in one address, without a stride.
                    _ if transposed => self.compute::<1, ROWS, VECTORS>(1),
                    _ => self.compute::<GROUPS, STEP, VECTORS>(self.a.row),
                }
            };
        }
        // SAFETY: the caller's promise.
        unsafe {
            match ROWS {
                12 => lower_than_a_tile!(1 2 3 4 5 6 7 8 9 10 11),
                _ => lower_than_a_tile!(1 2 3 4 5),
            }
        }
    }

    /// Computes `GROUPS · STEP` rows, whose elements in `a` are `row` apart.
    ///
    /// Loops have fixed extents and are nested as they are so that the compiler unrolls them and keeps the sums in registers.
    ///
    /// # Safety
    /// As [`Product::compute`], for these rows.
    #[inline(always)]
    unsafe fn compute<const GROUPS: usize, const STEP: usize, const VECTORS: usize>(&self, row: usize) {
        let Self { simd, depth, a, b, c, width, write } = *self;
        let lanes = S::F32_LANES;
        let mut sums = [[[simd.splat_f32s(0.0); VECTORS]; STEP]; GROUPS];
        // SAFETY: the caller's promise: every address read is of an element of these rows or of a whole row of the strip,
        // every address written of an element of the tile.
        unsafe {
            for i in 0..GROUPS * STEP {
                for v in 0..VECTORS {
                    prefetch(c.at.wrapping_add(i * c.row + v * lanes));
                }
            }
            let (mut b, mut begin, mut left) = (b, a.at, depth);
            while left > 0 {
                let block = a.block.min(left);
                let mut at = [begin; GROUPS];
                for (group, at) in at.iter_mut().enumerate() {
                    *at = begin.wrapping_add(group * STEP * row);
                }
                for _ in 0..block {
                    let mut b_row = [simd.splat_f32s(0.0); VECTORS];
                    for (v, b_row) in b_row.iter_mut().enumerate() {
                        *b_row = *b.add(v * lanes).cast();
                    }
                    for (at, sums) in at.iter_mut().zip(&mut sums) {
                        for (i, sums) in sums.iter_mut().enumerate() {
                            let element = simd.splat_f32s(*at.add(i * row));
                            for (sum, &b) in sums.iter_mut().zip(&b_row) {
                                *sum = simd.mul_add_f32s(element, b, *sum);
                            }
                        }
                        *at = at.wrapping_add(a.column);
                    }
                    b = b.wrapping_add(crate::VECTORS * lanes);
                }
                begin = begin.wrapping_add(a.next);
                left -= block;
            }
            if width == VECTORS * lanes {
                for group in 0..GROUPS {
                    for i in 0..STEP {
                        for v in 0..VECTORS {
                            let to =
                                c.at.wrapping_add((group * STEP + i) * c.row + v * lanes).cast::<S::f32s>();
                            let sums = sums[group][i][v];
                            *to = if write == Write::Add { simd.add_f32s(*to, sums) } else { sums };
                        }
                    }
                }
            } else {
                let row = VECTORS * lanes;
                let sums = sums;
                store_columns(
                    pulp::bytemuck::cast_slice(sums.as_flattened().as_flattened()),
                    c,
                    width,
                    row,
                    write,
                );
            }
        }
    }
}

/// Puts the first `width` columns of a tile in their places.
///
/// # Safety
/// `c` must be valid for what `write` does, for these columns of the tile.
#[cold]
unsafe fn store_columns(sums: &[f32], c: Target, width: usize, row: usize, write: Write) {
    for (i, sums) in sums.chunks_exact(row).enumerate() {
        for (j, &sum) in sums[..width].iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                let to = c.at.add(i * c.row + j);
                *to = if write == Write::Add { *to + sum } else { sum };
            }
        }
    }
}
