//! Normalisations, in terms of maps and reductions.

use ferrane_mil::Opcode;

use super::{Lower, Site};
use crate::{
    CompileError,
    graph::{MapOp, ReduceOp, Round},
    view::View,
};

impl Lower<'_> {
    /// The result of a normalisation, or `None` if it is another op.
    pub(super) fn norm(&mut self, site: Site<'_>) -> Result<Option<View>, CompileError> {
        Ok(Some(match site.call.code() {
            Opcode::BatchNorm => self.batch_norm(site)?,
            Opcode::InstanceNorm => {
                let x = self.arg("x", site)?;
                let axes: Vec<usize> = (2..x.shape.len()).collect();
                let unit = self.standardised(&x, &axes, site)?;
                self.scaled(unit, &[1], site)?
            }
            Opcode::LayerNorm => {
                let x = self.arg("x", site)?;
                let axes = site.get(site.call.reduced_axes(x.shape.len()))?;
                let unit = self.standardised(&x, &axes, site)?;
                self.scaled(unit, &axes, site)?
            }
            Opcode::L2Norm => self.l2_norm(site)?,
            Opcode::LocalResponseNorm => self.local_response_norm(site)?,
            _ => return Ok(None),
        }))
    }

    /// gamma / √(variance + ε) depends on constants alone as a rule, and is then computed once.
    fn batch_norm(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let x = self.arg("x", site)?;
        let mean = self.channels("mean", &x.shape, site)?;
        let variance = self.channels("variance", &x.shape, site)?;
        let epsilon = site.float("epsilon")?;
        let mut scale = self.graph.map(MapOp::Rsqrt(epsilon), &variance.shape, &[&variance], Round::Keep);
        if site.call.has("gamma") {
            let gamma = self.channels("gamma", &x.shape, site)?;
            scale = self.graph.map(MapOp::Mul, &gamma.shape, &[&scale, &gamma], Round::Keep);
        }
        let centred = self.graph.map(MapOp::Sub, &x.shape, &[&x, &mean], Round::Keep);
        if !site.call.has("beta") {
            return Ok(self.graph.map(MapOp::Mul, &x.shape, &[&centred, &scale], site.round));
        }
        let unit = self.graph.map(MapOp::Mul, &x.shape, &[&centred, &scale], Round::Keep);
        let beta = self.channels("beta", &x.shape, site)?;
        Ok(self.graph.map(MapOp::Add, &x.shape, &[&unit, &beta], site.round))
    }

    /// (x − E\[x\]) / √(Var\[x\] + ε) over `axes`, rounded when nothing follows.
    fn standardised(&mut self, x: &View, axes: &[usize], site: Site<'_>) -> Result<View, CompileError> {
        let epsilon = site.float("epsilon")?;
        let last = !site.call.has("gamma") && !site.call.has("beta");
        let mean = self.mean(x, axes);
        let centred = self.graph.map(MapOp::Sub, &x.shape, &[x, &mean], Round::Keep);
        let square = self.graph.map(MapOp::Square, &x.shape, &[&centred], Round::Keep);
        let variance = self.mean(&square, axes);
        let scale = self.graph.map(MapOp::Rsqrt(epsilon), &variance.shape, &[&variance], Round::Keep);
        let round = if last { site.round } else { Round::Keep };
        Ok(self.graph.map(MapOp::Mul, &x.shape, &[&centred, &scale], round))
    }

    fn mean(&mut self, x: &View, axes: &[usize]) -> View {
        let sum = self.graph.reduce(ReduceOp::Sum, x, axes, Round::Keep);
        let count: usize = axes.iter().map(|&a| x.shape[a]).product();
        self.with_scalar(MapOp::Div, &sum, count as f32, Round::Keep)
    }

    /// gamma · unit + beta, where gamma and beta lie along `axes`.
    fn scaled(&mut self, unit: View, axes: &[usize], site: Site<'_>) -> Result<View, CompileError> {
        let shape = unit.shape.clone();
        let along: Vec<usize> =
            shape.iter().enumerate().map(|(i, &d)| if axes.contains(&i) { d } else { 1 }).collect();
        let mut y = unit;
        let ops = [("gamma", MapOp::Mul), ("beta", MapOp::Add)];
        let given: Vec<_> = ops.into_iter().filter(|(name, _)| site.call.has(name)).collect();
        for (i, &(name, op)) in given.iter().enumerate() {
            let vector = self.arg(name, site)?;
            let vector = self.graph.reshape(&vector, &along);
            let round = if i + 1 == given.len() { site.round } else { Round::Keep };
            y = self.graph.map(op, &shape, &[&y, &vector], round);
        }
        Ok(y)
    }

    /// x / √(Σ x² + ε) over the last three axes.
    fn l2_norm(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let x = self.arg("x", site)?;
        let rank = x.shape.len();
        let square = self.graph.map(MapOp::Square, &x.shape, &[&x], Round::Keep);
        let sum = self.graph.reduce(ReduceOp::Sum, &square, &[rank - 3, rank - 2, rank - 1], Round::Keep);
        let scale = self.graph.map(MapOp::Rsqrt(site.float("epsilon")?), &sum.shape, &[&sum], Round::Keep);
        Ok(self.graph.map(MapOp::Mul, &x.shape, &[&x, &scale], site.round))
    }

    /// x / (k + α/size · Σ x²)^β over the `size` channels around each.
    fn local_response_norm(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let x = self.arg("x", site)?;
        let size = site.need("size", site.call.int("size"))? as usize;
        let (alpha, beta, k) = (site.float("alpha")?, site.float("beta")?, site.float("k")?);
        let square = self.graph.map(MapOp::Square, &x.shape, &[&x], Round::Keep);
        let mut pads = vec![(0, 0); x.shape.len()];
        pads[1] = (size / 2, size.saturating_sub(1) / 2);
        let padded = self.graph.pad(&square, &pads, 0.0);
        let taps: Vec<View> = (0..size).map(|i| padded.slice(1, i, x.shape[1])).collect();
        let sum = self.combine(MapOp::Add, &taps, Round::Keep);
        let scaled = self.with_scalar(MapOp::Mul, &sum, alpha / size as f32, Round::Keep);
        let shifted = self.with_scalar(MapOp::Add, &scaled, k, Round::Keep);
        let power = self.with_scalar(MapOp::Pow, &shifted, beta, Round::Keep);
        Ok(self.graph.map(MapOp::Div, &x.shape, &[&x, &power], site.round))
    }

    /// All of `parts`, which have one shape, one after the other.
    pub(super) fn combine(&mut self, op: MapOp, parts: &[View], round: Round) -> View {
        let shape = parts[0].shape.clone();
        if parts.len() == 1 {
            return self.graph.map(MapOp::Copy, &shape, &[&parts[0]], round);
        }
        let mut all = parts[0].clone();
        for (i, part) in parts.iter().enumerate().skip(1) {
            let round = if i + 1 == parts.len() { round } else { Round::Keep };
            all = self.graph.map(op, &shape, &[&all, part], round);
        }
        all
    }
}
