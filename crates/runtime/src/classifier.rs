//! Classifier and cross-entropy, fused.
//!
//! Logits of a whole step would be the largest tensor of a run (positions × vocabulary). Here they exist for one tile of
//! positions at a time: the tile's logits are computed, turned into probabilities and then into their own gradient in
//! place, and both products of the backward pass use them while they are in cache.
//!
//! ```text
//! logits[p, v] = Σ_d E[v, d] · x[d, p]                nll[p] = ln Σ_v e^{logits[p, v]} − logits[p, target[p]]
//! g[p, v]      = scale · (softmax(logits[p])[v] − [v = target[p]])
//! dx[d, p]     = Σ_v E[v, d] · g[p, v]                dE[v, d] += Σ_p g[p, v] · x[d, p]
//! ```
//!
//! Results depend neither on scheduling nor on the tile's size beyond the order of the sum in dE.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use thiserror::Error;

use crate::math::exp;
use crate::matmul::{Matrix, MatrixMut, Write, matmul};

/// Positions whose logits exist at one time.
const TILE: usize = 128;

/// Lanes of a running maximum or sum; a multiple of every vector width.
const LANES: usize = 16;

/// Why a loss could not be computed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum LossError {
    /// The loss of a position is infinite or NaN. What the call wrote is meaningless.
    #[error(
        "loss at position {position} is not finite: {cause}; lower the learning rate, or go back to the last checkpoint"
    )]
    NonFinite {
        /// First such position.
        position: usize,
        /// Where it comes from.
        cause: NonFinite,
    },
    /// A target is not in the vocabulary. Nothing was written.
    #[error(
        "target {token} at position {position} is outside the vocabulary of {vocab}; use the tokenizer's own token file"
    )]
    Target {
        /// First such position.
        position: usize,
        /// Its token.
        token: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
}

/// What made a loss non-finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonFinite {
    /// The hidden state that enters the classifier.
    Hidden,
    /// Finite hidden state, so the classifier's weight or the size of their product.
    Classifier,
}

impl std::fmt::Display for NonFinite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hidden => "the final hidden state holds an infinity or NaN",
            Self::Classifier => "the classifier's weight holds an infinity or NaN, or its logits overflow",
        })
    }
}

/// What [`Classifier::forward_backward`] writes to.
#[derive(Debug)]
pub(crate) struct Gradients<'a> {
    /// `[D, W]`, replaced; columns past the last target are set to 0.
    pub(crate) dx: &'a mut [f32],
    /// `[V, D]`.
    pub(crate) dweight: &'a mut [f32],
    /// Whether `dweight` is replaced (first micro-batch of a step) or added to.
    pub(crate) write: Write,
}

/// The classifier with its scratch memory, allocated once.
///
/// Hidden states `x` are channel-first `[D, W]`: element (d, p) is `x[d · W + p]`, with `W = x.len() / D`. The positions
/// that count are the first `targets.len()` of the W; columns after them are padding.
#[derive(Debug)]
pub(crate) struct Classifier {
    vocab: usize,
    dim: usize,
    /// Distance of two positions' logits: the vocabulary padded to an odd number of cache lines, so that rows do not all
    /// fall on the same cache sets.
    row: usize,
    /// `[TILE, row]`
    logits: Vec<f32>,
    /// Negative log-likelihood of each position of a tile.
    nll: [f64; TILE],
}

impl Classifier {
    /// A classifier of `dim` channels into `vocab` tokens for at most `positions` positions a call.
    pub(crate) fn new(vocab: usize, dim: usize, positions: usize) -> Self {
        const CACHE_LINE: usize = 16;
        let row = (vocab.div_ceil(CACHE_LINE) | 1) * CACHE_LINE;
        let logits = vec![0.0; positions.clamp(1, TILE) * row];
        Self { vocab, dim, row, logits, nll: [0.0; TILE] }
    }

    /// Sum over positions of the negative log-likelihood of `targets` given `x`, under classifier `weight` `[V, D]`.
    ///
    /// # Errors
    /// When a target is outside the vocabulary or a position's loss is not finite.
    ///
    /// # Panics
    /// When a slice's length does not fit the shapes.
    pub(crate) fn forward(&mut self, x: &[f32], weight: &[f32], targets: &[u32]) -> Result<f64, LossError> {
        let width = self.check(x, weight, targets)?;
        let mut sum = 0.0;
        for (tile, targets) in self.tiles(targets) {
            self.tile_logits(x, weight, tile, targets.len(), width);
            self.tile_losses(targets, None);
            sum += self.tile_sum(x, tile, targets.len(), width)?;
        }
        Ok(sum)
    }

