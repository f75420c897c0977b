//! AdamW, Lion, SGD and the gradient norm, each one pass over flat fp32 arenas.
//!
//! Parameters, gradients and moments are arenas of one length and one order. All passes cut them into fixed blocks that do
//! not depend on the number of threads, so results are the same however the blocks are scheduled.

mod norm;
mod rules;

pub use norm::{clip_coefficient, global_norm};

use std::ops::Range;

use pulp::Arch;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use rules::{AdamWFactors, AdamWPart, LionPart, MomentumFactors, SgdPart};

/// Elements of one block: four arenas' worth (256 KiB) stay in a core's L2 cache.
const BLOCK: usize = 16_384;

/// An optimiser setting that makes no sense.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum OptimError {
    /// A number outside the range in which the optimiser is defined.
    #[error("{name} = {value} is out of range; it must be {expected}")]
    Setting {
        /// Which setting.
        name: &'static str,
        /// What it was.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// A decayed range leaves the arena or overlaps another.
    #[error(
        "weight decay range {start}..{end} overlaps another or leaves the arena of {len} parameters; \
         each tensor must be named once"
    )]
    DecayRange {
        /// First element.
        start: usize,
        /// One past the last element.
        end: usize,
        /// Length of the arena.
        len: usize,
    },
}

/// AdamW's constants; the learning rate comes with each step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay, for the ranges that take it.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 }
    }
}

/// Lion's constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LionConfig {
    /// Weight of the moment in the direction of an update.
    pub beta1: f64,
    /// Decay of the moment.
    pub beta2: f64,
    /// Decoupled weight decay, for the ranges that take it.
    pub weight_decay: f64,
}

/// The constants of stochastic gradient descent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SgdConfig {
    /// Decay of the sum of gradients; 0 for none.
    pub momentum: f64,
    /// Decoupled weight decay, for the ranges that take it.
    pub weight_decay: f64,
}

/// Which rule updates the parameters, with its constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimiserConfig {
    /// AdamW as PyTorch does it: decoupled decay, bias correction, eps outside the root.
    AdamW(AdamWConfig),
    /// Lion: steps of one size, along the sign of a mix of moment and gradient.
    Lion(LionConfig),
    /// Gradient descent with momentum as PyTorch does it, without dampening; but the decay is decoupled.
    Sgd(SgdConfig),
}

impl OptimiserConfig {
    /// Whether the rule keeps second moments; if not, their arena is empty.
    pub fn has_second_moments(&self) -> bool {
        matches!(self, Self::AdamW(_))
    }

    fn check(&self) -> Result<(), OptimError> {
        let (fractions, rest) = match *self {
            Self::AdamW(AdamWConfig { beta1, beta2, eps, weight_decay }) => {
                (vec![("beta1", beta1), ("beta2", beta2)], vec![("eps", eps), ("weight_decay", weight_decay)])
            }
            Self::Lion(LionConfig { beta1, beta2, weight_decay }) => {
                (vec![("beta1", beta1), ("beta2", beta2)], vec![("weight_decay", weight_decay)])
            }
            Self::Sgd(SgdConfig { momentum, weight_decay }) => {
                (vec![("momentum", momentum)], vec![("weight_decay", weight_decay)])
            }
        };
        for (name, value) in fractions {
            if !(0.0..1.0).contains(&value) {
                return Err(OptimError::Setting { name, value, expected: "at least 0 and below 1" });
            }
        }
        for (name, value) in rest {
            if !value.is_finite() || value < 0.0 {
                return Err(OptimError::Setting { name, value, expected: "finite and at least 0" });
            }
        }
        Ok(())
    }
}

/// A rule over an arena of parameters.
#[derive(Debug, Clone)]
pub struct Optimiser {
    config: OptimiserConfig,
    len: usize,
    /// Where weight decay applies: sorted, disjoint, none empty.
    decayed: Vec<Range<usize>>,
}

/// What varies from one update to the next.
#[derive(Debug, Clone, Copy)]
pub struct Update {
    /// Learning rate.
    pub lr: f64,
    /// Number of this update, from 1. Dropped updates do not count.
    pub number: u64,
    /// Multiplies every gradient first: 1 / loss scale times [`clip_coefficient`].
    pub grad_scale: f32,
}

/// The arenas of an update, all of one length.
#[derive(Debug)]
pub struct Arenas<'a> {
    /// Master weights.
    pub params: &'a mut [f32],
    /// Their gradients.
    pub grads: &'a [f32],
    /// First moments.
    pub m: &'a mut [f32],
    /// Second moments; empty if the rule keeps none.
    pub v: &'a mut [f32],
}

impl Optimiser {
    /// A rule for an arena of `len` parameters. Weight decay applies to `decayed` alone: name the matrices (linear layers,
    /// embedding, classifier), and leave out the norms' vectors.
    ///
    /// # Errors
    /// When a constant is out of range, or a range leaves the arena or overlaps another.
    pub fn new(config: OptimiserConfig, len: usize, decayed: &[Range<usize>]) -> Result<Self, OptimError> {
        config.check()?;
        Ok(Self { config, len, decayed: normalise(decayed, len)? })
    }

