//! Can these machines train that model?
//!
//! A [`Request`] says which model, machines, link and method of synchronising; [`Planner::plan`] answers with memory, times,
//! utilisation, days, energy, cost and the first [`Constraint`] that fails. Nothing is measured and nothing is simulated: a plan
//! is a handful of formulas (`data/formulas.toml`) over figures with sources (`data/*.toml`), and every number can be asked how
//! it came about ([`Plan::steps`]).
//!
//! [`sweep`] varies one input; [`writeup`] holds the claims of a published write-up to the same formulas.
//!
//! Units are SI throughout: bytes, bytes a second, seconds, FLOP/s; days and dollars where the name says so.

mod data;
mod error;
mod formula;
mod inputs;
mod planner;
pub mod quantity;
pub mod sweep;
pub mod writeup;

pub use data::{Data, Link};
pub use error::PlanError;
pub use formula::{Book, Ledger, Step};
pub use inputs::{Limits, Machines, Method, Model, Rate, Request, Sync, Topology};
pub use planner::{Constraint, Machine, Plan, Planner, Status};
