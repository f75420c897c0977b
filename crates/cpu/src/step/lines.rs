//! Reductions and softmax by an arithmetic, on whole lines of elements.

use std::slice;

use super::Machine;
use crate::{
    arithmetic::Strided,
    graph::LineOp,
    memory::Bases,
    plan::Planner,
    scratch::{TeamScratch, split},
    view::{View, elements},
};

/// Elements below which it is not worth another thread.
const PARALLEL: usize = 30_000;

/// `[outer, length, inner]`, dense, of which the middle axis is reduced or normalised.
#[derive(Clone, Debug)]
pub(crate) struct LinesStep {
    op: LineOp,
    /// Buffer and first element of operand and result.
    x: (usize, usize),
    to: (usize, usize),
    outer: usize,
    length: usize,
    inner: usize,
    site: usize,
}

impl LinesStep {
    pub(crate) fn new(
        planner: &mut Planner,
        node: usize,
        op: LineOp,
        x: &View,
        (length, inner): (usize, usize),
    ) -> Self {
        let (from, to) = (planner.access(x), planner.result(node));
        // Each line gives one result in place of its elements, or as many as it has.
        let results = match op {
            LineOp::Fold(_) => inner,
            LineOp::Softmax => length,
        };
        Self {
            op,
            x: (from.buffer, from.offset),
            to: (to.buffer, to.offset),
            outer: elements(&planner.graph.nodes[node].shape).checked_div(results).unwrap_or(0),
            length,
            inner,
            site: planner.graph.nodes[node].site,
        }
    }

    pub(crate) fn buffers(&self) -> [usize; 2] {
        [self.x.0, self.to.0]
    }

    pub(crate) fn run(&self, bases: &Bases, scratch: &TeamScratch, machine: Machine<'_>) {
        let Some(foreign) = machine.foreign else { return };
        let total = self.outer * self.length * self.inner;
        let shared = total >= PARALLEL;
        // Lines whose elements are neighbours are columns of one matrix.
        let (planes, columns) = if self.inner == 1 { (1, self.outer) } else { (self.outer, self.inner) };
        for plane in 0..planes {
            split(scratch, shared, columns, |range, _| {
                let first = plane * self.length * self.inner;
                let strided = match self.inner {
                    1 => (range.start * self.length, 1, self.length),
                    inner => (first + range.start, inner, 1),
                };
                let (at, row, column) = strided;
                let (rows, columns) = (self.length, range.len());
                let count =
                    if rows * columns == 0 { 0 } else { (rows - 1) * row + (columns - 1) * column + 1 };
                let written = match self.op {
                    LineOp::Fold(_) => plane * self.inner + range.start..plane * self.inner + range.end,
                    LineOp::Softmax => at..at + count,
                };
                #[allow(unsafe_code, reason = "steps work on addresses")]
                // SAFETY: the planner checked that operand and result lie in their buffers, dense. They share no memory, as
                // both are in use at this step, and each thread writes results of its own.
                let (data, y) = unsafe {
                    let data = slice::from_raw_parts(bases.at(self.x.0, self.x.1 + at), count);
                    let to = bases.at(self.to.0, self.to.1 + written.start);
                    (data, slice::from_raw_parts_mut(to, written.len()))
                };
                let x = Strided { data, rows, columns, row, column };
                foreign.count(
                    self.site,
                    match self.op {
                        LineOp::Fold(op) => foreign.arithmetic.fold(op, x, y),
                        LineOp::Softmax => foreign.arithmetic.softmax(data, self.length, y),
                    },
                );
            });
        }
    }
}
