//! The published two-layer demonstration: baked weights, compiled again after each update, in as many processes as the
//! compile budget asks for.
//!
//! ```text
//! config.toml      every setting
//! metrics.jsonl    one line a step
//! checkpoint.bin   weights, those of the kernels, counters; replaced as a whole
//! report.json      what the run took, at its end
//! ```
//!
//! A run goes on after a kill, or in a new process when the budget is used, with the bits of an undisturbed one. For that
//! the weights that the kernels hold are part of the state: with [`WhileCompiling::HalfRate`] they are older than those
//! being trained, which the published program forgets when it restarts.

mod checkpoint;
mod network;
mod session;
mod settings;

pub use session::{TinyMetrics, begin, resume};
pub use settings::{TinyPreset, TinySettings, WhileCompiling};
