//! `ferrane data stories`.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::value_parser;
use ferrane_model::stories;

use crate::failure::Failure;
use crate::files;

/// Write the built-in stories to a text file.
///
/// The stories come from a seeded generator: the same seed gives the same stories everywhere.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write whole stories until there are this many bytes
    #[arg(long, value_name = "N", default_value_t = 4 << 20, value_parser = value_parser!(u64).range(1..=1 << 32))]
    bytes: u64,
    /// Seed of the generator
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let Args { out, bytes, seed } = args;
    let written = stories::corpus(seed, bytes as usize);
    let text = stories::to_text(&written);
    files::write(&out, text.as_bytes())?;
    writeln!(io::stdout(), "{}: {} stories, {} bytes", out.display(), written.len(), text.len())?;
    Ok(ExitCode::SUCCESS)
}
