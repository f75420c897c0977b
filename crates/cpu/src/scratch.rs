//! Splitting a step over the members of a team, each with working memory of its own.
//!
//! No result depends on where the cuts are or who takes which part: elements of maps are independent, and a reduced or
//! multiplied element is computed whole by one thread, in one order.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use crate::simd::kernels::Plane;

/// Parts a member: those who are done sooner take over some of the others'.
const PARTS: usize = 4;

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
    pub(crate) planes: Vec<Plane>,
}

#[allow(unsafe_code, reason = "planes hold addresses that only mean something during a step")]
// SAFETY: `planes` is refilled by every step before it is read; the rest is plain memory.
unsafe impl Send for Scratch {}

/// A scratch for each member of a team.
pub(crate) type TeamScratch = [Mutex<Scratch>];

/// Calls `f` with ranges that together are `0..items`, each with a scratch that no other call has at the time; in one call if
/// the step is not worth sharing out.
pub(crate) fn split(
    scratch: &TeamScratch,
    worth_sharing: bool,
    items: usize,
    f: impl Fn(Range<usize>, &mut Scratch) + Sync,
) {
    let of = |member: usize| scratch[member].lock().unwrap_or_else(PoisonError::into_inner);
    if !worth_sharing || scratch.len() == 1 {
        return f(0..items, &mut of(0));
    }
    let parts = (scratch.len() * PARTS).min(items);
    ferrane_team::each(parts, |member, part| {
        let range = items * part / parts..items * (part + 1) / parts;
        // A team can have more members than this function was compiled for.
        f(range, &mut of(member % scratch.len()));
    });
}
