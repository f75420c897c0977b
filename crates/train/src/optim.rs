//! AdamW and the gradient norm, each one pass over flat fp32 arenas.
//!
//! Parameters, gradients and both moments are arenas of one length and one order. Both passes cut them into fixed blocks
//! that do not depend on the number of threads, so results are the same however the blocks are scheduled.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Elements of one block: four arenas' worth (256 KiB) stay in a core's L2 cache.
const BLOCK: usize = 16_384;

/// An optimiser setting that makes no sense.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum OptimError {
    /// A number outside the range in which AdamW is defined.
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

/// AdamW as PyTorch does it: decoupled decay, bias correction, eps outside the root.
#[derive(Debug, Clone)]
pub struct AdamW {
    config: AdamWConfig,
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

/// The four arenas of an update, all of one length.
#[derive(Debug)]
pub struct Arenas<'a> {
    /// Master weights.
    pub params: &'a mut [f32],
    /// Their gradients.
    pub grads: &'a [f32],
    /// First moments.
    pub m: &'a mut [f32],
    /// Second moments.
    pub v: &'a mut [f32],
}

impl AdamW {
    /// AdamW for an arena of `len` parameters. Weight decay applies to `decayed` alone: name the matrices (linear layers,
    /// embedding, classifier), and leave out the norms' vectors.
    ///
    /// # Errors
    /// When a constant is out of range, or a range leaves the arena or overlaps another.
    pub fn new(config: AdamWConfig, len: usize, decayed: &[Range<usize>]) -> Result<Self, OptimError> {
        let AdamWConfig { beta1, beta2, eps, weight_decay } = config;
        for (name, value) in [("beta1", beta1), ("beta2", beta2)] {
            if !(0.0..1.0).contains(&value) {
                return Err(OptimError::Setting { name, value, expected: "at least 0 and below 1" });
            }
        }
        for (name, value) in [("eps", eps), ("weight_decay", weight_decay)] {
            if !value.is_finite() || value < 0.0 {
                return Err(OptimError::Setting { name, value, expected: "finite and at least 0" });
            }
        }
        Ok(Self { config, len, decayed: normalise(decayed, len)? })
    }

    /// One update of every parameter, in place:
    ///
    /// ```text
    /// w ← w · (1 − lr·wd)          in decayed ranges
    /// m ← m + (1 − β₁)(g − m)      v ← β₂·v + (1 − β₂)g²
    /// w ← w − lr/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps)
    /// ```
    ///
    /// # Panics
    /// When an arena's length is not the one given to [`AdamW::new`], or `update.number` is 0.
    pub fn update(&self, update: Update, arenas: Arenas<'_>) {
        let Arenas { params, grads, m, v } = arenas;
        for len in [params.len(), grads.len(), m.len(), v.len()] {
            assert_eq!(len, self.len, "an arena's length differs from the optimiser's");
        }
        assert!(update.number > 0, "updates count from 1");

        let with_decay = Factors::new(&self.config, &update, self.config.weight_decay);
        let without_decay = Factors::new(&self.config, &update, 0.0);
        let arch = Arch::new();
        params
            .par_chunks_mut(BLOCK)
            .zip(grads.par_chunks(BLOCK))
            .zip(m.par_chunks_mut(BLOCK))
            .zip(v.par_chunks_mut(BLOCK))
            .enumerate()
            .for_each(|(block, (((params, grads), m), v))| {
                for (part, decays) in self.split(block * BLOCK, params.len()) {
                    let factors = if decays { &with_decay } else { &without_decay };
                    let (params, grads) = (&mut params[part.clone()], &grads[part.clone()]);
                    let (m, v) = (&mut m[part.clone()], &mut v[part]);
                    arch.dispatch(UpdatePart { factors, params, grads, m, v });
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

/// The scalars of one update, computed in f64 and rounded once.
struct Factors {
    grad_scale: f32,
    keep: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    step_size: f32,
    inv_root_correction2: f32,
    eps: f32,
}

impl Factors {
    fn new(config: &AdamWConfig, update: &Update, weight_decay: f64) -> Self {
        let t = update.number as f64;
        let correction1 = 1.0 - config.beta1.powf(t);
        let correction2 = 1.0 - config.beta2.powf(t);
        Self {
            grad_scale: update.grad_scale,
            keep: (1.0 - update.lr * weight_decay) as f32,
            one_minus_beta1: (1.0 - config.beta1) as f32,
            beta2: config.beta2 as f32,
            one_minus_beta2: (1.0 - config.beta2) as f32,
            step_size: (update.lr / correction1) as f32,
            inv_root_correction2: correction2.sqrt().recip() as f32,
            eps: config.eps as f32,
        }
    }
}

/// One update of parameters that share their factors.
struct UpdatePart<'a> {
    factors: &'a Factors,
    params: &'a mut [f32],
    grads: &'a [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
}

impl WithSimd for UpdatePart<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let f = self.factors;
        for (((w, &g), m), v) in self.params.iter_mut().zip(self.grads).zip(self.m).zip(self.v) {
            let g = g * f.grad_scale;
            *m += (g - *m) * f.one_minus_beta1;
            *v = *v * f.beta2 + f.one_minus_beta2 * g * g;
            let denominator = v.sqrt() * f.inv_root_correction2 + f.eps;
            *w = *w * f.keep - f.step_size * (*m / denominator);
        }
    }
}

/// Euclidean norm of `grads`, summed in f64. Infinite or NaN when an element is, which is how an overflow shows.
pub fn global_norm(grads: &[f32]) -> f64 {
    let arch = Arch::new();
    let blocks: Vec<f64> = grads.par_chunks(BLOCK).map(|block| arch.dispatch(SumOfSquares(block))).collect();
    blocks.iter().sum::<f64>().sqrt()
}

struct SumOfSquares<'a>(&'a [f32]);

impl WithSimd for SumOfSquares<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        const LANES: usize = 16;
        let mut sums = [0.0f64; LANES];
        let mut groups = self.0.chunks_exact(LANES);
        for group in &mut groups {
            for (sum, &value) in sums.iter_mut().zip(group) {
                *sum += f64::from(value) * f64::from(value);
            }
        }
        for (sum, &value) in sums.iter_mut().zip(groups.remainder()) {
            *sum += f64::from(value) * f64::from(value);
        }
        sums.iter().sum()
    }
}