    /// One update of every parameter, in place. With g the scaled gradient, in decayed ranges always
    /// `w ← w · (1 − lr·wd)` first:
    ///
    /// ```text
    /// AdamW  m ← m + (1 − β₁)(g − m)      v ← β₂·v + (1 − β₂)g²
    ///        w ← w − lr/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps)
    /// Lion   w ← w − lr · sign(β₁·m + (1 − β₁)g)      m ← β₂·m + (1 − β₂)g
    /// SGD    m ← μ·m + g      w ← w − lr·m
    /// ```
    ///
    /// # Panics
    /// When an arena's length is not the one given to [`Optimiser::new`], or `update.number` is 0.
    pub fn update(&self, update: Update, arenas: Arenas<'_>) {
        let Arenas { params, grads, m, v } = arenas;
        let second = if self.config.has_second_moments() { self.len } else { 0 };
        for (len, expected) in
            [(params.len(), self.len), (grads.len(), self.len), (m.len(), self.len), (v.len(), second)]
        {
            assert_eq!(len, expected, "an arena's length differs from the optimiser's");
        }
        assert!(update.number > 0, "updates count from 1");

        let arch = Arch::new();
        match &self.config {
            OptimiserConfig::AdamW(config) => {
                let factors = [false, true].map(|decays| AdamWFactors::new(config, &update, decays));
                let blocks = params.chunks_mut(BLOCK).zip(grads.chunks(BLOCK));
                let blocks = blocks.zip(m.chunks_mut(BLOCK)).zip(v.chunks_mut(BLOCK));
                ferrane_team::each_of(blocks, |block, (((params, grads), m), v)| {
                    for (part, decays) in self.split(block * BLOCK, params.len()) {
                        let factors = &factors[usize::from(decays)];
                        let (params, grads) = (&mut params[part.clone()], &grads[part.clone()]);
                        let (m, v) = (&mut m[part.clone()], &mut v[part]);
                        arch.dispatch(AdamWPart { factors, params, grads, m, v });
                    }
                });
            }
            OptimiserConfig::Lion(config) => {
                let factors = [false, true].map(|decays| MomentumFactors::lion(config, &update, decays));
                self.for_each_part(params, grads, m, |decays, params, grads, m| {
                    arch.dispatch(LionPart { factors: &factors[usize::from(decays)], params, grads, m });
                });
            }
            OptimiserConfig::Sgd(config) => {
                let factors = [false, true].map(|decays| MomentumFactors::sgd(config, &update, decays));
                self.for_each_part(params, grads, m, |decays, params, grads, m| {
                    arch.dispatch(SgdPart { factors: &factors[usize::from(decays)], params, grads, m });
                });
            }
        }
    }

    /// Calls `rule` for parts of the arenas that decay or do not as a whole.
    fn for_each_part(
        &self,
        params: &mut [f32],
        grads: &[f32],
        m: &mut [f32],
        rule: impl Fn(bool, &mut [f32], &[f32], &mut [f32]) + Sync,
    ) {
        let blocks = params.chunks_mut(BLOCK).zip(grads.chunks(BLOCK)).zip(m.chunks_mut(BLOCK));
        ferrane_team::each_of(blocks, |block, ((params, grads), m)| {
            for (part, decays) in self.split(block * BLOCK, params.len()) {
                rule(decays, &mut params[part.clone()], &grads[part.clone()], &mut m[part]);
            }
        });
    }

    /// The parts of the block of `len` elements at `start`, relative to it, each with whether it decays.
    fn split(&self, start: usize, len: usize) -> impl Iterator<Item = (Range<usize>, bool)> {
        let end = start + len;
        let mut next = self.decayed.partition_point(|range| range.end <= start);
        let mut at = start;
        std::iter::from_fn(move || {
            if at == end {
                return None;
            }
            let (stop, decays) = match self.decayed.get(next) {
                Some(range) if range.start <= at => (range.end.min(end), true),
                Some(range) => (range.start.min(end), false),
                None => (end, false),
            };
            if decays {
                next += 1;
            }
            let part = at - start..stop - start;
            at = stop;
            Some((part, decays))
        })
    }
}

/// Sorts the ranges, drops empty ones and checks that they lie apart and inside the arena.
fn normalise(ranges: &[Range<usize>], len: usize) -> Result<Vec<Range<usize>>, OptimError> {
    let mut sorted: Vec<Range<usize>> = ranges.iter().filter(|r| r.start != r.end).cloned().collect();
    sorted.sort_by_key(|range| range.start);
    let mut free_from = 0;
    for range in &sorted {
        if range.start < free_from || range.start > range.end || range.end > len {
            return Err(OptimError::DecayRange { start: range.start, end: range.end, len });
        }
        free_from = range.end;
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests;
