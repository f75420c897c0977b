//! `ferrane mil explain`: what a diagnostic or a chip's rule means.

use std::io::{self, Write as _};
use std::process::ExitCode;

use ferrane_engine::legality;
use ferrane_mil::diagnostic::Code;

use crate::failure::Failure;

/// Explain a diagnostic (MIL0101) or a chip's rule (conv-bias); without a name, list them all.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// MIL0101, 101, or the name of a rule
    #[arg(value_name = "CODE|RULE")]
    name: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    let rules = legality::rules().map_err(Failure::failed)?;
    let Some(name) = &args.name else {
        for code in Code::all() {
            writeln!(out, "{code}  {}", code.title())?;
        }
        for rule in rules {
            writeln!(out, "{}  {}", rule.id, rule.what)?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(code) = Code::parse(name) {
        writeln!(out, "{code}: {}\n\n{}", code.title(), code.explanation())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(rule) = rules.iter().find(|rule| rule.id == *name) {
        writeln!(out, "{}", rule.explanation())?;
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::Usage(format!(
        "there is no diagnostic or rule `{name}`; `ferrane mil explain` lists them all"
    )))
}
