//! The Neural Engine, simulated: the rules and numerics of a [`Profile`](ferrane_engine::Profile) around the CPU
//! executor.
//!
//! The simulator refuses what the profile says the chip refuses, with the framework's error; it binds surfaces as the
//! framework binds them, wrong data included; and every op's result is rounded to its MIL type.

mod engine;
pub mod numerics;
mod rules;

pub use engine::SimEngine;