    /// As [`Classifier::forward`], and the gradients of `grad_scale` times that sum. For the mean over a step's
    /// positions, `grad_scale` is loss scale / number of positions in the *step* (all micro-batches).
    ///
    /// # Errors
    /// As [`Classifier::forward`]. After [`LossError::NonFinite`] the gradients are meaningless: drop the step.
    ///
    /// # Panics
    /// When a slice's length does not fit the shapes.
    pub(crate) fn forward_backward(
        &mut self,
        x: &[f32],
        weight: &[f32],
        targets: &[u32],
        grad_scale: f32,
        gradients: Gradients<'_>,
    ) -> Result<f64, LossError> {
        let width = self.check(x, weight, targets)?;
        let Gradients { dx, dweight, mut write } = gradients;
        assert_eq!(dx.len(), x.len(), "dx has another shape than x");
        assert_eq!(dweight.len(), weight.len(), "dweight has another shape than weight");
        let (vocab, dim) = (self.vocab, self.dim);

        let mut sum = 0.0;
        for (tile, targets) in self.tiles(targets) {
            let count = targets.len();
            self.tile_logits(x, weight, tile, count, width);
            self.tile_losses(targets, Some(grad_scale));
            sum += self.tile_sum(x, tile, count, width)?;

            let dlogits = Matrix::row_major(&self.logits, count, vocab, self.row);
            let weight = Matrix::row_major(weight, vocab, dim, dim);
            let dx = MatrixMut::row_major(&mut dx[tile..], dim, count, width);
            matmul(dx, Write::Set, weight.t(), dlogits.t());

            let x = Matrix::row_major(&x[tile..], dim, count, width);
            let dweight = MatrixMut::row_major(dweight, vocab, dim, dim);
            matmul(dweight, write, dlogits.t(), x.t());
            write = Write::Add;
        }
        if targets.is_empty() && write == Write::Set {
            dweight.fill(0.0);
        }
        dx.chunks_exact_mut(width.max(1)).for_each(|channel| channel[targets.len()..].fill(0.0));
        Ok(sum)
    }

    /// The logits of one position, `logits` `[V]`: what sampling needs.
    ///
    /// # Panics
    /// When a slice's length does not fit the shapes, or `position` lies outside `x`.
    pub(crate) fn logits(&self, x: &[f32], weight: &[f32], position: usize, logits: &mut [f32]) {
        let dim = self.dim;
        let width = x.len() / dim;
        assert!(position < width, "position {position} outside the width {width}");
        assert_eq!(weight.len(), self.vocab * dim, "weight is not [V, D]");
        assert_eq!(logits.len(), self.vocab, "logits is not [V]");
        let hidden: Vec<f32> = x.iter().skip(position).step_by(width).copied().collect();

        const ROWS: usize = 256;
        let arch = Arch::new();
        logits.par_chunks_mut(ROWS).zip(weight.par_chunks(ROWS * dim)).for_each(|(logits, weight)| {
            arch.dispatch(Logits { weight, hidden: &hidden, logits });
        });
    }

    /// Checks shapes and targets; returns the width W of `x`.
    fn check(&self, x: &[f32], weight: &[f32], targets: &[u32]) -> Result<usize, LossError> {
        let width = x.len() / self.dim;
        assert_eq!(x.len(), self.dim * width, "x is not [D, W]");
        assert_eq!(weight.len(), self.vocab * self.dim, "weight is not [V, D]");
        assert!(targets.len() <= width, "{} targets for a width of {width}", targets.len());
        match targets.iter().position(|&token| token as usize >= self.vocab) {
            Some(position) => {
                Err(LossError::Target { position, token: targets[position], vocab: self.vocab })
            }
            None => Ok(width),
        }
    }

