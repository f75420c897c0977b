//! The trainer: data order, step, optimiser, schedule, loss scale, checkpoint, telemetry.

pub mod loss_scale;
pub mod optim;
pub mod schedule;
