//! Steps: what a plan is made of, each with its arguments resolved to memory.

mod along;
mod emit;
mod foreign;
mod gather;
mod gemm;
mod lines;
pub(crate) mod loops;
mod matvec;
mod reference;

use crate::{
    arithmetic::Foreign, graph::Kind, memory::Bases, plan::Planner, scratch::TeamScratch, simd::kernels::Run,
};

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
    Lines(lines::LinesStep),
    Gather(gather::GatherStep),
    Along(along::AlongStep),
    Reference(Box<reference::ReferenceStep>),
}

impl Step {
    /// The step of a node that takes part in no loop.
    pub(crate) fn alone(planner: &mut Planner, node: usize) -> Self {
        match planner.graph.nodes[node].kind.clone() {
            Kind::Gemm { a, b, bias } => {
                Step::Gemm(gemm::GemmStep::new(planner, node, &a, &b, bias.as_ref()))
            }
            Kind::Lines { op, x, length, inner } => {
                Step::Lines(lines::LinesStep::new(planner, node, op, &x, (length, inner)))
            }
            Kind::Gather { x, indices, strict } => {
                Step::Gather(gather::GatherStep::new(planner, node, &x, &indices, strict))
            }
            Kind::Along { op, x } => Step::Along(along::AlongStep::new(planner, node, op, &x)),
            Kind::Reference { op, result, args } => {
                Step::Reference(Box::new(reference::ReferenceStep::new(planner, node, op, result, &args)))
            }
            kind => unreachable!("{kind:?} is part of a loop or of no work"),
        }
    }

    /// Buffers the step touches.
    pub(crate) fn buffers(&self) -> Vec<usize> {
        match self {
            Step::Loop(step) => step.buffers().collect(),
            Step::Gemm(step) => step.buffers(),
            Step::Lines(step) => step.buffers().to_vec(),
            Step::Gather(step) => step.buffers().to_vec(),
            Step::Along(step) => step.buffers().to_vec(),
            Step::Reference(step) => step.buffers(),
        }
    }

    /// Runs the step.
    pub(crate) fn run(&self, bases: &Bases, scratch: &TeamScratch, machine: Machine<'_>) {
        match self {
            Step::Loop(step) => step.run(bases, scratch, machine),
            Step::Gemm(step) => step.run(bases, scratch, machine),
            Step::Lines(step) => step.run(bases, scratch, machine),
            Step::Gather(step) => step.run(bases, scratch),
            Step::Along(step) => step.run(bases, scratch),
            Step::Reference(step) => step.run(bases, machine),
        }
    }
}
