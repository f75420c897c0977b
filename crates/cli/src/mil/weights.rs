//! Weight files in the folder of a model.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ferrane_mil::blob::{self, BlobError, BlobFile};
use ferrane_mil::diagnostic::Code;
use ferrane_mil::{BlobRef, Function, Program, TensorType};

/// The bytes of a file, or why they cannot be had.
type FileBytes = Result<Rc<[u8]>, String>;

/// Reads weights from the files of a folder, each file once. Nothing outside the folder is read.
pub(crate) struct FolderWeights {
    folder: PathBuf,
    files: RefCell<HashMap<String, FileBytes>>,
    /// The first weight that could not be read, and why.
    failed: RefCell<Option<String>>,
}

impl FolderWeights {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf(), files: RefCell::default(), failed: RefCell::default() }
    }

    /// Why the first weight that could not be read could not be.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failed.borrow().clone()
    }

    /// The bytes of the file `path` as written in a BLOBFILE.
    pub(crate) fn file(&self, path: &str) -> FileBytes {
        let mut files = self.files.borrow_mut();
        files.entry(path.to_owned()).or_insert_with(|| self.open(path)).clone()
    }

    fn open(&self, path: &str) -> FileBytes {
        let file = blob::resolve(&self.folder, path).map_err(|error| error.to_string())?;
        let unreadable = |error| format!("cannot read the weight file {}: {error}", file.display());
        // A link may lead outside although the path does not.
        let real = file.canonicalize().map_err(unreadable)?;
        let root = self.folder.canonicalize().map_err(unreadable)?;
        if !real.starts_with(&root) {
            return Err(format!(
                "the weight file {} is a link to {}, outside the model's folder",
                file.display(),
                real.display()
            ));
        }
        Ok(fs::read(&real).map_err(unreadable)?.into())
    }

    /// Checks that a weight is there with its type and size.
    ///
    /// # Errors
    /// The diagnostic's code, and what is wrong.
    pub(crate) fn check(&self, blob: &BlobRef, ty: &TensorType) -> Result<(), (Code, String)> {
        let coded = |e: BlobError| (e.code(), format!("`{}`: {e}", blob.path));
        blob::resolve(&self.folder, &blob.path).map_err(|e| (e.code(), e.to_string()))?;
        let bytes = self.file(&blob.path).map_err(|why| (Code::WEIGHT_FILE, why))?;
        let file = BlobFile::parse(&bytes).map_err(coded)?;
        file.chunk(blob.offset, ty).map(drop).map_err(coded)
    }

    /// The elements of a weight.
    pub(crate) fn elements(&self, blob: &BlobRef, ty: &TensorType) -> Result<Vec<f32>, String> {
        let bytes = self.file(&blob.path)?;
        let file = BlobFile::parse(&bytes).map_err(|e| format!("`{}`: {e}", blob.path))?;
        let chunk = file.chunk(blob.offset, ty).map_err(|e| format!("`{}`: {e}", blob.path))?;
        Ok(chunk.to_f32())
    }
}

impl ferrane_cpu::Weights for FolderWeights {
    fn read(&self, blob: &BlobRef, ty: &TensorType) -> Option<Vec<f32>> {
        match self.elements(blob, ty) {
            Ok(elements) => Some(elements),
            Err(why) => {
                self.failed.borrow_mut().get_or_insert(why);
                None
            }
        }
    }
}

/// The paths of all weight files of a program, each once.
pub(crate) fn paths(program: &Program) -> Vec<String> {
    let all = program.functions.iter().flat_map(Function::weights).map(|(_, blob, _)| blob.path.clone());
    let mut all: Vec<String> = all.collect();
    all.sort();
    all.dedup();
    all
}
