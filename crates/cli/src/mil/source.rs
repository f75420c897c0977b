//! From a path on the command line to a program.

use std::fs;
use std::path::{Path, PathBuf};

use ferrane_mil::diagnostic::{Diagnostics, SourceMap};
use ferrane_mil::text;
use ferrane_mil::{Program, Verified, verify};

use crate::failure::Failure;

/// The file with the text in a model's folder.
pub(crate) const MODEL_FILE: &str = "model.mil";

/// A program and where it came from.
pub(crate) struct Model {
    pub(crate) program: Program,
    /// What `@model_path/` stands for.
    pub(crate) folder: PathBuf,
    /// Its text; packages have none.
    pub(crate) text: Option<Text>,
    /// What was accepted with a remark.
    pub(crate) warnings: Vec<String>,
}

/// The text of a program.
pub(crate) struct Text {
    pub(crate) path: PathBuf,
    pub(crate) source: String,
    pub(crate) map: SourceMap,
    pub(crate) warnings: Diagnostics,
}

/// Text that could not be read as a program.
pub(crate) struct Unreadable {
    pub(crate) path: PathBuf,
    pub(crate) source: String,
    pub(crate) errors: Diagnostics,
}

/// Why there is no program.
pub(crate) enum LoadError {
    /// The file cannot be had.
    Failure(Failure),
    /// It is not MIL.
    Text(Box<Unreadable>),
}

impl From<Failure> for LoadError {
    fn from(failure: Failure) -> Self {
        LoadError::Failure(failure)
    }
}

impl LoadError {
    /// For commands whose subject is not what is wrong with a text: its errors in one message.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            LoadError::Failure(failure) => failure,
            LoadError::Text(unreadable) => {
                let file = unreadable.path.display().to_string();
                let lines: Vec<String> = unreadable.errors.iter().map(|d| d.in_file(&file)).collect();
                Failure::Failed(format!("{file} is not valid MIL\n{}", lines.join("\n")))
            }
        }
    }
}

/// Loads a `.mil` file, a folder that holds `model.mil`, or a Core ML package.
pub(crate) fn load(path: &Path) -> Result<Model, LoadError> {
    if !path.exists() {
        return Err(Failure::Usage(format!(
            "cannot find {}; give a .mil file, a folder with {MODEL_FILE} or an .mlpackage",
            path.display()
        ))
        .into());
    }
    if is_package(path) {
        return load_package(path);
    }
    if !path.is_dir() {
        return load_text(path);
    }
    let file = path.join(MODEL_FILE);
    if !file.is_file() {
        return Err(Failure::Usage(format!("{} holds no {MODEL_FILE}", path.display())).into());
    }
    load_text(&file)
}

fn is_package(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "mlpackage" || e == "mlmodel")
}

fn load_package(path: &Path) -> Result<Model, LoadError> {
    let imported = ferrane_package::import(path).map_err(coded)?;
    let folder = match imported.weights {
        ferrane_package::Weights::Folder(folder) => folder,
        ferrane_package::Weights::Memory(_) => path.to_path_buf(),
    };
    Ok(Model { program: imported.program, folder, text: None, warnings: imported.warnings })
}

/// A package's error with the number that `ferrane mil explain` takes.
pub(crate) fn coded(error: ferrane_package::PackageError) -> Failure {
    Failure::Failed(format!("{error} [{}]", error.code()))
}

fn load_text(path: &Path) -> Result<Model, LoadError> {
    let bytes = read(path)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match text::parse_bytes(&bytes) {
        Ok(parsed) => Ok(Model {
            program: parsed.program,
            folder: folder.to_path_buf(),
            text: Some(Text {
                path: path.to_path_buf(),
                source: String::from_utf8_lossy(&bytes).into_owned(),
                map: parsed.source_map,
                warnings: parsed.warnings,
            }),
            warnings: Vec::new(),
        }),
        Err(errors) => Err(LoadError::Text(Box::new(Unreadable {
            path: path.to_path_buf(),
            source: String::from_utf8_lossy(&bytes).into_owned(),
            errors,
        }))),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::Failed(format!("cannot read {}: {error}", path.display())))
}

/// The texts a path stands for: the file, the folder's `model.mil`, or every `.mil` file below the folder, sorted.
pub(crate) fn texts(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.exists() {
        return Err(Failure::Usage(format!(
            "cannot find {}; give a .mil file or a folder of them",
            path.display()
        )));
    }
    if !path.is_dir() || is_package(path) {
        return Ok(vec![path.to_path_buf()]);
    }
    if path.join(MODEL_FILE).is_file() {
        return Ok(vec![path.join(MODEL_FILE)]);
    }
    let mut found = Vec::new();
    collect(path, &mut found)?;
    found.sort();
    match found.is_empty() {
        true => Err(Failure::Usage(format!("{} holds no .mil files", path.display()))),
        false => Ok(found),
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let unreadable = |error| Failure::Failed(format!("cannot read the folder {}: {error}", folder.display()));
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let kind = entry.file_type().map_err(unreadable)?;
        let path = entry.path();
        // Links are not followed: a link to a parent would never end.
        if kind.is_dir() {
            collect(&path, found)?;
        } else if kind.is_file() && path.extension().is_some_and(|e| e == "mil") {
            found.push(path);
        }
    }
    Ok(())
}

/// The verified program; for commands whose subject is not what is wrong with it, its errors in one message.
pub(crate) fn verified(model: &Model, path: &Path) -> Result<Verified, Failure> {
    verify(model.program.clone()).map_err(|errors| {
        let text = model.text.as_ref();
        let mut all = Diagnostics::of_verifier(&errors, &model.program, text.map(|t| &t.map));
        if let Some(text) = text {
            all.locate(&text.source);
        }
        let file = text.map_or(path, |t| &t.path).display().to_string();
        let lines: Vec<String> = all.iter().map(|d| d.in_file(&file)).collect();
        Failure::Failed(format!(
            "the program is not valid; `ferrane mil check` shows it\n{}",
            lines.join("\n")
        ))
    })
}
