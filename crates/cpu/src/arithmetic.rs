//! Results by another arithmetic than this machine's.
//!
//! An engine whose hardware computes otherwise hands the executor its [`Arithmetic`]; it then computes every fp16 result,
//! elements in and out being `f32` that hold fp16 values. Moving elements, planning and threads stay the executor's. An op
//! without a kernel of its own is computed in double precision and only rounded by the arithmetic.

use std::{
    fmt::Debug,
    sync::atomic::{AtomicU64, Ordering},
};

pub use crate::graph::MapOp;

/// How an engine computes fp16 results. Every method returns how many results became infinite though their operands were
/// finite. Elements must not depend on how a tensor was cut into calls, nor sums on `parts`.
pub trait Arithmetic: Debug + Send + Sync {
    /// Rounds results that were computed wide, in place. Those that are infinite afterwards count.
    fn round(&self, values: &mut [f32]) -> u64;

    /// `y[i] = op(x[i])`; the slices are equally long.
    fn map1(&self, op: MapOp, x: &[f32], y: &mut [f32]) -> u64;

    /// `y[i] = op(a[i], b[i])`.
    fn map2(&self, op: MapOp, a: Term<'_>, b: Term<'_>, y: &mut [f32]) -> u64;

    /// Reduces the rows of `x` to one number a column.
    fn fold(&self, op: Fold, x: Strided<'_>, y: &mut [f32]) -> u64;

    /// Softmax of each row of `length` numbers.
    fn softmax(&self, x: &[f32], length: usize, y: &mut [f32]) -> u64;

    /// Prepares the left-hand operand of products, on `parts` threads. `bias` has one number a row.
    fn left(&self, a: Strided<'_>, bias: Option<&[f32]>, parts: usize) -> Box<dyn Left>;
}

/// A left-hand operand, prepared once for any number of products.
pub trait Left: Debug + Send + Sync {
    /// `y = self·b + bias`, on `parts` threads; rows of `y` lie one after the other.
    fn times(&self, b: Strided<'_>, y: &mut [f32], parts: usize) -> u64;
}

/// An operand of an elementwise op.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Term<'a> {
    /// One number for each result.
    Each(&'a [f32]),
    /// The same for all.
    One(f32),
}

/// A matrix in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strided<'a> {
    /// From its first element to its last.
    pub data: &'a [f32],
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Distance between rows.
    pub row: usize,
    /// Distance between columns.
    pub column: usize,
}

/// Reductions of an [`Arithmetic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "MIL's names")]
pub enum Fold {
    Sum,
    Mean,
    Max,
    Min,
}

/// An arithmetic at work, with the counts of saturated results of each op.
#[derive(Clone, Copy)]
pub(crate) struct Foreign<'a> {
    pub(crate) arithmetic: &'a dyn Arithmetic,
    saturated: &'a [AtomicU64],
}

impl<'a> Foreign<'a> {
    pub(crate) fn new(arithmetic: &'a dyn Arithmetic, saturated: &'a [AtomicU64]) -> Self {
        Self { arithmetic, saturated }
    }

    /// Counts saturated results of an op. Sums of counts do not depend on the order of threads.
    pub(crate) fn count(&self, site: usize, saturated: u64) {
        if saturated > 0
            && let Some(count) = self.saturated.get(site)
        {
            count.fetch_add(saturated, Ordering::Relaxed);
        }
    }
}
