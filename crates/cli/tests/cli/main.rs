//! The `ferrane` binary, run as a user runs it.

mod bad_input;
mod commands;
mod compaction;
mod data;
mod defects;
mod faults;
mod plan;
mod resume;
mod support;
