//! Well-known model shapes by name.
//!
//! The `stories*` shapes are those of the llama2.c models trained on TinyStories; the file of
//! `stories15m` declares a sequence length of 256, the larger two 1024, `stories260k` 512.

use std::fmt;
use std::str::FromStr;

use super::ModelConfig;
use crate::error::{ModelError, Result};

/// A named model shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preset {
    /// About one million parameters with grouped-query attention: what `ferrane train` trains in a
    /// minute or two. Its vocabulary is the size the tokenizer is trained to.
    Nano,
    /// llama2.c's test model: 260 thousand parameters, grouped-query attention.
    Stories260K,
    /// llama2.c's 15 M model.
    Stories15M,
    /// llama2.c's 42 M model.
    Stories42M,
    /// llama2.c's 110 M model, the one the published Neural Engine trainer uses.
    Stories110M,
}

impl Preset {
    /// All presets, smallest first.
    pub const ALL: [Preset; 5] =
        [Preset::Nano, Preset::Stories260K, Preset::Stories15M, Preset::Stories42M, Preset::Stories110M];

    /// The name a user types.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Nano => "nano",
            Preset::Stories260K => "stories260k",
            Preset::Stories15M => "stories15m",
            Preset::Stories42M => "stories42m",
            Preset::Stories110M => "stories110m",
        }
    }

    /// The shape. Replace `vocab` if another tokenizer is used.
    pub fn config(self) -> ModelConfig {
        // Columns: dim, hidden, layers, heads, kv_heads, vocab, max_seq.
        match self {
            Preset::Nano => llama([128, 344, 4, 4, 2, 2048, 256]),
            Preset::Stories260K => llama([64, 172, 5, 8, 4, 512, 512]),
            Preset::Stories15M => llama([288, 768, 6, 6, 6, 32000, 256]),
            Preset::Stories42M => llama([512, 1376, 8, 8, 8, 32000, 1024]),
            Preset::Stories110M => llama([768, 2048, 12, 12, 12, 32000, 1024]),
        }
    }
}

fn llama([dim, hidden, layers, heads, kv_heads, vocab, max_seq]: [usize; 7]) -> ModelConfig {
    ModelConfig {
        dim,
        hidden,
        layers,
        heads,
        kv_heads,
        head_dim: dim / heads,
        vocab,
        max_seq,
        rms_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        qk_norm: false,
        residual_scale: 1.0,
        tied: true,
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Preset> {
        let wanted = name.to_ascii_lowercase();
        Preset::ALL.into_iter().find(|preset| preset.name() == wanted).ok_or_else(|| {
            ModelError::UnknownPreset {
                name: name.to_owned(),
                known: Preset::ALL.map(Preset::name).join(", "),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid_and_found_by_its_name() {
        for preset in Preset::ALL {
            preset.config().validate().unwrap();
            assert_eq!(preset.name().parse::<Preset>().unwrap(), preset);
        }
        assert_eq!("Stories15M".parse::<Preset>().unwrap(), Preset::Stories15M);
        let error = "stories7b".parse::<Preset>().unwrap_err().to_string();
        assert!(error.contains("stories7b") && error.contains("stories110m"), "{error}");
    }

    /// The published trainer prints "109.53M (transformer 84.95M + embed 24.58M)".
    #[test]
    fn stories110m_has_the_published_parameter_count() {
        let config = Preset::Stories110M.config();
        assert_eq!(config.parameters(), 109_529_856);
        assert_eq!(config.transformer_parameters(), 84_953_856);
        assert_eq!(config.embedding_parameters(), 24_576_000);
    }

    #[test]
    fn parameter_counts_grow_as_the_names_say() {
        let millions = |preset: Preset| preset.config().parameters() as f64 / 1e6;
        assert!((0.25..0.27).contains(&millions(Preset::Stories260K)));
        assert!((0.6..1.2).contains(&millions(Preset::Nano)));
        assert!((15.0..15.5).contains(&millions(Preset::Stories15M)));
        assert!((41.0..42.5).contains(&millions(Preset::Stories42M)));
    }

    #[test]
    fn nano_exercises_grouped_query_attention() {
        assert!(Preset::Nano.config().group() > 1);
    }
}
