//! Ops that compute, in terms of maps, reductions and matrix products.

use std::sync::Arc;

use ferrane_mil::{
    CallError, Opcode,
    interp::{SingleOp, Tensor},
};

use super::{Lower, Site};
use crate::{
    CompileError, Numerics,
    graph::{Kind, MapOp, ReduceOp, Round},
    view::View,
};

impl Lower<'_> {
    /// The result of an op that computes.
    pub(super) fn compute(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        if site.round == Round::Foreign && !is_arithmetic(site.call.code()) {
            return self.reference(site, 0);
        }
        let composed = [
            Self::elementwise,
            Self::norm,
            Self::index,
            Self::along,
            Self::image,
            Self::rearrange,
            Self::quantization,
        ];
        for compose in composed {
            if let Some(view) = compose(self, site)? {
                return Ok(view);
            }
        }
        match site.call.code() {
            Opcode::Softmax => self.softmax(site),
            Opcode::ScaledDotProductAttention => self.attention(site),
            Opcode::Matmul => self.matmul(site),
            Opcode::Linear => self.linear(site),
            Opcode::Einsum => self.einsum(site),
            Opcode::Conv => self.conv(site),
            Opcode::ConvTranspose => self.conv_transpose(site),
            Opcode::AvgPool | Opcode::L2Pool | Opcode::MaxPool => self.pool(site),
            Opcode::ReduceL1Norm
            | Opcode::ReduceL2Norm
            | Opcode::ReduceLogSum
            | Opcode::ReduceLogSumExp
            | Opcode::ReduceMax
            | Opcode::ReduceMean
            | Opcode::ReduceMin
            | Opcode::ReduceProd
            | Opcode::ReduceSum
            | Opcode::ReduceSumSquare => self.reduction(site),
            _ => self.reference(site, 0),
        }
    }

    /// Compressed weights, decoded here and now: a mask that does not suit its elements is an error of the program.
    pub(super) fn decoded(&mut self, site: Site<'_>) -> Result<Vec<View>, CompileError> {
        let single = single_op(site)?;
        let mut operands = Vec::with_capacity(single.operands().len());
        for operand in single.operands() {
            let view = self.operand(operand, site)?;
            match &self.graph.nodes[view.node].kind {
                Kind::Const(data) => operands.push(data.iter().map(|&x| f64::from(x)).collect()),
                _ => return Err(site.unsupported("an operand that is not constant")),
            }
        }
        let round = !matches!(self.numerics, Numerics::F32);
        let results = single.compute(operands, round);
        let results = results.map_err(|source| CompileError::Decode { value: site.value.into(), source })?;
        let constant = |tensor: Tensor| {
            let data = tensor.data.into_iter().map(|x| x as f32).collect();
            self.graph.push(&tensor.shape, Kind::Const(data), Round::Keep)
        };
        Ok(results.into_iter().map(constant).collect())
    }

    /// Result `result` of an op without a kernel.
    pub(super) fn reference(&mut self, site: Site<'_>, result: usize) -> Result<View, CompileError> {
        let op = site.call.code();
        let single = single_op(site)?;
        let args = single.operands().iter().map(|o| self.operand(o, site)).collect::<Result<Vec<_>, _>>()?;
        let missing = || CompileError::NoKernel { op, value: site.value.into() };
        let ty = single.results().get(result).ok_or_else(missing)?.clone();
        let round = Round::of(self.numerics, ty.dtype);
        let kind = Kind::Reference { op: Arc::new(single), result, args };
        Ok(self.graph.push(&ty.shape, kind, round))
    }

    fn reduction(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let x = self.arg("x", site)?;
        let axes = site.get(site.call.reduced_axes(x.shape.len()))?;
        let result = self.result_shape(site)?;
        if site.round == Round::Foreign {
            let kept = self.folded(site.call.code(), &x, &axes);
            return Ok(self.graph.reshape(&kept, result));
        }
        let (shape, round) = (x.shape.clone(), site.round);
        let g = &mut self.graph;
        let kept = match site.call.code() {
            Opcode::ReduceMax => g.reduce(ReduceOp::Max, &x, &axes, round),
            Opcode::ReduceMin => g.reduce(ReduceOp::Min, &x, &axes, round),
            Opcode::ReduceSum => g.reduce(ReduceOp::Sum, &x, &axes, round),
            Opcode::ReduceProd => g.reduce(ReduceOp::Prod, &x, &axes, round),
            Opcode::ReduceLogSum => {
                let sum = g.reduce(ReduceOp::Sum, &x, &axes, Round::Keep);
                g.map(MapOp::Log(0.0), &sum.shape, &[&sum], round)
            }
            Opcode::ReduceMean => {
                let sum = g.reduce(ReduceOp::Sum, &x, &axes, Round::Keep);
                let count: usize = axes.iter().map(|&a| shape[a]).product();
                let count = g.scalar(count as f32);
                g.map(MapOp::Div, &sum.shape, &[&sum, &count], round)
            }
            Opcode::ReduceL1Norm => {
                let abs = g.map(MapOp::Abs, &shape, &[&x], Round::Keep);
                g.reduce(ReduceOp::Sum, &abs, &axes, round)
            }
            Opcode::ReduceLogSumExp => {
                let max = g.reduce(ReduceOp::Max, &x, &axes, Round::Keep);
                let shifted = g.map(MapOp::Sub, &shape, &[&x, &max], Round::Keep);
                let exp = g.map(MapOp::Exp, &shape, &[&shifted], Round::Keep);
                let sum = g.reduce(ReduceOp::Sum, &exp, &axes, Round::Keep);
                let log = g.map(MapOp::Log(0.0), &sum.shape, &[&sum], Round::Keep);
                g.map(MapOp::Add, &sum.shape, &[&log, &max], round)
            }
            code => {
                let root = code == Opcode::ReduceL2Norm;
                let square = g.map(MapOp::Square, &shape, &[&x], Round::Keep);
                let sum = g.reduce(ReduceOp::Sum, &square, &axes, if root { Round::Keep } else { round });
                if root { g.map(MapOp::Sqrt, &sum.shape, &[&sum], round) } else { sum }
            }
        };
        Ok(g.reshape(&kept, result))
    }
}

