//! Plans and executes MIL functions on the CPU.
//!
//! [`Executable::compile`] lowers a function to a graph of few kinds of nodes (`graph`), in which reshapes, slices and
//! transposes are strided views; computes what is constant (`fold`); gives every node a place, in an output or in its
//! part of a concatenation where possible (`place`); joins elementwise nodes and reductions into loops (`fuse`); and
//! resolves everything to steps over one arena (`plan`). [`Executable::run`] takes an arena from its workspace, gathers a
//! team if there is none around it, and runs the steps, which allocate nothing once every thread has run its first
//! product. Ops without a kernel of their own are computed by the reference interpreter (`step::reference`), which does.
//!
//! Invariants: a step never writes memory that another of its operands reads; every element is computed whole by one
//! thread in one order, so results depend neither on the number of threads nor on their timing.

mod arithmetic;
mod engine;
mod error;
mod executable;
mod fold;
mod fuse;
mod graph;
mod lower;
mod memory;
mod place;
mod plan;
mod scratch;
mod simd;
mod step;
mod triangle;
mod view;
mod workspace;

pub use arithmetic::{Arithmetic, Fold, Left, MapOp, Strided, Term};
pub use engine::{CpuEngine, HostKernel};
pub use error::{CompileError, RunError};
pub use executable::{Executable, Numerics, Options, Weights};
pub use simd::matvec::matvec;
pub use workspace::Workspace;
