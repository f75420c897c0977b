//! Where the time of a step goes.

use std::time::{Duration, Instant};

/// Wall time of a model's parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Kernels of the engine.
    pub engine: Duration,
    /// Pieces of layers on the host: norms.
    pub host: Duration,
    /// What comes after the last layer: final norm, classifier and loss.
    pub head: Duration,
    /// Weight gradients.
    pub weight_gradients: Duration,
    /// Embedding, forward and backward.
    pub embedding: Duration,
    /// Putting new weights where kernels read them, and values that share a surface with them.
    pub staging: Duration,
}

/// Adds the time of `work` to `part`.
pub(crate) fn timed<R>(part: &mut Duration, work: impl FnOnce() -> R) -> R {
    let started = Instant::now();
    let result = work();
    *part += started.elapsed();
    result
}
