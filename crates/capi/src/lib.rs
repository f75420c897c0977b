//! Engines, kernels and surfaces as C functions.
//!
//! [`mod@abi`] holds the functions; `include/ferrane.h` is made from them by `tests/header.rs`. What C holds are handles: numbers
//! that look like pointers and are never followed (`handles`), so that a handle that was freed, or is of another kind, is an error
//! and not a crash. Every function catches panics (`outcome`).

pub mod abi;
mod handles;
mod outcome;

pub use outcome::Status;
