//! `softmax` and `scaled_dot_product_attention`.

use ferrane_mil::DType;

use super::{Lower, Site, product::transposed_if};
use crate::{
    CompileError,
    graph::{MapOp, ReduceOp, Round},
    view::View,
};

impl Lower<'_> {
    pub(super) fn softmax(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let x = self.arg("x", site)?;
        let axis = site.need("axis", site.call.int("axis"))?;
        let axis = site.get(site.call.axis(axis, x.shape.len()))?;
        if site.round == Round::Foreign {
            return Ok(self.softmax_lines(&x, axis));
        }
        Ok(self.softmax_along(&x, axis, site.round))
    }

    fn softmax_along(&mut self, x: &View, axis: usize, round: Round) -> View {
        let shape = x.shape.clone();
        let g = &mut self.graph;
        let max = g.reduce(ReduceOp::Max, x, &[axis], Round::Keep);
        let shifted = g.map(MapOp::Sub, &shape, &[x, &max], Round::Keep);
        let exp = g.map(MapOp::Exp, &shape, &[&shifted], Round::Keep);
        let sum = g.reduce(ReduceOp::Sum, &exp, &[axis], Round::Keep);
        // One division a row.
        let inverse = g.map(MapOp::Inverse(0.0), &sum.shape.clone(), &[&sum], Round::Keep);
        g.map(MapOp::Mul, &shape, &[&exp, &inverse], round)
    }

    /// softmax(Q·Kᵀ/√E + mask)·V. Where a `bool` mask is false, an element takes no part.
    pub(super) fn attention(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let (q, k, v) = (self.arg("query", site)?, self.arg("key", site)?, self.arg("value", site)?);
        let mask = self.optional("attn_mask", site)?;
        let last = q.shape.len() - 1;
        let scale = 1.0 / (q.shape[last] as f64).sqrt();
        let product = self.product(q, transposed_if(k, true), None, Round::Keep);
        let mut scores = self.with_scalar(MapOp::Mul, &product, scale as f32, Round::Keep);
        let shape = scores.shape.clone();
        if let Some(mask) = mask {
            scores = match site.get(site.call.tensor("attn_mask"))?.dtype {
                DType::Bool => {
                    let nothing = self.graph.scalar(f32::NEG_INFINITY);
                    self.choose(&mask, &scores, &nothing, &shape)
                }
                _ => self.graph.map(MapOp::Add, &shape, &[&scores, &mask], Round::Keep),
            };
        }
        let shares = self.softmax_along(&scores, last, Round::Keep);
        Ok(self.product(shares, v, None, site.round))
    }
}
