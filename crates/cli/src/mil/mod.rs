//! `ferrane mil`: read, check, format, run and write MIL programs.

mod check;
mod compress;
mod cost;
mod diff;
pub(crate) mod dump;
mod explain;
mod explain_numerics;
mod fmt;
mod npy;
mod ops;
mod report;
mod run;
mod source;
mod transfer;
mod weights;

use std::process::ExitCode;

use clap::Subcommand;

use crate::failure::Failure;

/// Check, format, explain, run and write programs in MIL, the language of Apple's Neural Engine compiler.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Check(check::Args),
    Fmt(fmt::Args),
    Run(run::Args),
    Cost(cost::Args),
    Dump(dump::Args),
    Diff(diff::Args),
    Import(transfer::Import),
    Export(transfer::Export),
    Compress(compress::Args),
    Explain(explain::Args),
    Ops(ops::Args),
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    match args.what {
        What::Check(args) => check::run(&args),
        What::Fmt(args) => fmt::run(&args),
        What::Run(args) => run::run(&args),
        What::Cost(args) => cost::run(&args),
        What::Dump(args) => dump::run(&args),
        What::Diff(args) => diff::run(&args),
        What::Import(args) => transfer::import(&args),
        What::Export(args) => transfer::export(&args),
        What::Compress(args) => compress::run(&args),
        What::Explain(args) => explain::run(&args),
        What::Ops(args) => ops::run(&args),
    }
}
