//! One optimiser update after another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrane_engine::{Clock, Engine};
use ferrane_model::{ParamKind, ParamTable, Parameters, stage::Tokens};
use ferrane_runtime::{
    LossError, Overflow, PlanChoice, RuntimeError, TrainingModel, Weights, WeightsMode, Write,
};

use crate::{
    checkpoint::{Tensors, TensorsMut},
    data::{Batch, DataError, EvalWindows},
    loss_scale::{LossScale, LossScaleConfig, LossScaleError, LossScaleState, ScaleChange},
    metrics::Parts,
    optim::{Arenas, OptimError, Optimiser, OptimiserConfig, Update, clip_coefficient, global_norm},
    saturation::Saturated,
    schedule::Schedule,
};

/// Everything that says how a step is made.
#[derive(Debug, Clone)]
pub struct StepSettings {
    /// Sequences of a micro-batch and their length.
    pub tokens: Tokens,
    /// Micro-batches of a step.
    pub micro_batches: usize,
    /// The optimiser and its constants.
    pub optimiser: OptimiserConfig,
    /// Weight of the z-loss, which keeps logits from drifting; 0 for none.
    pub z_loss: f64,
    /// Largest global norm of the gradient; 0 for no limit.
    pub clip: f64,
    /// The learning rate of each step.
    pub schedule: Schedule,
    /// How the loss scale may move.
    pub loss_scale: LossScaleConfig,
    /// Where kernels have their weights.
    pub weights: WeightsMode,
    /// How layers are cut into kernels.
    pub plan: PlanChoice,
    /// Programs this process may compile; what the engine says if none.
    pub compile_budget: Option<usize>,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Steps done, this one included.
    pub step: u64,
    /// Mean negative log-likelihood of a token, in nats.
    pub loss: f64,
    /// Learning rate.
    pub lr: f64,
    /// Norm of the gradient before clipping; `None` when gradients overflowed and the update was dropped.
    pub grad_norm: Option<f64>,
    /// Where gradients overflowed, if they did.
    pub overflow: Option<String>,
    /// Ops that saturated, on an engine that watches its arithmetic.
    pub saturated: Vec<Saturated>,
    /// Where its time went.
    pub parts: Parts,
    /// Loss scale of the step.
    pub loss_scale: f32,
    /// What the step did to the loss scale.
    pub scale_change: ScaleChange,
    /// Tokens of the step.
    pub tokens: u64,
    /// What its evaluations would have taken on the chip, for an engine that models it.
    pub modelled: Option<Clock>,
}

/// A step that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The model cannot be compiled or run.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// An optimiser setting makes no sense.
    #[error(transparent)]
    Optim(#[from] OptimError),
    /// A loss-scale setting makes no sense.
    #[error(transparent)]
    LossScale(#[from] LossScaleError),
    /// A batch could not be drawn.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A step of no micro-batches.
    #[error("micro-batches is 0; a step needs at least one")]
    NoMicroBatches,
    /// The gradient is not finite although the loss is, and no lower loss scale can help. Nothing was updated.
    #[error(
        "step {step}: gradients are not finite in {place} at loss scale {scale}, the lowest; lower the learning rate, or clip \
         gradients (--clip 1)"
    )]
    NonFiniteGradient {
        /// The step that was being made, from 1.
        step: u64,
        /// The first value or parameter in which they do.
        place: String,
        /// The loss scale.
        scale: f32,
    },
    /// The loss is not finite. Nothing was updated.
    #[error(
        "step {step}: the loss is not finite: {source}; lower the learning rate, or check the initial weights ({culprit})"
    )]
    NonFiniteLoss {
        /// The step that was being made, from 1.
        step: u64,
        /// Where it comes from.
        source: LossError,
        /// The first parameter that is not finite, or that all are.
        culprit: String,
    },
}

/// A model in training: parameters, moments, and the engine's kernels.
pub struct Trainer {
    settings: StepSettings,
    engine: Arc<dyn Engine>,
    model: TrainingModel,
    optimiser: Optimiser,
    loss_scale: LossScale,
    grads: Vec<f32>,
    m: Vec<f32>,
    v: Vec<f32>,
    /// Time of the optimiser in this step.
    update_time: Duration,
    /// Time of compiling that steps have told of.
    compile_time: Duration,
    step: u64,
    updates: u64,
    /// The parameters are newer than what kernels hold of them.
    stale: bool,
    batch: Batch,
}

/// What of a trainer's state is not in its arenas.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done, dropped ones included.
    pub step: u64,
    /// Optimiser updates made.
    pub updates: u64,
    /// Where the loss scale stands.
    pub loss_scale: LossScaleState,
}

