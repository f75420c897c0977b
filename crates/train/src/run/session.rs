//! The loop over steps, and what happens between them.

use std::path::PathBuf;
use std::time::Instant;

use ferrane_engine::{Clock, Engine, RemarkKind};
use ferrane_model::hf::{self, ModelFiles};
use ferrane_model::{Parameters, SpecialTokens};

use super::compaction::Compaction;
use super::prepare::Prepared;
use super::report::{End, Ledger, Report, timed};
use super::storyteller::Storyteller;
use super::{Drawn, EngineChoice, Event, Numerics, RunError, RunFolder, RunSettings, Timing};
use crate::checkpoint::{Best, CheckpointFolder, TrainerState};
use crate::compiling::Compiling;
use crate::data::{BatchOrder, Cursor, EvalWindows};
use crate::metrics::{Health, Metrics, MetricsLog};
use crate::saturation::Totals;
use crate::trainer::{StepReport, Trainer};

/// The caller's side of a run.
pub struct Host<'a> {
    /// Is told what happens.
    pub emit: &'a mut dyn FnMut(Event),
    /// Says whether to stop after the current step.
    pub stop: &'a dyn Fn() -> bool,
    /// Says what the machine drew since this was last asked, or why that is not known.
    pub drawn: &'a dyn Fn() -> Result<Drawn, String>,
}

impl Host<'_> {
    /// Adds what was drawn of late to `total`. Says why it is not known, if it is not.
    pub(crate) fn measure(&self, total: &mut Drawn) -> Option<String> {
        (self.drawn)().map(|drawn| *total += drawn).err()
    }
}

/// Why the steps of this process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The last step is done.
    Finished,
    /// It was asked to stop.
    Stopped,
    /// This process can compile no more programs. All is saved; the caller is to resume the run in a new process.
    RestartNeeded,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The run's folder.
    pub run: PathBuf,
    /// Why.
    pub ended: Ended,
    /// Steps of the whole run.
    pub steps: u64,
    /// Whether the model has a tokenizer.
    pub has_tokenizer: bool,
    /// A prompt that suits the data.
    pub prompt: &'static str,
}

/// Tokens an evaluation reads at most.
const EVALUATION_TOKENS: usize = 1 << 15;

/// A run between its first and last step.
pub(super) struct Session<'a, 'h> {
    pub(super) folder: &'a RunFolder,
    pub(super) settings: &'a RunSettings,
    pub(super) prepared: &'a Prepared,
    /// What the vocabulary trained is of the whole, if it is not that.
    pub(super) compaction: Option<&'a Compaction>,
    pub(super) special: SpecialTokens,
    pub(super) engine: &'a dyn Engine,
    pub(super) trainer: Trainer,
    pub(super) order: BatchOrder,
    /// Where `order` stood after the last step that was done.
    pub(super) cursor: Cursor,
    pub(super) metrics: MetricsLog,
    pub(super) checkpoints: CheckpointFolder,
    /// Steps done.
    pub(super) done: u64,
    /// Tokens trained on.
    pub(super) tokens: u64,
    /// Loss of the last step.
    pub(super) loss: Option<f64>,
    /// The lowest loss on held-out data so far.
    pub(super) best: Option<Best>,
    /// What compiling cost in the processes before this one.
    pub(super) before: Compiling,
    /// The newest whole checkpoint: steps done, and its folder.
    pub(super) saved: Option<(u64, PathBuf)>,
    /// What the run took, the processes before this one included.
    pub(super) ledger: Ledger,
    pub(super) title: &'a str,
    /// What the steps of this process took.
    pub(super) timing: Timing,
    /// The part of that on the engine.
    pub(super) modelled: Option<Clock>,
    /// What saturated in the steps of this process, and how many those are.
    pub(super) saturations: (Totals, u64),
    /// Makes samples; none if the model has no words.
    pub(super) storyteller: Option<Storyteller<'a>>,
    /// What of the engine failed, in all and up to the last line of metrics.
    pub(super) health: Health,
    pub(super) reported: Health,
    pub(super) host: Host<'h>,
}

impl Session<'_, '_> {
    /// Steps until the last one or until asked to stop; then a checkpoint and the model. Or until this process can compile
    /// no more; then a checkpoint alone.
    pub(super) fn run(mut self) -> Result<Ended, RunError> {
        match self.train() {
            Err(error) if error.is_of_engine() => Err(self.keep_what_is_done(error)),
            done => done,
        }
    }

    /// The engine failed for good. The trainer stands where the last whole step left it, so nothing need be lost.
    fn keep_what_is_done(&mut self, error: RunError) -> RunError {
        self.listen();
        let error = match error {
            RunError::Step { source, .. } => RunError::Train(*source),
            other => other,
        };
        let run = self.folder.root().display();
        let kept = match self.done {
            0 => format!("no step was done yet; try again with --resume {run}"),
            done => match self.checkpoint() {
                Ok(()) => format!("everything up to step {done} is saved; go on with --resume {run}"),
                Err(error) => format!("saving step {done} failed too: {error}"),
            },
        };
        RunError::Engine { source: Box::new(error), kept }
    }

