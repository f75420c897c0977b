//! `ferrane mil import` and `export`: between Core ML packages and folders of MIL text.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use ferrane_mil::blob;
use ferrane_mil::text::{self, Dialect};
use ferrane_package::{ExportOptions, Weights};

use super::source::{self, LoadError, MODEL_FILE};
use super::weights::{FolderWeights, paths};
use crate::failure::Failure;

/// Write the ML program of a Core ML package as a folder with model.mil and its weight files.
#[derive(clap::Args)]
pub(crate) struct Import {
    /// An .mlpackage or .mlmodel
    #[arg(value_name = "PACKAGE")]
    package: PathBuf,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Write a program as a Core ML package that applications load.
#[derive(clap::Args)]
pub(crate) struct Export {
    /// A .mil file or a folder with model.mil
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// The package to write, NAME.mlpackage
    #[arg(long, value_name = "PACKAGE")]
    out: PathBuf,
    /// Replace a package that is there
    #[arg(long)]
    overwrite: bool,
}

pub(crate) fn import(args: &Import) -> Result<ExitCode, Failure> {
    let model = source::load(&args.package).map_err(LoadError::into_failure)?;
    if model.text.is_some() {
        return Err(Failure::Usage(format!("{} is MIL text already", args.package.display())));
    }
    for warning in &model.warnings {
        writeln!(io::stderr(), "warning: {warning}")?;
    }
    let text = text::print(&model.program, Dialect::of(&model.program)).map_err(Failure::failed)?;
    let files = FolderWeights::new(&model.folder);
    for path in paths(&model.program) {
        let bytes = files.file(&path).map_err(Failure::Failed)?;
        let to = blob::resolve(&args.out, &path).map_err(Failure::failed)?;
        write(&to, &bytes)?;
    }
    let file = args.out.join(MODEL_FILE);
    write(&file, text.as_bytes())?;
    writeln!(io::stdout(), "{}", file.display())?;
    Ok(ExitCode::SUCCESS)
}

fn write(path: &std::path::Path, bytes: &[u8]) -> Result<(), Failure> {
    let unwritable = |error| Failure::Failed(format!("cannot write {}: {error}", path.display()));
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(unwritable)?;
    }
    fs::write(path, bytes).map_err(unwritable)
}

pub(crate) fn export(args: &Export) -> Result<ExitCode, Failure> {
    let model = source::load(&args.path).map_err(LoadError::into_failure)?;
    let program = source::verified(&model, &args.path)?;
    let options = ExportOptions { overwrite: args.overwrite, ..ExportOptions::default() };
    let written =
        ferrane_package::export(program.program(), &Weights::Folder(model.folder), &args.out, &options)
            .map_err(source::coded)?;
    writeln!(
        io::stdout(),
        "{}: {} weights, {} bytes",
        args.out.display(),
        written.weights,
        written.weight_bytes + written.model_bytes
    )?;
    Ok(ExitCode::SUCCESS)
}
