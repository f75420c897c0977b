//! The demonstration's settings.

use std::path::Path;

use ferrane_model::tiny;
use serde::{Deserialize, Serialize};

use crate::run::{EngineChoice, Numerics, SettingError, Settings};

/// Every setting of a demonstration, as its `config.toml` holds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TinySettings {
    /// What is demonstrated.
    pub preset: TinyPreset,
    /// Forward and backward passes of the whole run.
    pub steps: u64,
    /// Passes whose gradients an update averages.
    pub micro_batches: u64,
    /// Learning rate of plain gradient descent.
    pub lr: f32,
    /// Programs that one process compiles at most.
    pub compile_budget: u64,
    /// What happens while kernels are compiled.
    pub while_compiling: WhileCompiling,
    /// The engine.
    pub engine: EngineChoice,
    /// The chip whose profile the engine follows.
    pub chip: String,
    /// How the simulated engine computes.
    pub numerics: Numerics,
}

/// The demonstrations there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TinyPreset {
    /// Two layers that learn to be the identity.
    #[serde(rename = "tiny-mlp")]
    TinyMlp,
}

/// What happens while kernels with new weights are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhileCompiling {
    /// The next pass waits for each kernel as it needs it: every gradient is one of the weights it is applied to.
    Wait,
    /// As published: the old kernels make another update's passes, and their gradients, which are of old weights, count
    /// half.
    HalfRate,
}

/// Kernels of the network, each compiled anew for new weights.
pub(super) const KERNELS: u64 = 4;

impl Settings for TinySettings {
    fn profile(&self) -> Option<&Path> {
        None
    }
}

impl TinySettings {
    /// The published settings, with every gradient of the weights it is applied to.
    pub fn published() -> Self {
        Self {
            preset: TinyPreset::TinyMlp,
            steps: 2000,
            micro_batches: 10,
            lr: 1.0,
            compile_budget: 100,
            while_compiling: WhileCompiling::Wait,
            engine: EngineChoice::Auto,
            chip: "m4".to_owned(),
            numerics: Numerics::Faithful,
        }
    }

    /// Steps between two moments at which the state is that of weights and kernels alone.
    pub(super) fn period(&self) -> u64 {
        match self.while_compiling {
            WhileCompiling::Wait => self.micro_batches,
            WhileCompiling::HalfRate => 2 * self.micro_batches,
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn validate(&self) -> Result<(), SettingError> {
        let wrong = |key, problem: String, remedy: String| Err(SettingError { key, problem, remedy });
        if self.micro_batches == 0 {
            return wrong("micro-batches", "is 0".into(), "use at least 1".into());
        }
        let period = self.period();
        if self.steps == 0 || !self.steps.is_multiple_of(period) {
            return wrong("steps", format!("is {}", self.steps), format!("use a multiple of {period}"));
        }
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return wrong("lr", format!("is {}", self.lr), "use a positive number, such as 1".into());
        }
        let least = match self.while_compiling {
            WhileCompiling::Wait => KERNELS,
            WhileCompiling::HalfRate => 2 * KERNELS,
        };
        if self.compile_budget < least {
            let problem =
                format!("is {}, and a process that does any work compiles {least}", self.compile_budget);
            return wrong("compile-budget", problem, format!("use at least {least}"));
        }
        Ok(())
    }

    /// Floating-point operations of the whole run.
    pub fn flops(&self) -> u64 {
        tiny::FLOPS * self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_never_end_or_never_fit_is_refused() {
        let refused = |change: fn(&mut TinySettings)| {
            let mut settings = TinySettings::published();
            change(&mut settings);
            settings.validate().unwrap_err().to_string()
        };
        TinySettings::published().validate().unwrap();
        assert!(refused(|s| s.steps = 15).contains("`steps` is 15; use a multiple of 10"));
        assert!(refused(|s| s.compile_budget = 3).contains("use at least 4"));
        let half = refused(|s| (s.while_compiling, s.compile_budget) = (WhileCompiling::HalfRate, 7));
        assert!(half.contains("`compile-budget` is 7") && half.contains("at least 8"), "{half}");
        assert!(refused(|s| s.lr = f32::NAN).contains("`lr`"));
        assert!(refused(|s| s.micro_batches = 0).contains("`micro-batches` is 0"));
    }
}
