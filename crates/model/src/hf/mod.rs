//! Hugging Face model folders.
//!
//! [`load`] reads `config.json` and `model.safetensors` (or the shards of
//! `model.safetensors.index.json`) into [`Parameters`](crate::Parameters); [`save`] writes a folder that `transformers`
//! opens. Weights are read tensor by tensor straight into the arena, so a large model is in memory
//! once.

mod atomic;
mod load;
mod safetensors;
mod save;

pub use atomic::write_atomically;
pub use load::{LoadedModel, load, load_config};
pub use safetensors::{read_header, write as write_safetensors};
pub use save::{ModelFiles, save};

/// Name of the configuration in a model folder.
pub const CONFIG_FILE: &str = "config.json";
/// Name of the weights in a model folder.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// Name of the table of shards in a model folder.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
