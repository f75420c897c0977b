//! Every setting of a run, resolved.

use std::fmt;
use std::path::{Path, PathBuf};

use ferrane_engine::Profile;
use ferrane_model::config::RopeScaling;
use ferrane_model::{ModelConfig, Preset};
use ferrane_runtime::{PlanChoice, WeightsMode};
use serde::{Deserialize, Serialize};

use crate::data::Order;
use crate::optim::{AdamWConfig, LionConfig, OptimError, Optimiser, OptimiserConfig, SgdConfig};
use crate::schedule::{Decay, Schedule, ScheduleConfig, ScheduleError};

/// The settings of a run as its `config.toml` holds them: nothing is left to a default, so a run means the same wherever
/// and with whatever version it is resumed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RunSettings {
    /// A preset's name or the folder whose `config.json` gives the shape.
    pub model: String,
    /// Folder the weights come from; fresh weights if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// `stories`, a text file, a `.bin` file or a folder of tokens; see [`RunSettings::source`].
    pub data: String,
    /// Bytes a token takes in a `.bin` file: 2 or 4, little-endian.
    pub token_bytes: usize,
    /// Optimiser updates of the whole run.
    pub steps: u64,
    /// Forward and backward passes a step adds up.
    pub micro_batches: usize,
    /// Sequences in a micro-batch.
    pub batch_size: usize,
    /// Tokens in a sequence.
    pub seq: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// How the learning rate goes after warm-up.
    pub schedule: Decay,
    /// Steps in which the learning rate rises to its peak.
    pub warmup: u64,
    /// The last learning rate as a fraction of the peak.
    pub min_lr_ratio: f64,
    /// The part of the run, at its end, in which a WSD schedule decays.
    pub decay_ratio: f64,
    /// The rule that updates the weights.
    pub optimizer: OptimizerKind,
    /// β₁ and β₂ of AdamW and Lion.
    pub betas: [f64; 2],
    /// AdamW's ε.
    pub eps: f64,
    /// Momentum of SGD.
    pub momentum: f64,
    /// Decoupled weight decay, for matrices only.
    pub weight_decay: f64,
    /// Largest global gradient norm; 0 does not clip.
    pub clip: f64,
    /// Weight of the z-loss; 0 for none.
    pub z_loss: f64,
    /// Which windows of the data a step reads.
    pub order: Order,
    /// Whether only tokens that occur in the data are trained; the saved model has all.
    pub compact_vocab: bool,
    /// Seed of fresh weights, data order, stories and samples.
    pub seed: u64,
    /// The engine: `ane`, `sim` or `cpu`.
    pub engine: EngineChoice,
    /// The chip whose profile the engine follows.
    pub chip: String,
    /// The profile of the user's own that the engine follows instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<PathBuf>,
    /// How the simulated engine computes.
    pub numerics: Numerics,
    /// Rules of the profile that are turned off, each as `RULE-ok`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assume: Vec<String>,
    /// Whether breaches of the profile's rules are reported and not refused.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lenient: bool,
    /// The faults the simulated engine has, as text. Those of a process that ended are over: resuming leaves them out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<String>,
    /// How layers are cut into kernels.
    pub plan: PlanChoice,
    /// Where kernels have their weights.
    pub weights: WeightsMode,
    /// Programs one process compiles at most before a new one goes on; 0 for what the engine says.
    pub compile_budget: usize,
    /// Steps between checkpoints; 0 keeps only the last.
    pub checkpoint_every: u64,
    /// Checkpoints that stay.
    pub keep: usize,
    /// Steps between evaluations on held-out data; 0 evaluates at the end only.
    pub eval_every: u64,
    /// Steps between samples; 0 samples at the end only.
    pub sample_every: u64,
    /// The model's shape. Its vocabulary is an upper bound while a tokenizer is still to be trained.
    #[serde(with = "Shape")]
    pub shape: ModelConfig,
}

/// [`ModelConfig`] with the key style of the file.
#[derive(Serialize, Deserialize)]
#[serde(remote = "ModelConfig", rename_all = "kebab-case", deny_unknown_fields)]
struct Shape {
    dim: usize,
    hidden: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    vocab: usize,
    max_seq: usize,
    rms_eps: f32,
    rope_theta: f32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rope_scaling: Option<RopeScaling>,
    #[serde(default)]
    qk_norm: bool,
    #[serde(default = "unscaled")]
    residual_scale: f32,
    tied: bool,
}

fn unscaled() -> f32 {
    1.0
}

/// Which rule updates the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// AdamW.
    AdamW,
    /// Lion.
    Lion,
    /// Gradient descent with momentum.
    Sgd,
}

