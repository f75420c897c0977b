//! `ferrane reproduce`: a published write-up's experiments, run again.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use ferrane_lab::bench::Effort;
use ferrane_lab::reproduce::{Reproduction, Row, Setup, Step, Verdict};
use ferrane_train::run::{EngineChoice, Numerics};

use crate::engine::{self, Wanted};
use crate::failure::Failure;
use crate::files;
use crate::lines::hanging;
use crate::profile;
use crate::train::args::parse_engine;

/// Run the experiments of a published write-up again, and hold each to what it reports.
///
/// Section IV of the write-up of 3 March 2026 that reproduced training on the Neural Engine, in its order: the machine, peak
/// throughput, a small network that restarts its process to compile, Stories110M, and probes. On `sim` times and energy are modelled
/// and said to be.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A folder for report.html, its pictures, reproduce.json and the run of the small network
    #[arg(long, value_name = "DIR", default_value = "reproduction")]
    out: PathBuf,
    /// auto, ane, sim or cpu
    #[arg(long, value_name = "ENGINE", default_value = "auto", value_parser = parse_engine)]
    engine: EngineChoice,
    /// The chip whose profile sim follows; the write-up's is m4-max
    #[arg(long, value_name = "CHIP", default_value = "m4-max")]
    chip: String,
    /// Leave out the pass through Stories110M, which takes most of the time and 3 GB
    #[arg(long)]
    quick: bool,
}

/// What is written into the folder.
const PAGE: &str = "report.html";
const FIGURES: &str = "reproduce.json";
const DEMONSTRATION: &str = "tiny-mlp";

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let wanted =
        Wanted { engine: args.engine, numerics: Numerics::Fast, assume: &[], lenient: false, faults: None };
    let open = || engine::open(&wanted, || profile::built_in(&args.chip));
    let (_, title) = open()?;
    make_room(&args.out)?;
    let engine = || open().map(|(engine, _)| engine).map_err(Failure::into_message);
    let demonstration = || train(&args);
    let setup = Setup {
        engine: &engine,
        demonstration: &demonstration,
        title,
        threads: engine::threads(),
        effort: Effort::default(),
        quick: args.quick,
    };
    let report = setup.run(|title| tell(&format!("{title} ...\n")), |step| tell(&summary(step)));
    let report = report.map_err(Failure::failed)?;
    let page = report.to_html().map_err(Failure::failed)?;
    files::write(&args.out.join(PAGE), page.as_bytes())?;
    for step in &report.steps {
        if let Some(figure) = &step.figure {
            let svg = figure.chart.to_svg().map_err(Failure::failed)?;
            files::write(&args.out.join(format!("{}.svg", step.id)), svg.as_bytes())?;
        }
    }
    let figures = serde_json::to_string_pretty(&report).map_err(Failure::failed)? + "\n";
    files::write(&args.out.join(FIGURES), figures.as_bytes())?;
    io::stdout().write_all(ending(&report, &args.out).as_bytes())?;
    Ok(if report.count(Verdict::Failed) > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The folder is new, empty, or that of an earlier reproduction, whose run is taken away.
fn make_room(out: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("{}: {error}", out.display()));
    fs::create_dir_all(out).map_err(failed)?;
    let earlier = out.join(FIGURES).is_file();
    if !earlier && fs::read_dir(out).map_err(failed)?.next().is_some() {
        return Err(Failure::Usage(format!(
            "--out {}: the folder holds something else; name another, or one of an earlier reproduction",
            out.display()
        )));
    }
    let run = out.join(DEMONSTRATION);
    if run.exists() { fs::remove_dir_all(run).map_err(failed) } else { Ok(()) }
}

/// Trains the small network in processes of its own, as many as its compile budget asks for.
fn train(args: &Args) -> Result<PathBuf, String> {
    let run = args.out.join(DEMONSTRATION);
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let status = Command::new(program)
        .args([
            "train",
            "--preset",
            "tiny-mlp",
            "--while-compiling",
            "half-rate",
            "--engine",
            &args.engine.to_string(),
        ])
        .args(["--chip", &args.chip, "--out"])
        .arg(&run)
        .status()
        .map_err(|error| format!("cannot start `train --preset tiny-mlp`: {error}"))?;
    if status.success() {
        Ok(run.join("metrics.jsonl"))
    } else {
        Err(format!("`train --preset tiny-mlp` ended with {status}"))
    }
}

/// A closed stdout is told about at the end.
fn tell(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// How many claims have which verdict, and what does not agree.
fn summary(step: &Step) -> String {
    let count = |verdict| step.rows.iter().filter(|row| row.verdict == verdict).count();
    let mut out = format!("  {} of {} agree", count(Verdict::Agrees), step.rows.len());
    out.push_str(&format!(", {:.1} s\n", step.seconds));
    for row in step.rows.iter().filter(|row| row.verdict != Verdict::Agrees) {
        out.push_str(&hanging(&format!("  {}: ", heading(row.verdict)), &beside(row)));
    }
    out
}

fn heading(verdict: Verdict) -> &'static str {
    if verdict == Verdict::Failed { "FAILS" } else { verdict.name() }
}

fn beside(row: &Row) -> String {
    let how = row.how.map_or(String::new(), |how| format!(", {how}"));
    let reason = row.reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
    format!("{}: published {}, here {}{how}{reason}", row.claim, row.published_text(), row.here_text())
}

fn ending(report: &Reproduction, out: &Path) -> String {
    let counts = Verdict::ALL.map(|verdict| verdict.of(report.count(verdict)));
    let all: usize = report.steps.iter().map(|step| step.rows.len()).sum();
    format!(
        "\n{all} claims: {}\n{}\n{}\n",
        counts.join(", "),
        out.join(PAGE).display(),
        out.join(FIGURES).display()
    )
}
