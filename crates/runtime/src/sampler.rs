//! Choosing the next token from logits.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides the logits: below 1 the likely becomes likelier, above 1 all become alike; 0 always takes the likeliest.
    pub temperature: f32,
    /// Only the likeliest tokens that together have this probability can be chosen; 1 for all.
    pub top_p: f32,
    /// Only this many of the likeliest tokens can be chosen; 0 for all.
    pub top_k: usize,
}

/// A sampling setting that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum SamplingError {
    /// The temperature is negative, infinite or not a number.
    #[error(
        "temperature {0} is not a finite number of at least 0; use 0 for the likeliest token, 0.8 for variety"
    )]
    Temperature(f32),
    /// The probability lies outside 0..=1, or is 0.
    #[error("top-p {0} is not above 0 and at most 1; use 1 for all tokens, 0.9 for the likely ones")]
    TopP(f32),
}

/// Chooses tokens; the choices follow from the seed and the logits alone.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
    /// Tokens with their logits, then with their weights, likeliest first.
    candidates: Vec<(u32, f32)>,
}

impl Sampler {
    /// A sampler at the beginning of its random stream.
    ///
    /// # Errors
    /// A setting out of range.
    pub fn new(sampling: Sampling, seed: u64) -> Result<Self, SamplingError> {
        let Sampling { temperature, top_p, .. } = sampling;
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(SamplingError::Temperature(temperature));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(SamplingError::TopP(top_p));
        }
        Ok(Self { sampling, rng: ChaCha8Rng::seed_from_u64(seed), candidates: Vec::new() })
    }

    /// The next token, an index into `logits`. Among equals the lower index is the likelier. A logit that is not a number
    /// is never chosen unless there is no other.
    ///
    /// # Panics
    /// When there are no logits.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        assert!(!logits.is_empty(), "a vocabulary has tokens");
        let Sampling { temperature, top_p, top_k } = self.sampling;
        let numbers = logits.iter().enumerate().filter(|(_, logit)| !logit.is_nan());
        self.candidates.clear();
        self.candidates.extend(numbers.map(|(token, &logit)| (token as u32, logit)));
        if temperature == 0.0 || self.candidates.is_empty() {
            return likeliest(&self.candidates);
        }

        let descending = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if (1..self.candidates.len()).contains(&top_k) {
            self.candidates.select_nth_unstable_by(top_k - 1, descending);
            self.candidates.truncate(top_k);
        }
        self.candidates.sort_unstable_by(descending);
        let total = weigh(&mut self.candidates, temperature);
        let total = truncate(&mut self.candidates, total, top_p);

        // 53 bits in 0..1.
        let uniform = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut left = uniform * total;
        for &(token, weight) in &self.candidates {
            left -= f64::from(weight);
            if left < 0.0 {
                return token;
            }
        }
        likeliest(&self.candidates)
    }
}

/// The first of the largest; 0 when there are none.
fn likeliest(candidates: &[(u32, f32)]) -> u32 {
    let best = candidates.iter().reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map_or(0, |(token, _)| *token)
}

/// Turns descending logits into unnormalised probabilities, the first of them 1; returns their sum.
fn weigh(candidates: &mut [(u32, f32)], temperature: f32) -> f64 {
    let largest = candidates[0].1;
    let mut total = 0.0;
    for (_, value) in candidates.iter_mut() {
        // Equal logits have a difference of 0 even when they are infinite.
        let difference = if *value == largest { 0.0 } else { *value - largest };
        *value = (difference / temperature).exp();
        total += f64::from(*value);
    }
    total
}

