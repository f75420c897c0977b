//! `ferrane data prepare`.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use ferrane_model::Tokenizer;
use ferrane_train::corpus::{self, CorpusError, Preparation};

use crate::failure::Failure;

/// Encode text files into a folder of token files to train on.
///
/// A .jsonl file has a document a line, {"text": "..."}; any other is UTF-8 text in which <|endoftext|> stands between
/// documents. Files are read once, piece by piece, so they may be larger than memory. Train on the folder with
/// `ferrane train --data DIR`; llama2.c and nanoGPT read its .bin files too.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files of text, encoded in this order
    #[arg(value_name = "FILES", required = true)]
    files: Vec<PathBuf>,
    /// A tokenizer.json or the folder it lies in, or llama2.c's tokenizer.bin
    #[arg(long, value_name = "PATH")]
    tokenizer: PathBuf,
    /// The folder to make; must be new or empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Part of the documents that is held out for evaluation, spread evenly
    #[arg(long, value_name = "R", default_value_t = 0.01, allow_negative_numbers = true)]
    validation: f64,
    /// Tokens of a file at most
    #[arg(long, value_name = "N", default_value_t = 100_000_000)]
    shard_tokens: u64,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let tokenizer = Tokenizer::load(&args.tokenizer).map_err(Failure::failed)?;
    let preparation = Preparation {
        files: args.files.clone(),
        out: args.out.clone(),
        validation: args.validation,
        shard_tokens: args.shard_tokens,
    };
    let mut told = 0;
    let mut progress = |so_far: &corpus::Prepared| {
        const EVERY: u64 = 64 << 20;
        if so_far.bytes / EVERY > told {
            told = so_far.bytes / EVERY;
            let (bytes, tokens) = (so_far.bytes >> 20, so_far.train_tokens + so_far.validation_tokens);
            // Nobody may read it; the work goes on.
            let _ = writeln!(io::stderr(), "{bytes} MB of text, {tokens} tokens ...");
        }
    };
    let done = corpus::prepare(&preparation, &tokenizer, &mut progress).map_err(|error| match error {
        CorpusError::Setting { .. } | CorpusError::Occupied { .. } | CorpusError::Kind { .. } => {
            Failure::usage(error)
        }
        error => Failure::failed(error),
    })?;
    writeln!(
        io::stdout(),
        "{}: {} documents, {} tokens to train on, {} held out",
        args.out.display(),
        done.documents,
        done.train_tokens,
        done.validation_tokens
    )?;
    Ok(ExitCode::SUCCESS)
}
