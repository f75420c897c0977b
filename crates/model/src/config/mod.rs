//! The shape of a Llama-family model.
//!
//! [`ModelConfig`] is the validated set of numbers everything else is derived from; [`preset`] names
//! well-known shapes and [`hf`] reads and writes Hugging Face's `config.json`.

pub mod hf;
pub mod preset;
mod rope;

pub use rope::RopeScaling;

use serde::{Deserialize, Serialize};

use crate::error::{ModelError, Result};

/// Shape and constants of one Llama-family decoder.
///
/// A value made by this crate's functions is valid; after changing fields by hand call
/// [`ModelConfig::validate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Width of the residual stream.
    pub dim: usize,
    /// Width of the feed-forward layer (SwiGLU).
    pub hidden: usize,
    /// Number of decoder layers.
    pub layers: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads; divides `heads`. Query head `q` uses key/value head
    /// `q / (heads / kv_heads)`.
    pub kv_heads: usize,
    /// Channels per head; even, because RoPE rotates pairs. Need not be `dim / heads`.
    pub head_dim: usize,
    /// Number of tokens.
    pub vocab: usize,
    /// Longest sequence, in tokens.
    pub max_seq: usize,
    /// ε inside RMSNorm's square root.
    pub rms_eps: f32,
    /// Base of the RoPE frequencies.
    pub rope_theta: f32,
    /// Slower rotations for longer contexts, as Llama 3 has them; none for plain RoPE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeScaling>,
    /// Whether every query and key head is normed before its rotation, as in Qwen3.
    #[serde(default)]
    pub qk_norm: bool,
    /// What both branches of a layer are multiplied by before they are added to the residual stream. A way to train, not a
    /// part of the model: saving folds it into `o_proj` and `down_proj`.
    #[serde(default = "unscaled")]
    pub residual_scale: f32,
    /// Whether the classifier is the embedding matrix.
    pub tied: bool,
}

fn unscaled() -> f32 {
    1.0
}

/// No model this crate can hold has a dimension beyond this; it keeps every product of two in `u64`.
const LARGEST_SIZE: usize = 1 << 30;
/// Parameters beyond this would not fit a flat fp32 arena on any machine that runs us.
const MOST_PARAMETERS: u64 = 1 << 40;

