//! The Neural Engine, simulated: the rules and numerics of a [`Profile`](ferrane_engine::Profile) around the CPU
//! executor.
//!
//! The simulator refuses what the profile says the chip refuses, with the framework's error; it binds surfaces as the
//! framework binds them, wrong data included; and it computes either every op's result rounded to its MIL type, or as the
//! chip was measured to compute.

mod engine;
mod explain;
pub mod faults;
pub mod numerics;
mod process;
mod rules;
mod silent;

pub use engine::{Numerics, SimEngine};
pub use explain::{Errors, ExplainError, OpErrors, explain};
pub use numerics::Rule;
