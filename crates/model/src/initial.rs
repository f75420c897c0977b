//! Weights to start from: a Hugging Face folder, or a file of llama2.c.

use std::path::Path;

use crate::{HfConfig, Result, SpecialTokens, hf, hf::LoadedModel, llama2c};

/// The tokens that begin and end a text in the vocabulary llama2.c's models are trained with.
const LLAMA2_BOS_EOS: (u32, u32) = (1, 2);

/// The configuration of the weights at `path`.
///
/// # Errors
/// As [`hf::load_config`] for a folder and [`llama2c::load_config`] for a file.
pub fn load_config(path: &Path) -> Result<HfConfig> {
    if path.is_dir() {
        return hf::load_config(path);
    }
    let (bos, eos) = LLAMA2_BOS_EOS;
    let model = llama2c::load_config(path)?;
    Ok(HfConfig { model, special: SpecialTokens { bos: Some(bos), eos: vec![eos] } })
}

/// The weights at `path`.
///
/// # Errors
/// As [`hf::load`] for a folder and [`llama2c::load`] for a file.
pub fn load(path: &Path) -> Result<LoadedModel> {
    if path.is_dir() {
        return hf::load(path);
    }
    let (config, parameters) = (load_config(path)?, llama2c::load(path)?);
    Ok(LoadedModel { config, parameters, warnings: Vec::new() })
}
