//! Ops that compute, in terms of maps, reductions and matrix products.

use std::sync::Arc;

use ferrane_mil::{
    CallError, DType, Opcode,
    infer::{broadcast, linear::ConvGeometry},
    interp::SingleOp,
};

use super::{Lower, Site};
use crate::{
    CompileError,
    graph::{Kind, MapOp, ReduceOp, Round},
    view::{View, elements},
};

impl Lower<'_> {
    /// The result of an op that computes.
    pub(super) fn compute(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        match site.call.code() {
            Opcode::Abs => self.unary(MapOp::Abs, site),
            Opcode::Cos => self.unary(MapOp::Cos, site),
            Opcode::Erf => self.unary(MapOp::Erf, site),
            Opcode::Exp => self.unary(MapOp::Exp, site),
            Opcode::Exp2 => self.unary(MapOp::Exp2, site),
            Opcode::Inverse => self.unary(MapOp::Inverse(site.float("epsilon")?), site),
            Opcode::Log => self.unary(MapOp::Log(site.float("epsilon")?), site),
            Opcode::Rsqrt => self.unary(MapOp::Rsqrt(site.float("epsilon")?), site),
            Opcode::Sin => self.unary(MapOp::Sin, site),
            Opcode::Sqrt => self.unary(MapOp::Sqrt, site),
            Opcode::Square => self.unary(MapOp::Square, site),
            Opcode::Tanh => self.unary(MapOp::Tanh, site),
            Opcode::Relu => self.unary(MapOp::Relu, site),
            Opcode::Sigmoid => self.unary(MapOp::Sigmoid, site),
            Opcode::Silu => self.unary(MapOp::Silu, site),
            Opcode::Gelu => match site.need("mode", site.call.string("mode"))? {
                "EXACT" => self.unary(MapOp::Gelu, site),
                "TANH_APPROXIMATION" => self.unary(MapOp::GeluTanh, site),
                "SIGMOID_APPROXIMATION" => self.unary(MapOp::GeluSigmoid, site),
                other => Err(site.unsupported(format!("mode \"{other}\""))),
            },
            Opcode::Cast => match site.get(site.call.dtype("dtype"))? {
                DType::Bool => self.unary(MapOp::NonZero, site),
                DType::Fp16 | DType::Bf16 | DType::Fp32 | DType::Fp64 => self.unary(MapOp::Copy, site),
                DType::Int8 | DType::Int16 | DType::Int32 | DType::Uint8 | DType::Uint16 => {
                    self.unary(MapOp::Truncate, site)
                }
                other => Err(site.unsupported(format!("dtype \"{other}\""))),
            },
            Opcode::Add => self.binary(MapOp::Add, site),
            Opcode::Sub => self.binary(MapOp::Sub, site),
            Opcode::Mul => self.binary(MapOp::Mul, site),
            Opcode::RealDiv => self.binary(MapOp::Div, site),
            Opcode::Maximum => self.binary(MapOp::Max, site),
            Opcode::Minimum => self.binary(MapOp::Min, site),
            Opcode::Pow => self.binary(MapOp::Pow, site),
            Opcode::Softmax => self.softmax(site),
            Opcode::Matmul => self.matmul(site),
            Opcode::Conv => self.conv(site),
            Opcode::ReduceL1Norm
            | Opcode::ReduceL2Norm
            | Opcode::ReduceLogSumExp
            | Opcode::ReduceMax
            | Opcode::ReduceMean
            | Opcode::ReduceMin
            | Opcode::ReduceSum
            | Opcode::ReduceSumSquare => self.reduction(site),
            _ => self.reference(site, 0),
        }
    }

    /// Result `result` of an op without a kernel.
    pub(super) fn reference(&mut self, site: Site<'_>, result: usize) -> Result<View, CompileError> {
        let op = site.call.code();
        let single = SingleOp::new(site.call).map_err(|e| match e {
            CallError::ParsedOnly(op) => CompileError::NoKernel { op, value: site.value.into() },
            source => site.error(source),
        })?;
        let args = single.operands().iter().map(|&v| self.value(v)).collect::<Result<Vec<_>, _>>()?;
        let missing = || CompileError::NoKernel { op, value: site.value.into() };
        let ty = single.results().get(result).ok_or_else(missing)?.clone();
        let round = Round::of(self.numerics, ty.dtype);
        let kind = Kind::Reference { op: Arc::new(single), result, args };
        Ok(self.graph.push(&ty.shape, kind, round))
    }

    fn unary(&mut self, op: MapOp, site: Site<'_>) -> Result<View, CompileError> {
        let x = self.arg("x", site)?;
        Ok(self.graph.map(op, &x.shape.clone(), &[&x], site.round))
    }

    fn binary(&mut self, op: MapOp, site: Site<'_>) -> Result<View, CompileError> {
        let dtype = site.get(site.call.tensor("x"))?.dtype;
        if !dtype.is_float() && matches!(op, MapOp::Div | MapOp::Pow) {
            return self.reference(site, 0);
        }
        let (x, y) = (self.arg("x", site)?, self.arg("y", site)?);
        let shape = self.result_shape(site)?;
        Ok(self.graph.map(op, shape, &[&x, &y], site.round))
    }

    fn softmax(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let x = self.arg("x", site)?;
        let axis = site.need("axis", site.call.int("axis"))?;
        let axis = site.get(site.call.axis(axis, x.shape.len()))?;
        let shape = x.shape.clone();
        let g = &mut self.graph;
        let max = g.reduce(ReduceOp::Max, &x, &[axis], Round::Keep);
        let shifted = g.map(MapOp::Sub, &shape, &[&x, &max], Round::Keep);
        let exp = g.map(MapOp::Exp, &shape, &[&shifted], Round::Keep);
        let sum = g.reduce(ReduceOp::Sum, &exp, &[axis], Round::Keep);
        Ok(g.map(MapOp::Div, &shape, &[&exp, &sum], site.round))
    }

    fn reduction(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let x = self.arg("x", site)?;
        let axes = site.get(site.call.reduced_axes(x.shape.len()))?;
        let result = self.result_shape(site)?;
        let (shape, round) = (x.shape.clone(), site.round);
        let g = &mut self.graph;
        let kept = match site.call.code() {
            Opcode::ReduceMax => g.reduce(ReduceOp::Max, &x, &axes, round),
            Opcode::ReduceMin => g.reduce(ReduceOp::Min, &x, &axes, round),
            Opcode::ReduceSum => g.reduce(ReduceOp::Sum, &x, &axes, round),
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

    fn matmul(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let matrix = |view: View, transposed: bool| {
            let rank = view.shape.len();
            let mut perm: Vec<usize> = (0..rank).collect();
            if transposed {
                perm.swap(rank - 1, rank - 2);
            }
            view.permute(&perm)
        };
        let x = matrix(self.arg("x", site)?, site.get(site.call.bool("transpose_x"))?);
        let y = matrix(self.arg("y", site)?, site.get(site.call.bool("transpose_y"))?);
        let (rx, ry) = (x.shape.len(), y.shape.len());
        let batch = broadcast(&x.shape[..rx - 2], &y.shape[..ry - 2]);
        let batch = batch.ok_or_else(|| site.unsupported("batch extents that do not broadcast"))?;
        let full = |view: &View| {
            let tail = &view.shape[view.shape.len() - 2..];
            view.broadcast(&[&batch, tail].concat())
        };
        let (a, b) = (full(&x), full(&y));
        let shape = [batch.as_slice(), &[x.shape[rx - 2], y.shape[ry - 1]]].concat();
        Ok(self.graph.push(&shape, Kind::Gemm { a, b }, site.round))
    }

    fn conv(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let (x, weight) = (self.arg("x", site)?, self.arg("weight", site)?);
        let geometry = site.get(ConvGeometry::read(site.call, &x.shape[2..], &weight.shape[2..]))?;
        let shape = self.result_shape(site)?;
        let bias = match site.get(site.call.operand("bias"))? {
            Some(bias) => Some(self.operand(bias, site)?),
            None => None,
        };
        let round = if bias.is_some() { Round::Keep } else { site.round };
        let product = if is_pointwise(&geometry, &weight) {
            self.pointwise(&x, &weight, geometry.groups, shape, round)
        } else {
            self.graph.push(shape, Kind::Conv { x, weight, geometry }, round)
        };
        let Some(bias) = bias else { return Ok(product) };
        let mut column = vec![1; shape.len()];
        column[1] = shape[1];
        let bias = self.graph.reshape(&bias, &column);
        Ok(self.graph.map(MapOp::Add, shape, &[&product, &bias], site.round))
    }

    /// A 1×1 convolution: per group a matrix product `[O/g, C/g] · [C/g, S]`.
    fn pointwise(&mut self, x: &View, weight: &View, groups: usize, shape: &[usize], round: Round) -> View {
        let (n, channels, space) = (x.shape[0], x.shape[1], elements(&x.shape[2..]));
        let (out, inner) = (weight.shape[0] / groups, channels / groups);
        let b = self.graph.reshape(x, &[n, groups, inner, space]);
        let a = self.graph.reshape(weight, &[groups, out, inner]).broadcast(&[n, groups, out, inner]);
        let product = self.graph.push(&[n, groups, out, space], Kind::Gemm { a, b }, round);
        self.graph.reshape(&product, shape)
    }
}

fn is_pointwise(geometry: &ConvGeometry, weight: &View) -> bool {
    weight.shape[2..].iter().all(|&k| k == 1)
        && geometry.strides.iter().all(|&s| s == 1)
        && geometry.pad_before.iter().chain(&geometry.pad_after).all(|&p| p == 0)
}
