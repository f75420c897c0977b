//! Products of fp32 matrices: `c = a · b` and `c += a · b`.
//!
//! A product reads its right operand in strips: [`strip`] columns, whose rows lie one after the other. Whoever needs a
//! product packs that operand, once for all products, parts of products and threads that read it; a result can be in strips,
//! too, and is then a packed operand of the next product. The left operand is read where it is, with any strides: weights,
//! which are larger than any cache, are taken from memory once and never copied.
//!
//! ```text
//!            strip 0        strip 1                 of a matrix of 2 rows, where a strip has 2 columns:
//! b [2, 4] = b00 b01 b10 b11 b02 b03 b12 b13
//! ```
//!
//! Each element of a result is summed up in one order, however the product is cut into rows and columns.
#![allow(
    unsafe_code,
    reason = "threads write parts of one matrix that slices cannot express, so products work on addresses"
)]

mod pack;
mod tile;
#[cfg(target_arch = "x86_64")]
mod transpose;

#[cfg(test)]
mod tests;

use pulp::Arch;

pub use pack::{pack, packed_len};

/// Vectors of a strip's row. Two of them give the processor enough independent sums, and share each element of the left
/// operand.
const VECTORS: usize = 2;

/// Columns of a strip on this machine: a small power of two.
pub fn strip() -> usize {
    struct Lanes;
    impl pulp::WithSimd for Lanes {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    Arch::new().dispatch(Lanes) * VECTORS
}

/// Where the elements of a matrix are: element (i, j) is `row · i + column · j` elements after the first.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    /// Its first element.
    pub at: *const f32,
    /// Distance of neighbouring rows.
    pub row: usize,
    /// Distance of neighbouring columns.
    pub column: usize,
}

/// A left operand.
#[derive(Clone, Copy, Debug)]
pub enum Left {
    /// Anywhere.
    Plain(Matrix),
    /// In strips, which are `next` elements apart.
    Strips {
        /// Its first element.
        at: *const f32,
        /// Distance of neighbouring strips.
        next: usize,
    },
}

/// Where a result goes: element (i, j) to `row · i + next · (j / strip) + j % strip` elements after the first.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its first element.
    pub at: *mut f32,
    /// Distance of neighbouring rows.
    pub row: usize,
    /// Distance of neighbouring strips: [`strip`] where rows are contiguous.
    pub next: usize,
}

/// What a product does with what its target held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Replaces it.
    Set,
    /// Adds to it.
    Add,
}

/// A product `a [rows, depth] · b [depth, columns]`.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// Rows of `a` and the result.
    pub rows: usize,
    /// Columns of `b` and the result.
    pub columns: usize,
    /// Columns of `a`, rows of `b`.
    pub depth: usize,
    /// The left operand.
    pub a: Left,
    /// The right operand, in strips.
    pub b: *const f32,
    /// Distance of neighbouring strips of `b`: at least `depth ·` [`strip`].
    pub b_next: usize,
    /// The result.
    pub c: Target,
    /// What to do with what is there.
    pub write: Write,
}

impl Product {
    /// Computes it, on the thread that calls.
    ///
    /// # Safety
    /// `a` must be readable for `rows × depth` elements and the strips of `b` for `depth` whole rows. `c` must be writable
    /// for `rows × columns` elements, initialised if they are added to, no two of which share a place, and which nothing
    /// else reads or writes meanwhile.
    pub unsafe fn compute(self) {
        Arch::new().dispatch(tile::Compute(self));
    }
}

/// Asks for the memory at an address to be brought near; any address will do.
#[inline(always)]
fn prefetch(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing, and every x86-64 has it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
