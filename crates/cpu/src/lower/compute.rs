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
    view::{View, elements, row_major},
};

impl Lower<'_> {
    /// The result of an op that computes.
    pub(super) fn compute(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        match site.call.code() {
            Opcode::Abs => self.unary(MapOp::Abs, site),
            Opcode::Ceil => self.unary(MapOp::Ceil, site),
            Opcode::Cos => self.unary(MapOp::Cos, site),
            Opcode::Erf => self.unary(MapOp::Erf, site),
            Opcode::Exp => self.unary(MapOp::Exp, site),
            Opcode::Exp2 => self.unary(MapOp::Exp2, site),
            Opcode::Floor => self.unary(MapOp::Floor, site),
            Opcode::Inverse => self.unary(MapOp::Inverse(site.float("epsilon")?), site),
            Opcode::Log => self.unary(MapOp::Log(site.float("epsilon")?), site),
            Opcode::Round => self.unary(MapOp::Round, site),
            Opcode::Rsqrt => self.unary(MapOp::Rsqrt(site.float("epsilon")?), site),
            Opcode::Sign => self.unary(MapOp::Sign, site),
            Opcode::Sin => self.unary(MapOp::Sin, site),
            Opcode::Softplus => self.unary(MapOp::Softplus, site),
            Opcode::Softsign => self.unary(MapOp::Softsign, site),
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
            Opcode::Linear => self.linear(site),
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
        if site.round == Round::Foreign {
            return Ok(self.softmax_lines(&x, axis));
        }
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
        Ok(self.graph.push(&shape, Kind::Gemm { a, b, bias: None }, site.round))
    }

    /// `x [.., I]`, `weight [O, I]` → `[.., O]`, computed as `weight·xᵀ` so that the weight is the left operand.
    fn linear(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let (x, weight) = (self.arg("x", site)?, self.arg("weight", site)?);
        let bias = match site.get(site.call.operand("bias"))? {
            Some(bias) => Some(self.operand(bias, site)?),
            None => None,
        };
        let shape = self.result_shape(site)?;
        let (out, inner) = (weight.shape[0], weight.shape[1]);
        let rows = elements(&shape[..shape.len() - 1]);
        let b = self.graph.reshape(&x, &[rows, inner]).permute(&[1, 0]);
        let product = self.product(&weight, &b, bias.as_ref(), &[out, rows], site.round);
        Ok(self.graph.reshape(&product.permute(&[1, 0]), shape))
    }

    /// `a·b + bias`, a number a row: the sum starts from the bias where an arithmetic computes it.
    fn product(&mut self, a: &View, b: &View, bias: Option<&View>, shape: &[usize], round: Round) -> View {
        let rank = shape.len();
        let mut column = shape.to_vec();
        column[rank - 1] = 1;
        let (a, b) = (a.clone(), b.clone());
        match bias {
            None => self.graph.push(shape, Kind::Gemm { a, b, bias: None }, round),
            Some(bias) => {
                let bias = self.bias_column(bias, &column);
                if round == Round::Foreign {
                    return self.graph.push(shape, Kind::Gemm { a, b, bias: Some(bias) }, round);
                }
                let product = self.graph.push(shape, Kind::Gemm { a, b, bias: None }, Round::Keep);
                self.graph.map(MapOp::Add, shape, &[&product, &bias], round)
            }
        }
    }

    /// A bias `[O]` as `column`, whose last extents are those of O and whose first repeat it.
    fn bias_column(&mut self, bias: &View, column: &[usize]) -> View {
        let mut own = column.to_vec();
        let mut left = bias.elements();
        for d in own.iter_mut().rev() {
            (*d, left) = if left.is_multiple_of(*d) && left >= *d { (*d, left / *d) } else { (1, left) };
        }
        self.graph.reshape(bias, &own).broadcast(column)
    }

    fn conv(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let (x, weight) = (self.arg("x", site)?, self.arg("weight", site)?);
        let geometry = site.get(ConvGeometry::read(site.call, &x.shape[2..], &weight.shape[2..]))?;
        let shape = self.result_shape(site)?;
        let bias = match site.get(site.call.operand("bias"))? {
            Some(bias) => Some(self.operand(bias, site)?),
            None => None,
        };
        if site.round == Round::Foreign {
            return Ok(self.foreign_conv(&x, &weight, &geometry, bias.as_ref(), shape));
        }
        let round = if bias.is_some() { Round::Keep } else { site.round };
        let product = if is_pointwise(&geometry, &weight) {
            self.grouped(&x, &weight, None, geometry.groups, shape, round)
        } else {
            self.graph.push(shape, Kind::Conv { x, weight, geometry }, round)
        };
        let Some(bias) = bias else { return Ok(product) };
        let mut column = vec![1; shape.len()];
        column[1] = shape[1];
        let bias = self.graph.reshape(&bias, &column);
        Ok(self.graph.map(MapOp::Add, shape, &[&product, &bias], site.round))
    }

    /// A convolution by an arithmetic: the pointwise one of its patches.
    fn foreign_conv(
        &mut self,
        x: &View,
        weight: &View,
        geometry: &ConvGeometry,
        bias: Option<&View>,
        shape: &[usize],
    ) -> View {
        let patches = match is_pointwise(geometry, weight) {
            true => x.clone(),
            false => self.patches(x, weight, geometry, &shape[2..]),
        };
        self.grouped(&patches, weight, bias, geometry.groups, shape, Round::Foreign)
    }

    /// Per group a matrix product `[O/g, K] · [K, S]` of a weight `[O, K..]` and `x [N, g·K.., S]`.
    fn grouped(
        &mut self,
        x: &View,
        weight: &View,
        bias: Option<&View>,
        groups: usize,
        shape: &[usize],
        round: Round,
    ) -> View {
        let (n, space) = (shape[0], elements(&shape[2..]));
        let (out, inner) = (weight.shape[0] / groups, elements(&weight.shape[1..]));
        let b = self.graph.reshape(x, &[n, groups, inner, space]);
        let a = self.graph.reshape(weight, &[groups, out, inner]).broadcast(&[n, groups, out, inner]);
        let product = self.product(&a, &b, bias, &[n, groups, out, space], round);
        self.graph.reshape(&product, shape)
    }

    /// What each element of a convolution's result is a product of: `[N, C, taps, *S']`.
    fn patches(&mut self, x: &View, weight: &View, geometry: &ConvGeometry, space: &[usize]) -> View {
        let mut padded = x.clone();
        let zero = self.graph.scalar(0.0);
        for (d, (&before, &after)) in geometry.pad_before.iter().zip(&geometry.pad_after).enumerate() {
            let border = |n: usize, padded: &View| {
                let mut shape = padded.shape.clone();
                shape[2 + d] = n;
                zero.broadcast(&shape)
            };
            if before + after > 0 {
                let parts = [border(before, &padded), padded.clone(), border(after, &padded)];
                let parts: Vec<View> = parts.into_iter().filter(|p| p.shape[2 + d] > 0).collect();
                padded = self.graph.concat(&parts, 2 + d, false);
            }
        }
        let window = &weight.shape[2..];
        let dense = row_major(window);
        let taps = (0..elements(window)).map(|tap| {
            let mut view = padded.clone();
            for d in 0..window.len() {
                let from = tap / dense[d] % window[d] * geometry.dilations[d];
                view = view.slice(2 + d, from, space[d]);
                view.strides[2 + d] *= geometry.strides[d];
            }
            // The axis of taps, after that of channels.
            view.shape.insert(2, 1);
            view.strides.insert(2, 0);
            view
        });
        let taps: Vec<View> = taps.collect();
        self.graph.concat(&taps, 2, false)
    }
}

fn is_pointwise(geometry: &ConvGeometry, weight: &View) -> bool {
    weight.shape[2..].iter().all(|&k| k == 1)
        && geometry.strides.iter().all(|&s| s == 1)
        && geometry.pad_before.iter().chain(&geometry.pad_after).all(|&p| p == 0)
}
