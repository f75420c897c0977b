//! Imports packages and exports them again into a folder: `reexport OUT PACKAGE…`. Those that do not import are named.
//!
//! `tools/mil/check_exported_packages.py` then compares both with coremltools.

#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use std::path::PathBuf;

use ferrane_package::{ExportOptions, PackageError, export, import};

fn main() -> Result<(), PackageError> {
    let mut paths = std::env::args().skip(1).map(PathBuf::from);
    let out = paths.next().unwrap_or_default();
    for path in paths {
        let model = match import(&path) {
            Ok(model) => model,
            Err(error) => {
                println!("{error}");
                continue;
            }
        };
        let options =
            ExportOptions { description: Some(model.description), metadata: model.metadata, overwrite: true };
        export(&model.program, &model.weights, out.join(path.file_name().unwrap_or_default()), &options)?;
    }
    Ok(())
}
