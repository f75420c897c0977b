//! `ferrane data`: corpora.

mod fetch;
#[cfg(feature = "hub")]
mod hub;
mod prepare;
mod stories;

use std::process::ExitCode;

use clap::Subcommand;

use crate::failure::Failure;

/// Make data to train on.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Stories(stories::Args),
    Prepare(prepare::Args),
    Fetch(fetch::Args),
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    match args.what {
        What::Stories(args) => stories::run(args),
        What::Prepare(args) => prepare::run(&args),
        What::Fetch(args) => fetch::run(&args),
    }
}
