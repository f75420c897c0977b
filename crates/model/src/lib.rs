//! Llama-family models: configuration, parameters, stages as MIL, plans, tokenizer, file formats.

pub mod compaction;
pub mod config;
mod error;
pub mod flops;
pub mod hf;
pub mod initial;
pub mod llama2c;
pub mod params;
pub mod plan;
pub mod stage;
pub mod stories;
pub mod tiny;
pub mod tokenizer;

pub use compaction::VocabMap;
pub use config::ModelConfig;
pub use config::hf::{HfConfig, SpecialTokens};
pub use config::preset::Preset;
pub use error::{ModelError, Result};
pub use params::{LayerRole, Param, ParamKey, ParamKind, ParamTable, Parameters};
pub use tokenizer::{StreamDecoder, Tokenizer};