/// Whether an arithmetic computes the op, alone or in the parts it is lowered to; it only rounds results of others.
fn is_arithmetic(op: Opcode) -> bool {
    use Opcode::*;
    matches!(
        op,
        Abs | Ceil
            | Cos
            | Erf
            | Exp
            | Exp2
            | Floor
            | Inverse
            | Log
            | Round
            | Rsqrt
            | Sign
            | Sin
            | Softplus
            | Softsign
            | Sqrt
            | Square
            | Tanh
            | Relu
            | Sigmoid
            | Silu
            | Gelu
            | Cast
            | Add
            | Sub
            | Mul
            | RealDiv
            | Maximum
            | Minimum
            | Pow
            | Select
            | Softmax
            | Linear
            | Matmul
            | Conv
            | ReduceL1Norm
            | ReduceL2Norm
            | ReduceLogSumExp
            | ReduceMax
            | ReduceMean
            | ReduceMin
            | ReduceSum
            | ReduceSumSquare
            | Gather
            | GatherAlongAxis
            | SliceByIndex
            | Reverse
            | ReverseSequence
            | BandPart
            | SliceUpdate
            | SpaceToBatch
            | BatchToSpace
    )
}

/// The op of `site` for the reference interpreter.
fn single_op(site: Site<'_>) -> Result<SingleOp, CompileError> {
    SingleOp::new(site.call).map_err(|e| match e {
        CallError::ParsedOnly(op) => CompileError::NoKernel { op, value: site.value.into() },
        source => site.error(source),
    })
}
