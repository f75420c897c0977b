//! Classifier and cross-entropy, fused.
//!
//! Logits of a whole step would be the largest tensor of a run (positions × vocabulary). Here they exist for one tile of
//! positions at a time, in blocks of tokens that fit a core's second-level cache: a block's logits become exponentials as
//! soon as they are computed, and later its gradient, which both products of the backward pass use where it lies.
//!
//! ```text
//! logits[p, v] = Σ_d E[v, d] · x[d, p]                nll[p] = ln Σ_v e^{logits[p, v]} − logits[p, target[p]]
//! g[p, v]      = scale · ((1 + 2z·lnZ[p]) · softmax(logits[p])[v] − [v = target[p]])      lnZ[p] = ln Σ_v e^{logits[p, v]}
//! dx[d, p]     = Σ_v E[v, d] · g[p, v]                dE[v, d] += Σ_p g[p, v] · x[d, p]
//! ```
//!
//! z is the weight of the z-loss z·lnZ², which keeps logits from drifting; 0 for none. The loss that is told never holds it.
//!
//! Blocks are shared out among threads. Exponentials are relative to the largest logit of their block and position; the
//! blocks' maxima and sums are combined once all are known. Every sum has a fixed order, so results depend neither on
//! scheduling nor on the number of threads.

use pulp::{Arch, Simd, WithSimd};
use thiserror::Error;

use crate::math::exp;
use crate::matmul::{Matrix, MatrixMut, Write, matmul};

/// Positions whose logits exist at one time.
const TILE: usize = 256;

/// Most tokens of a block: with a tile of positions, half a megabyte of logits.
const BLOCK: usize = 512;

/// Sums of dx that are kept apart, so that blocks can be shared out.
const GROUPS: usize = 16;

/// Columns of dx that one product computes: its operands then stay in the first levels of cache.
const STRIP: usize = 128;

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
    /// Weight of the z-loss; 0 for none.
    z_loss: f64,
    /// Positions of a tile, at most [`TILE`].
    tile: usize,
    /// Tokens of a block.
    block: usize,
    /// Logits of a tile, then their exponentials, then their gradient: `[V, positions]`.
    logits: Vec<f32>,
    /// Largest logit of each block and position: `[blocks, tile]`.
    maxima: Vec<f32>,
    /// Sums of exponentials relative to these: `[blocks, tile]`.
    sums: Vec<f64>,
    /// Logit of each position's target, in the row of the target's block: `[blocks, tile]`.
    target_logits: Vec<f32>,
    /// The tile's hidden states with positions as rows: `[tile, D]`. So products for dE need not pack them block by block.
    hidden: Vec<f32>,
    /// Sums of dx over the blocks of each group: `[groups, D, tile]`.
    partial_dx: Vec<f32>,
    /// Largest logit, sum of exponentials relative to it, and negative log-likelihood of each position.
    max: Vec<f32>,
    sum: Vec<f64>,
    nll: Vec<f64>,
}

impl Classifier {
    /// A classifier of `dim` channels into `vocab` tokens for at most `positions` positions a call.
    pub(crate) fn new(vocab: usize, dim: usize, positions: usize) -> Self {
        let tile = positions.clamp(1, TILE);
        // Small vocabularies make enough blocks for every thread, too.
        let block = (vocab / 32).next_multiple_of(16).clamp(64, BLOCK);
        let blocks = vocab.div_ceil(block);
        Self {
            vocab,
            dim,
            z_loss: 0.0,
            tile,
            block,
            logits: vec![0.0; vocab * tile],
            maxima: vec![0.0; blocks * tile],
            sums: vec![0.0; blocks * tile],
            target_logits: vec![0.0; blocks * tile],
            hidden: vec![0.0; tile * dim],
            partial_dx: vec![0.0; blocks.min(GROUPS) * dim * tile],
            max: vec![0.0; tile],
            sum: vec![0.0; tile],
            nll: vec![0.0; tile],
        }
    }