/// Cuts off what lies beyond probability `top_p`; returns the sum of what stays, at least one token.
fn truncate(candidates: &mut Vec<(u32, f32)>, total: f64, top_p: f32) -> f64 {
    if top_p >= 1.0 {
        return total;
    }
    let wanted = f64::from(top_p) * total;
    let mut sum = 0.0;
    let stays = candidates.iter().position(|(_, weight)| {
        sum += f64::from(*weight);
        sum >= wanted
    });
    if let Some(last) = stays {
        candidates.truncate(last + 1);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Sampling = Sampling { temperature: 1.0, top_p: 1.0, top_k: 0 };

    fn counts(sampling: Sampling, logits: &[f32], draws: usize) -> Vec<usize> {
        let mut sampler = Sampler::new(sampling, 5).unwrap();
        let mut counts = vec![0; logits.len()];
        for _ in 0..draws {
            counts[sampler.sample(logits) as usize] += 1;
        }
        counts
    }

    #[test]
    fn temperature_zero_takes_the_likeliest_and_the_first_of_equals() {
        let greedy = Sampling { temperature: 0.0, ..ALL };
        assert_eq!(counts(greedy, &[0.5, 3.0, -1.0, 3.0], 20), [0, 20, 0, 0]);
        assert_eq!(counts(greedy, &[f32::NAN, -2.0, f32::NEG_INFINITY], 5), [0, 5, 0]);
    }

    /// Frequencies against the softmax written out, to five standard deviations.
    #[test]
    fn frequencies_are_the_softmax_of_the_logits() {
        let logits = [1.0f32, 0.0, -1.0, 2.0, -30.0];
        for temperature in [0.5f32, 1.0, 2.0] {
            let weights: Vec<f64> = logits.iter().map(|&l| f64::from(l / temperature).exp()).collect();
            let total: f64 = weights.iter().sum();
            let draws = 40_000;
            let counts = counts(Sampling { temperature, ..ALL }, &logits, draws);
            for (weight, count) in weights.iter().zip(counts) {
                let p = weight / total;
                let deviation = (draws as f64 * p * (1.0 - p)).sqrt();
                let off = (count as f64 - draws as f64 * p).abs();
                assert!(off <= 5.0 * deviation + 1.0, "temperature {temperature}: {count} of p {p}");
            }
        }
    }

    #[test]
    fn top_k_keeps_the_k_likeliest() {
        let logits = [0.0, 0.3, 0.1, 0.2];
        let counts_of = |top_k| counts(Sampling { top_k, ..ALL }, &logits, 400);
        assert_eq!(counts_of(1), [0, 400, 0, 0]);
        let two = counts_of(2);
        assert!(two[0] == 0 && two[2] == 0 && two[1] > 100 && two[3] > 100, "{two:?}");
        assert!(counts_of(9).iter().all(|&count| count > 50));
    }

    #[test]
    fn top_p_keeps_the_smallest_set_of_that_probability() {
        // Probabilities 0.5, 0.3, 0.2.
        let logits = [0.2f32.ln(), 0.5f32.ln(), 0.3f32.ln()];
        let counts_of = |top_p| counts(Sampling { top_p, ..ALL }, &logits, 600);
        assert_eq!(counts_of(0.4), [0, 600, 0]);
        let two = counts_of(0.7);
        assert!(two[0] == 0 && two[2] > 100, "{two:?}");
        // Of the two that stay, 5/8 and 3/8.
        assert!((two[1] as f64 / 600.0 - 0.625).abs() < 0.1, "{two:?}");
        assert!(counts_of(0.95)[0] > 50);
        assert_eq!(counts(Sampling { top_p: f32::MIN_POSITIVE, ..ALL }, &logits, 9), [0, 9, 0]);
    }

    #[test]
    fn the_seed_decides() {
        let logits: Vec<f32> = (0..50).map(|i| (i % 7) as f32 * 0.3).collect();
        let draw = |seed| {
            let mut sampler = Sampler::new(ALL, seed).unwrap();
            (0..40).map(|_| sampler.sample(&logits)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn extreme_logits_are_survived() {
        let extremes = [f32::INFINITY, f32::NAN, f32::INFINITY, f32::MAX, f32::NEG_INFINITY];
        let counted = counts(ALL, &extremes, 100);
        assert!(counted[0] > 20 && counted[2] > 20 && counted[0] + counted[2] == 100, "{counted:?}");
        assert_eq!(counts(ALL, &[f32::NAN, f32::NAN], 3), [3, 0]);
        let tiny = Sampling { temperature: f32::MIN_POSITIVE, ..ALL };
        assert_eq!(counts(tiny, &[0.0, 1.0], 10), [0, 10]);
    }

    #[test]
    fn senseless_settings_are_named() {
        let refusal = |sampling| Sampler::new(sampling, 0).unwrap_err();
        assert_eq!(refusal(Sampling { temperature: -1.0, ..ALL }), SamplingError::Temperature(-1.0));
        assert!(matches!(refusal(Sampling { temperature: f32::NAN, ..ALL }), SamplingError::Temperature(_)));
        assert_eq!(refusal(Sampling { top_p: 0.0, ..ALL }), SamplingError::TopP(0.0));
        assert_eq!(refusal(Sampling { top_p: 1.5, ..ALL }), SamplingError::TopP(1.5));
    }
}