/// The β₁ and β₂ of Lion that its authors recommend.
pub const LION_BETAS: [f64; 2] = [0.9, 0.99];

/// Which engine a user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineChoice {
    /// The real one where there is one, else the simulated one.
    Auto,
    /// Apple's Neural Engine.
    Ane,
    /// Apple's Neural Engine, by way of its client.
    AneClient,
    /// The Neural Engine, simulated.
    Sim,
    /// Plain execution on the CPU.
    Cpu,
}

/// How the simulated engine computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Numerics {
    /// Every result rounded to fp16, accumulation in fp32.
    Fast,
    /// The measured behaviour of the chip.
    Faithful,
}

/// Where training data comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The built-in stories.
    Stories,
    /// A text file, documents separated by `<|endoftext|>`.
    Text(PathBuf),
    /// A file of little-endian tokens.
    Tokens(PathBuf),
    /// A folder of token files.
    Folder(PathBuf),
}

impl Source {
    /// What a user means by `data`: `stories`, a folder, a file that ends in `.bin`, or any other file as text.
    pub fn of(data: &str) -> Source {
        let path = Path::new(data);
        if data == "stories" {
            Source::Stories
        } else if path.is_dir() {
            Source::Folder(path.to_path_buf())
        } else if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("bin")) {
            Source::Tokens(path.to_path_buf())
        } else {
            Source::Text(path.to_path_buf())
        }
    }

    /// The file or folder, if the data is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Source::Stories => None,
            Source::Text(path) | Source::Tokens(path) | Source::Folder(path) => Some(path),
        }
    }
}

/// A setting that makes no sense, alone or beside another.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("`{key}` {problem}; {remedy}")]
pub struct SettingError {
    /// The key as flags and files spell it.
    pub key: &'static str,
    /// The value and what is wrong with it.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl super::Settings for RunSettings {
    fn profile(&self) -> Option<&Path> {
        self.profile.as_deref()
    }
}

impl RunSettings {
    /// The settings of a run that says nothing but what model it trains: `model` as the user named it, and its shape.
    pub fn defaults(model: &str, shape: ModelConfig) -> RunSettings {
        let general = RunSettings {
            model: model.to_owned(),
            init: None,
            data: "stories".to_owned(),
            token_bytes: 2,
            steps: 1000,
            micro_batches: 1,
            batch_size: 1,
            seq: shape.max_seq.min(256),
            lr: 5e-4,
            schedule: Decay::Cosine,
            warmup: 100,
            min_lr_ratio: 0.1,
            decay_ratio: 0.2,
            optimizer: OptimizerKind::AdamW,
            betas: [0.9, 0.95],
            eps: 1e-8,
            momentum: 0.9,
            weight_decay: 0.1,
            clip: 1.0,
            z_loss: 0.0,
            order: Order::Shuffled,
            compact_vocab: false,
            seed: 1,
            engine: EngineChoice::Auto,
            chip: "m4".to_owned(),
            profile: None,
            numerics: Numerics::Fast,
            assume: Vec::new(),
            lenient: false,
            faults: None,
            plan: PlanChoice::Six,
            weights: WeightsMode::Streamed,
            compile_budget: 0,
            checkpoint_every: 200,
            keep: 2,
            eval_every: 0,
            sample_every: 0,
            shape,
        };
        if model.parse::<Preset>().is_ok_and(|preset| preset == Preset::Nano) {
            // Small steps and a high rate: what gives the best stories in a minute or two.
            return RunSettings {
                steps: 2200,
                batch_size: 2,
                lr: 4e-3,
                warmup: 60,
                min_lr_ratio: 0.02,
                betas: [0.9, 0.99],
                ..general
            };
        }
        general
    }

    /// Where the data comes from; see [`Source::of`].
    pub fn source(&self) -> Source {
        Source::of(&self.data)
    }

    /// The optimiser and its constants.
    pub fn optimiser(&self) -> OptimiserConfig {
        let Self { betas: [beta1, beta2], eps, momentum, weight_decay, .. } = *self;
        match self.optimizer {
            OptimizerKind::AdamW => OptimiserConfig::AdamW(AdamWConfig { beta1, beta2, eps, weight_decay }),
            OptimizerKind::Lion => OptimiserConfig::Lion(LionConfig { beta1, beta2, weight_decay }),
            OptimizerKind::Sgd => OptimiserConfig::Sgd(SgdConfig { momentum, weight_decay }),
        }
    }

