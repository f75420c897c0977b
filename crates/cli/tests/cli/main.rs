//! The `ferrane` binary, run as a user runs it.

mod bad_input;
mod commands;
mod resume;
mod support;
