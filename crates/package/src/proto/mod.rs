//! The protobuf messages of Core ML model files, as far as ML programs need them.
//!
//! Transcribed from Apple's public `Model.proto`, `FeatureTypes.proto` and `MIL.proto` (coremltools, BSD-3-Clause).
//! Field numbers are the format; names follow the originals in Rust's spelling. Maps are ordered, so that the same
//! program always gives the same bytes.

pub(crate) mod mil;
pub(crate) mod model;
