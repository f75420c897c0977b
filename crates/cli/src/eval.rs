//! `ferrane eval`: how well a model predicts data.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use ferrane_model::stage::Tokens;
use ferrane_model::tokenizer::{TOKENIZER_FILE, split_documents};
use ferrane_model::{Tokenizer, hf};
use ferrane_runtime::{Evaluator, Weights};
use ferrane_train::corpus::DataFolder;
use ferrane_train::data::{TokenSource, TokenWidth};
use ferrane_train::evaluation::{Evaluation, evaluate};
use ferrane_train::run::Source;
use serde::Serialize;

use crate::engine;
use crate::failure::Failure;
use crate::generate::model_folder;

/// Measure how well a model predicts data: loss, perplexity, bits per byte.
///
/// Bits per byte compare models whatever their tokenizers. Every token is predicted from those before it in its window of
/// --seq tokens; longer windows give lower losses.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A run's folder or a Hugging Face model folder
    #[arg(long, value_name = "RUN|DIR")]
    model: PathBuf,
    /// A UTF-8 text, flat little-endian tokens, or a folder that `ferrane data prepare` made, of which the held-out part is taken [default: what the run held out]
    #[arg(long, value_name = "FILE.txt|FILE.bin|DIR")]
    data: Option<String>,
    /// Bytes of a token in FILE.bin: 2 or 4 [default: what the vocabulary needs]
    #[arg(long, value_name = "2|4")]
    token_bytes: Option<usize>,
    /// Tokens of a window [default: 256, or what the model has]
    #[arg(long, value_name = "N")]
    seq: Option<usize>,
    /// Windows side by side
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch_size: usize,
    /// Stop after this many tokens
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    tokens: u64,
    /// One JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: engine::EngineFlags,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Found<'a> {
    model: &'a Path,
    data: &'a str,
    engine: &'a str,
    #[serde(flatten)]
    evaluation: Evaluation,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let folder = model_folder(&args.model)?;
    let loaded = hf::load(&folder).map_err(Failure::failed)?;
    for warning in &loaded.warnings {
        writeln!(io::stderr(), "warning: {warning}")?;
    }
    let config = loaded.config.model.clone();
    let tokenizer = folder.join(TOKENIZER_FILE).exists().then(|| Tokenizer::load(&folder));
    let tokenizer = tokenizer.transpose().map_err(Failure::failed)?;
    let data = data(args)?;
    let source = tokens(&data, args.token_bytes, tokenizer.as_ref(), config.vocab)?;

    let seq = args.seq.unwrap_or(config.max_seq.min(256));
    if seq == 0 || args.batch_size == 0 || args.tokens == 0 {
        return Err(Failure::usage("--seq, --batch-size and --tokens are at least 1"));
    }
    if seq > config.max_seq {
        let most = config.max_seq;
        return Err(Failure::Usage(format!(
            "--seq {seq} is more than the model's {most} positions; use at most {most}"
        )));
    }
    let (engine, title) = args.engine.open(None)?;
    let tokens = Tokens { batch: args.batch_size, seq };
    let on = Arc::clone(&engine);
    let mut evaluator = Evaluator::new(on, Weights::new(loaded.parameters), tokens, engine::threads())
        .map_err(Failure::failed)?;
    let found = evaluate(&mut evaluator, &source, tokenizer.as_ref(), args.tokens, &mut |_| {});
    engine::tell(&*engine)?;
    let evaluation = found.map_err(Failure::failed)?;
    print(args, &Found { model: &folder, data: &data, engine: &title, evaluation })?;
    Ok(ExitCode::SUCCESS)
}

/// What to evaluate on: what was given, else what the run held out.
fn data(args: &Args) -> Result<String, Failure> {
    if let Some(data) = &args.data {
        return Ok(data.clone());
    }
    let held_out = args.model.join("data").join("held_out.bin");
    match held_out.to_str().filter(|_| held_out.exists()) {
        Some(path) => Ok(path.to_owned()),
        None => Err(Failure::usage(
            "give --data FILE.txt, FILE.bin or DIR: only a run that made its own tokens has held some out",
        )),
    }
}

fn tokens(
    data: &str,
    token_bytes: Option<usize>,
    tokenizer: Option<&Tokenizer>,
    vocab: usize,
) -> Result<TokenSource, Failure> {
    let width = |folder: Option<usize>| match token_bytes.or(folder) {
        Some(bytes) => TokenWidth::try_from(bytes).map_err(Failure::usage),
        None => Ok(TokenWidth::for_vocab(vocab)),
    };
    match Source::of(data) {
        Source::Tokens(path) => TokenSource::from_file(&path, width(None)?, vocab).map_err(Failure::failed),
        Source::Folder(path) => {
            let folder = DataFolder::open(&path).map_err(Failure::failed)?;
            let files = if folder.validation.is_empty() { &folder.train } else { &folder.validation };
            TokenSource::from_files(files, width(folder.token_bytes)?, vocab).map_err(Failure::failed)
        }
        Source::Text(path) => {
            let text = fs::read_to_string(&path)
                .map_err(|error| Failure::Usage(format!("cannot read --data {}: {error}", path.display())))?;
            let Some(tokenizer) = tokenizer else {
                return Err(Failure::usage(
                    "the model has no tokenizer.json, so text cannot be turned into its tokens; give --data FILE.bin",
                ));
            };
            let tokens = tokenizer.encode_documents(&split_documents(&text)).map_err(Failure::failed)?;
            TokenSource::from_memory(data, tokens, vocab).map_err(Failure::failed)
        }
        Source::Stories => Err(Failure::usage(
            "--data is a file or folder; `ferrane data stories --out FILE.txt --seed 2` writes stories",
        )),
    }
}

fn print(args: &Args, found: &Found<'_>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if args.json {
        let json = serde_json::to_string(found).map_err(Failure::failed)?;
        writeln!(out, "{json}")?;
        return Ok(());
    }
    let Evaluation { loss, perplexity, bits_per_byte, tokens, bytes } = found.evaluation;
    writeln!(
        out,
        "data           {}: {tokens} tokens{}",
        found.data,
        match bytes {
            Some(bytes) => format!(" of {bytes} bytes"),
            None => String::new(),
        }
    )?;
    writeln!(out, "engine         {}", found.engine)?;
    writeln!(out, "loss           {loss:.4} nats a token")?;
    writeln!(out, "perplexity     {perplexity:.3}")?;
    match bits_per_byte {
        Some(bits) => writeln!(out, "bits per byte  {bits:.4}")?,
        None => writeln!(out, "bits per byte  unknown without the model's tokenizer")?,
    }
    Ok(())
}