    /// The learning-rate schedule over the whole run.
    ///
    /// # Errors
    /// A learning rate or ratio that makes no sense.
    pub fn schedule(&self) -> Result<Schedule, SettingError> {
        let config = ScheduleConfig {
            peak: self.lr,
            decay: self.schedule,
            warmup: self.warmup,
            total: self.steps,
            min_ratio: self.min_lr_ratio,
            decay_ratio: self.decay_ratio,
        };
        Schedule::new(config).map_err(|error| {
            let key = match error {
                ScheduleError::LearningRate(_) => "lr",
                ScheduleError::MinRatio(_) => "min-lr-ratio",
                ScheduleError::DecayRatio(_) => "decay-ratio",
            };
            setting(key, "cannot be used", error.to_string())
        })
    }

    /// Names what a run computes: settings that may change while resuming are left out of it.
    pub fn hash(&self) -> String {
        let fixed = Self {
            steps: 1,
            compile_budget: 0,
            checkpoint_every: 0,
            keep: 1,
            eval_every: 0,
            sample_every: 0,
            data: String::new(),
            model: String::new(),
            init: None,
            lenient: false,
            faults: None,
            ..self.clone()
        };
        // Every field has a text.
        let text = serde_json::to_vec(&fixed).unwrap_or_default();
        format!("{:08x}", crc32fast::hash(&text))
    }

    /// Checks every setting, and those that depend on one another, before any work.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn validate(&self) -> Result<(), SettingError> {
        self.check_counts()?;
        if let Err(error) = self.shape.validate() {
            return Err(setting("model", "has a shape that cannot be used", error.to_string()));
        }
        if self.seq > self.shape.max_seq {
            return Err(setting(
                "seq",
                format!("is {} but the model's longest sequence is {}", self.seq, self.shape.max_seq),
                format!("use at most {} (or raise max-seq in [shape])", self.shape.max_seq),
            ));
        }
        if !matches!(self.token_bytes, 2 | 4) {
            return Err(setting(
                "token-bytes",
                format!("is {}", self.token_bytes),
                "use 2 for u16 tokens or 4 for u32 tokens",
            ));
        }
        self.check_optimiser()
    }

    /// Checks that an engine takes surfaces of a micro-batch's width.
    ///
    /// # Errors
    /// When a micro-batch is too narrow or too wide for it.
    pub fn validate_for(&self, profile: &Profile) -> Result<(), SettingError> {
        let width = self.batch_size.saturating_mul(self.seq);
        let (least, most) = (profile.limits.min_input_width.value, profile.limits.max_extent.value);
        if (least..=most).contains(&width) {
            return Ok(());
        }
        Err(setting(
            "seq",
            format!(
                "is {} and `batch-size` {}, together {width} tokens side by side",
                self.seq, self.batch_size
            ),
            format!(
                "the engine ({}) takes {least} to {most}; change either, or use micro-batches",
                profile.name
            ),
        ))
    }

    /// Checks that a process whose first step compiles `first` programs can do that step: it would be restarted for ever.
    pub(super) fn check_budget(&self, first: usize) -> Result<(), SettingError> {
        if self.compile_budget == 0 || first <= self.compile_budget {
            return Ok(());
        }
        let problem =
            format!("is {}, and the first step of a process compiles {first} programs", self.compile_budget);
        Err(setting("compile-budget", problem, format!("use at least {first}, or --weights streamed")))
    }

    fn check_counts(&self) -> Result<(), SettingError> {
        let counts = [
            ("steps", self.steps),
            ("micro-batches", self.micro_batches as u64),
            ("batch-size", self.batch_size as u64),
            ("seq", self.seq as u64),
            ("keep", self.keep as u64),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((key, _)) => Err(setting(key, "is 0", "use at least 1")),
            None => Ok(()),
        }
    }

    fn check_optimiser(&self) -> Result<(), SettingError> {
        self.schedule()?;
        Optimiser::new(self.optimiser(), 1, &[]).map_err(|error| {
            let key = match &error {
                OptimError::Setting { name: "eps", .. } => "eps",
                OptimError::Setting { name: "momentum", .. } => "momentum",
                OptimError::Setting { name: "beta1" | "beta2", .. } => "betas",
                OptimError::Setting { .. } | OptimError::DecayRange { .. } => "weight-decay",
            };
            setting(key, "cannot be used", error.to_string())
        })?;
        if !(self.z_loss.is_finite() && self.z_loss >= 0.0) {
            return Err(setting(
                "z-loss",
                format!("is {}", self.z_loss),
                "use a small weight such as 1e-4, or 0 for none",
            ));
        }
        if !(self.clip.is_finite() && self.clip >= 0.0) {
            return Err(setting(
                "clip",
                format!("is {}", self.clip),
                "use a finite norm such as 1, or 0 not to clip",
            ));
        }
        Ok(())
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn setting(key: &'static str, problem: impl Into<String>, remedy: impl Into<String>) -> SettingError {
    SettingError { key, problem: problem.into(), remedy: remedy.into() }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EngineChoice::Auto => "auto",
            EngineChoice::Ane => "ane",
            EngineChoice::AneClient => "ane-client",
            EngineChoice::Sim => "sim",
            EngineChoice::Cpu => "cpu",
        })
    }
}

