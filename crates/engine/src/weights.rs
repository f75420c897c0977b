//! The weight files of a program.

use std::{collections::BTreeMap, sync::Arc};

use ferrane_mil::blob::{BlobFile, ChunkRef};
use ferrane_mil::{BlobRef, Function, TensorType};

/// Why a weight cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// The program names a file that was not given.
    #[error("the program refers to `{path}`, which is not among the weight files given")]
    Missing {
        /// The path in the program.
        path: String,
    },
    /// The file does not hold what the program says.
    #[error("weight file `{path}` at offset {offset}: {reason}")]
    Damaged {
        /// The path in the program.
        path: String,
        /// The offset in the program.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// There is one place for the weights, and not one file.
    #[error(
        "one weight file can take the place of the compiled one, and there are {files}; write the files and load again, or compile"
    )]
    NotOne {
        /// The files given.
        files: usize,
    },
}

/// Weight files by the path the program gives them (`@model_path/weights/wq.bin`), each a whole file in blob format.
#[derive(Clone, Debug, Default)]
pub struct WeightFiles {
    files: BTreeMap<String, Arc<[u8]>>,
}

impl WeightFiles {
    /// No files, for programs without weights.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a file.
    pub fn insert(&mut self, path: impl Into<String>, bytes: impl Into<Arc<[u8]>>) {
        self.files.insert(path.into(), bytes.into());
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// [`WeightsError::Missing`].
    pub fn file(&self, path: &str) -> Result<&Arc<[u8]>, WeightsError> {
        self.files.get(path).ok_or_else(|| WeightsError::Missing { path: path.into() })
    }

    /// What a weight of type `ty` refers to.
    ///
    /// # Errors
    /// When the file is missing or does not hold that.
    pub fn chunk(&self, blob: &BlobRef, ty: &TensorType) -> Result<ChunkRef<'_>, WeightsError> {
        let damaged = |reason: String| {
            let BlobRef { path, offset } = blob.clone();
            WeightsError::Damaged { path, offset, reason }
        };
        let file = BlobFile::parse(self.file(&blob.path)?).map_err(|e| damaged(e.to_string()))?;
        file.chunk(blob.offset, ty).map_err(|e| damaged(e.to_string()))
    }

    /// Checks that every weight of `function` is here.
    ///
    /// # Errors
    /// Names a file that is missing or does not hold what the function says.
    pub fn check(&self, function: &Function) -> Result<(), WeightsError> {
        function.weights().try_for_each(|(_, blob, ty)| self.chunk(blob, ty).map(drop))
    }

    /// The bytes of the only file.
    ///
    /// # Errors
    /// [`WeightsError::NotOne`].
    pub fn only(&self) -> Result<&Arc<[u8]>, WeightsError> {
        match self.files.values().collect::<Vec<_>>()[..] {
            [file] => Ok(file),
            _ => Err(WeightsError::NotOne { files: self.files.len() }),
        }
    }

    /// All files, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<[u8]>)> {
        self.files.iter().map(|(path, bytes)| (path.as_str(), bytes))
    }
}
