//! What compiling has cost a run.

use serde::{Deserialize, Serialize};

/// What compiling has cost a run since it began, over all its processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Compiling {
    /// Programs compiled.
    #[serde(default)]
    pub compiles: u64,
    /// Time spent compiling, in milliseconds; much of it beside other work.
    #[serde(default)]
    pub compile_ms: f64,
    /// Times the process was replaced by a new one because it could compile no more.
    #[serde(default)]
    pub restarts: u64,
}

impl Compiling {
    /// This and what `log` says of the present process.
    #[must_use]
    pub fn plus(self, log: &ferrane_runtime::CompileLog) -> Self {
        Self {
            compiles: self.compiles + log.compiles(),
            compile_ms: self.compile_ms + log.time_spent().as_secs_f64() * 1e3,
            ..self
        }
    }
}
