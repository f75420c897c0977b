//! The trainer: data order, step, optimiser, schedule, loss scale, checkpoint, telemetry.
//!
//! A step draws batches ([`data`]), takes loss and gradients of the model with the gradient scaled
//! ([`loss_scale`]), and updates one flat fp32 arena of master weights ([`optim`]) at the learning rate of the step
//! ([`schedule`]). What happened is a line of [`metrics`]; all that is needed to go on is a [`checkpoint`].
//!
//! Results do not depend on how threads are scheduled, and a resumed run gives the bits that an uninterrupted one gives.
//! Nothing here prints or exits.

pub mod checkpoint;
pub mod compiling;
pub mod corpus;
pub mod data;
pub mod evaluation;
pub mod loss_scale;
pub mod metrics;
pub mod optim;
pub mod run;
pub mod saturation;
pub mod schedule;
pub mod tiny;
pub mod trainer;
