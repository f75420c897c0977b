//! MIL, the language of Apple's Neural Engine compiler.
//!
//! A [`Program`] holds [`Function`]s; a function is a list of [`Op`]s over an arena of typed [`Value`]s, in execution
//! order, without control flow. All shapes are known. Every op is pure: its results depend on its operands alone.
//!
//! Constants are values too: a `const` op defines a value whose [`Constant`] is either in the program or, for weights, in
//! a weight file named by a [`BlobRef`].
//!
//! This crate knows nothing of devices. What a program *means* is said once, by the reference interpreter
//! ([`interp`]), in `f64`; engines are tested against it.

pub mod blob;
pub mod builder;
pub mod call;
pub mod compress;
mod constant;
pub mod diagnostic;
pub mod diff;
mod dtype;
mod fp8;
pub mod infer;
pub mod interp;
mod opcode;
pub mod ops;
pub mod pass;
mod program;
pub mod text;
mod types;
pub mod verify;

pub use builder::Builder;
pub use call::{Call, CallError};
pub use constant::{BlobRef, Constant, Data, Payload};
pub use dtype::DType;
pub use opcode::Opcode;
pub use program::{Arg, Attr, Function, Name, Op, Operand, Opset, Program, Value, ValueId};
pub use types::{TensorType, Type};
pub use verify::{Verified, VerifyError, verify};
