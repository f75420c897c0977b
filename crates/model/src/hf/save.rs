//! From parameters to a model folder.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::atomic::{temporary_beside, write_text};
use super::{CONFIG_FILE, WEIGHTS_FILE, safetensors};
use crate::config::hf::{HfConfig, SpecialTokens};
use crate::error::{ModelError, Result};
use crate::params::Parameters;

/// What goes into a model folder beside the weights.
#[derive(Debug, Clone, Default)]
pub struct ModelFiles {
    /// Begin and end tokens for `config.json` and `generation_config.json`.
    pub special: SpecialTokens,
    /// Further files by name and text, such as `tokenizer.json` and `tokenizer_config.json`
    /// (see [`crate::tokenizer::Tokenizer::files`]).
    pub extra: Vec<(String, String)>,
}

/// Writes `config.json`, `generation_config.json`, `model.safetensors` (F32) and the extra files.
///
/// A folder that does not exist yet appears whole or not at all. In a folder that exists each file
/// is replaced atomically, the weights first, and files of other names are left alone. A residual scale is folded into the
/// weights ([`Parameters::without_residual_scale`]).
///
/// # Errors
/// The system's refusal, naming the file or folder.
pub fn save(folder: &Path, parameters: &Parameters, files: &ModelFiles) -> Result<()> {
    if parameters.config().residual_scale != 1.0 {
        return save(folder, &parameters.clone().without_residual_scale(), files);
    }
    if folder.is_dir() {
        return write_files(folder, parameters, files);
    }
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(ModelError::io("create", parent))?;
    }
    let temporary = temporary_beside(folder);
    fs::create_dir_all(&temporary).map_err(ModelError::io("create", &temporary))?;
    let saved = write_files(&temporary, parameters, files)
        .and_then(|()| fs::rename(&temporary, folder).map_err(ModelError::io("rename to", folder)));
    if saved.is_err() {
        // Saving has failed already; a leftover that cannot be removed changes nothing.
        let _ = fs::remove_dir_all(&temporary);
    }
    saved
}

fn write_files(folder: &Path, parameters: &Parameters, files: &ModelFiles) -> Result<()> {
    safetensors::write(&folder.join(WEIGHTS_FILE), parameters)?;
    let special = files.special.clone();
    let generation = generation_config(&special);
    let config = HfConfig { model: parameters.config().clone(), special };
    write_text(&folder.join("generation_config.json"), &generation)?;
    for (name, text) in &files.extra {
        write_text(&folder.join(name), text)?;
    }
    write_text(&folder.join(CONFIG_FILE), &config.to_json())
}

fn generation_config(special: &SpecialTokens) -> String {
    let mut fields = Map::from_iter([("_from_model_config".to_owned(), Value::Bool(true))]);
    if let Some(bos) = special.bos {
        fields.insert("bos_token_id".to_owned(), json!(bos));
    }
    match special.eos.as_slice() {
        [] => {}
        [one] => drop(fields.insert("eos_token_id".to_owned(), json!(one))),
        several => drop(fields.insert("eos_token_id".to_owned(), json!(several))),
    }
    format!("{:#}\n", Value::Object(fields))
}
