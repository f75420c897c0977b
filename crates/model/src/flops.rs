//! Floating-point operations of a step, counted as the published trainer counts them.

use crate::{ModelConfig, stage::Tokens};

/// Operations of one forward and backward pass, a multiplication and an addition counted as two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepFlops {
    /// The layers' matrix products by weights, forward. The backward pass has as many for activations and as many for
    /// weights.
    pub forward: u64,
    /// The attention's products of activations in the backward pass; those of the forward pass are not counted.
    pub attention: u64,
    /// The classifier, forward.
    pub classifier: u64,
}

impl StepFlops {
    /// Counts a pass over `tokens`.
    pub fn of(config: &ModelConfig, tokens: Tokens) -> Self {
        let n = |x: usize| x as u64;
        let (width, dim) = (n(tokens.width()), n(config.dim));
        let projections = 2 * dim * (n(config.q_dim()) + n(config.kv_dim()));
        let feed_forward = 3 * dim * n(config.hidden);
        let scores = n(config.heads) * n(tokens.batch) * n(tokens.seq) * n(tokens.seq) * n(config.head_dim);
        Self {
            forward: n(config.layers) * 2 * width * (projections + feed_forward),
            attention: n(config.layers) * 2 * 5 * scores,
            classifier: 2 * n(config.vocab) * dim * width,
        }
    }

    /// All of them.
    pub fn total(self) -> u64 {
        3 * self.forward + self.attention + 3 * self.classifier
    }

    /// Those that the plan `six` does on the engine.
    pub fn on_engine(self) -> u64 {
        2 * self.forward + self.attention
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;

    /// The published trainer prints fwd=43487M sdpa_bwd=6040M total=174248M, ANE 93013M.
    #[test]
    fn stories110m_has_the_published_counts() {
        let flops = StepFlops::of(&Preset::Stories110M.config(), Tokens { batch: 1, seq: 256 });
        let millions = |n: u64| (n as f64 / 1e6).round();
        assert_eq!(millions(flops.forward), 43_487.0);
        assert_eq!(millions(flops.attention), 6_040.0);
        assert_eq!(millions(flops.total()), 174_248.0);
        assert_eq!(millions(flops.on_engine()), 93_013.0);
    }

    #[test]
    fn sequences_side_by_side_count_each() {
        let config = Preset::Nano.config();
        let one = StepFlops::of(&config, Tokens { batch: 1, seq: 64 });
        let three = StepFlops::of(&config, Tokens { batch: 3, seq: 64 });
        assert_eq!((three.total(), three.on_engine()), (3 * one.total(), 3 * one.on_engine()));
    }
}
