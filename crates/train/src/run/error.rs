//! Why a run cannot begin, go on or end.

use std::io;
use std::path::{Path, PathBuf};

use ferrane_model::ModelError;
use ferrane_runtime::{RuntimeError, SamplingError};

use super::SettingError;
use crate::checkpoint::CheckpointError;
use crate::corpus::CorpusError;
use crate::data::DataError;
use crate::metrics::MetricsError;
use crate::trainer::TrainError;

/// A run's failure. Each message says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    // === What was asked for ===
    /// A setting makes no sense.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The run went further than asked.
    #[error(
        "{run} already has {done} steps and {steps} were asked for; give a larger --steps to train on", run = run.display()
    )]
    TooFewSteps {
        /// The run.
        run: PathBuf,
        /// Steps done.
        done: u64,
        /// Steps asked for.
        steps: u64,
    },
    /// Something given is not there.
    #[error("cannot find {what} {path}: {source}", path = path.display())]
    Missing {
        /// What it was given as.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    // === The folder ===
    /// A new run would mix with what lies in its folder.
    #[error(
        "{path} is not empty{}", if *is_run {
            ": it holds a run; go on with it by --resume, or give another --out"
        } else {
            " and does not hold a run; nothing was changed, give another --out"
        }, path = path.display()
    )]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// Whether it holds a run.
        is_run: bool,
    },
    /// A file stands where the folder should be.
    #[error("{path} cannot be a run folder, because it or what should hold it is a file; give another --out", path = path.display())]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// There is no run to resume.
    #[error(
        "{path} holds no run (it has no config.toml); check the path, or start a run there with --out", path = path.display()
    )]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// Another process trains there.
    #[error("another process is training in {path}; wait for it or stop it first", path = path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The settings are not those the checkpoint was made with.
    #[error(
        "{path} was changed since {checkpoint} was written; undo the change, or start a new run with --init", path = path.display(), checkpoint = checkpoint.display()
    )]
    Edited {
        /// The settings' file.
        path: PathBuf,
        /// The checkpoint.
        checkpoint: PathBuf,
    },
    /// A file of the run folder cannot be understood.
    #[error("{path} cannot be used: {problem}", path = path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The system refused.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    // === The data ===
    /// A text file is not text.
    #[error(
        "{path} is not UTF-8 text: byte {position} begins no character; save it as UTF-8, \
         or name a file of tokens .bin", path = path.display()
    )]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first byte that is not text.
        position: usize,
    },
    /// The tokenizer of given weights is missing.
    #[error(
        "the --init folder has no tokenizer.json, so the text of {data} cannot be turned into its tokens; \
         add the tokenizer, or give --data FILE.bin"
    )]
    NoTokenizer {
        /// The data.
        data: String,
    },
    /// The tokenizer has tokens the model does not.
    #[error(
        "the tokenizer has {tokenizer} tokens and the model {model}; they belong to different models, \
         check the --init folder"
    )]
    Vocabulary {
        /// Tokens of the tokenizer.
        tokenizer: usize,
        /// Rows of the embedding.
        model: usize,
    },
    /// The token file is not the one the run began with.
    #[error(
        "{path} changed since {run} began, so the run cannot go on as it would have; \
         put the old file back, or start a new run with --init {run}/model", path = path.display(), run = run.display()
    )]
    DataChanged {
        /// The file.
        path: PathBuf,
        /// The run.
        run: PathBuf,
    },
    /// Tokens cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A folder of tokens cannot be used.
    #[error(transparent)]
    Corpus(#[from] CorpusError),

    // === The work ===
    /// The demonstration's loss is not finite.
    #[error("step {step}: the loss is not finite; use a lower --lr than {lr}")]
    Diverged {
        /// The step.
        step: u64,
        /// The learning rate.
        lr: f64,
    },
    /// A model's file or folder.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A checkpoint cannot be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A step cannot be done.
    #[error("{source}; {kept}")]
    Step {
        /// Why.
        source: Box<TrainError>,
        /// What is left of the run.
        kept: String,
    },
    /// The engine failed and trying again did not help.
    #[error("{source}; {kept}")]
    Engine {
        /// How.
        source: Box<RunError>,
        /// What is left of the run, and how to go on.
        kept: String,
    },
    /// The trainer cannot be set up, evaluate or write.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A sample cannot be made.
    #[error("cannot make a sample: {0}")]
    Sample(#[from] RuntimeError),
    /// A sample cannot be chosen.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// Metrics cannot be written.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

impl RunError {
    /// Whether another command line is the remedy.
    pub fn is_usage(&self) -> bool {
        use RunError::*;
        matches!(
            self,
            Setting(_)
                | TooFewSteps { .. }
                | Missing { .. }
                | Occupied { .. }
                | NotAFolder { .. }
                | NotARun { .. }
        )
    }

    /// Whether the engine failed, and not the work it was given.
    pub(super) fn is_of_engine(&self) -> bool {
        let runtime = match self {
            RunError::Step { source, .. } => match &**source {
                TrainError::Runtime(runtime) => runtime,
                _ => return false,
            },
            RunError::Train(TrainError::Runtime(runtime)) | RunError::Sample(runtime) => runtime,
            _ => return false,
        };
        matches!(runtime, RuntimeError::Engine(_))
    }

    pub(super) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> RunError {
        let path = path.as_ref().to_path_buf();
        move |source| RunError::Io { action, path, source }
    }
}
