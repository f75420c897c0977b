//! From a model folder to parameters.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use ::safetensors::tensor::TensorInfo;
use serde::Deserialize;

use super::safetensors::{read_header, read_tensor};
use super::{CONFIG_FILE, INDEX_FILE, WEIGHTS_FILE};
use crate::config::hf::HfConfig;
use crate::error::{ModelError, Result};
use crate::params::{CLASSIFIER_NAME, Parameters};

/// What [`load`] found.
#[derive(Debug)]
pub struct LoadedModel {
    /// The configuration and special tokens.
    pub config: HfConfig,
    /// The weights, converted to fp32.
    pub parameters: Parameters,
    /// What a user should know though the model is usable: tensors that were left out, and why.
    pub warnings: Vec<String>,
}

/// Reads a folder's `config.json`.
///
/// # Errors
/// A missing or unreadable file, or one that [`HfConfig::parse`] refuses.
pub fn load_config(folder: &Path) -> Result<HfConfig> {
    HfConfig::parse(&read_text(folder, CONFIG_FILE)?, &folder.join(CONFIG_FILE))
}

/// Reads a model folder: F32, F16 and BF16 weights become fp32.
///
/// Tensors the model does not have are left out with a warning; the `rotary_emb.inv_freq` tables
/// that older folders carry are left out silently. A `lm_head.weight` beside tied embeddings is left
/// out as `transformers` does, with a warning if it differs from the embedding.
///
/// # Errors
/// A missing file, a damaged or truncated weight file, and a tensor that is missing, has another
/// shape or a type that is not read; each names the file and the tensor.
pub fn load(folder: &Path) -> Result<LoadedModel> {
    let config = load_config(folder)?;
    let shards = shards(folder)?;
    let parameters = Parameters::zeros(&config.model)?;
    let mut loader =
        Loader { parameters, seen: BTreeSet::new(), warnings: Vec::new(), spare_classifier: None };
    for shard in &shards {
        loader.read_shard(shard)?;
    }
    loader.require_all(folder)?;
    loader.compare_spare_classifier()?;
    Ok(LoadedModel { config, parameters: loader.parameters, warnings: loader.warnings })
}

/// The weight files of a folder: the single file if there is one (as `transformers` prefers it),
/// else what the index names.
fn shards(folder: &Path) -> Result<Vec<PathBuf>> {
    let single = folder.join(WEIGHTS_FILE);
    if single.exists() {
        return Ok(vec![single]);
    }
    let index = folder.join(INDEX_FILE);
    if !index.exists() {
        return Err(missing(folder, WEIGHTS_FILE));
    }
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let parsed: Index = serde_json::from_str(&read_text(folder, INDEX_FILE)?)
        .map_err(|error| ModelError::corrupt(INDEX_FILE, &index, error.to_string()))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    names.into_iter().map(|name| shard(folder, &index, name)).collect()
}

fn shard(folder: &Path, index: &Path, name: String) -> Result<PathBuf> {
    // A model folder from elsewhere must not make us read files outside it.
    if Path::new(&name).file_name() != Some(name.as_ref()) {
        let problem = format!("shard name `{name}` leads out of the folder");
        return Err(ModelError::corrupt(INDEX_FILE, index, problem));
    }
    let path = folder.join(&name);
    if path.exists() { Ok(path) } else { Err(missing(folder, &name)) }
}

fn missing(folder: &Path, file: &str) -> ModelError {
    ModelError::MissingFile { folder: folder.to_path_buf(), file: file.to_owned() }
}

fn read_text(folder: &Path, file: &str) -> Result<String> {
    let path = folder.join(file);
    fs::read_to_string(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => missing(folder, file),
        _ => ModelError::io("read", &path)(error),
    })
}

struct Loader {
    parameters: Parameters,
    seen: BTreeSet<String>,
    warnings: Vec<String>,
    /// Where a classifier lies that a tied model does not use.
    spare_classifier: Option<(PathBuf, u64, TensorInfo)>,
}

impl Loader {
    fn read_shard(&mut self, path: &Path) -> Result<()> {
        let mut file = File::open(path).map_err(ModelError::io("open", path))?;
        let (metadata, data) = read_header(&mut file, path)?;
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            if self.parameters.table().find(&name).is_some() {
                self.read_parameter(&mut file, path, data, &name, info)?;
            } else if name == CLASSIFIER_NAME {
                self.spare_classifier = Some((path.to_path_buf(), data, info.clone()));
            } else if !name.ends_with("rotary_emb.inv_freq") {
                self.warnings.push(format!(
                    "{}: tensor `{name}` {:?} is not part of a Llama model and was left out",
                    path.display(),
                    info.shape
                ));
            }
        }
        Ok(())
    }

    fn read_parameter(
        &mut self,
        file: &mut File,
        path: &Path,
        data: u64,
        name: &str,
        info: &TensorInfo,
    ) -> Result<()> {
        let Some(param) = self.parameters.table().find(name) else { return Ok(()) };
        if info.shape != param.shape {
            return Err(ModelError::Shape {
                path: path.to_path_buf(),
                name: name.to_owned(),
                found: info.shape.clone(),
                expected: param.shape.clone(),
            });
        }
        if !self.seen.insert(name.to_owned()) {
            let (path, name) = (path.to_path_buf(), name.to_owned());
            return Err(ModelError::DuplicateTensor { path, name });
        }
        let range = param.range();
        let mut rest = &mut self.parameters.data_mut()[range];
        read_tensor(file, path, data, name, info, |values| {
            let (piece, after) = std::mem::take(&mut rest).split_at_mut(values.len());
            piece.copy_from_slice(values);
            rest = after;
        })
    }

    fn require_all(&self, folder: &Path) -> Result<()> {
        let table = self.parameters.table();
        match table.params().iter().find(|param| !self.seen.contains(&param.name)) {
            None => Ok(()),
            Some(param) => Err(ModelError::MissingTensor {
                path: folder.to_path_buf(),
                name: param.name.clone(),
                shape: param.shape.clone(),
            }),
        }
    }

    fn compare_spare_classifier(&mut self) -> Result<()> {
        let Some((path, data, info)) = self.spare_classifier.take() else { return Ok(()) };
        let embedding = self.parameters.table().embedding();
        let mut same = info.shape == embedding.shape;
        if same {
            let mut rest = self.parameters.embedding();
            let mut file = File::open(&path).map_err(ModelError::io("open", &path))?;
            read_tensor(&mut file, &path, data, CLASSIFIER_NAME, &info, |values| {
                let (piece, after) = rest.split_at(values.len());
                same &= piece == values;
                rest = after;
            })?;
        }
        if !same {
            self.warnings.push(format!(
                "{}: `{CLASSIFIER_NAME}` differs from the embedding but config.json ties them \
                 (tie_word_embeddings); the embedding is used, as transformers does",
                path.display()
            ));
        }
        Ok(())
    }
}