/// What to multiply the gradients by so that their norm does not exceed `max_norm` (0: no limit), by PyTorch's formula
/// `max_norm / (norm + 1e-6)`, at most 1.
pub fn clip_coefficient(norm: f64, max_norm: f64) -> f32 {
    if max_norm <= 0.0 {
        return 1.0;
    }
    (max_norm / (norm + 1e-6)).min(1.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONFIG: AdamWConfig = AdamWConfig { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };

    /// Plain numbers without pattern, in -1..1.
    fn noise(len: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        };
        (0..len).map(|_| next()).collect()
    }

    /// AdamW written out once more in f64, one parameter at a time, in the textbook's m̂, v̂ form.
    fn reference(config: &AdamWConfig, decays: bool, lr: f64, w0: f64, grads: &[f64]) -> f64 {
        let (mut w, mut m, mut v) = (w0, 0.0, 0.0);
        for (i, g) in grads.iter().enumerate() {
            let t = (i + 1) as i32;
            m = config.beta1 * m + (1.0 - config.beta1) * g;
            v = config.beta2 * v + (1.0 - config.beta2) * g * g;
            let m_hat = m / (1.0 - config.beta1.powi(t));
            let v_hat = v / (1.0 - config.beta2.powi(t));
            let decay = if decays { lr * config.weight_decay * w } else { 0.0 };
            w = w - decay - lr * m_hat / (v_hat.sqrt() + config.eps);
        }
        w
    }

    #[test]
    fn follows_the_reference_over_many_steps_and_ranges() {
        let len = 2 * BLOCK + 777;
        // Ranges that touch, straddle a block's border, and end the arena.
        let decayed = [5..9, 9..100, BLOCK - 3..BLOCK + 5, 2 * BLOCK + 700..len, 7_000..7_000];
        let optimiser = AdamW::new(CONFIG, len, &decayed).unwrap();
        let start = noise(len, 1);
        let steps: Vec<Vec<f32>> = (0..20).map(|s| noise(len, 100 + s)).collect();
        let (mut params, mut m, mut v) = (start.clone(), vec![0.0; len], vec![0.0; len]);
        for (i, grads) in steps.iter().enumerate() {
            let update = Update { lr: 3e-3, number: i as u64 + 1, grad_scale: 0.25 };
            optimiser.update(update, Arenas { params: &mut params, grads, m: &mut m, v: &mut v });
        }
        for i in 0..len {
            let decays = decayed.iter().any(|range| range.contains(&i));
            let grads: Vec<f64> = steps.iter().map(|g| f64::from(g[i]) * 0.25).collect();
            let expected = reference(&CONFIG, decays, 3e-3, f64::from(start[i]), &grads);
            let error = (f64::from(params[i]) - expected).abs();
            assert!(error < 2e-6, "parameter {i}: {} against {expected}", params[i]);
        }
    }

    /// Worked by hand from PyTorch's documented algorithm: lr 0.1, betas 0.9 and 0.999, decay 0.01, gradient 0.5 twice.
    #[test]
    fn first_two_updates_match_a_hand_calculation() {
        let config = AdamWConfig { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 };
        let optimiser = AdamW::new(config, 1, std::slice::from_ref(&(0..1))).unwrap();
        let (mut w, mut m, mut v) = ([1.0f32], [0.0f32], [0.0f32]);
        let grads = [0.5f32];
        let mut update = |number| {
            let update = Update { lr: 0.1, number, grad_scale: 1.0 };
            optimiser.update(update, Arenas { params: &mut w, grads: &grads, m: &mut m, v: &mut v });
            (w[0], m[0], v[0])
        };
        // A constant gradient makes both corrected moments exact: every step is lr, besides decay.
        let (w, m, v) = update(1);
        assert!((w - 0.899).abs() < 1e-6 && (m - 0.05).abs() < 1e-8 && (v - 0.000_25).abs() < 1e-9);
        let (w, m, v) = update(2);
        assert!((w - 0.798_101).abs() < 1e-6 && (m - 0.095).abs() < 1e-7 && (v - 0.000_499_75).abs() < 1e-9);
    }

    #[test]
    fn eps_stands_outside_the_root() {
        let config = AdamWConfig { eps: 1.0, weight_decay: 0.0, ..CONFIG };
        let optimiser = AdamW::new(config, 1, &[]).unwrap();
        let (mut w, mut m, mut v) = ([0.0f32], [0.0f32], [0.0f32]);
        let update = Update { lr: 1.0, number: 1, grad_scale: 1.0 };
        optimiser.update(update, Arenas { params: &mut w, grads: &[3.0], m: &mut m, v: &mut v });
        // m̂ = 3, √v̂ = 3: 3 / (3 + 1), where eps under the root would give 3 / √10.
        assert!((w[0] + 0.75).abs() < 1e-6, "{}", w[0]);
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let len = 5 * BLOCK + 11;
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (mut params, mut m, mut v) = (noise(len, 3), noise(len, 4), vec![0.5; len]);
                let grads = noise(len, 5);
                let optimiser = AdamW::new(CONFIG, len, std::slice::from_ref(&(100..2 * BLOCK))).unwrap();
                let update = Update { lr: 1e-2, number: 7, grad_scale: 0.5 };
                optimiser.update(update, Arenas { params: &mut params, grads: &grads, m: &mut m, v: &mut v });
                (params, m, v, global_norm(&grads).to_bits())
            })
        };
        let alone = run(1);
        assert_eq!(run(2), alone);
        assert_eq!(run(5), alone);
    }

    #[test]
    fn senseless_settings_are_named() {
        let with = |config: AdamWConfig| AdamW::new(config, 1, &[]).unwrap_err();
        assert!(matches!(
            with(AdamWConfig { beta1: 1.0, ..CONFIG }),
            OptimError::Setting { name: "beta1", .. }
        ));
        assert!(matches!(
            with(AdamWConfig { beta2: -0.1, ..CONFIG }),
            OptimError::Setting { name: "beta2", .. }
        ));
        assert!(matches!(
            with(AdamWConfig { eps: f64::NAN, ..CONFIG }),
            OptimError::Setting { name: "eps", .. }
        ));
        for ranges in [vec![0..5, 4..6], vec![8..11, 1..2], vec![Range { start: 3, end: 2 }]] {
            assert!(
                matches!(AdamW::new(CONFIG, 10, &ranges), Err(OptimError::DecayRange { .. })),
                "{ranges:?}"
            );
        }
    }

    #[test]
    fn clipping_uses_pytorchs_formula() {
        assert_eq!(clip_coefficient(2.0, 1.0), (1.0 / (2.0 + 1e-6)) as f32);
        assert_eq!(clip_coefficient(0.5, 1.0), 1.0);
        assert_eq!(clip_coefficient(0.0, 1.0), 1.0);
        assert_eq!(clip_coefficient(100.0, 0.0), 1.0, "0 is off");
    }

    #[test]
    fn the_norm_shows_non_finite_gradients() {
        let mut grads = vec![1.0f32; 3 * BLOCK];
        assert!((global_norm(&grads) - (3.0 * BLOCK as f64).sqrt()).abs() < 1e-9);
        grads[BLOCK + 1] = f32::INFINITY;
        assert!(global_norm(&grads).is_infinite());
        grads[2] = f32::NAN;
        assert!(global_norm(&grads).is_nan());
        // Squares that overflow f32 do not overflow the norm.
        assert!((global_norm(&[3e30, 4e30]) / 5e30 - 1.0).abs() < 1e-6);
        assert_eq!(global_norm(&[]), 0.0);
    }

    proptest! {
        #[test]
        fn the_norm_matches_a_plain_f64_sum(values in prop::collection::vec(-1e3f32..1e3, 0..200)) {
            let plain = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            prop_assert!((global_norm(&values) - plain).abs() <= 1e-12 * plain);
        }

        #[test]
        fn blocks_split_into_all_their_elements(
            cuts in prop::collection::btree_set(0usize..200, 0..12),
            start in 0usize..200,
            len in 0usize..100,
        ) {
            let cuts: Vec<usize> = cuts.into_iter().collect();
            let ranges: Vec<Range<usize>> = cuts.chunks_exact(2).map(|c| c[0]..c[1]).collect();
            let optimiser = AdamW::new(CONFIG, 300, &ranges).unwrap();
            let mut seen = Vec::new();
            for (part, decays) in optimiser.split(start, len) {
                prop_assert!(!part.is_empty());
                seen.extend(part.map(|i| (start + i, decays)));
            }
            let expected: Vec<(usize, bool)> =
                (start..start + len).map(|i| (i, ranges.iter().any(|r| r.contains(&i)))).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