    /// The targets of each tile with the tile's first position.
    fn tiles<'t>(&self, targets: &'t [u32]) -> impl Iterator<Item = (usize, &'t [u32])> + use<'t> {
        let tile = self.logits.len() / self.row;
        targets.chunks(tile).enumerate().map(move |(i, targets)| (i * tile, targets))
    }

    fn tile_logits(&mut self, x: &[f32], weight: &[f32], tile: usize, count: usize, width: usize) {
        let x = Matrix::row_major(&x[tile..], self.dim, count, width);
        let weight = Matrix::row_major(weight, self.vocab, self.dim, self.dim);
        let logits = MatrixMut::row_major(&mut self.logits, count, self.vocab, self.row);
        matmul(logits, Write::Set, x.t(), weight.t());
    }

    /// Each position's loss, and its logits' gradient in their place when `grad_scale` is given.
    fn tile_losses(&mut self, targets: &[u32], grad_scale: Option<f32>) {
        let vocab = self.vocab;
        let arch = Arch::new();
        self.logits.par_chunks_mut(self.row).zip(&mut self.nll).zip(targets).for_each(
            |((row, nll), &target)| {
                let row = &mut row[..vocab];
                let target = target as usize;
                *nll = arch.dispatch(PositionLoss { row, target, grad_scale });
            },
        );
    }

    /// The tile's losses, summed in order.
    fn tile_sum(&self, x: &[f32], tile: usize, count: usize, width: usize) -> Result<f64, LossError> {
        let losses = &self.nll[..count];
        if let Some(offset) = losses.iter().position(|nll| !nll.is_finite()) {
            let position = tile + offset;
            let hidden_is_finite = x.iter().skip(position).step_by(width).all(|h| h.is_finite());
            let cause = if hidden_is_finite { NonFinite::Classifier } else { NonFinite::Hidden };
            return Err(LossError::NonFinite { position, cause });
        }
        Ok(losses.iter().sum())
    }
}

/// Negative log-likelihood of `target` under the softmax of `row`. Leaves e^(logit − max) in `row`, or, when
/// `grad_scale` is given, the gradient of `grad_scale` times the loss.
struct PositionLoss<'a> {
    row: &'a mut [f32],
    target: usize,
    grad_scale: Option<f32>,
}

impl WithSimd for PositionLoss<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let Self { row, target, grad_scale } = self;
        let max = maximum(row);
        let logit = row[target];
        let sum = exponentiate(row, max);
        let nll = sum.ln() - (f64::from(logit) - f64::from(max));
        if let Some(scale) = grad_scale {
            let factor = (f64::from(scale) / sum) as f32;
            for value in row.iter_mut() {
                *value *= factor;
            }
            row[target] -= scale;
        }
        nll
    }
}

/// Largest element; NaN elements may be passed over, and then show in the sum of exponentials.
#[inline(always)]
fn maximum(row: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut groups = row.chunks_exact(LANES);
    for group in &mut groups {
        for (lane, &value) in lanes.iter_mut().zip(group) {
            *lane = larger(value, *lane);
        }
    }
    let rest = groups.remainder().iter().copied();
    lanes.into_iter().chain(rest).fold(f32::NEG_INFINITY, |max, value| larger(value, max))
}

/// Replaces each element by e^(element − max) and returns their sum: fp32 within short blocks, f64 across.
#[inline(always)]
fn exponentiate(row: &mut [f32], max: f32) -> f64 {
    const BLOCK: usize = 32 * LANES;
    let mut sum = 0.0;
    for block in row.chunks_mut(BLOCK) {
        let mut lanes = [0.0f32; LANES];
        let mut groups = block.chunks_exact_mut(LANES);
        for group in &mut groups {
            for (lane, value) in lanes.iter_mut().zip(group) {
                *value = exp(*value - max);
                *lane += *value;
            }
        }
        for (lane, value) in lanes.iter_mut().zip(groups.into_remainder()) {
            *value = exp(*value - max);
            *lane += *value;
        }
        sum += lanes.iter().copied().map(f64::from).sum::<f64>();
    }
    sum
}

/// Logits of some tokens: one dot product with `hidden` for each row of `weight`.
struct Logits<'a> {
    weight: &'a [f32],
    hidden: &'a [f32],
    logits: &'a mut [f32],
}

impl WithSimd for Logits<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (logit, row) in self.logits.iter_mut().zip(self.weight.chunks_exact(self.hidden.len())) {
            *logit = dot(row, self.hidden);
        }
    }
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 32;
    let mut lanes = [0.0f32; LANES];
    let (a_groups, b_groups) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_groups.remainder().iter().zip(b_groups.remainder());
    let rest: f32 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in a_groups.zip(b_groups) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane = a.mul_add(b, *lane);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
#[path = "classifier_tests.rs"]
mod tests;