impl Trainer {
    /// Compiles the model for `engine`, with fresh optimiser state. `threads` is for the host's part.
    ///
    /// # Errors
    /// When a setting makes no sense or the engine refuses the model.
    pub fn new(
        engine: Arc<dyn Engine>,
        parameters: Parameters,
        settings: StepSettings,
        threads: usize,
    ) -> Result<Self, TrainError> {
        if settings.micro_batches == 0 {
            return Err(TrainError::NoMicroBatches);
        }
        let table = parameters.table();
        let decayed = table.params().iter().filter(|p| p.kind != ParamKind::Norm).map(|p| p.range());
        let optimiser = Optimiser::new(settings.optimiser, table.len(), &decayed.collect::<Vec<_>>())?;
        let len = table.len();
        let second_moments = if settings.optimiser.has_second_moments() { len } else { 0 };
        let plan =
            settings.plan.plan(parameters.config(), settings.tokens, engine.profile(), settings.weights)?;
        let weights = Weights::new(parameters);
        let mut model =
            TrainingModel::with_mode(Arc::clone(&engine), weights, plan, threads, settings.weights)?;
        model.set_z_loss(settings.z_loss);
        Ok(Self {
            model,
            optimiser,
            loss_scale: LossScale::new(settings.loss_scale)?,
            grads: vec![0.0; len],
            m: vec![0.0; len],
            v: vec![0.0; second_moments],
            update_time: Duration::ZERO,
            compile_time: Duration::ZERO,
            step: 0,
            updates: 0,
            stale: false,
            batch: Batch::new(settings.tokens.batch, settings.tokens.seq)?,
            engine,
            settings,
        })
    }