impl fmt::Display for Numerics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Numerics::Fast => "fast",
            Numerics::Faithful => "faithful",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nano() -> RunSettings {
        RunSettings::defaults("nano", Preset::Nano.config())
    }

    fn refusal(change: impl FnOnce(&mut RunSettings)) -> String {
        let mut settings = nano();
        change(&mut settings);
        settings.validate().expect_err("the settings must be refused").to_string()
    }

    #[test]
    fn the_defaults_of_every_preset_are_valid() {
        for preset in Preset::ALL {
            RunSettings::defaults(preset.name(), preset.config()).validate().unwrap();
        }
    }

    #[test]
    fn each_bad_setting_is_named_as_the_user_types_it() {
        assert!(refusal(|s| s.steps = 0).contains("`steps` is 0"));
        assert!(refusal(|s| s.micro_batches = 0).contains("`micro-batches` is 0"));
        assert!(refusal(|s| s.batch_size = 0).contains("`batch-size` is 0"));
        assert!(refusal(|s| s.keep = 0).contains("`keep` is 0"));
        assert!(refusal(|s| s.seq = 1000).contains("`seq` is 1000"));
        assert!(refusal(|s| s.token_bytes = 3).contains("`token-bytes` is 3"));
        assert!(refusal(|s| s.lr = f64::NAN).contains("`lr`"));
        assert!(refusal(|s| s.min_lr_ratio = 1.5).contains("`min-lr-ratio`"));
        assert!(refusal(|s| s.betas = [0.9, 1.0]).contains("`betas`"));
        assert!(refusal(|s| s.eps = -1.0).contains("`eps`"));
        assert!(refusal(|s| s.weight_decay = f64::INFINITY).contains("`weight-decay`"));
        assert!(refusal(|s| s.clip = -1.0).contains("`clip` is -1"));
        assert!(refusal(|s| s.z_loss = -1.0).contains("`z-loss` is -1"));
        assert!(refusal(|s| s.decay_ratio = 2.0).contains("`decay-ratio`"));
        let sgd = |s: &mut RunSettings| (s.optimizer, s.momentum) = (OptimizerKind::Sgd, 1.0);
        assert!(refusal(sgd).contains("`momentum`"));
        assert!(refusal(|s| s.shape.heads = 3).contains("heads"));
    }

    #[test]
    fn a_micro_batch_must_fit_the_engine() {
        let m4 = Profile::built_in("m4").unwrap();
        let refusal = |batch_size, seq| {
            let settings = RunSettings { batch_size, seq, ..nano() };
            settings.validate_for(&m4).map_err(|error| error.to_string())
        };
        refusal(2, 32).unwrap();
        let narrow = refusal(1, 63).unwrap_err();
        assert!(narrow.contains("`seq` is 63") && narrow.contains("64"), "{narrow}");
        assert!(refusal(1 << 20, 256).unwrap_err().contains("`batch-size` 1048576"));
    }

    #[test]
    fn the_source_follows_from_the_name() {
        let source = |data: &str| RunSettings { data: data.to_owned(), ..nano() }.source();
        assert_eq!(source("stories"), Source::Stories);
        assert_eq!(source("a/b.bin"), Source::Tokens("a/b.bin".into()));
        assert_eq!(source("stories.txt"), Source::Text("stories.txt".into()));
        assert_eq!(source("novel"), Source::Text("novel".into()));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        assert_eq!(source(path), Source::Folder(path.into()));
    }

    #[test]
    fn settings_come_back_from_their_file_exactly() {
        let mut settings = nano();
        settings.init = Some("/models/one".into());
        settings.shape.rms_eps = 1e-6;
        settings.shape.rope_scaling = Some(RopeScaling {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.1,
            original_max_seq: 8192,
        });
        settings.lr = 0.1 + 0.2;
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(toml::from_str::<RunSettings>(&text).unwrap(), settings);
        assert!(text.contains("micro-batches = 1") && text.contains("rms-eps = 0.000001"), "{text}");
    }
}
