//! Ops without a kernel of their own, computed by the reference interpreter: right, but slow. Unlike other steps they
//! allocate while they run, and run on one thread.

use std::sync::Arc;

use ferrane_mil::interp::SingleOp;

use crate::{
    graph::Round,
    memory::{Access, Bases},
    plan::Planner,
    simd::round,
    step::Machine,
    view::{View, elements, row_major},
};

/// One result of an op.
#[derive(Clone, Debug)]
pub(crate) struct ReferenceStep {
    op: Arc<SingleOp>,
    result: usize,
    /// Operands and their extents.
    args: Vec<(Access, Vec<usize>)>,
    to: Access,
    shape: Vec<usize>,
    round: Round,
    site: usize,
}

impl ReferenceStep {
    pub(crate) fn new(
        planner: &mut Planner,
        node: usize,
        op: Arc<SingleOp>,
        result: usize,
        args: &[View],
    ) -> Self {
        Self {
            shape: planner.graph.nodes[node].shape.clone(),
            round: planner.graph.nodes[node].round,
            site: planner.graph.nodes[node].site,
            args: args.iter().map(|v| (planner.access(v), v.shape.clone())).collect(),
            to: planner.result(node),
            op,
            result,
        }
    }

    pub(crate) fn buffers(&self) -> Vec<usize> {
        self.args.iter().map(|(access, _)| access.buffer).chain([self.to.buffer]).collect()
    }

    pub(crate) fn run(&self, bases: &Bases, machine: Machine<'_>) {
        let read = |(access, shape): &(Access, Vec<usize>)| {
            let mut data = Vec::with_capacity(elements(shape));
            for_each_offset(access, shape, |offset| {
                #[allow(unsafe_code, reason = "operands lie in memory shared between threads")]
                // SAFETY: the planner checked the operand against its buffer; no other step runs meanwhile.
                data.push(f64::from(unsafe { *bases.at(access.buffer, offset) }));
            });
            data
        };
        let args: Vec<Vec<f64>> = self.args.iter().map(read).collect();
        let finite = args.iter().flatten().all(|x| x.is_finite());
        let results = self.op.compute(args, false);
        // The only errors left after verification are indices the program itself asked to be validated: what they would
        // have picked is not a number.
        let tensor =
            results.ok().and_then(|mut all| (self.result < all.len()).then(|| all.swap_remove(self.result)));
        let mut data: Vec<f32> =
            tensor.map_or_else(Vec::new, |t| t.data).into_iter().map(|x| x as f32).collect();
        match machine.foreign.filter(|_| self.round == Round::Foreign) {
            Some(foreign) => {
                let infinite = foreign.arithmetic.round(&mut data);
                foreign.count(self.site, if finite { infinite } else { 0 });
            }
            None => data.iter_mut().for_each(|x| *x = round::scalar(self.round, *x)),
        }
        let mut data = data.into_iter();
        for_each_offset(&self.to, &self.shape, |offset| {
            let value = data.next().unwrap_or(f32::NAN);
            #[allow(unsafe_code, reason = "the result lies in memory shared between threads")]
            // SAFETY: the planner checked the result against its buffer; no other step runs meanwhile.
            unsafe {
                *bases.at(self.to.buffer, offset) = value;
            }
        });
    }
}

/// Calls `f` with the place of every element of a tensor of `shape`, in row-major order.
fn for_each_offset(access: &Access, shape: &[usize], mut f: impl FnMut(usize)) {
    let dense = row_major(shape);
    for element in 0..elements(shape) {
        let along = (0..shape.len()).map(|d| element / dense[d] % shape[d] * access.strides[d]);
        f(access.offset + along.sum::<usize>());
    }
}