    /// Whether another step needs a new process, because this one can compile no more.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn needs_restart(&mut self) -> Result<bool, TrainError> {
        if self.settings.weights == WeightsMode::Streamed {
            return Ok(false);
        }
        self.refresh()?;
        Ok(self.model.exceeds_compiles(self.settings.compile_budget))
    }

    /// The model on its engine.
    pub fn model(&self) -> &TrainingModel {
        &self.model
    }

    /// Steps done.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// The weights, shared with kernels.
    pub fn weights(&self) -> &Weights {
        self.model.weights()
    }

    /// One optimiser update from `micro_batches` batches, which `next` fills one after the other.
    ///
    /// When gradients overflow fp16, in any surface they pass through or in the end, the update is dropped and the loss scale
    /// halved; the step still counts.
    ///
    /// # Errors
    /// When a batch cannot be drawn, the engine fails, or loss or gradients are not finite for another reason than the
    /// loss scale. The trainer's state is then that of the step before.
    pub fn step(
        &mut self,
        next: &mut dyn FnMut(&mut Batch) -> Result<(), DataError>,
    ) -> Result<StepReport, TrainError> {
        self.refresh()?;
        let scale = self.loss_scale.scale();
        let positions = self.settings.tokens.width() * self.settings.micro_batches;
        let before = self.engine.clock();
        let (mut sum, mut overflow) = (0.0, None);
        for micro in 0..self.settings.micro_batches {
            next(&mut self.batch)?;
            let write = if micro == 0 { Write::Set } else { Write::Add };
            let (inputs, targets) = (self.batch.inputs(), self.batch.targets());
            let grad_scale = scale / positions as f32;
            let loss = self.model.loss_and_gradients(inputs, targets, grad_scale, &mut self.grads, write);
            sum += loss.map_err(|e| self.explain(e))?;
            overflow = overflow.or_else(|| self.model.overflow().map(Overflow::to_string));
        }

        let saturated = self.model.take_saturation().into_iter().map(Into::into).collect();
        let norm = global_norm(&self.grads) / f64::from(scale);
        if overflow.is_none() && !norm.is_finite() {
            let tensor = first_non_finite(self.model.weights().table(), &self.grads);
            overflow = Some(format!("the gradient of `{}`", tensor.unwrap_or("all")));
        }
        let scale_change = self.loss_scale.observe(overflow.is_some());
        if let (ScaleChange::Exhausted, Some(place)) = (scale_change, &overflow) {
            return Err(TrainError::NonFiniteGradient { step: self.step + 1, place: place.clone(), scale });
        }
        let lr = self.settings.schedule.lr(self.step);
        if overflow.is_none() {
            self.update(lr, norm, scale);
        }
        self.step += 1;
        Ok(StepReport {
            step: self.step,
            loss: sum / positions as f64,
            lr,
            grad_norm: overflow.is_none().then_some(norm),
            overflow,
            parts: self.take_parts(),
            loss_scale: scale,
            scale_change,
            saturated,
            tokens: positions as u64,
            modelled: self.engine.clock().zip(before).map(|(now, before)| now - before),
        })
    }

    fn update(&mut self, lr: f64, norm: f64, scale: f32) {
        self.updates += 1;
        let grad_scale = clip_coefficient(norm, self.settings.clip) / scale;
        let update = Update { lr, number: self.updates, grad_scale };
        {
            let mut params = self.model.weights().arena().write();
            let (grads, m, v) = (&self.grads, &mut self.m, &mut self.v);
            let started = Instant::now();
            self.optimiser.update(update, Arenas { params: &mut params, grads, m, v });
            self.update_time += started.elapsed();
        }
        self.stale = true;
    }

    /// Gives kernels the newest weights. Done before they are used and not after an update, so that an engine that fails
    /// here fails between two steps.
    fn refresh(&mut self) -> Result<(), TrainError> {
        if self.stale {
            self.model.weights_changed()?;
            self.stale = false;
        }
        Ok(())
    }

    /// Mean negative log-likelihood over the windows.
    ///
    /// # Errors
    /// When a window cannot be read or the engine fails.
    pub fn evaluate(&mut self, windows: &EvalWindows) -> Result<f64, TrainError> {
        self.refresh()?;
        let mut batch = Batch::new(self.settings.tokens.batch, self.settings.tokens.seq)?;
        let (mut sum, mut count) = (0.0, 0);
        for index in 0..windows.batches() {
            let read = windows.read(index, &mut batch)?;
            sum += self.model.loss(read.batch.inputs(), read.targets()).map_err(|e| self.explain(e))?;
            count += read.targets().len();
        }
        // Steps tell of steps alone.
        self.model.take_saturation();
        self.model.take_spent();
        Ok(sum / count.max(1) as f64)
    }

    /// What a checkpoint keeps besides the arenas.
    pub fn progress(&self) -> Progress {
        Progress { step: self.step, updates: self.updates, loss_scale: self.loss_scale.state() }
    }

    /// Calls `f` with the arenas a checkpoint keeps.
    pub fn with_tensors<R>(&self, f: impl FnOnce(Tensors<'_>) -> R) -> R {
        f(Tensors { params: &self.model.weights().arena().read(), m: &self.m, v: &self.v })
    }

    /// Puts back a state: `load` fills the arenas.
    ///
    /// # Errors
    /// What `load` says, or that the saved loss scale makes no sense; the trainer is then not to be used.
    pub fn restore<E: From<TrainError>>(
        &mut self,
        progress: Progress,
        load: impl FnOnce(TensorsMut<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.loss_scale =
            LossScale::resume(self.settings.loss_scale, progress.loss_scale).map_err(TrainError::from)?;
        self.step = progress.step;
        self.updates = progress.updates;
        {
            let mut params = self.model.weights().arena().write();
            load(TensorsMut { params: &mut params, m: &mut self.m, v: &mut self.v })?;
        }
        self.stale = true;
        Ok(())
    }

    /// Where time went since this was last asked.
    fn take_parts(&mut self) -> Parts {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let spent = self.model.take_spent();
        let compiled = self.model.compile_log().time_spent();
        let compiling = compiled.saturating_sub(std::mem::replace(&mut self.compile_time, compiled));
        Parts {
            engine_ms: ms(spent.engine),
            staging_ms: ms(spent.staging),
            head_ms: ms(spent.head),
            norms_ms: ms(spent.host),
            weight_gradients_ms: ms(spent.weight_gradients),
            update_ms: ms(spent.embedding + std::mem::take(&mut self.update_time)),
            compiling_ms: ms(compiling),
        }
    }

    /// Names the step and the tensor behind a loss that is not finite.
    fn explain(&self, error: RuntimeError) -> TrainError {
        match error {
            RuntimeError::Loss(source @ LossError::NonFinite { .. }) => {
                let weights = self.model.weights();
                let culprit = match first_non_finite(weights.table(), &weights.arena().read()) {
                    Some(tensor) => format!("`{tensor}` is not finite"),
                    None => "all weights are finite, so an activation overflowed".to_owned(),
                };
                TrainError::NonFiniteLoss { step: self.step + 1, source, culprit }
            }
            other => other.into(),
        }
    }
}

/// The name of the first parameter with an element that is not finite.
fn first_non_finite<'a>(table: &'a ParamTable, arena: &[f32]) -> Option<&'a str> {
    let bad = table.params().iter().find(|p| arena[p.range()].iter().any(|x| !x.is_finite()));
    bad.map(|p| p.name.as_str())
}
