//! Runs a model's plan on an engine.
//!
//! [`TrainingModel`] has the forward and backward passes of a plan and puts gradients into a flat arena; [`Generator`] has
//! the forward pass alone and gives next-token logits. Both hold their weights as inputs of kernels that are compiled
//! once and shared by all layers, and give every value one surface, so that nothing is copied between kernels.
//!
//! The host does here what no kernel does: embedding, classifier and cross-entropy, and the products `dW = dY·Xᵀ`.
//!
//! This crate knows nothing of optimisers, data or files.

mod baking;
mod choice;
mod classifier;
mod compile;
mod continuation;
pub mod cost;
mod error;
mod evaluate;
mod generate;
mod head;
mod layers;
mod math;
mod matmul;
mod mode;
mod packing;
mod sampler;
mod saturation;
pub mod selftest;
mod spent;
mod training;
mod weights;

pub use baking::{BakedPiece, CompileLog};
pub use choice::PlanChoice;
pub use classifier::{LossError, NonFinite};
pub use continuation::Ended;
pub use error::RuntimeError;
pub use evaluate::Evaluator;
pub use generate::Generator;
pub use matmul::Write;
pub use mode::WeightsMode;
pub use sampler::{Sampler, Sampling, SamplingError};
pub use saturation::Saturated;
pub use spent::Spent;
pub use training::{Overflow, TrainingModel};
pub use weights::Weights;
