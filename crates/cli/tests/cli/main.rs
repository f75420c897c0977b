//! The `ferrane` binary, run as a user runs it.

mod bad_input;
mod bench;
mod commands;
mod compaction;
mod data;
mod defects;
mod doctor;
mod faults;
mod llama2c;
mod plan;
mod reproduce;
mod restarts;
mod resume;
mod support;
