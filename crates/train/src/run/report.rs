//! What a run took, and the report it ends with.

use std::io::Write as _;
use std::time::Instant;

use ferrane_engine::Profile;
use ferrane_model::hf::write_atomically;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Best;
use crate::compiling::Compiling;
use crate::loss_scale::ScaleChange;
use crate::metrics::{Metrics, Modelled};
use crate::trainer::StepReport;

use super::{Drawn, MeasuredEnergy, RunError, RunFolder};

/// What a run has taken so far, over all its processes; a checkpoint keeps it, so what a kill loses is not counted twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Processes that worked on it.
    pub processes: u64,
    /// Steps made.
    pub steps: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Where the time went.
    pub seconds: Phases,
    /// Updates dropped because gradients overflowed, each halving the loss scale.
    pub scale_halved: u64,
    /// Times the loss scale doubled.
    pub scale_doubled: u64,
    /// Modelled time on the Neural Engine, in milliseconds.
    pub ane_ms: f64,
    /// Modelled energy of it, in joules.
    pub ane_joules: f64,
    /// What its products would take at its best published rate, in milliseconds.
    pub ane_peak_ms: f64,
    /// Measured energy.
    pub drawn: Drawn,
}

/// Seconds, or shares, of what a run does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Phases {
    /// Making, reading and checking data.
    pub prepare: f64,
    /// Compiling programs before the first step.
    pub compile: f64,
    /// Steps.
    pub train: f64,
    /// Evaluations on held-out data.
    pub evaluate: f64,
    /// Checkpoints and the model.
    pub save: f64,
    /// Samples.
    pub sample: f64,
}

impl Phases {
    fn total(&self) -> f64 {
        let Self { prepare, compile, train, evaluate, save, sample } = self;
        prepare + compile + train + evaluate + save + sample
    }

    fn shares(&self) -> Self {
        let share = |seconds: f64| seconds / self.total().max(1e-9);
        Self {
            prepare: share(self.prepare),
            compile: share(self.compile),
            train: share(self.train),
            evaluate: share(self.evaluate),
            save: share(self.save),
            sample: share(self.sample),
        }
    }
}

/// Adds the time of `work` to a phase.
pub(super) fn timed<R>(seconds: &mut f64, work: impl FnOnce() -> R) -> R {
    let started = Instant::now();
    let result = work();
    *seconds += started.elapsed().as_secs_f64();
    result
}

impl Ledger {
    /// Takes note of a step.
    pub(super) fn step(&mut self, report: &StepReport, metrics: &Metrics) {
        self.steps += 1;
        self.tokens += report.tokens;
        self.seconds.train += metrics.step_ms / 1e3;
        match report.scale_change {
            ScaleChange::Halved => self.scale_halved += 1,
            ScaleChange::Doubled => self.scale_doubled += 1,
            ScaleChange::Kept | ScaleChange::Exhausted => {}
        }
        if let Some(modelled) = &metrics.modelled {
            self.on_engine(modelled);
        }
    }

    /// Takes note of work on the Neural Engine.
    pub(crate) fn on_engine(&mut self, modelled: &Modelled) {
        self.ane_ms += modelled.ane_ms;
        self.ane_joules += modelled.ane_joules;
        self.ane_peak_ms += modelled.ane_ms * modelled.ane_utilisation;
    }
}

/// What a run ends with: `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The engine and what it follows.
    pub engine: String,
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Trainable parameters.
    pub parameters: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Loss of the last step, in nats a token.
    pub loss: Option<f64>,
    /// Loss on held-out data after the last step.
    pub held_out_loss: Option<f64>,
    /// The lowest loss on held-out data, and the steps before it.
    pub best: Option<Best>,
    /// Processes that worked on it.
    pub processes: u64,
    /// What compiling cost.
    #[serde(flatten)]
    pub compiling: Compiling,
    /// Wall time: the sum of `seconds`.
    pub wall_seconds: f64,
    /// Where the time went.
    pub seconds: Phases,
    /// The same as parts of the whole.
    pub shares: Phases,
    /// Mean wall time of a step.
    pub ms_per_step: f64,
    /// Tokens trained on by the seconds of steps.
    pub tokens_per_second: f64,
    /// The loss scale.
    pub loss_scale: LossScaleReport,
    /// The Neural Engine's part; null where none is modelled.
    pub neural_engine: Option<NeuralEngineReport>,
    /// What the machine drew.
    pub measured_energy: MeasuredEnergy,
}

/// What became of the loss scale.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LossScaleReport {
    /// Scale of the next step.
    pub last: f32,
    /// Updates dropped because gradients overflowed.
    pub halved: u64,
    /// Times it doubled.
    pub doubled: u64,
}

/// The Neural Engine's part of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct NeuralEngineReport {
    /// `modelled`.
    pub source: &'static str,
    /// Its time, the host's part apart.
    pub ms_per_step: f64,
    /// Operations of its products by that time, in 10¹² a second.
    pub tflops: Option<f64>,
    /// The same as a part of the chip's best published rate.
    pub utilisation: f64,
    /// Energy of all steps.
    pub joules: f64,
}