    fn train(&mut self) -> Result<Ended, RunError> {
        self.listen();
        let steps = self.settings.steps;
        let mut held_out_loss = None;
        while self.done < steps && !(self.host.stop)() {
            held_out_loss = self.step()?;
            if is_due(self.settings.sample_every, self.done) && self.done < steps {
                self.sample()?;
            }
            if self.done < steps && self.trainer.needs_restart()? && !(self.host.stop)() {
                return self.restart();
            }
            let is_best = self.best.is_some_and(|best| best.step == self.done);
            if (is_due(self.settings.checkpoint_every, self.done) || is_best) && self.done < steps {
                self.checkpoint()?;
            }
        }
        self.checkpoint()?;
        let started = Instant::now();
        self.write_model()?;
        self.ledger.seconds.save += started.elapsed().as_secs_f64();
        let interrupted = self.done < steps;
        if !interrupted {
            self.sample()?;
        }
        let (totals, watched) = &self.saturations;
        if self.settings.numerics == Numerics::Faithful && self.settings.engine == EngineChoice::Sim {
            (self.host.emit)(Event::Saturations { steps: *watched, ops: totals.all() });
        }
        let compiling = self.compiling();
        let (step, model) = (self.done, self.folder.model());
        let timing = Timing { modelled: self.modelled.map(Into::into), ..self.timing };
        self.listen();
        let health = self.health;
        let report = Box::new(self.report(held_out_loss));
        report.write(self.folder)?;
        (self.host.emit)(Event::Finished {
            step,
            steps,
            interrupted,
            held_out_loss,
            model,
            timing,
            report,
            compiling,
            health,
        });
        Ok(if interrupted { Ended::Stopped } else { Ended::Finished })
    }

    /// Leaves all as a new process needs it to go on.
    fn restart(&mut self) -> Result<Ended, RunError> {
        let compiles = self.trainer.model().compile_log().compiles();
        self.before.restarts += 1;
        self.checkpoint()?;
        (self.host.emit)(Event::Restarting { step: self.done, compiles });
        Ok(Ended::RestartNeeded)
    }

    /// What compiling has cost the run so far, this process included.
    fn compiling(&self) -> Compiling {
        self.before.plus(self.trainer.model().compile_log())
    }

    fn report(&mut self, held_out_loss: Option<f64>) -> Report {
        let energy_unknown = self.host.measure(&mut self.ledger.drawn);
        let end = End {
            engine: self.title,
            profile: self.engine.profile(),
            step: self.done,
            steps: self.settings.steps,
            parameters: self.settings.shape.parameters(),
            loss: self.loss,
            held_out_loss,
            best: self.best,
            compiling: self.compiling(),
            loss_scale: self.trainer.progress().loss_scale.scale,
            energy_unknown,
        };
        Report::new(&self.ledger, &end)
    }

    /// One step, its evaluation if one is due, and its line of metrics.
    fn step(&mut self) -> Result<Option<f64>, RunError> {
        let started = Instant::now();
        let report = self.learn()?;
        let step_ms = started.elapsed().as_secs_f64() * 1e3;
        self.done += 1;
        self.timing.steps += 1;
        self.timing.wall_ms += step_ms;
        if let Some(step) = report.modelled {
            self.modelled = Some(self.modelled.unwrap_or_default() + step);
        }
        self.tokens += report.tokens;
        self.cursor = self.order.cursor();
        let due = is_due(self.settings.eval_every, self.done) || self.done == self.settings.steps;
        let started = Instant::now();
        let evaluated = if due { self.evaluate() } else { Ok(None) };
        self.ledger.seconds.evaluate += started.elapsed().as_secs_f64();
        let eval_loss = evaluated.as_ref().ok().copied().flatten();
        self.listen();
        let metrics = Metrics {
            step: self.done,
            loss: report.loss,
            lr: report.lr,
            grad_norm: report.grad_norm,
            tokens: self.tokens,
            step_ms,
            tokens_per_second: report.tokens as f64 / (step_ms / 1e3).max(1e-9),
            parts: report.parts,
            loss_scale: report.loss_scale,
            overflow: report.overflow.clone(),
            eval_loss,
            saturated: report.saturated.iter().map(|op| op.count).sum(),
            modelled: report.modelled.map(Into::into),
            health: Health {
                faults: self.health.faults - self.reported.faults,
                recoveries: self.health.recoveries - self.reported.recoveries,
            },
            compiling: self.compiling(),
        };
        self.reported = self.health;
        self.metrics.append(&metrics)?;
        self.ledger.step(&report, &metrics);
        self.loss = Some(report.loss);
        (self.host.emit)(Event::Step(metrics));
        let (totals, watched) = &mut self.saturations;
        totals.add(&report.saturated, report.loss_scale);
        *watched += 1;
        if !report.saturated.is_empty() {
            let (loss_scale, ops) = (report.loss_scale, report.saturated);
            (self.host.emit)(Event::Saturated { step: self.done, loss_scale, ops });
        }
        let (from, to) = (report.loss_scale, self.trainer.progress().loss_scale.scale);
        if from != to {
            (self.host.emit)(Event::LossScale { step: self.done, from, to, overflow: report.overflow });
        }
        if let Some(loss) = eval_loss {
            let best = self.best.is_none_or(|best| loss < best.loss);
            if best {
                self.best = Some(Best { step: self.done, loss });
            }
            (self.host.emit)(Event::Evaluated { step: self.done, loss, best });
        }
        evaluated
    }

