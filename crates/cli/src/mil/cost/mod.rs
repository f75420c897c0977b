//! `ferrane mil cost`: what a program, or a training step of a plan, costs on a chip. Modelled.

mod plan;
mod program;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use ferrane_engine::Profile;
use serde_json::{Value, json};

use super::source::{self, LoadError};
use crate::failure::Failure;
use crate::profile;

/// Model the time and energy of a program on chips, op by op, or of a training step of a plan.
///
/// Nothing here is measured: every number follows from a chip's profile, and how sure the weakest figure behind it is
/// stands beside it. docs/simulator.md has the formulas and how far they are off from published measurements.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("subject").args(["path", "model"]).required(true))]
pub(crate) struct Args {
    /// A .mil file, a folder with model.mil or a package
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    #[command(flatten)]
    step: plan::Step,
    /// The chips, e.g. m4,m5
    #[arg(
        long,
        value_name = "CHIP,...",
        value_delimiter = ',',
        default_value = "m4",
        conflicts_with = "profile"
    )]
    chip: Vec<String>,
    /// A profile of your own in TOML, instead of --chip
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let profiles: Vec<Profile> = match &args.profile {
        Some(file) => vec![profile::read(file)?],
        None => args.chip.iter().map(|chip| profile::built_in(chip)).collect::<Result<_, _>>()?,
    };
    let mut out = io::stdout().lock();
    let json = match &args.path {
        Some(path) => {
            let model = source::load(path).map_err(LoadError::into_failure)?;
            let verified = source::verified(&model, path)?;
            let costs = program::Costs::new(&path.display().to_string(), verified.main(), &profiles)?;
            if !args.json {
                costs.show(&mut out)?;
            }
            costs.json()
        }
        None => {
            let costs = plan::Costs::new(&args.step, &profiles)?;
            if !args.json {
                costs.show(&mut out)?;
            }
            costs.json()
        }
    };
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&json).map_err(Failure::failed)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Columns of text, the first to the left and the others to the right or left as their heading says.
pub(super) fn table(out: &mut impl io::Write, headings: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    // A column of numbers is set to the right.
    let is_number = |column: usize| rows.iter().all(|row| row[column].parse::<f64>().is_ok());
    let mut line = |cells: &[String]| {
        let mut text = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let width = width(column);
            match is_number(column) {
                true => text.push_str(&format!("{cell:>width$}  ")),
                false => text.push_str(&format!("{cell:width$}  ")),
            }
        }
        writeln!(out, "{}", text.trim_end())
    };
    line(&headings.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>())?;
    rows.iter().try_for_each(|row| line(row))
}

/// Said with every answer.
pub(super) const MODELLED: &str = "modelled, not measured";

pub(super) fn labelled(mut value: Value) -> Value {
    value["modelled"] = json!(MODELLED);
    value
}
