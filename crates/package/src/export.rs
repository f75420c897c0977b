//! Writing a package.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ferrane_mil::{Opset, Program};
use prost::Message as _;

use crate::import::MODEL_LIMIT;
use crate::layout::{DATA, Item, MODEL_ITEM, Manifest, WEIGHTS_ITEM};
use crate::program::write::{specification_version, write_program};
use crate::proto::model::Model;
use crate::{Description, Metadata, PackageError, Weights, weights};

/// How a package is written.
#[derive(Clone, Debug, Default)]
pub struct ExportOptions {
    /// Inputs and outputs as applications see them; when absent, multi-arrays of the program's own types.
    pub description: Option<Description>,
    /// What the model says of itself.
    pub metadata: Metadata,
    /// Replace a package that is already there.
    pub overwrite: bool,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The version of the model format the package asks for.
    pub specification_version: i32,
    /// Number of weights in the weight file.
    pub weights: usize,
    /// Size of the weight file.
    pub weight_bytes: u64,
    /// Size of the model file.
    pub model_bytes: u64,
}

// Items of a manifest are known by identifiers that only have to differ. Fixed ones make equal packages equal bytes.
const MODEL_ID: &str = "7B5F3C1E-52D4-4C0A-9A6B-0F1E6C2D8A01";
const WEIGHTS_ID: &str = "7B5F3C1E-52D4-4C0A-9A6B-0F1E6C2D8A02";
const AUTHOR: &str = "com.apple.CoreML";

/// Writes `program` as the package `to`, whose name ends in `.mlpackage`.
///
/// The weights are copied from `weights` into one file. The package appears whole or not at all. Arguments and attributes
/// of an op have no order in a package.
///
/// # Errors
/// When `to` exists and is not to be overwritten, a weight is missing or has another size than its type, the program
/// contradicts itself or has types that applications cannot pass, or the file system refuses.
pub fn export(
    program: &Program,
    weights: &Weights,
    to: impl AsRef<Path>,
    options: &ExportOptions,
) -> Result<Exported, PackageError> {
    let to = to.as_ref();
    check_target(to, options.overwrite)?;
    let parent = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let workshop = tempfile::Builder::new()
        .prefix(".ferrane-package-")
        .tempdir_in(parent)
        .map_err(PackageError::io("create a folder in", parent))?;
    let package = workshop.path().join("new");
    let exported = write_package(program, weights, &package, options)?;
    put_in_place(workshop, &package, to, options.overwrite)?;
    Ok(exported)
}

fn check_target(to: &Path, overwrite: bool) -> Result<(), PackageError> {
    if to.extension().is_none_or(|e| e != "mlpackage") {
        let reason = "the name of a package ends in `.mlpackage`".into();
        return Err(PackageError::NotAModel { path: to.into(), reason });
    }
    match fs::symlink_metadata(to) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(PackageError::io("read", to)(e)),
        Ok(_) if !overwrite => Err(PackageError::Exists { path: to.into() }),
        // Only what is a package is replaced.
        Ok(kind) if kind.is_dir() && to.join("Manifest.json").is_file() => Ok(()),
        Ok(_) => {
            let reason = "what is there is no package and is not replaced".into();
            Err(PackageError::NotAModel { path: to.into(), reason })
        }
    }
}

fn write_package(
    program: &Program,
    weights: &Weights,
    package: &Path,
    options: &ExportOptions,
) -> Result<Exported, PackageError> {
    let data = package.join(DATA);
    let model_file = data.join(MODEL_ITEM);
    let folder = model_file.parent().unwrap_or(&data);
    fs::create_dir_all(folder).map_err(PackageError::io("create", folder))?;
    let copied = weights::copy(program, weights, &data.join(WEIGHTS_ITEM).join("weight.bin"))?;
    let description = match &options.description {
        Some(description) => description.clone(),
        None => Description::of(program)?,
    };
    let newest = program.functions.iter().map(|f| f.opset).max().unwrap_or(Opset::Ios15);
    let model = Model {
        specification_version: specification_version(newest.max(description.needs())),
        description: Some(description.to_proto(&options.metadata)),
        is_updatable: false,
        ml_program: Some(write_program(program, &copied.offsets)?),
    };
    let model_bytes = model.encoded_len() as u64;
    if model_bytes > MODEL_LIMIT {
        return Err(PackageError::TooLarge { path: model_file, bytes: model_bytes, limit: MODEL_LIMIT });
    }
    write_file(&model_file, &model.encode_to_vec())?;
    write_manifest(package, copied.bytes > 0)?;
    Ok(Exported {
        specification_version: model.specification_version,
        weights: copied.offsets.len(),
        weight_bytes: copied.bytes,
        model_bytes,
    })
}

fn write_manifest(package: &Path, has_weights: bool) -> Result<(), PackageError> {
    let item = |name: &str, description: &str, path: &str| Item {
        author: AUTHOR.into(),
        description: description.into(),
        name: name.into(),
        path: path.into(),
    };
    let mut items = BTreeMap::new();
    items.insert(MODEL_ID.into(), item("model.mlmodel", "CoreML Model Specification", MODEL_ITEM));
    if has_weights {
        items.insert(WEIGHTS_ID.into(), item("weights", "CoreML Model Weights", WEIGHTS_ITEM));
    }
    let manifest = Manifest {
        file_format_version: "1.0.0".into(),
        item_info_entries: items,
        root_model_identifier: MODEL_ID.into(),
    };
    let path = package.join("Manifest.json");
    let text =
        serde_json::to_vec_pretty(&manifest).map_err(|e| PackageError::io("write", &path)(e.into()))?;
    write_file(&path, &text)
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), PackageError> {
    use std::io::Write as _;
    let written = fs::File::create_new(path).and_then(|mut f| {
        f.write_all(bytes)?;
        f.sync_all()
    });
    written.map_err(PackageError::io("write", path))
}

fn put_in_place(
    workshop: tempfile::TempDir,
    package: &Path,
    to: &Path,
    overwrite: bool,
) -> Result<(), PackageError> {
    let old = workshop.path().join("old");
    let replaced = overwrite && to.is_dir();
    if replaced {
        fs::rename(to, &old).map_err(PackageError::io("move aside", to))?;
    }
    fs::rename(package, to).map_err(|e| {
        if replaced && fs::rename(&old, to).is_err() {
            // The package that was there must not go with the workshop.
            let _kept = workshop.keep();
            return PackageError::io("put back the old package from", &old)(e);
        }
        PackageError::io("put the package at", to)(e)
    })
}
