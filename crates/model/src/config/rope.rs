//! The angles by which RoPE turns pairs of channels.

use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};

use super::{ModelConfig, invalid};
use crate::error::Result;

/// Llama 3's way to stretch a context (`rope_type` "llama3"): slow rotations become `factor` times slower, fast ones stay,
/// and those between are mixed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RopeScaling {
    /// How many times slower slow rotations become.
    pub factor: f32,
    /// Rotations that turn fewer times than this in the original context are slow.
    pub low_freq_factor: f32,
    /// Rotations that turn more often than this in the original context are fast.
    pub high_freq_factor: f32,
    /// The context the model was first trained with, in tokens.
    pub original_max_seq: usize,
}

impl RopeScaling {
    pub(super) fn validate(&self) -> Result<()> {
        let Self { factor, low_freq_factor: low, high_freq_factor: high, original_max_seq } = *self;
        if !(factor >= 1.0 && factor.is_finite()) {
            return invalid(
                format!("the factor of rope_scaling is {factor}"),
                "use a finite number of at least 1, such as 8",
            );
        }
        if !(low > 0.0 && high > low && high.is_finite()) {
            return invalid(
                format!("rope_scaling has a low_freq_factor of {low} and a high_freq_factor of {high}"),
                "use positive numbers, the second larger, such as 1 and 4",
            );
        }
        if original_max_seq == 0 {
            return invalid(
                "the original context of rope_scaling is 0".to_owned(),
                "use the number of tokens the model was first trained with, such as 8192",
            );
        }
        Ok(())
    }

    fn apply(&self, frequency: f64) -> f64 {
        let (low, high) = (f64::from(self.low_freq_factor), f64::from(self.high_freq_factor));
        let turns = self.original_max_seq as f64 * frequency / TAU;
        let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
        frequency * (kept + (1.0 - kept) / f64::from(self.factor))
    }
}

impl ModelConfig {
    /// Radians a token by which channels `pair` and `pair + head_dim/2` of every head turn.
    pub fn rope_frequency(&self, pair: usize) -> f64 {
        let plain = f64::from(self.rope_theta).powf(-2.0 * pair as f64 / self.head_dim as f64);
        self.rope_scaling.map_or(plain, |scaling| scaling.apply(plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;

    const LLAMA_3_1: RopeScaling =
        RopeScaling { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_seq: 8192 };

    fn config(rope_scaling: Option<RopeScaling>) -> ModelConfig {
        ModelConfig { head_dim: 128, rope_theta: 500_000.0, rope_scaling, ..Preset::Nano.config() }
    }

    /// `transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"]` of Llama 3.1's configuration.
    #[test]
    fn frequencies_are_those_of_transformers() {
        let expected = [
            (0, 1.0),
            (20, 0.016_560_440_883),
            (28, 0.003_211_446_106),
            (30, 0.001_371_893_682),
            (35, 9.556_212_171e-5),
            (63, 3.068_925_878e-7),
        ];
        for (pair, frequency) in expected {
            let ours = config(Some(LLAMA_3_1)).rope_frequency(pair);
            assert!((ours / frequency - 1.0).abs() < 1e-5, "pair {pair}: {ours} instead of {frequency}");
        }
        assert_eq!(config(None).rope_frequency(64), 1.0 / 500_000.0);
    }

    #[test]
    fn senseless_scaling_is_named() {
        let message = |scaling| config(Some(scaling)).validate().unwrap_err().to_string();
        assert!(message(RopeScaling { factor: 0.5, ..LLAMA_3_1 }).contains("factor of rope_scaling is 0.5"));
        assert!(
            message(RopeScaling { high_freq_factor: 1.0, ..LLAMA_3_1 }).contains("high_freq_factor of 1")
        );
        assert!(message(RopeScaling { low_freq_factor: f32::NAN, ..LLAMA_3_1 }).contains("NaN"));
        assert!(message(RopeScaling { original_max_seq: 0, ..LLAMA_3_1 }).contains("context"));
    }
}
