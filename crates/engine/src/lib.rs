//! The contract between the trainer and whatever evaluates MIL.
//!
//! An [`Engine`] compiles a verified program into a [`Kernel`]; a kernel is evaluated on [`Surface`]s of shape
//! `[1, C, 1, W]`. What differs between chips and systems is data: a [`Profile`] holds limits and quirks, each with its
//! source and how sure it is, and [`legalise`] rewrites a function so that the profile's compiler takes it.
//!
//! This crate knows nothing of any particular engine.

mod clock;
pub mod cost;
mod error;
mod kernel;
mod legalise;
pub mod legality;
mod profile;
mod recovering;
mod surface;
mod threads;
mod weights;

pub use clock::Clock;
pub use error::{EngineError, Status};
pub use kernel::{Engine, Kernel, OpSaturation, Port, ReloadWay, Remark, RemarkKind, Usage};
pub use legalise::{LegaliseError, legalise, share_input};
pub use profile::{
    AccumulatorKind, Compile, Confidence, CostFigures, Dialect, Effect, Figure, Limits, Numerics, Ports,
    Power, Profile, ProfileError, Quirk, Speed,
};
pub use recovering::Recovering;
pub use surface::{DeviceMemory, HostMemory, HostView, Surface, SurfaceError, round_to_fp16};
pub use threads::{favour_this_thread, spawn_favoured};
pub use weights::{WeightFiles, WeightsError};
