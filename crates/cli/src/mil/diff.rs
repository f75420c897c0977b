//! `ferrane mil diff`: whether two programs are the same.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use ferrane_mil::text::structural_difference;

use super::source::{LoadError, load};
use crate::failure::Failure;

/// Tell the first difference between two programs; white space, dialect and numbering of values do not count.
///
/// Exit codes: 0 the same, 1 different, 2 not comparable.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A .mil file, a folder with model.mil or a package
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The other
    #[arg(value_name = "B")]
    b: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let as_usage = |error: LoadError| match error.into_failure() {
        Failure::Failed(message) => Failure::Usage(message),
        other => other,
    };
    let a = load(&args.a).map_err(as_usage)?;
    let b = load(&args.b).map_err(as_usage)?;
    match structural_difference(&a.program, &b.program) {
        None => Ok(ExitCode::SUCCESS),
        Some(difference) => {
            writeln!(io::stdout(), "{} and {} differ: {difference}", args.a.display(), args.b.display())?;
            Ok(ExitCode::from(1))
        }
    }
}
