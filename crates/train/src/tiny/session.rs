//! The demonstration's loop.

use std::time::Instant;

use ferrane_model::tiny::{self, PARAMETERS};
use serde::{Deserialize, Serialize};

use super::checkpoint::{self, Head, State};
use super::network::{KernelSet, Network};
use super::settings::{KERNELS, TinySettings, WhileCompiling};
use crate::compiling::Compiling;
use crate::metrics::MetricsLog;
use crate::run::{End, Ended, EngineHandle, Event, Host, Report, RunError, RunFolder};
use crate::trainer::TrainError;

/// What is recorded of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TinyMetrics {
    /// Steps done, this one included.
    pub step: u64,
    /// Mean squared error before any update of this step.
    pub loss: f64,
    /// Whether it was made by old kernels while new ones were compiled.
    pub overlapped: bool,
    /// Wall time of the step in milliseconds.
    pub step_ms: f64,
    /// What compiling has cost the run so far.
    #[serde(flatten)]
    pub compiling: Compiling,
}

/// Steps between checkpoints, at least.
const CHECKPOINT_EVERY: u64 = 100;

/// Elements of the output that are shown at the end.
const SHOWN: usize = 8;

/// Makes a new run to its end, or to where a new process has to go on.
///
/// # Errors
/// An engine that refuses the kernels, a loss that is not finite, a disk that is full.
pub fn begin(
    folder: RunFolder,
    settings: &TinySettings,
    engine: &EngineHandle,
    host: Host<'_>,
) -> Result<Ended, RunError> {
    match Session::new(&folder, settings, engine, State::initial(), host) {
        Ok(session) => session.run(),
        Err(error) => {
            folder.abandon();
            Err(error)
        }
    }
}

/// Goes on with a run. `settings` are its own; `steps` may differ.
///
/// # Errors
/// As [`begin`]; and a damaged checkpoint, or fewer steps asked for than are done.
pub fn resume(
    folder: &RunFolder,
    settings: &TinySettings,
    engine: &EngineHandle,
    host: Host<'_>,
) -> Result<Ended, RunError> {
    let state = checkpoint::load(&folder.checkpoint_file())?.unwrap_or_else(State::initial);
    let (done, steps) = (state.head.step, settings.steps);
    if done > steps {
        return Err(RunError::TooFewSteps { run: folder.root().to_owned(), done, steps });
    }
    folder.write_settings(settings)?;
    Session::new(folder, settings, engine, state, host)?.run()
}

struct Session<'a, 'h> {
    folder: &'a RunFolder,
    settings: &'a TinySettings,
    engine: &'a EngineHandle,
    network: Network,
    state: State,
    /// What compiling cost in the processes before this one.
    before: Compiling,
    metrics: MetricsLog,
    host: Host<'h>,
}

impl<'a, 'h> Session<'a, 'h> {
    fn new(
        folder: &'a RunFolder,
        settings: &'a TinySettings,
        engine: &'a EngineHandle,
        mut state: State,
        host: Host<'h>,
    ) -> Result<Self, RunError> {
        (host.emit)(Event::TinyStarted {
            run: folder.root().to_owned(),
            engine: engine.title.clone(),
            settings: settings.clone(),
            done: state.head.step,
        });
        let network = Network::new(&engine.engine)?;
        let metrics = MetricsLog::open(&folder.metrics(), state.head.step)?;
        state.head.ledger.processes += 1;
        Ok(Self { folder, settings, engine, network, before: state.head.compiling, state, metrics, host })
    }

    fn run(mut self) -> Result<Ended, RunError> {
        if self.state.head.step < self.settings.steps {
            let kernels = self.network.compile(self.state.baked.clone());
            let ended = self.steps(kernels)?;
            self.save()?;
            if ended != Ended::Finished {
                return Ok(ended);
            }
        }
        let report = Box::new(self.report());
        report.write(self.folder)?;
        let finished = Event::TinyFinished {
            run: self.folder.root().to_owned(),
            step: self.state.head.step,
            loss: self.state.head.loss,
            output: self.network.output().map(|y| y[..SHOWN].to_vec()),
            target: tiny::batch()[..SHOWN].to_vec(),
            report,
            compiling: self.compiling(),
        };
        (self.host.emit)(finished);
        Ok(Ended::Finished)
    }

