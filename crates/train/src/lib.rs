//! The trainer: data order, step, optimiser, schedule, loss scale, checkpoint, telemetry.

pub mod checkpoint;
pub mod data;
pub mod loss;
pub mod loss_scale;
mod math;
pub mod matmul;
pub mod optim;
pub mod schedule;
