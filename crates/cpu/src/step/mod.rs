//! Steps: what a plan is made of, each with its arguments resolved to memory.

pub(crate) mod conv;
mod emit;
pub(crate) mod gemm;
pub(crate) mod loops;
mod matvec;
pub(crate) mod reference;

use crate::{memory::Bases, simd::kernels::Run, team::Scratch};

/// One step of a plan.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Loop(loops::LoopStep),
    Gemm(gemm::GemmStep),
    Conv(conv::ConvStep),
    Reference(Box<reference::ReferenceStep>),
}

impl Step {
    /// Buffers the step touches.
    pub(crate) fn buffers(&self) -> Vec<usize> {
        match self {
            Step::Loop(step) => step.buffers().collect(),
            Step::Gemm(step) => step.buffers().to_vec(),
            Step::Conv(step) => step.buffers().to_vec(),
            Step::Reference(step) => step.buffers(),
        }
    }

    /// Runs the step.
    pub(crate) fn run(&self, bases: &Bases, scratch: &mut [Scratch], tile: Run) {
        match self {
            Step::Loop(step) => step.run(bases, scratch, tile),
            Step::Gemm(step) => step.run(bases, scratch, tile),
            Step::Conv(step) => step.run(bases, scratch),
            Step::Reference(step) => step.run(bases),
        }
    }
}