    /// Gives the z-loss a weight; 0 is none.
    pub(crate) fn set_z_loss(&mut self, weight: f64) {
        self.z_loss = weight;
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
            self.exponentials(x, weight, tile, targets, width);
            sum += self.tile_loss(x, tile, targets, width)?;
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

        let mut sum = 0.0;
        for (tile, targets) in self.tiles(targets) {
            self.exponentials(x, weight, tile, targets, width);
            sum += self.tile_loss(x, tile, targets, width)?;
            let tile = Tile { x, weight, first: tile, targets, width, grad_scale };
            self.gradients(&tile, dweight, write);
            self.sum_dx(&tile, dx);
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
        let parts = logits.chunks_mut(ROWS).zip(weight.chunks(ROWS * dim));
        ferrane_team::each_of(parts, |_, (logits, weight)| {
            ferrane_cpu::matvec(weight, dim, &hidden, logits);
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
        let tile = self.tile;
        targets.chunks(tile).enumerate().map(move |(i, targets)| (i * tile, targets))
    }

    /// Every block's logits, turned into exponentials, with their maxima and sums.
    fn exponentials(&mut self, x: &[f32], weight: &[f32], tile: usize, targets: &[u32], width: usize) {
        let (dim, block, stride, count) = (self.dim, self.block, self.tile, targets.len());
        let x = Matrix::row_major(&x[tile..], dim, count, width);
        let arch = Arch::new();
        let blocks = self.logits[..self.vocab * count]
            .chunks_mut(block * count)
            .zip(weight.chunks(block * dim))
            .zip(self.maxima.chunks_mut(stride))
            .zip(self.sums.chunks_mut(stride))
            .zip(self.target_logits.chunks_mut(stride));
        ferrane_team::each_of(blocks, |index, ((((logits, weight), max), sum), target_logits)| {
            let tokens = weight.len() / dim;
            let weight = Matrix::row_major(weight, tokens, dim, dim);
            matmul(MatrixMut::row_major(logits, tokens, count, count), Write::Set, weight, x);
            for (position, token) in in_block(targets, index * block, tokens) {
                target_logits[position] = logits[token * count + position];
            }
            let (max, sum) = (&mut max[..count], &mut sum[..count]);
            arch.dispatch(Exponentials { logits, max, sum });
        });
    }

    /// The tile's losses, summed in order.
    fn tile_loss(&mut self, x: &[f32], tile: usize, targets: &[u32], width: usize) -> Result<f64, LossError> {
        let (block, stride, count) = (self.block, self.tile, targets.len());
        let (max, sum) = (&mut self.max[..count], &mut self.sum[..count]);
        Arch::new().dispatch(Combine { maxima: &self.maxima, sums: &self.sums, stride, max, sum });
        let losses = &mut self.nll[..count];
        for (position, (nll, &target)) in losses.iter_mut().zip(targets).enumerate() {
            let logit = self.target_logits[target as usize / block * stride + position];
            *nll = sum[position].ln() - (f64::from(logit) - f64::from(max[position]));
        }
        if let Some(offset) = losses.iter().position(|nll| !nll.is_finite()) {
            let position = tile + offset;
            let hidden_is_finite = x.iter().skip(position).step_by(width).all(|h| h.is_finite());
            let cause = if hidden_is_finite { NonFinite::Classifier } else { NonFinite::Hidden };
            return Err(LossError::NonFinite { position, cause });
        }
        Ok(losses.iter().sum())
    }

    /// Turns every block's exponentials into the gradient of its logits; the blocks' part of dE and each group's of dx.
    fn gradients(&mut self, tile: &Tile<'_>, dweight: &mut [f32], write: Write) {
        let (dim, block, stride, count) = (self.dim, self.block, self.tile, tile.targets.len());
        let group = self.group();
        for (channel, row) in tile.x.chunks_exact(tile.width).enumerate() {
            let to = self.hidden.iter_mut().skip(channel).step_by(dim);
            to.zip(&row[tile.first..][..count]).for_each(|(to, &x)| *to = x);
        }
        let hidden = Matrix::row_major(&self.hidden, count, dim, dim);
        let (maxima, max, sum) = (&self.maxima, &self.max[..count], &self.sum[..count]);
        let z_loss = self.z_loss;
        let arch = Arch::new();
        let groups = self.logits[..self.vocab * count]
            .chunks_mut(group * block * count)
            .zip(tile.weight.chunks(group * block * dim))
            .zip(dweight.chunks_mut(group * block * dim))
            .zip(self.partial_dx.chunks_mut(dim * stride));
        ferrane_team::each_of(groups, |index, (((logits, weight), dweight), dx)| {
            let blocks = logits
                .chunks_mut(block * count)
                .zip(weight.chunks(block * dim))
                .zip(dweight.chunks_mut(block * dim));
            let mut write_dx = Write::Set;
            for (index, ((logits, weight), dweight)) in (index * group..).zip(blocks) {
                let tokens = weight.len() / dim;
                let (maxima, scale) = (&maxima[index * stride..][..count], tile.grad_scale);
                arch.dispatch(Rescale { logits, maxima, max, sum, scale, z_loss });
                for (position, token) in in_block(tile.targets, index * block, tokens) {
                    logits[token * count + position] -= scale;
                }
                let weight = Matrix::row_major(weight, tokens, dim, dim);
                for first in (0..count).step_by(STRIP) {
                    let columns = STRIP.min(count - first);
                    let gradient = Matrix::row_major(&logits[first..], tokens, columns, count);
                    let dx = MatrixMut::row_major(&mut dx[first..], dim, columns, count);
                    matmul(dx, write_dx, weight.t(), gradient);
                }
                let gradient = Matrix::row_major(logits, tokens, count, count);
                matmul(MatrixMut::row_major(dweight, tokens, dim, dim), write, gradient, hidden);
                write_dx = Write::Add;
            }
        });
    }

    /// The tile's columns of dx: the groups' sums, added in order.
    fn sum_dx(&self, tile: &Tile<'_>, dx: &mut [f32]) {
        let (dim, count) = (self.dim, tile.targets.len());
        let groups = self.vocab.div_ceil(self.group() * self.block);
        ferrane_team::each_of(dx.chunks_mut(tile.width), |channel, row| {
            let row = &mut row[tile.first..][..count];
            for (group, partial) in self.partial_dx.chunks(dim * self.tile).take(groups).enumerate() {
                let partial = &partial[channel * count..][..count];
                match group {
                    0 => row.copy_from_slice(partial),
                    _ => row.iter_mut().zip(partial).for_each(|(sum, &x)| *sum += x),
                }
            }
        });
    }

    /// Blocks of a group.
    fn group(&self) -> usize {
        self.vocab.div_ceil(self.block).div_ceil(GROUPS)
    }
}

/// What the backward pass of a tile of positions reads.
struct Tile<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    /// First position.
    first: usize,
    targets: &'a [u32],
    width: usize,
    grad_scale: f32,
}

/// The positions whose target is one of `tokens` tokens from `first` on, each with the token's number among them.
fn in_block(targets: &[u32], first: usize, tokens: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
    let token = move |&target: &u32| (target as usize).checked_sub(first).filter(|&token| token < tokens);
    targets.iter().enumerate().filter_map(move |(position, target)| Some((position, token(target)?)))
}

/// Replaces logits, a row a token, by e^(logit − max), with the maximum and the sum of each position.
struct Exponentials<'a> {
    logits: &'a mut [f32],
    max: &'a mut [f32],
    sum: &'a mut [f64],
}

impl WithSimd for Exponentials<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        /// Rows whose exponentials are summed in fp32 before they join the sum in f64.
        const ROWS: usize = 32;
        let Self { logits, max, sum } = self;
        let count = max.len();
        // NaN is passed over here, and then shows in the sum.
        max.fill(f32::NEG_INFINITY);
        for row in logits.chunks_exact(count) {
            max.iter_mut().zip(row).for_each(|(max, &l)| *max = if l > *max { l } else { *max });
        }
        // Where all logits are −∞, all exponentials are 0.
        let mut shift = [0.0f32; TILE];
        let shift = &mut shift[..count];
        shift.iter_mut().zip(&*max).for_each(|(s, &m)| *s = if m == f32::NEG_INFINITY { 0.0 } else { m });
        sum.fill(0.0);
        for rows in logits.chunks_mut(ROWS * count) {
            let mut partial = [0.0f32; TILE];
            let partial = &mut partial[..count];
            for row in rows.chunks_exact_mut(count) {
                for ((value, &shift), partial) in row.iter_mut().zip(&*shift).zip(&mut *partial) {
                    *value = exp(*value - shift);
                    *partial += *value;
                }
            }
            sum.iter_mut().zip(&*partial).for_each(|(sum, &partial)| *sum += f64::from(partial));
        }
    }
}

