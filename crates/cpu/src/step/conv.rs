//! General convolutions, computed directly. Pointwise ones are matrix products and never come here.

use ferrane_mil::infer::linear::ConvGeometry;

use crate::{
    graph::{Kind, Round},
    memory::{Access, Bases},
    plan::Planner,
    simd::round,
    team::{self, Scratch},
    view::{elements, row_major},
};

/// A convolution `x [N, C, *S]`, `weight [O, C/g, *K]` → `[N, O, *S']`.
#[derive(Clone, Debug)]
pub(crate) struct ConvStep {
    x: Access,
    weight: Access,
    to: Access,
    geometry: ConvGeometry,
    /// Extents of the input, the weight and the result.
    input: Vec<usize>,
    kernel: Vec<usize>,
    shape: Vec<usize>,
    round: Round,
}

impl ConvStep {
    pub(crate) fn new(planner: &mut Planner, node: usize) -> Self {
        let Kind::Conv { x, weight, geometry } = planner.graph.nodes[node].kind.clone() else {
            unreachable!("only convolutions are planned as convolutions")
        };
        Self {
            shape: planner.graph.nodes[node].shape.clone(),
            round: planner.graph.nodes[node].round,
            to: planner.result(node),
            input: x.shape.clone(),
            kernel: weight.shape.clone(),
            x: planner.access(&x),
            weight: planner.access(&weight),
            geometry,
        }
    }

    pub(crate) fn buffers(&self) -> [usize; 3] {
        [self.x.buffer, self.weight.buffer, self.to.buffer]
    }

    pub(crate) fn run(&self, bases: &Bases, scratch: &mut [Scratch]) {
        let parts = scratch.len();
        team::split(scratch, parts, elements(&self.shape), &|range, _| {
            let dense = row_major(&self.shape);
            for element in range {
                let index = |axis: usize| element / dense[axis] % self.shape[axis];
                let to = (0..self.shape.len()).map(|d| index(d) * self.to.strides[d]).sum::<usize>();
                let value = round::scalar(self.round, self.element(bases, &index));
                let to = bases.at(self.to.buffer, self.to.offset + to);
                #[allow(unsafe_code, reason = "the result lies in memory shared between threads")]
                // SAFETY: the planner checked the result against its buffer, and each element has one writer.
                unsafe {
                    *to = value;
                }
            }
        });
    }

    /// The element of the result at `index`.
    fn element(&self, bases: &Bases, index: &dyn Fn(usize) -> usize) -> f32 {
        let inner = self.kernel[1];
        let group = index(1) / (self.shape[1] / self.geometry.groups);
        let window = row_major(&self.kernel[2..]);
        let mut sum = 0.0;
        for tap in 0..elements(&self.kernel[2..]) {
            let mut x = self.x.offset + index(0) * self.x.strides[0] + group * inner * self.x.strides[1];
            let mut w = self.weight.offset + index(1) * self.weight.strides[0];
            let inside = (0..window.len()).all(|d| {
                let k = tap / window[d] % self.kernel[2 + d];
                let at = index(2 + d) * self.geometry.strides[d] + k * self.geometry.dilations[d];
                let Some(at) = at.checked_sub(self.geometry.pad_before[d]) else { return false };
                x += at * self.x.strides[2 + d];
                w += k * self.weight.strides[2 + d];
                at < self.input[2 + d]
            });
            if !inside {
                continue;
            }
            for c in 0..inner {
                let x = bases.at(self.x.buffer, x + c * self.x.strides[1]);
                let w = bases.at(self.weight.buffer, w + c * self.weight.strides[1]);
                #[allow(unsafe_code, reason = "operands lie in memory shared between threads")]
                // SAFETY: the planner checked both operands against their buffers, and the indices are inside them.
                unsafe {
                    sum += *x * *w;
                }
            }
        }
        sum
    }
}
