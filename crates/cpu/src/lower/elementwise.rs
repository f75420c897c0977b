//! Elementwise ops, in terms of maps.

use ferrane_mil::{DType, Opcode};

use super::{Lower, Site};
use crate::{
    CompileError,
    graph::{MapOp, Round},
    view::View,
};

impl Lower<'_> {
    /// The result of an elementwise op, or `None` if it is another.
    pub(super) fn elementwise(&mut self, site: Site<'_>) -> Result<Option<View>, CompileError> {
        Ok(Some(match site.call.code() {
            Opcode::Abs => self.unary(MapOp::Abs, site)?,
            Opcode::Acos => self.unary(MapOp::Acos, site)?,
            Opcode::Asin => self.unary(MapOp::Asin, site)?,
            Opcode::Atan => self.unary(MapOp::Atan, site)?,
            Opcode::Atanh => self.unary(MapOp::Atanh, site)?,
            Opcode::Ceil => self.unary(MapOp::Ceil, site)?,
            Opcode::Cos => self.unary(MapOp::Cos, site)?,
            Opcode::Cosh => self.unary(MapOp::Cosh, site)?,
            Opcode::Erf => self.unary(MapOp::Erf, site)?,
            Opcode::Exp => self.unary(MapOp::Exp, site)?,
            Opcode::Exp2 => self.unary(MapOp::Exp2, site)?,
            Opcode::Floor => self.unary(MapOp::Floor, site)?,
            Opcode::Inverse => self.unary(MapOp::Inverse(site.float("epsilon")?), site)?,
            Opcode::Log => self.unary(MapOp::Log(site.float("epsilon")?), site)?,
            Opcode::Round => self.unary(MapOp::Round, site)?,
            Opcode::Rsqrt => self.unary(MapOp::Rsqrt(site.float("epsilon")?), site)?,
            Opcode::Sign => self.unary(MapOp::Sign, site)?,
            Opcode::Sin => self.unary(MapOp::Sin, site)?,
            Opcode::Sinh => self.unary(MapOp::Sinh, site)?,
            Opcode::Sqrt => self.unary(MapOp::Sqrt, site)?,
            Opcode::Square => self.unary(MapOp::Square, site)?,
            Opcode::Tan => self.unary(MapOp::Tan, site)?,
            Opcode::Tanh => self.unary(MapOp::Tanh, site)?,
            Opcode::Relu => self.unary(MapOp::Relu, site)?,
            Opcode::Sigmoid => self.unary(MapOp::Sigmoid, site)?,
            Opcode::Silu => self.unary(MapOp::Silu, site)?,
            Opcode::Softplus => self.unary(MapOp::Softplus, site)?,
            Opcode::Softsign => self.unary(MapOp::Softsign, site)?,
            Opcode::Gelu => self.gelu(site)?,
            Opcode::Cast => self.cast(site)?,
            Opcode::Clip
            | Opcode::ClampedRelu
            | Opcode::Elu
            | Opcode::LeakyRelu
            | Opcode::LinearActivation
            | Opcode::LogicalNot
            | Opcode::Prelu
            | Opcode::Relu6
            | Opcode::ScaledTanh
            | Opcode::SigmoidHard
            | Opcode::SoftplusParametric
            | Opcode::Threshold
            | Opcode::ThresholdedRelu => self.activation(site)?,
            Opcode::Add => self.binary(MapOp::Add, site)?,
            Opcode::Sub => self.binary(MapOp::Sub, site)?,
            Opcode::Mul => self.binary(MapOp::Mul, site)?,
            Opcode::RealDiv => self.binary(MapOp::Div, site)?,
            Opcode::FloorDiv => self.binary(MapOp::FloorDiv, site)?,
            Opcode::Mod => self.binary(MapOp::Mod, site)?,
            Opcode::Maximum => self.binary(MapOp::Max, site)?,
            Opcode::Minimum => self.binary(MapOp::Min, site)?,
            Opcode::Pow => self.binary(MapOp::Pow, site)?,
            Opcode::Equal => self.binary(MapOp::Equal, site)?,
            Opcode::NotEqual => self.binary(MapOp::NotEqual, site)?,
            Opcode::Greater => self.binary(MapOp::Greater, site)?,
            Opcode::GreaterEqual => self.binary(MapOp::GreaterEqual, site)?,
            Opcode::Less => self.ordered(MapOp::Greater, "y", "x", site)?,
            Opcode::LessEqual => self.ordered(MapOp::GreaterEqual, "y", "x", site)?,
            // Truth values are 0 and 1.
            Opcode::LogicalAnd => self.binary(MapOp::Mul, site)?,
            Opcode::LogicalOr => self.binary(MapOp::Max, site)?,
            Opcode::LogicalXor => self.binary(MapOp::NotEqual, site)?,
            Opcode::Select => {
                let (cond, a, b) = (self.arg("cond", site)?, self.arg("a", site)?, self.arg("b", site)?);
                let shape = self.result_shape(site)?;
                self.choose(&cond, &a, &b, shape)
            }
            _ => return Ok(None),
        }))
    }

    fn unary(&mut self, op: MapOp, site: Site<'_>) -> Result<View, CompileError> {
        let x = self.arg("x", site)?;
        Ok(self.graph.map(op, &x.shape.clone(), &[&x], site.round))
    }

    fn binary(&mut self, op: MapOp, site: Site<'_>) -> Result<View, CompileError> {
        self.ordered(op, "x", "y", site)
    }

    fn ordered(
        &mut self,
        op: MapOp,
        a: &'static str,
        b: &'static str,
        site: Site<'_>,
    ) -> Result<View, CompileError> {
        let (x, y) = (self.arg(a, site)?, self.arg(b, site)?);
        let shape = self.result_shape(site)?;
        // The quotient and the power of integers are integers.
        if site.get(site.call.tensor("x"))?.dtype.is_int() && matches!(op, MapOp::Div | MapOp::Pow) {
            let exact = self.graph.map(op, shape, &[&x, &y], Round::Keep);
            return Ok(self.graph.map(MapOp::Truncate, shape, &[&exact], site.round));
        }
        Ok(self.graph.map(op, shape, &[&x, &y], site.round))
    }

    /// `a` where `cond` holds, else `b`. What is chosen is not rounded: it is as its op left it.
    pub(super) fn choose(&mut self, cond: &View, a: &View, b: &View, shape: &[usize]) -> View {
        let a = self.graph.map(MapOp::Where, shape, &[cond, a], Round::Keep);
        let b = self.graph.map(MapOp::Otherwise, shape, &[cond, b], Round::Keep);
        self.graph.map(MapOp::Add, shape, &[&a, &b], Round::Keep)
    }

    fn gelu(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        match site.need("mode", site.call.string("mode"))? {
            "EXACT" => self.unary(MapOp::Gelu, site),
            "TANH_APPROXIMATION" => self.unary(MapOp::GeluTanh, site),
            "SIGMOID_APPROXIMATION" => self.unary(MapOp::GeluSigmoid, site),
            other => Err(site.unsupported(format!("mode \"{other}\""))),
        }
    }

    fn cast(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        match site.get(site.call.dtype("dtype"))? {
            DType::Bool => self.unary(MapOp::NonZero, site),
            DType::Fp16 | DType::Bf16 | DType::Fp32 | DType::Fp64 => self.unary(MapOp::Copy, site),
            DType::Int32 | DType::Uint32 => self.unary(MapOp::Truncate, site),
            DType::Int8 => self.cast_within(-128.0, 127.0, site),
            DType::Uint8 => self.cast_within(0.0, 255.0, site),
            DType::Int16 => self.cast_within(-32768.0, 32767.0, site),
            DType::Uint16 => self.cast_within(0.0, 65535.0, site),
            other => Err(site.unsupported(format!("dtype \"{other}\""))),
        }
    }

    /// A cast to integers, held at the ends of their range.
    fn cast_within(&mut self, low: f32, high: f32, site: Site<'_>) -> Result<View, CompileError> {
        let x = self.arg("x", site)?;
        let shape = x.shape.clone();
        let whole = self.graph.map(MapOp::Truncate, &shape, &[&x], Round::Keep);
        Ok(self.clamp(&whole, low, high, site.round))
    }

    pub(super) fn clamp(&mut self, x: &View, low: f32, high: f32, round: Round) -> View {
        let above = self.with_scalar(MapOp::Max, x, low, Round::Keep);
        self.with_scalar(MapOp::Min, &above, high, round)
    }

    pub(super) fn with_scalar(&mut self, op: MapOp, x: &View, scalar: f32, round: Round) -> View {
        let scalar = self.graph.scalar(scalar);
        self.graph.map(op, &x.shape, &[x, &scalar], round)
    }

    /// Activations that are several maps.
    fn activation(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let x = self.arg("x", site)?;
        let (shape, round) = (x.shape.clone(), site.round);
        Ok(match site.call.code() {
            Opcode::Clip => self.clamp(&x, site.float("alpha")?, site.float("beta")?, round),
            Opcode::Relu6 => self.clamp(&x, 0.0, 6.0, round),
            Opcode::Threshold => self.with_scalar(MapOp::Max, &x, site.float("alpha")?, round),
            Opcode::LogicalNot => self.with_scalar(MapOp::Equal, &x, 0.0, round),
            Opcode::LeakyRelu => {
                let slope = self.graph.scalar(site.float("alpha")?);
                self.sloped(&x, &slope, round)
            }
            Opcode::Prelu => {
                let slope = self.channels("alpha", &shape, site)?;
                self.sloped(&x, &slope, round)
            }
            Opcode::ClampedRelu => {
                let slope = self.graph.scalar(site.float("alpha")?);
                let sloped = self.sloped(&x, &slope, Round::Keep);
                self.with_scalar(MapOp::Min, &sloped, site.float("beta")?, round)
            }
            Opcode::Elu => {
                let below = self.with_scalar(MapOp::Min, &x, 0.0, Round::Keep);
                let power = self.graph.map(MapOp::ExpM1, &shape, &[&below], Round::Keep);
                let below = self.with_scalar(MapOp::Mul, &power, site.float("alpha")?, Round::Keep);
                let above = self.with_scalar(MapOp::Max, &x, 0.0, Round::Keep);
                self.graph.map(MapOp::Add, &shape, &[&above, &below], round)
            }
            Opcode::LinearActivation => {
                let scaled = self.with_scalar(MapOp::Mul, &x, site.float("alpha")?, Round::Keep);
                self.with_scalar(MapOp::Add, &scaled, site.float("beta")?, round)
            }
            Opcode::SigmoidHard => {
                let scaled = self.with_scalar(MapOp::Mul, &x, site.float("alpha")?, Round::Keep);
                let line = self.with_scalar(MapOp::Add, &scaled, site.float("beta")?, Round::Keep);
                self.clamp(&line, 0.0, 1.0, round)
            }
            Opcode::ScaledTanh => {
                let scaled = self.with_scalar(MapOp::Mul, &x, site.float("beta")?, Round::Keep);
                let tanh = self.graph.map(MapOp::Tanh, &shape, &[&scaled], Round::Keep);
                self.with_scalar(MapOp::Mul, &tanh, site.float("alpha")?, round)
            }
            Opcode::SoftplusParametric => {
                let (alpha, beta) =
                    (self.channels("alpha", &shape, site)?, self.channels("beta", &shape, site)?);
                let scaled = self.graph.map(MapOp::Mul, &shape, &[&x, &beta], Round::Keep);
                let softplus = self.graph.map(MapOp::Softplus, &shape, &[&scaled], Round::Keep);
                self.graph.map(MapOp::Mul, &shape, &[&softplus, &alpha], round)
            }
            // `thresholded_relu`
            _ => {
                let threshold = self.graph.scalar(site.float("alpha")?);
                let below = self.graph.map(MapOp::Greater, &shape, &[&threshold, &x], Round::Keep);
                let zero = self.graph.scalar(0.0);
                self.choose(&below, &zero, &x, &shape)
            }
        })
    }

    /// `x`, times `slope` where it is negative.
    fn sloped(&mut self, x: &View, slope: &View, round: Round) -> View {
        let below = self.with_scalar(MapOp::Min, x, 0.0, Round::Keep);
        let below = self.graph.map(MapOp::Mul, &x.shape, &[&below, slope], Round::Keep);
        let above = self.with_scalar(MapOp::Max, x, 0.0, Round::Keep);
        self.graph.map(MapOp::Add, &x.shape, &[&above, &below], round)
    }

    /// An argument of one element a channel, axis 1 of a tensor of `shape`, to be broadcast to it.
    pub(super) fn channels(
        &mut self,
        name: &'static str,
        shape: &[usize],
        site: Site<'_>,
    ) -> Result<View, CompileError> {
        let vector = self.arg(name, site)?;
        Ok(self.along_axis(&vector, 1, shape.len()))
    }

    /// A vector as a tensor of `rank` axes, all of extent 1 but `axis`.
    pub(super) fn along_axis(&mut self, vector: &View, axis: usize, rank: usize) -> View {
        let mut column = vec![1; rank];
        column[axis] = vector.elements();
        self.graph.reshape(vector, &column)
    }
}
