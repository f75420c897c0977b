//! Splitting a step over threads.
//!
//! Parts are fixed ranges, one a thread. No result depends on where the cuts are: elements of maps are independent, and
//! a reduced or multiplied element is computed whole by one thread, in one order.

use std::ops::Range;

/// Working memory of one thread.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Registers of loops.
    pub(crate) registers: Vec<f32>,
    /// Row registers of loops.
    pub(crate) row_registers: Vec<f32>,
    /// Accumulator of reductions.
    pub(crate) accumulator: Vec<f32>,
    /// A product before it is turned.
    pub(crate) product: Vec<f32>,
    /// Operands of loops at the tile at hand.
    pub(crate) planes: Vec<crate::simd::kernels::Plane>,
}

#[allow(unsafe_code, reason = "planes hold addresses that only mean something during a step")]
// SAFETY: `planes` is refilled by every step before it is read; the rest is plain memory.
unsafe impl Send for Scratch {}

/// Calls `f` with each of `parts` ranges that cover `0..items`, in parallel, and a scratch each.
pub(crate) fn split(
    scratch: &mut [Scratch],
    parts: usize,
    items: usize,
    f: &(dyn Fn(Range<usize>, &mut Scratch) + Sync),
) {
    let parts = parts.min(items).clamp(1, scratch.len());
    part(&mut scratch[..parts], 0, parts, items, f);
}

/// Parts `first..first + scratch.len()` of `parts`.
fn part(
    scratch: &mut [Scratch],
    first: usize,
    parts: usize,
    items: usize,
    f: &(dyn Fn(Range<usize>, &mut Scratch) + Sync),
) {
    match scratch {
        [] => {}
        [one] => f(items * first / parts..items * (first + 1) / parts, one),
        many => {
            let middle = many.len() / 2;
            let (left, right) = many.split_at_mut(middle);
            rayon::join(
                || part(left, first, parts, items, f),
                || part(right, first + middle, parts, items, f),
            );
        }
    }
}
