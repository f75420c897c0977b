//! Reading a model.

use std::path::Path;

use ferrane_mil::Program;
use prost::Message as _;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use crate::layout::{model_file, read_limited};
use crate::program::read::read_program;
use crate::proto::model::{Model, OTHER_KINDS};
use crate::{Description, Metadata, PackageError, Weights, budget, weights};

/// The largest model file read or written. Weights are in a file of their own, so honest ones have some megabytes.
pub(crate) const MODEL_LIMIT: u64 = 1 << 29;

/// A model that was read.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Its program. Arguments and attributes of ops are in alphabetical order, functions too.
    pub program: Program,
    /// Where its weights are.
    pub weights: Weights,
    /// Its inputs and outputs as applications see them.
    pub description: Description,
    /// What it says of itself.
    pub metadata: Metadata,
    /// The version of the model format it asks for: 6 for iOS 15 to 10 for iOS 26.
    pub specification_version: i32,
    /// What was left out or looks odd, a sentence each.
    pub warnings: Vec<String>,
}

/// Reads an `.mlpackage` folder or an `.mlmodel` file that holds an ML program.
///
/// Weights stay in their file; that they are there and have their sizes is checked.
///
/// # Errors
/// When the path is no model, the model is no ML program, uses a feature that cannot be represented, or is damaged.
pub fn import(path: impl AsRef<Path>) -> Result<Imported, PackageError> {
    let file = model_file(path.as_ref())?;
    let bytes = read_limited(&file, MODEL_LIMIT)?;
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    read(&file, &bytes, Weights::Folder(folder.into()))
}

/// Reads a model file that is already in memory; its weights are looked for in `weights`.
///
/// # Errors
/// As [`import`].
pub fn import_bytes(bytes: &[u8], weights: Weights) -> Result<Imported, PackageError> {
    read(Path::new("memory"), bytes, weights)
}

fn read(file: &Path, bytes: &[u8], weights: Weights) -> Result<Imported, PackageError> {
    refuse_other_kinds(file, bytes)?;
    budget::check(file, bytes)?;
    let model = Model::decode(bytes).map_err(|e| unreadable(file, e))?;
    let Some(program) = model.ml_program else {
        return Err(PackageError::NotAModel { path: file.into(), reason: "it holds no model".into() });
    };
    let mut warnings = Vec::new();
    let program = read_program(program, &mut warnings)?;
    let (description, metadata) = Description::from_proto(model.description.unwrap_or_default())?;
    weights::check(&program, &weights, &mut warnings)?;
    Ok(Imported {
        program,
        weights,
        description,
        metadata,
        specification_version: model.specification_version,
        warnings,
    })
}

/// Names the kind of a model that is not an ML program. Only the outermost fields are looked at.
fn refuse_other_kinds(file: &Path, bytes: &[u8]) -> Result<(), PackageError> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(&mut rest).map_err(|e| unreadable(file, e))?;
        if let Some((_, kind)) = OTHER_KINDS.iter().find(|row| row.0 == tag) {
            return Err(PackageError::Kind { path: file.into(), kind: kind.to_string() });
        }
        skip_field(wire_type, tag, &mut rest, DecodeContext::default()).map_err(|e| unreadable(file, e))?;
    }
    Ok(())
}

fn unreadable(file: &Path, error: prost::DecodeError) -> PackageError {
    PackageError::Protobuf { path: file.into(), reason: error.to_string() }
}
