//! What is computed along an axis, element after element: running sums, the index of an extreme, an order.

use std::{cmp::Ordering, ops::Range};

use crate::{
    graph::{AlongOp, Round},
    memory::{Access, Bases},
    plan::Planner,
    scratch::{TeamScratch, split},
    simd::round,
    view::View,
};

/// Neighbouring lanes that are walked together.
const LANES: usize = 16;
/// Elements below which a step is not worth another thread.
const PARALLEL: usize = 50_000;

/// An op on every lane of `x [outer, extent, inner]`.
#[derive(Clone, Debug)]
pub(crate) struct AlongStep {
    op: AlongOp,
    x: Access,
    to: Access,
    outer: usize,
    extent: usize,
    /// Extent of the result's axis.
    kept: usize,
    inner: usize,
    round: Round,
}

impl AlongStep {
    pub(crate) fn new(planner: &mut Planner, node: usize, op: AlongOp, x: &View) -> Self {
        Self {
            op,
            outer: x.shape[0],
            extent: x.shape[1],
            kept: planner.graph.nodes[node].shape[1],
            inner: x.shape[2],
            round: planner.graph.nodes[node].round,
            x: planner.access(x),
            to: planner.result(node),
        }
    }

    pub(crate) fn buffers(&self) -> [usize; 2] {
        [self.x.buffer, self.to.buffer]
    }

    /// Elements of scratch that an order takes: the indices that are sorted.
    pub(crate) fn scratch(&self) -> usize {
        if matches!(self.op, AlongOp::Sort { .. }) { self.extent } else { 0 }
    }

    pub(crate) fn run(&self, bases: &Bases, scratch: &TeamScratch) {
        let blocks = self.inner.div_ceil(LANES);
        let shared = self.outer * self.extent * self.inner >= PARALLEL;
        split(scratch, shared, self.outer * blocks, |range, scratch| {
            for item in range {
                let first = item % blocks * LANES;
                let lanes = Lanes {
                    step: self,
                    bases,
                    outer: item / blocks,
                    range: first..self.inner.min(first + LANES),
                };
                match self.op {
                    AlongOp::CumSum { exclusive, reverse } => lanes.sums(exclusive, reverse),
                    AlongOp::ArgMax => lanes.extreme(|x, best| x > best),
                    AlongOp::ArgMin => lanes.extreme(|x, best| x < best),
                    AlongOp::Sort { ascending } => {
                        lanes.order(ascending, &mut scratch.product[..self.extent]);
                    }
                }
            }
        });
    }
}

/// Neighbouring lanes.
struct Lanes<'a> {
    step: &'a AlongStep,
    bases: &'a Bases,
    outer: usize,
    range: Range<usize>,
}

impl Lanes<'_> {
    fn sums(&self, exclusive: bool, reverse: bool) {
        let mut sums = [0.0; LANES];
        for n in 0..self.step.extent {
            let i = if reverse { self.step.extent - 1 - n } else { n };
            for (lane, sum) in self.range.clone().zip(&mut sums) {
                let before = *sum;
                *sum += self.read(i, lane);
                self.write(i, lane, if exclusive { before } else { *sum });
            }
        }
    }

    /// The index of the first element that no other is `better` than; NaN is worse than all.
    fn extreme(&self, better: impl Fn(f32, f32) -> bool) {
        let mut best = [(f32::NAN, 0usize); LANES];
        for i in 0..self.step.extent {
            for (lane, best) in self.range.clone().zip(&mut best) {
                let x = self.read(i, lane);
                if better(x, best.0) || (best.0.is_nan() && !x.is_nan()) {
                    *best = (x, i);
                }
            }
        }
        for (lane, best) in self.range.clone().zip(&best) {
            self.write(0, lane, best.1 as f32);
        }
    }

    /// The indices of the first elements in order; of equal ones the first comes first, and NaN comes last.
    fn order(&self, ascending: bool, indices: &mut [f32]) {
        for lane in self.range.clone() {
            indices.iter_mut().enumerate().for_each(|(i, index)| *index = i as f32);
            indices.sort_unstable_by(|&i, &j| {
                let (x, y) = (self.read(i as usize, lane), self.read(j as usize, lane));
                let by_value = match (x.is_nan(), y.is_nan()) {
                    (false, false) if ascending => x.partial_cmp(&y).unwrap_or(Ordering::Equal),
                    (false, false) => y.partial_cmp(&x).unwrap_or(Ordering::Equal),
                    (x, y) => x.cmp(&y),
                };
                by_value.then(i.total_cmp(&j))
            });
            for (place, &index) in indices[..self.step.kept].iter().enumerate() {
                self.write(place, lane, index);
            }
        }
    }

    fn read(&self, i: usize, lane: usize) -> f32 {
        let at = self.at(&self.step.x, i, lane);
        #[allow(unsafe_code, reason = "the operand lies in memory shared between threads")]
        // SAFETY: the planner checked the operand against its buffer, and the place is within its extents.
        unsafe {
            *at
        }
    }

    fn write(&self, i: usize, lane: usize, value: f32) {
        let at = self.at(&self.step.to, i, lane);
        #[allow(unsafe_code, reason = "the result lies in memory shared between threads")]
        // SAFETY: the planner checked the result against its buffer, and each lane has one thread.
        unsafe {
            *at = round::scalar(self.step.round, value);
        }
    }

    fn at(&self, access: &Access, i: usize, lane: usize) -> *mut f32 {
        let along = self.outer * access.strides[0] + i * access.strides[1] + lane * access.strides[2];
        self.bases.at(access.buffer, access.offset + along)
    }
}
