//! The one error type of this crate. Every message says what is wrong, where, and what to do.

use std::path::{Path, PathBuf};

/// Anything that can go wrong while describing, reading or writing a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    // === Configuration ===
    /// A configuration whose numbers contradict each other or are out of range.
    #[error("model configuration: {problem}; {remedy}")]
    InvalidConfig {
        /// The field or fields and the values found.
        problem: String,
        /// What would make the configuration valid.
        remedy: String,
    },
    /// A `config.json` that asks for something this implementation does not compute.
    #[error("{path}: `{field}` is {found}, which is not supported; only {supported} can be loaded")]
    Unsupported {
        /// The configuration file.
        path: PathBuf,
        /// The field of the file.
        field: String,
        /// The value found there.
        found: String,
        /// What is accepted instead.
        supported: String,
    },
    /// A field of a JSON file that is missing or has the wrong type.
    #[error("{path}: `{field}` {problem}")]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// "is missing", "must be a positive integer, found …".
        problem: String,
    },
    /// A preset name nobody defined.
    #[error("unknown model preset `{name}`; choose one of {known}, or give a model folder")]
    UnknownPreset {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: String,
    },

    // === Files ===
    /// The operating system refused a file operation.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// "read", "create", "rename" …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A model folder without a file it must have.
    #[error("{folder}: {file} is missing; a model folder holds config.json and model.safetensors")]
    MissingFile {
        /// The folder looked into.
        folder: PathBuf,
        /// The file that is not there.
        file: String,
    },
    /// A file whose bytes do not follow its format.
    #[error("{path}: not a valid {format} file: {problem}; fetch or export it again")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Name of the format.
        format: &'static str,
        /// What is wrong with it.
        problem: String,
    },

    // === Tensors ===
    /// A parameter that no weight file holds.
    #[error(
        "{path}: tensor `{name}` {shape:?} is missing; the configuration requires it \
         (check tie_word_embeddings and num_hidden_layers)"
    )]
    MissingTensor {
        /// The folder or file searched.
        path: PathBuf,
        /// The parameter's name.
        name: String,
        /// Its shape according to the configuration.
        shape: Vec<usize>,
    },
    /// A tensor of another shape than the configuration says.
    #[error(
        "{path}: tensor `{name}` has shape {found:?} but the configuration requires {expected:?}; \
         config.json and the weights belong to different models"
    )]
    Shape {
        /// The weight file.
        path: PathBuf,
        /// The parameter's name.
        name: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape according to the configuration.
        expected: Vec<usize>,
    },
    /// A tensor stored in a type that is not converted.
    #[error(
        "{path}: tensor `{name}` is stored as {found}; only F32, F16 and BF16 are read, \
         so convert the model first"
    )]
    Dtype {
        /// The weight file.
        path: PathBuf,
        /// The parameter's name.
        name: String,
        /// The type found.
        found: String,
    },
    /// The same tensor in two shards.
    #[error("{path}: tensor `{name}` was already read from another shard; remove one of them")]
    DuplicateTensor {
        /// The second shard.
        path: PathBuf,
        /// The parameter's name.
        name: String,
    },

    // === Tokenizers ===
    /// The tokenizer library refused.
    #[error("tokenizer: cannot {action}: {problem}")]
    Tokenizer {
        /// "train", "encode", "load PATH" …
        action: String,
        /// The library's reason.
        problem: String,
    },
    /// A vocabulary size that cannot be trained.
    #[error(
        "tokenizer: a byte-level vocabulary of {asked} is too small; \
         it needs at least {least} (256 bytes and the special tokens)"
    )]
    VocabTooSmall {
        /// The size asked for.
        asked: usize,
        /// The smallest that works.
        least: usize,
    },
}

/// Result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, ModelError>;

impl ModelError {
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(std::io::Error) -> ModelError {
        let path = path.as_ref().to_path_buf();
        move |source| ModelError::Io { action, path, source }
    }

    pub(crate) fn corrupt(
        format: &'static str,
        path: impl AsRef<Path>,
        problem: impl Into<String>,
    ) -> ModelError {
        ModelError::Corrupt { path: path.as_ref().to_path_buf(), format, problem: problem.into() }
    }
}
