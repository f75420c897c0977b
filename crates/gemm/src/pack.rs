//! Right operands as products read them.

use std::ops::Range;

use crate::{Matrix, strip};

/// Elements that a packed matrix takes: whole strips.
pub fn packed_len(depth: usize, columns: usize) -> usize {
    columns.next_multiple_of(strip()) * depth
}

/// Packs some strips of `b [depth, columns]` to their places in `to`, which begins with strip 0. Columns that the last strip
/// has too many are 0.
///
/// # Safety
/// `b` must be readable, and `to` writable for [`packed_len`] elements, of which nothing else reads or writes those
/// of these strips meanwhile.
pub unsafe fn pack(b: Matrix, depth: usize, columns: usize, strips: Range<usize>, to: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { pack_strips(b, depth, columns, strips, strip(), to) }
}

/// Packs strips of `width` columns.
///
/// # Safety
/// As [`pack`].
pub(crate) unsafe fn pack_strips(
    b: Matrix,
    depth: usize,
    columns: usize,
    strips: Range<usize>,
    width: usize,
    to: *mut f32,
) {
    for first in strips.map(|index| index * width) {
        // SAFETY: the strip lies in what the caller lets be read and written.
        unsafe {
            let to = std::slice::from_raw_parts_mut(to.wrapping_add(first * depth), width * depth);
            let b = Matrix { at: b.at.wrapping_add(first * b.column), ..b };
            pack_strip(b, width.min(columns - first), width, to);
        }
    }
}

/// Packs the first `there` columns of `b` as a strip.
///
/// # Safety
/// `b` must be readable for as many rows as `to` has.
unsafe fn pack_strip(b: Matrix, there: usize, width: usize, to: &mut [f32]) {
    if there < width {
        to.fill(0.0);
    }
    if b.column == 1 {
        for (row, to) in to.chunks_exact_mut(width).enumerate() {
            // SAFETY: the caller's promise.
            let from = unsafe { std::slice::from_raw_parts(b.at.add(row * b.row), there) };
            copy(from, &mut to[..there]);
        }
        return;
    }
    // SAFETY: the caller's promise.
    let (rows, columns) = unsafe { pack_squares(b, there, width, to) };
    for (row, to) in to.chunks_exact_mut(width).enumerate() {
        let done = if row < rows { columns } else { 0 };
        for (column, to) in to[..there].iter_mut().enumerate().skip(done) {
            // SAFETY: the caller's promise.
            *to = unsafe { *b.at.add(row * b.row + column * b.column) };
        }
    }
}

/// Copies a row, a few numbers at a time: it is too short for a call.
fn copy(from: &[f32], to: &mut [f32]) {
    let ((from, rest), (to, to_rest)) = (from.as_chunks::<8>(), to.as_chunks_mut::<8>());
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    to_rest.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
}

/// Packs as much as registers can transpose; returns how many rows and columns that were.
///
/// # Safety
/// As [`pack_strip`].
unsafe fn pack_squares(b: Matrix, there: usize, width: usize, to: &mut [f32]) -> (usize, usize) {
    #[cfg(target_arch = "x86_64")]
    if b.row == 1 && std::arch::is_x86_feature_detected!("avx") {
        use crate::transpose::{SQUARE, transpose};
        let (rows, columns) = (to.len() / width / SQUARE * SQUARE, there / SQUARE * SQUARE);
        for row in (0..rows).step_by(SQUARE) {
            for column in (0..columns).step_by(SQUARE) {
                let to = to[row * width + column..].as_mut_ptr();
                // SAFETY: the caller's promise for `b`; the square lies in `to`; the processor has AVX.
                unsafe { transpose(b.at.add(row + column * b.column), b.column, to, width) };
            }
        }
        return (rows, columns);
    }
    let _ = (b, there, width, to);
    (0, 0)
}
