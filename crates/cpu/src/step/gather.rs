//! Picking elements by indices that are only known when the function runs.

use crate::{
    graph::Round,
    memory::{Access, Bases},
    plan::Planner,
    scratch::{TeamScratch, split},
    simd::round,
    view::{View, elements},
};

/// Elements below which picking is not worth another thread.
const PARALLEL: usize = 50_000;

/// `y[b, o, j, i] = x[b, o, indices[b, o, j, i], i]`
#[derive(Clone, Debug)]
pub(crate) struct GatherStep {
    x: Access,
    indices: Access,
    to: Access,
    /// Extents of the result.
    shape: [usize; 4],
    /// Extent of the axis that is indexed.
    extent: usize,
    strict: bool,
    round: Round,
}

impl GatherStep {
    pub(crate) fn new(planner: &mut Planner, node: usize, x: &View, indices: &View, strict: bool) -> Self {
        let shape = &planner.graph.nodes[node].shape;
        Self {
            shape: [shape[0], shape[1], shape[2], shape[3]],
            round: planner.graph.nodes[node].round,
            extent: x.shape[2],
            x: planner.access(x),
            indices: planner.access(indices),
            to: planner.result(node),
            strict,
        }
    }

    pub(crate) fn buffers(&self) -> [usize; 3] {
        [self.x.buffer, self.indices.buffer, self.to.buffer]
    }

    pub(crate) fn run(&self, bases: &Bases, scratch: &TeamScratch) {
        let shared = elements(&self.shape) >= PARALLEL;
        let [_, outer, picks, _] = self.shape;
        split(scratch, shared, elements(&self.shape[..3]), |range, _| {
            for row in range {
                self.row(bases, row / picks / outer, row / picks % outer, row % picks);
            }
        });
    }

    /// The elements of one index, or of one for each.
    fn row(&self, bases: &Bases, b: usize, o: usize, j: usize) {
        let first = |access: &Access, j: usize| {
            access.offset + b * access.strides[0] + o * access.strides[1] + j * access.strides[2]
        };
        let (x, indices, to) = (first(&self.x, 0), first(&self.indices, j), first(&self.to, j));
        for i in 0..self.shape[3] {
            #[allow(unsafe_code, reason = "operands and result lie in memory shared between threads")]
            // SAFETY: the planner checked all three against their buffers, `place` is within the indexed axis, and each
            // element of the result has one writer.
            unsafe {
                let index = *bases.at(self.indices.buffer, indices + i * self.indices.strides[3]);
                let element = match self.place(index) {
                    Some(at) => *bases.at(self.x.buffer, x + at * self.x.strides[2] + i * self.x.strides[3]),
                    None => f32::NAN,
                };
                *bases.at(self.to.buffer, to + i * self.to.strides[3]) = round::scalar(self.round, element);
            }
        }
    }

    /// Where `index` points to.
    fn place(&self, index: f32) -> Option<usize> {
        let extent = self.extent as f32;
        let from_front = if index < 0.0 { index + extent } else { index };
        match (0.0..extent).contains(&from_front) {
            true => Some(from_front as usize),
            false if self.strict || self.extent == 0 => None,
            false => Some(if index < 0.0 { 0 } else { self.extent - 1 }),
        }
    }
}