    /// Steps until the last, until asked to stop, or until the budget is used. `kernels` hold the state's `baked` weights.
    fn steps(&mut self, mut kernels: KernelSet) -> Result<Ended, RunError> {
        loop {
            self.accumulate(&mut kernels, 1.0)?;
            let finished = |session: &Self| session.state.head.step == session.settings.steps;
            match self.settings.while_compiling {
                WhileCompiling::Wait => {
                    self.state.baked.clone_from(&self.state.weights);
                    if finished(self) {
                        return Ok(Ended::Finished);
                    }
                    if let Some(ended) = self.between_updates()? {
                        return Ok(ended);
                    }
                    // The old kernels are gone before the new ones take their slots.
                    drop(kernels);
                    kernels = self.network.compile(self.state.baked.clone());
                }
                WhileCompiling::HalfRate => {
                    let next = self.state.weights.clone();
                    let mut compiled = self.network.compile(next.clone());
                    self.accumulate(&mut kernels, 0.5)?;
                    compiled.wait().map_err(TrainError::from)?;
                    (kernels, self.state.baked) = (compiled, next);
                    if finished(self) {
                        return Ok(Ended::Finished);
                    }
                    if let Some(ended) = self.between_updates()? {
                        return Ok(ended);
                    }
                }
            }
        }
    }

    /// The steps of one update, at `rate` times the learning rate.
    fn accumulate(&mut self, kernels: &mut KernelSet, rate: f32) -> Result<(), RunError> {
        let mut sum = vec![0.0; PARAMETERS];
        for _ in 0..self.settings.micro_batches {
            let (started, before) = (Instant::now(), self.engine.engine.clock());
            let loss = self.network.pass(kernels, &mut sum)?;
            self.state.head.step += 1;
            self.state.head.loss = loss;
            let step = self.state.head.step;
            if !loss.is_finite() {
                return Err(RunError::Diverged { step, lr: f64::from(self.settings.lr) });
            }
            let (step_ms, ledger) = (started.elapsed().as_secs_f64() * 1e3, &mut self.state.head.ledger);
            ledger.steps += 1;
            ledger.seconds.train += step_ms / 1e3;
            if let (Some(now), Some(before)) = (self.engine.engine.clock(), before) {
                ledger.on_engine(&(now - before).into());
            }
            let metrics =
                TinyMetrics { step, loss, overlapped: rate < 1.0, step_ms, compiling: self.compiling() };
            self.metrics.append(&metrics)?;
            (self.host.emit)(Event::TinyStep(metrics));
        }
        let rate = rate * self.settings.lr / self.settings.micro_batches as f32;
        self.state.weights.iter_mut().zip(&sum).for_each(|(w, g)| *w -= rate * g);
        Ok(())
    }

    /// Saves if it is time to. Says how the process ends, if it does: asked to stop, or with a budget that does not suffice
    /// for the next kernels.
    fn between_updates(&mut self) -> Result<Option<Ended>, RunError> {
        if (self.host.stop)() {
            return Ok(Some(Ended::Stopped));
        }
        let compiles = self.network.log().compiles();
        if self.network.compiles_left(self.settings.compile_budget) < KERNELS {
            self.before.restarts += 1;
            (self.host.emit)(Event::Restarting { step: self.state.head.step, compiles });
            return Ok(Some(Ended::RestartNeeded));
        }
        if self.state.head.step.is_multiple_of(CHECKPOINT_EVERY) {
            self.save()?;
        }
        Ok(None)
    }

    fn save(&mut self) -> Result<(), RunError> {
        let started = Instant::now();
        self.metrics.sync()?;
        self.host.measure(&mut self.state.head.ledger.drawn);
        self.state.head.compiling = self.compiling();
        let saved = checkpoint::save(&self.folder.checkpoint_file(), &self.state);
        self.state.head.ledger.seconds.save += started.elapsed().as_secs_f64();
        saved
    }

    fn report(&mut self) -> Report {
        let energy_unknown = self.host.measure(&mut self.state.head.ledger.drawn);
        let Head { step, loss, ledger, .. } = &self.state.head;
        let end = End {
            engine: &self.engine.title,
            profile: self.engine.engine.profile(),
            step: *step,
            steps: self.settings.steps,
            parameters: PARAMETERS as u64,
            loss: Some(*loss),
            held_out_loss: None,
            best: None,
            compiling: self.compiling(),
            // It has none.
            loss_scale: 1.0,
            energy_unknown,
        };
        Report::new(ledger, &end)
    }

    /// What compiling has cost the run so far, this process included.
    fn compiling(&self) -> Compiling {
        self.before.plus(self.network.log())
    }
}
