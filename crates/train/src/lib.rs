//! The trainer: data order, step, optimiser, schedule, loss scale, checkpoint, telemetry.
