//! Steps: what a plan is made of, each with its arguments resolved to memory.

pub(crate) mod conv;
mod emit;
mod foreign;
pub(crate) mod gemm;
pub(crate) mod lines;
pub(crate) mod loops;
mod matvec;
pub(crate) mod reference;

use crate::{arithmetic::Foreign, memory::Bases, simd::kernels::Run, team::Scratch};

/// What computes: the tile interpreter, and an arithmetic in its place where there is one.
#[derive(Clone, Copy)]
pub(crate) struct Machine<'a> {
    pub(crate) tile: Run,
    pub(crate) foreign: Option<Foreign<'a>>,
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Loop(loops::LoopStep),
    Gemm(gemm::GemmStep),
    Conv(conv::ConvStep),
    Lines(lines::LinesStep),
    Reference(Box<reference::ReferenceStep>),
}

impl Step {
    /// Buffers the step touches.
    pub(crate) fn buffers(&self) -> Vec<usize> {
        match self {
            Step::Loop(step) => step.buffers().collect(),
            Step::Gemm(step) => step.buffers(),
            Step::Lines(step) => step.buffers().to_vec(),
            Step::Conv(step) => step.buffers().to_vec(),
            Step::Reference(step) => step.buffers(),
        }
    }

    /// Runs the step.
    pub(crate) fn run(&self, bases: &Bases, scratch: &mut [Scratch], machine: Machine<'_>) {
        match self {
            Step::Loop(step) => step.run(bases, scratch, machine),
            Step::Gemm(step) => step.run(bases, scratch, machine),
            Step::Conv(step) => step.run(bases, scratch),
            Step::Lines(step) => step.run(bases, scratch, machine),
            Step::Reference(step) => step.run(bases, machine),
        }
    }
}
