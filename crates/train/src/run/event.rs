//! What a run tells its caller.

use std::path::PathBuf;

use serde::Serialize;

use super::{ModelSummary, Report};
use crate::compiling::Compiling;
use crate::metrics::{Health, Metrics, Modelled};
use crate::saturation::{Saturated, SaturationTotal};
use crate::tiny::{TinyMetrics, TinySettings};

/// Something that happened. Serialised, each is one JSON object whose `event` says which.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Work before the first step begins: `what` is a sentence's beginning such as "training a tokenizer".
    Preparing {
        /// What is being done.
        what: String,
    },
    /// The run is ready for its first step.
    Started {
        /// The run's folder.
        run: PathBuf,
        /// The engine and what it follows.
        engine: String,
        /// Trainable parameters.
        parameters: u64,
        /// Size of the vocabulary.
        vocab: usize,
        /// Tokens of it that are trained.
        trained_vocab: usize,
        /// Shape, kernels and operations.
        model: ModelSummary,
        /// Tokens to train on.
        train_tokens: u64,
        /// Tokens held out for evaluation.
        held_out_tokens: u64,
        /// Tokens one step reads.
        tokens_per_step: u64,
        /// Steps that are already done.
        done: u64,
        /// Steps of the whole run.
        steps: u64,
    },
    /// An optimiser update, or one that was dropped because gradients overflowed.
    Step(Metrics),
    /// The loss scale moved.
    LossScale {
        /// Steps done.
        step: u64,
        /// Scale of that step.
        from: f32,
        /// Scale of the next.
        to: f32,
        /// Where gradients overflowed, so that the update was dropped; none if the scale grew.
        overflow: Option<String>,
    },
    /// Ops saturated in a step, on an engine that watches its arithmetic.
    Saturated {
        /// Steps done.
        step: u64,
        /// Scale of that step.
        loss_scale: f32,
        /// Which, by layer.
        ops: Vec<Saturated>,
    },
    /// Before the end of a run with faithful numerics: what saturated in its steps.
    Saturations {
        /// Steps of this process that were watched.
        steps: u64,
        /// Every op that ever did, by layer.
        ops: Vec<SaturationTotal>,
    },
    /// The mean loss on held-out windows.
    Evaluated {
        /// Steps done.
        step: u64,
        /// Mean negative log-likelihood of a token, in nats.
        loss: f64,
        /// Whether it is the lowest so far.
        best: bool,
    },
    /// A text of the model.
    Sample {
        /// Steps done.
        step: u64,
        /// What the model wrote.
        text: String,
    },
    /// A checkpoint is on disk.
    Saved {
        /// Steps done.
        step: u64,
        /// The checkpoint's folder.
        checkpoint: PathBuf,
    },
    /// Something the user should know though the run goes on.
    Warning {
        /// What, where, and what was done about it.
        message: String,
    },
    /// The engine failed at something, or was late.
    Fault {
        /// Steps done.
        step: u64,
        /// The program and what went wrong.
        message: String,
    },
    /// What the engine had failed at was made good by trying again.
    Recovered {
        /// Steps done.
        step: u64,
        /// The program and what helped.
        message: String,
    },
    /// The process can compile no more programs; the run goes on in a new one.
    Restarting {
        /// Steps done.
        step: u64,
        /// Programs this process compiled.
        compiles: u64,
    },
    /// The two-layer demonstration is ready for its first step.
    TinyStarted {
        /// The run's folder.
        run: PathBuf,
        /// The engine and what it follows.
        engine: String,
        /// All settings.
        settings: TinySettings,
        /// Steps that are already done.
        done: u64,
    },
    /// A step of the demonstration.
    TinyStep(TinyMetrics),
    /// The demonstration is over.
    TinyFinished {
        /// The run's folder.
        run: PathBuf,
        /// Steps done.
        step: u64,
        /// The mean squared error of the last step.
        loss: f64,
        /// The first elements of the last output; none if no step was made now.
        output: Option<Vec<f32>>,
        /// What they should be.
        target: Vec<f32>,
        /// What the whole run took and came to: `report.json`.
        report: Box<Report>,
        /// What compiling has cost.
        #[serde(flatten)]
        compiling: Compiling,
    },
    /// The run is over and its model written.
    Finished {
        /// Steps done.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
        /// Whether it was asked to stop early.
        interrupted: bool,
        /// Mean loss on held-out windows, if evaluated at the end.
        held_out_loss: Option<f64>,
        /// The model's folder.
        model: PathBuf,
        /// What the steps took.
        timing: Timing,
        /// What the whole run took and came to: `report.json`.
        report: Box<Report>,
        /// What of the engine failed since the run began or was resumed.
        health: Health,
        /// What compiling has cost.
        #[serde(flatten)]
        compiling: Compiling,
    },
}

/// What the steps of this process took; evaluations and samples apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Timing {
    /// Steps made.
    pub steps: u64,
    /// Wall time in milliseconds.
    pub wall_ms: f64,
    /// The Neural Engine's part, modelled; absent where the engine's time is real.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modelled: Option<Modelled>,
}