    /// Passes on what the engine noticed.
    fn listen(&mut self) {
        for remark in self.engine.remarks() {
            let (step, message) = (self.done, format!("`{}`: {}", remark.program, remark.message));
            (self.host.emit)(match remark.kind {
                RemarkKind::Rule => Event::Warning { message },
                RemarkKind::Fault => {
                    self.health.faults += 1;
                    Event::Fault { step, message }
                }
                RemarkKind::Recovery => {
                    self.health.recoveries += 1;
                    Event::Recovered { step, message }
                }
            });
        }
    }

    fn learn(&mut self) -> Result<StepReport, RunError> {
        let order = &mut self.order;
        self.trainer.step(&mut |batch| order.next_batch(batch)).map_err(|source| {
            let kept = match &self.saved {
                Some((_, path)) => format!("the last good checkpoint is {}", path.display()),
                None => "there is no checkpoint yet".to_owned(),
            };
            RunError::Step { source: Box::new(source), kept }
        })
    }

    /// The loss on held-out windows; none if there is nothing to evaluate on.
    fn evaluate(&mut self) -> Result<Option<f64>, RunError> {
        let RunSettings { batch_size, seq, .. } = *self.settings;
        let Some(held_out) = &self.prepared.held_out else { return Ok(None) };
        let limit = (EVALUATION_TOKENS / seq).max(batch_size);
        let windows = EvalWindows::new(held_out.clone(), batch_size, seq, limit)?;
        Ok(Some(self.trainer.evaluate(&windows)?))
    }

    fn checkpoint(&mut self) -> Result<(), RunError> {
        let started = Instant::now();
        let saved = self.save();
        self.ledger.seconds.save += started.elapsed().as_secs_f64();
        saved
    }

    fn save(&mut self) -> Result<(), RunError> {
        if self.saved.as_ref().is_some_and(|(step, _)| *step == self.done) {
            return Ok(());
        }
        self.metrics.sync()?;
        self.host.measure(&mut self.ledger.drawn);
        let (step, progress) = (self.done, self.trainer.progress());
        let state = TrainerState {
            step,
            updates: progress.updates,
            tokens: self.tokens,
            cursor: self.cursor.clone(),
            loss_scale: progress.loss_scale,
            best: self.best,
            compiling: self.compiling(),
            ledger: self.ledger,
            config_hash: self.settings.hash(),
        };
        let checkpoint = self.trainer.with_tensors(|tensors| self.checkpoints.save(&state, tensors))?;
        self.saved = Some((step, checkpoint.clone()));
        if let Some(best) = self.best {
            self.checkpoints.link_best(best.step)?;
        }
        self.checkpoints.prune(step, self.settings.keep, self.best.map(|best| best.step))?;
        (self.host.emit)(Event::Saved { step, checkpoint });
        Ok(())
    }

    fn write_model(&self) -> Result<(), RunError> {
        let extra = match &self.prepared.tokenizer {
            Some(tokenizer) => tokenizer.files()?,
            None => Vec::new(),
        };
        let files = ModelFiles { special: self.special.clone(), extra };
        let folder = self.folder.model();
        let save = |parameters: &Parameters| -> Result<(), RunError> {
            match self.compaction {
                None => Ok(hf::save(&folder, parameters, &files)?),
                Some(compaction) => {
                    Ok(hf::save(&folder, &compaction.expand(self.folder, parameters)?, &files)?)
                }
            }
        };
        self.trainer.weights().with_parameters(save).unwrap_or(Ok(()))
    }

    fn sample(&mut self) -> Result<(), RunError> {
        let Some(storyteller) = &mut self.storyteller else { return Ok(()) };
        let text = timed(&mut self.ledger.seconds.sample, || storyteller.tell())?;
        (self.host.emit)(Event::Sample { step: self.done, text });
        Ok(())
    }
}

/// Whether something that happens `every` so many steps happens after `done`; 0 is never.
fn is_due(every: u64, done: u64) -> bool {
    every > 0 && done.is_multiple_of(every)
}