/// Maximum and sum of exponentials of each position over all blocks, whose rows are `stride` apart.
struct Combine<'a> {
    maxima: &'a [f32],
    sums: &'a [f64],
    stride: usize,
    max: &'a mut [f32],
    sum: &'a mut [f64],
}

impl WithSimd for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { maxima, sums, stride, max, sum } = self;
        max.fill(f32::NEG_INFINITY);
        for row in maxima.chunks_exact(stride) {
            max.iter_mut().zip(row).for_each(|(max, &m)| *max = if m > *max { m } else { *max });
        }
        sum.fill(0.0);
        for (maxima, sums) in maxima.chunks_exact(stride).zip(sums.chunks_exact(stride)) {
            for (((sum, &max), &m), &s) in sum.iter_mut().zip(&*max).zip(maxima).zip(sums) {
                *sum += s * f64::from(exp(m - max));
            }
        }
    }
}

/// Turns exponentials relative to their block's maxima into `scale · (1 + 2z·lnZ)` times probabilities.
struct Rescale<'a> {
    logits: &'a mut [f32],
    maxima: &'a [f32],
    max: &'a [f32],
    sum: &'a [f64],
    scale: f32,
    z_loss: f64,
}

impl WithSimd for Rescale<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let count = self.max.len();
        let mut factors = [0.0f32; TILE];
        let factors = &mut factors[..count];
        for (((factor, &m), &max), &sum) in factors.iter_mut().zip(self.maxima).zip(self.max).zip(self.sum) {
            let mut scale = f64::from(self.scale);
            if self.z_loss != 0.0 {
                scale *= 1.0 + 2.0 * self.z_loss * (f64::from(max) + sum.ln());
            }
            *factor = (scale / sum) as f32 * exp(m - max);
        }
        for row in self.logits.chunks_exact_mut(count) {
            row.iter_mut().zip(&*factors).for_each(|(value, &factor)| *value *= factor);
        }
    }
}

#[cfg(test)]
#[path = "classifier_tests.rs"]
mod tests;
