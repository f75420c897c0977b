//! The `ferrane` command: trains, fine-tunes and runs transformers through MIL programs.
//!
//! Exit codes: 0 done, 1 failed, 2 bad usage, 130 stopped by Ctrl-C.

mod bench;
mod data;
mod doctor;
mod engine;
mod eval;
mod failure;
mod files;
mod generate;
mod interrupt;
mod layers;
mod lines;
mod mil;
mod plan;
mod profile;
mod reproduce;
mod selftest;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Train and run transformers through the MIL programs of Apple's Neural Engine, on it or on its simulation anywhere.
#[derive(Parser)]
#[command(name = "ferrane", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(Box<train::Args>),
    Generate(generate::Args),
    Eval(eval::Args),
    Data(data::Args),
    Mil(Box<mil::Args>),
    Plan(Box<plan::Args>),
    Doctor(doctor::Args),
    Selftest(selftest::Args),
    Bench(bench::Args),
    Reproduce(reproduce::Args),
}

fn main() -> ExitCode {
    engine::ane::favour_threads();
    let done = match Cli::parse().command {
        Command::Train(args) => train::run(*args),
        Command::Generate(args) => generate::run(args),
        Command::Eval(args) => eval::run(&args),
        Command::Data(args) => data::run(args),
        Command::Mil(args) => mil::run(*args),
        Command::Plan(args) => plan::run(*args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Selftest(args) => selftest::run(&args),
        Command::Bench(args) => bench::run(args),
        Command::Reproduce(args) => reproduce::run(args),
    };
    match done {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
