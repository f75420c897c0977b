//! Checkpoints: all that a run needs to go on bit for bit.
//!
//! ```text
//! checkpoints/
//!   step-200/
//!     params.bin  adam_m.bin  adam_v.bin     raw little-endian fp32
//!     state.json                             step, counters, data cursor, loss scale
//!     manifest.json                          length and CRC-32 of each file above, written last
//! ```
//!
//! A checkpoint is written to a hidden sibling folder, every file and the folder synced, and then renamed: a folder called
//! `step-N` was whole when it got that name. What happens to it afterwards shows in its checksums. Arenas are streamed to
//! and from disk; no copy of them is made.

mod folder;
mod storage;

pub use folder::{CheckpointFolder, DamagedCheckpoint, WholeCheckpoint};

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::compiling::Compiling;
use crate::data::Cursor;
use crate::loss_scale::LossScaleState;
use crate::run::Ledger;

/// The state of a run besides its arenas, after `step` steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// Steps done, dropped ones included: the next step has this number.
    pub step: u64,
    /// Optimiser updates made, dropped steps not included.
    pub updates: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Where the data order stands.
    pub cursor: Cursor,
    /// Where the loss scale stands.
    pub loss_scale: LossScaleState,
    /// The evaluation with the lowest held-out loss so far.
    #[serde(default)]
    pub best: Option<Best>,
    /// What compiling has cost.
    #[serde(default)]
    pub compiling: Compiling,
    /// What the run has taken.
    #[serde(default)]
    pub ledger: Ledger,
    /// Names the settings the run was made with; the trainer compares it on resuming.
    pub config_hash: String,
}

/// An evaluation on held-out data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Steps done.
    pub step: u64,
    /// Mean negative log-likelihood of a token, in nats.
    pub loss: f64,
}

/// The arenas of a checkpoint, to write.
#[derive(Debug, Clone, Copy)]
pub struct Tensors<'a> {
    /// Master weights.
    pub params: &'a [f32],
    /// First moments.
    pub m: &'a [f32],
    /// Second moments; empty for an optimiser without.
    pub v: &'a [f32],
}

/// The arenas of a checkpoint, to read into.
#[derive(Debug)]
pub struct TensorsMut<'a> {
    /// Master weights.
    pub params: &'a mut [f32],
    /// First moments.
    pub m: &'a mut [f32],
    /// Second moments; empty for an optimiser without.
    pub v: &'a mut [f32],
}

/// Why a checkpoint could not be written, found or read.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The system refused something.
    #[error("cannot {action} {path}: {source}; check free space and permissions", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The checkpoint is not what was written.
    #[error("checkpoint {path} is damaged: {damage}; resume from another one", path = path.display())]
    Damaged {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        damage: Damage,
    },
    /// There are checkpoints, but none is whole.
    #[error(
        "no checkpoint in {path} is whole; nothing was deleted. {}. Restore one of them or start a new run",
        list(damaged), path = path.display()
    )]
    NoneWhole {
        /// The folder of checkpoints.
        path: PathBuf,
        /// Each of them, the newest first.
        damaged: Vec<DamagedCheckpoint>,
    },
    /// The checkpoint is whole but of a model with another number of parameters.
    #[error(
        "checkpoint {path} holds {found} parameters, this model has {expected}; resume with the settings it was made with",
        path = path.display()
    )]
    OtherModel {
        /// Its folder.
        path: PathBuf,
        /// Parameters of the model.
        expected: u64,
        /// Parameters in the checkpoint.
        found: u64,
    },
}

/// What is wrong with a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Damage {
    /// A file is not there.
    #[error("{file} is missing")]
    Missing {
        /// Name of the file.
        file: String,
    },
    /// A file has another length than was written.
    #[error("{file} has {found} bytes instead of {expected}")]
    Length {
        /// Name of the file.
        file: String,
        /// Bytes written.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// A file's contents changed.
    #[error("the checksum of {file} does not match its contents")]
    Checksum {
        /// Name of the file.
        file: String,
    },
    /// A file cannot be read or makes no sense.
    #[error("{file} cannot be read: {reason}")]
    Unreadable {
        /// Name of the file.
        file: String,
        /// Why.
        reason: String,
    },
    /// Written by another version.
    #[error("it has format {found}, this version reads format {expected}")]
    Format {
        /// Format of the checkpoint.
        found: u32,
        /// Format of this version.
        expected: u32,
    },
}

fn list(damaged: &[DamagedCheckpoint]) -> String {
    let each: Vec<String> = damaged.iter().map(|d| format!("{}: {}", d.path.display(), d.damage)).collect();
    each.join("; ")
}

#[cfg(test)]
mod tests;