impl ModelConfig {
    /// Channels of all query heads: the output width of `q_proj` and input width of `o_proj`.
    pub fn q_dim(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Channels of all key heads (and of all value heads).
    pub fn kv_dim(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Query heads that share one key/value head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Number of trainable parameters (a tied classifier counts once).
    ///
    /// Saturates at `u64::MAX` for a configuration that [`validate`](Self::validate) would refuse.
    pub fn parameters(&self) -> u64 {
        self.embedding_parameters().saturating_add(self.transformer_parameters())
    }

    /// Parameters of the embedding and, if untied, of the classifier.
    pub fn embedding_parameters(&self) -> u64 {
        product(self.vocab, self.dim).saturating_mul(if self.tied { 1 } else { 2 })
    }

    /// Parameters of the decoder layers and the final norm.
    pub fn transformer_parameters(&self) -> u64 {
        let q_dim = product(self.heads, self.head_dim);
        let kv_dim = product(self.kv_heads, self.head_dim);
        let dim = self.dim as u64;
        let attention = dim.saturating_mul(q_dim.saturating_add(kv_dim)).saturating_mul(2);
        let feed_forward = product(self.dim, self.hidden).saturating_mul(3);
        let norms = 2 * dim + if self.qk_norm { 2 * self.head_dim as u64 } else { 0 };
        let layer = attention.saturating_add(feed_forward).saturating_add(norms);
        layer.saturating_mul(self.layers as u64).saturating_add(dim)
    }

    /// Checks every number against the others.
    ///
    /// # Errors
    /// [`ModelError::InvalidConfig`] naming the first field that is wrong and what would be right.
    pub fn validate(&self) -> Result<()> {
        self.check_sizes()?;
        self.check_heads()?;
        self.check_constants()?;
        if self.parameters() > MOST_PARAMETERS {
            return invalid(
                format!("the sizes give {} parameters", self.parameters()),
                "reduce dim, hidden, layers or vocab",
            );
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<()> {
        let sizes = [
            ("dim", self.dim),
            ("hidden", self.hidden),
            ("layers", self.layers),
            ("heads", self.heads),
            ("kv_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("vocab", self.vocab),
            ("max_seq", self.max_seq),
        ];
        for (name, size) in sizes {
            if size == 0 {
                return invalid(format!("{name} is 0"), &format!("give {name} a value of at least 1"));
            }
            if size > LARGEST_SIZE {
                return invalid(
                    format!("{name} is {size}"),
                    &format!("keep {name} at or below {LARGEST_SIZE}"),
                );
            }
        }
        Ok(())
    }

    fn check_heads(&self) -> Result<()> {
        if !self.heads.is_multiple_of(self.kv_heads) {
            return invalid(
                format!("heads is {} and kv_heads is {}", self.heads, self.kv_heads),
                "choose kv_heads so that it divides heads",
            );
        }
        if !self.head_dim.is_multiple_of(2) {
            return invalid(
                format!("head_dim is {}", self.head_dim),
                "make it even: RoPE rotates pairs of channels",
            );
        }
        Ok(())
    }

    fn check_constants(&self) -> Result<()> {
        if !(self.rms_eps > 0.0 && self.rms_eps < 1.0) {
            return invalid(
                format!("rms_eps is {}", self.rms_eps),
                "use a small positive number such as 1e-5",
            );
        }
        if !(self.rope_theta >= 1.0 && self.rope_theta.is_finite()) {
            return invalid(
                format!("rope_theta is {}", self.rope_theta),
                "use a finite number of at least 1, such as 10000",
            );
        }
        if let Some(scaling) = &self.rope_scaling {
            scaling.validate()?;
        }
        if !(self.residual_scale > 0.0 && self.residual_scale.is_finite()) {
            return invalid(
                format!("residual_scale is {}", self.residual_scale),
                "use 1 for none, or a positive number such as 1/√(2·layers)",
            );
        }
        Ok(())
    }
}

fn product(a: usize, b: usize) -> u64 {
    (a as u64).saturating_mul(b as u64)
}

fn invalid(problem: String, remedy: &str) -> Result<()> {
    Err(ModelError::InvalidConfig { problem, remedy: remedy.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::preset::Preset;
    use super::*;

    fn message(change: impl FnOnce(&mut ModelConfig)) -> String {
        let mut config = Preset::Nano.config();
        change(&mut config);
        config.validate().expect_err("the configuration must be refused").to_string()
    }

    #[test]
    fn each_contradiction_is_named_with_its_values() {
        assert!(message(|c| c.dim = 0).contains("dim is 0"));
        assert!(message(|c| c.vocab = 0).contains("vocab is 0"));
        assert!(message(|c| c.max_seq = 0).contains("max_seq is 0"));
        let heads = message(|c| (c.heads, c.kv_heads) = (6, 4));
        assert!(heads.contains("heads is 6") && heads.contains("kv_heads is 4"), "{heads}");
        assert!(message(|c| c.head_dim = 33).contains("head_dim is 33"));
        assert!(message(|c| c.rms_eps = 0.0).contains("rms_eps"));
        assert!(message(|c| c.rms_eps = f32::NAN).contains("rms_eps"));
        assert!(message(|c| c.rope_theta = f32::INFINITY).contains("rope_theta"));
        assert!(message(|c| c.residual_scale = 0.0).contains("residual_scale is 0"));
        assert!(message(|c| c.hidden = usize::MAX).contains("hidden"));
        assert!(message(|c| (c.dim, c.hidden) = (1 << 30, 1 << 30)).contains("parameters"));
    }

    #[test]
    fn a_head_dim_other_than_dim_over_heads_is_allowed() {
        let mut config = Preset::Nano.config();
        config.head_dim = 2 * config.dim / config.heads;
        config.validate().unwrap();
        assert_eq!(config.q_dim(), 2 * config.dim);
    }
}
