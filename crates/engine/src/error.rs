//! What can go wrong between a program and its results.

use crate::{SurfaceError, WeightsError};

/// A status code of the Neural Engine framework, as its errors show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u32);

impl Status {
    /// Evaluation refused: surface sizes, their order, or a width below the minimum.
    pub const INFERENCE: Status = Status(0x1d);
    /// An evaluation was given up.
    pub const TIME_OUT: Status = Status(0x11);
    /// A program could not be loaded: too many are.
    pub const LOAD: Status = Status(0x50004);
    /// A program could not be loaded: it is too large.
    pub const BANK: Status = Status(0x20004);
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// An engine's refusal.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The compiler rejects the program.
    #[error("{engine} cannot compile `{program}`: {reason}")]
    Compile {
        /// The engine.
        engine: String,
        /// The program.
        program: String,
        /// The framework's words, then what is known of the cause and what to do.
        reason: String,
    },
    /// The compiled program cannot be loaded.
    #[error("{engine} cannot load `{program}` (status {status}): {reason}")]
    Load {
        /// The engine.
        engine: String,
        /// The program.
        program: String,
        /// The framework's status.
        status: Status,
        /// What is known of the cause and what to do.
        reason: String,
    },
    /// The evaluation is refused or fails.
    #[error("{engine} cannot evaluate `{program}` (status {status}): {reason}")]
    Evaluate {
        /// The engine.
        engine: String,
        /// The program.
        program: String,
        /// The framework's status.
        status: Status,
        /// What is known of the cause and what to do.
        reason: String,
    },
    /// The caller's surfaces do not fit the kernel's ports.
    #[error("`{program}`: {reason}")]
    Binding {
        /// The program.
        program: String,
        /// Which surface and port, and how they differ.
        reason: String,
    },
    /// A surface could not be made or used.
    #[error(transparent)]
    Surface(#[from] SurfaceError),
    /// A weight file is missing or damaged.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}
