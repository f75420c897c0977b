//! Where kernels have their weights.

use serde::{Deserialize, Serialize};

/// Where kernels have their weights, and so what an update costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightsMode {
    /// As inputs: one kernel serves all layers and is compiled once; an update rewrites surfaces.
    #[default]
    Streamed,
    /// As constants: each layer has kernels of its own, compiled again after each update.
    Baked,
    /// As constants whose files are replaced under the loaded kernel. No Neural Engine is known to heed that, so it is tried
    /// before it is relied on, and outputs are compared afterwards.
    Reload,
}

impl WeightsMode {
    /// Whether an update is followed by a compile of every kernel with weights.
    pub fn recompiles(self) -> bool {
        self == WeightsMode::Baked
    }
}

impl std::fmt::Display for WeightsMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            WeightsMode::Streamed => "streamed",
            WeightsMode::Baked => "baked",
            WeightsMode::Reload => "reload",
        })
    }
}