/// How a run stands at its end.
pub(crate) struct End<'a> {
    pub(crate) engine: &'a str,
    pub(crate) profile: &'a Profile,
    pub(crate) step: u64,
    pub(crate) steps: u64,
    pub(crate) parameters: u64,
    pub(crate) loss: Option<f64>,
    pub(crate) held_out_loss: Option<f64>,
    pub(crate) best: Option<Best>,
    pub(crate) compiling: Compiling,
    pub(crate) loss_scale: f32,
    /// Why what was drawn of late is not known, if it is not.
    pub(crate) energy_unknown: Option<String>,
}

impl Report {
    pub(crate) fn new(ledger: &Ledger, end: &End<'_>) -> Self {
        let (seconds, steps) = (ledger.seconds, ledger.steps.max(1) as f64);
        let peak = end.profile.speed.fp16_tflops.as_ref().map(|figure| figure.value);
        let utilisation = ledger.ane_peak_ms / ledger.ane_ms.max(1e-12);
        let neural_engine = NeuralEngineReport {
            source: "modelled",
            ms_per_step: ledger.ane_ms / steps,
            tflops: peak.map(|peak| peak * utilisation),
            utilisation,
            joules: ledger.ane_joules,
        };
        Self {
            engine: end.engine.to_owned(),
            step: end.step,
            steps: end.steps,
            parameters: end.parameters,
            tokens: ledger.tokens,
            loss: end.loss,
            held_out_loss: end.held_out_loss,
            best: end.best,
            processes: ledger.processes,
            compiling: end.compiling,
            wall_seconds: seconds.total(),
            seconds,
            shares: seconds.shares(),
            ms_per_step: 1e3 * seconds.train / steps,
            tokens_per_second: ledger.tokens as f64 / seconds.train.max(1e-9),
            loss_scale: LossScaleReport {
                last: end.loss_scale,
                halved: ledger.scale_halved,
                doubled: ledger.scale_doubled,
            },
            neural_engine: (ledger.ane_ms > 0.0).then_some(neural_engine),
            measured_energy: MeasuredEnergy::new(&ledger.drawn, end.energy_unknown.clone()),
        }
    }

    /// Writes it into the run's folder.
    pub(crate) fn write(&self, folder: &RunFolder) -> Result<(), RunError> {
        let path = folder.report();
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| RunError::Config { path: path.clone(), problem: error.to_string() })?;
        Ok(write_atomically(&path, |writer| writeln!(writer, "{text}"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(profile: &Profile) -> End<'_> {
        End {
            engine: "sim",
            profile,
            step: 4,
            steps: 8,
            parameters: 10,
            loss: Some(2.5),
            held_out_loss: None,
            best: None,
            compiling: Compiling { compiles: 72, compile_ms: 9.5, restarts: 1 },
            loss_scale: 256.0,
            energy_unknown: None,
        }
    }

    #[test]
    fn figures_follow_from_what_was_counted() {
        let profile = Profile::built_in("m4").unwrap();
        let seconds =
            Phases { prepare: 1.0, compile: 2.0, train: 5.0, evaluate: 1.0, save: 0.5, sample: 0.5 };
        let ledger = Ledger {
            processes: 3,
            steps: 4,
            tokens: 1000,
            seconds,
            scale_halved: 2,
            scale_doubled: 1,
            ane_ms: 40.0,
            ane_joules: 0.25,
            ane_peak_ms: 10.0,
            drawn: Drawn { ane: 2.5, cpu: 20.0, gpu: 0.0, seconds: 5.0 },
        };
        let report = Report::new(&ledger, &end(&profile));
        assert_eq!((report.wall_seconds, report.shares.train, report.shares.compile), (10.0, 0.5, 0.2));
        assert_eq!((report.ms_per_step, report.tokens_per_second, report.processes), (1250.0, 200.0, 3));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            (&json["compiles"], &json["compile_ms"], &json["restarts"]),
            (&72.into(), &9.5.into(), &1.into())
        );
        assert_eq!((report.loss_scale.halved, report.loss_scale.doubled), (2, 1));
        let engine = report.neural_engine.unwrap();
        let peak = profile.speed.fp16_tflops.as_ref().unwrap().value;
        assert_eq!((engine.ms_per_step, engine.utilisation, engine.tflops), (10.0, 0.25, Some(peak * 0.25)));
        assert_eq!((engine.source, engine.joules), ("modelled", 0.25));
        assert_eq!(json["measured_energy"]["watts"], serde_json::json!({"ane": 0.5, "cpu": 4.0, "gpu": 0.0}));
    }

    #[test]
    fn nothing_counted_gives_finite_figures() {
        let profile = Profile::built_in("cpu").unwrap();
        let report = Report::new(&Ledger::default(), &end(&profile));
        assert_eq!(report.neural_engine, None);
        assert!(report.ms_per_step == 0.0 && report.shares.train == 0.0 && report.tokens_per_second == 0.0);
    }
}
