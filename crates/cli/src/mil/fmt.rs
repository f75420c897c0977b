//! `ferrane mil fmt`: the canonical form of MIL text.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use ferrane_mil::Program;
use ferrane_mil::pass::lower_dialect;
use ferrane_mil::text::{self, Dialect};

use super::source::{self, Text};
use crate::failure::Failure;

mod comments;

/// Rewrite MIL text in its canonical form, keeping comments.
///
/// Exit codes: 0 done (with --check: nothing to do), 1 not valid MIL (with --check: some file is not canonical).
#[derive(clap::Args)]
pub(crate) struct Args {
    /// .mil files, folders with model.mil, or folders of those
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
    /// Write nothing; name the files that are not canonical
    #[arg(long)]
    check: bool,
    /// Print the result instead of writing the file
    #[arg(long, conflicts_with = "check")]
    stdout: bool,
    /// The spelling of scalars; without it each program keeps the one of its version
    #[arg(long, value_name = "DIALECT")]
    dialect: Option<Spelling>,
}

/// A dialect as the user names it.
#[derive(Clone, Copy, ValueEnum)]
enum Spelling {
    /// fp16(0.5), string("x"): program(1.3), for M3 and later
    Modern,
    /// tensor<fp16, []>(0.5): program(1.0) and at most ios17, for M1 and M2
    Verbose,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut changed = false;
    for path in &args.paths {
        for file in source::texts(path)? {
            changed |= format_file(&file, args)?;
        }
    }
    Ok(ExitCode::from(u8::from(changed && args.check)))
}

/// True when the file is not canonical.
fn format_file(path: &Path, args: &Args) -> Result<bool, Failure> {
    let model = source::load(path).map_err(source::LoadError::into_failure)?;
    let Some(text) = model.text else {
        return Err(Failure::Usage(format!("{} is a package, not MIL text", path.display())));
    };
    let failed = |why: String| Failure::Failed(format!("{}: {why}", path.display()));
    let formatted = canonical(model.program, &text, args.dialect).map_err(failed)?;
    if args.stdout {
        write!(io::stdout(), "{formatted}")?;
        return Ok(false);
    }
    if formatted == text.source {
        return Ok(false);
    }
    if args.check {
        writeln!(io::stdout(), "{} is not canonical", path.display())?;
    } else {
        fs::write(path, formatted).map_err(|error| failed(format!("cannot write it: {error}")))?;
    }
    Ok(true)
}

fn canonical(program: Program, text: &Text, spelling: Option<Spelling>) -> Result<String, String> {
    let (program, dialect) = match spelling {
        None => {
            let dialect = Dialect::of(&program);
            (program, dialect)
        }
        Some(Spelling::Modern) => (lower_dialect(&program, Dialect::Modern), Dialect::Modern),
        Some(Spelling::Verbose) => (lower_dialect(&program, Dialect::Verbose), Dialect::Verbose),
    };
    let printed = text::print(&program, dialect).map_err(|error| error.to_string())?;
    comments::carry_over(text, printed)
}
