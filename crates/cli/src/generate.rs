//! `ferrane generate`: text from a trained model.

use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use ferrane_model::tokenizer::TOKENIZER_FILE;
use ferrane_model::{StreamDecoder, Tokenizer, hf};
use ferrane_runtime::{Ended, Generator, Sampler, Sampling, Weights};

use crate::engine;
use crate::failure::Failure;

/// Continue a prompt with a trained model, printing text as it comes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A run's folder or a Hugging Face model folder
    #[arg(long, value_name = "RUN|DIR")]
    model: PathBuf,
    /// Text to continue; empty to begin a new text
    #[arg(long, value_name = "TEXT", default_value = "", conflicts_with = "prompt_tokens")]
    prompt: String,
    /// Tokens to continue, for a model without a tokenizer; tokens are printed, not text
    #[arg(long, value_name = "1,2,3", value_delimiter = ',', num_args = 1)]
    prompt_tokens: Option<Vec<u32>>,
    /// 0 takes the likeliest token every time; higher is more varied
    #[arg(long, value_name = "T", default_value_t = 0.8, allow_negative_numbers = true)]
    temperature: f32,
    /// Choose among the likeliest tokens that together have this probability
    #[arg(long, value_name = "P", default_value_t = 0.95, allow_negative_numbers = true)]
    top_p: f32,
    /// Choose among this many of the likeliest tokens; 0 for all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Seed of the choices: the same seed gives the same text
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Stop after this many tokens if the text has not ended
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_tokens: usize,
    /// Print the logits of the next token as a JSON array, and stop
    #[arg(long)]
    logits: bool,
    #[command(flatten)]
    engine: engine::EngineFlags,
    /// Faults for sim to have, as `ferrane train --help` says
    #[arg(long, value_name = "SPEC")]
    faults: Option<String>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let sampling = Sampling { temperature: args.temperature, top_p: args.top_p, top_k: args.top_k };
    let mut sampler = Sampler::new(sampling, args.seed).map_err(Failure::usage)?;
    let folder = model_folder(&args.model)?;
    // A large vocabulary takes as long to read as a small model.
    let (loaded, tokenizer) = thread::scope(|scope| {
        let reading = scope.spawn(|| tokenizer(&args, &folder));
        (hf::load(&folder), reading.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let loaded = loaded.map_err(Failure::failed)?;
    for warning in &loaded.warnings {
        writeln!(io::stderr(), "warning: {warning}")?;
    }
    let prompt = Prompt::new(&args, tokenizer?, &loaded.config.special)?;
    let (engine, _) = args.engine.open(args.faults.as_deref())?;
    let mut generator =
        Generator::new(Arc::clone(&engine), Weights::new(loaded.parameters), engine::threads());
    let done = if args.logits {
        logits(&mut generator, prompt.tokens())
    } else {
        prompt.print(&mut generator, &mut sampler, &loaded.config.special.eos, args.max_tokens)
    };
    engine::tell(&*engine)?;
    done.map(|()| ExitCode::SUCCESS)
}

/// Prints the next token's logits as JSON.
fn logits(generator: &mut Generator, tokens: &[u32]) -> Result<(), Failure> {
    let logits = generator.logits(tokens).map_err(Failure::failed)?;
    let json = serde_json::to_string(logits).map_err(Failure::failed)?;
    writeln!(io::stdout(), "{json}")?;
    Ok(())
}

/// The model's folder: of a run, its `model/`.
pub(crate) fn model_folder(given: &Path) -> Result<PathBuf, Failure> {
    if !given.exists() {
        return Err(Failure::Usage(format!(
            "cannot find --model {}; give a run or a model folder",
            given.display()
        )));
    }
    let inside = given.join("model");
    if inside.join(hf::CONFIG_FILE).exists() {
        return Ok(inside);
    }
    if given.join("config.toml").exists() {
        return Err(Failure::Failed(format!(
            "{0} holds a run that has not written its model yet; go on with `ferrane train --resume {0}`",
            given.display()
        )));
    }
    Ok(given.to_path_buf())
}

/// What turns the prompt into tokens and tokens into text, if it is not tokens that are given and printed.
fn tokenizer(args: &Args, folder: &Path) -> Result<Option<Tokenizer>, Failure> {
    if args.prompt_tokens.is_some() {
        return Ok(None);
    }
    if !folder.join(TOKENIZER_FILE).exists() {
        return Err(Failure::Usage(format!(
            "{} has no tokenizer.json, so --prompt cannot be turned into tokens; \
             add the model's tokenizer, or give tokens with --prompt-tokens 1,2,3",
            folder.display()
        )));
    }
    Tokenizer::load(folder).map(Some).map_err(Failure::failed)
}

/// What to continue, and how to show it.
enum Prompt {
    Text { tokenizer: Box<Tokenizer>, text: String, tokens: Vec<u32> },
    Tokens(Vec<u32>),
}

impl Prompt {
    fn new(
        args: &Args,
        tokenizer: Option<Tokenizer>,
        special: &ferrane_model::SpecialTokens,
    ) -> Result<Self, Failure> {
        let Some(tokenizer) = tokenizer else {
            return Ok(Prompt::Tokens(args.prompt_tokens.clone().unwrap_or_default()));
        };
        let mut tokens: Vec<u32> = special.bos.or(special.eos.first().copied()).into_iter().collect();
        tokens.extend(tokenizer.encode(&args.prompt).map_err(Failure::failed)?);
        if tokens.is_empty() {
            return Err(Failure::usage("the model has no begin token; give a --prompt"));
        }
        Ok(Prompt::Text { tokenizer: Box::new(tokenizer), text: args.prompt.clone(), tokens })
    }

    fn tokens(&self) -> &[u32] {
        match self {
            Prompt::Text { tokens, .. } | Prompt::Tokens(tokens) => tokens,
        }
    }

    fn print(
        &self,
        generator: &mut Generator,
        sampler: &mut Sampler,
        ends: &[u32],
        max_tokens: usize,
    ) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let mut printer = match self {
            Prompt::Text { tokenizer, text, .. } => {
                write!(out, "{text}")?;
                out.flush()?;
                Printer::Text(tokenizer.stream())
            }
            Prompt::Tokens(_) => Printer::Tokens { first: true },
        };
        let (Prompt::Text { tokens, .. } | Prompt::Tokens(tokens)) = self;

        let mut failure = None;
        let receive = |token| match printer.show(token, &mut out) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        };
        let ended = generator.continue_prompt(tokens, ends, max_tokens, sampler, receive);
        match (ended.map_err(Failure::failed)?, failure) {
            (Ended::Stopped, Some(failure)) => return Err(failure),
            _ => printer.finish(&mut out)?,
        }
        writeln!(out)?;
        Ok(())
    }
}

/// Prints tokens as they come.
enum Printer<'a> {
    Text(StreamDecoder<'a>),
    Tokens { first: bool },
}

impl Printer<'_> {
    fn show(&mut self, token: u32, out: &mut impl io::Write) -> Result<(), Failure> {
        match self {
            Printer::Text(stream) => {
                let text = stream.push(token).map_err(Failure::failed)?;
                if !text.is_empty() {
                    out.write_all(text.as_bytes())?;
                    out.flush()?;
                }
            }
            Printer::Tokens { first } => {
                let separator = if std::mem::replace(first, false) { "" } else { "," };
                write!(out, "{separator}{token}")?;
                out.flush()?;
            }
        }
        Ok(())
    }

    fn finish(self, out: &mut impl io::Write) -> Result<(), Failure> {
        if let Printer::Text(stream) = self {
            out.write_all(stream.finish().map_err(Failure::failed)?.as_bytes())?;
        }
        Ok(())
    }
}
