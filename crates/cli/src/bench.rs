//! `ferrane bench`: benchmarks of an engine.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::value_parser;
use ferrane_lab::bench::{Basis, Bench, Benchmark, ChainWeights, Effort, Metric, Report, Row, published};
use ferrane_lab::chart::{Axis, Chart};
use ferrane_train::run::{EngineChoice, Numerics};
use serde_json::json;

use crate::engine::{self, RuleFlags, Wanted};
use crate::failure::Failure;
use crate::files;
use crate::lines::{self, hanging};
use crate::profile::Flags;
use crate::train::args::parse_engine;

/// Measure an engine, or ask its model, in the configurations that others published.
///
/// On `sim`, times and energy are modelled from published figures of the chip, and said to be; on `cpu` they are measured on this
/// machine. A configuration that an engine refuses is a row with the reason.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure
    #[arg(value_parser = benchmarks())]
    benchmark: Benchmark,
    /// auto, ane, ane-client, sim or cpu
    #[arg(long, value_name = "ENGINE", default_value = "auto", value_parser = parse_engine)]
    engine: EngineChoice,
    #[command(flatten)]
    profile: Flags,
    #[command(flatten)]
    rules: RuleFlags,
    /// Runs that count, at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u32).range(1..))]
    runs: u32,
    /// Runs before them
    #[arg(long, value_name = "N", default_value_t = 10)]
    warmup: u32,
    /// Seconds after which a configuration has run often enough; its first run always ends
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    budget: f64,
    /// Give each layer of a chain weights of its own; in the published programs all read the same
    #[arg(long)]
    own_weights: bool,
    /// A published table, or a file that --json printed
    #[arg(long, value_name = "NAME|FILE")]
    compare: Option<String>,
    /// Draw the result as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

fn benchmarks() -> impl TypedValueParser<Value = Benchmark> {
    PossibleValuesParser::new(
        Benchmark::ALL.map(|(_, name, measures)| PossibleValue::new(name).help(measures)),
    )
    .try_map(|name| Benchmark::named(&name).ok_or("there is no such benchmark"))
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let benchmark = args.benchmark;
    let other = args.compare.as_deref().map(|name| reference(benchmark, name)).transpose()?;
    let report = report(&args, benchmark)?;
    if let Some(path) = &args.plot {
        files::write(path, chart(&report, other.as_ref())?.as_bytes())?;
    }
    let text = if args.json {
        let value = match &other {
            None => serde_json::to_string_pretty(&report),
            Some(other) => serde_json::to_string_pretty(&json!({ "report": report, "compared_with": other })),
        };
        value.map_err(Failure::failed)? + "\n"
    } else if args.csv {
        report.to_csv() + &other.map_or(String::new(), |other| other.to_csv())
    } else {
        shown(&report) + &other.map_or(String::new(), |other| comparison(&report, &other))
    };
    io::stdout().write_all(text.as_bytes())?;
    let nothing = report.rows.iter().all(|row| row.failure.is_some());
    Ok(if nothing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn report(args: &Args, benchmark: Benchmark) -> Result<Report, Failure> {
    let budget = Duration::try_from_secs_f64(args.budget).map_err(|_| {
        Failure::Usage(format!("--budget {}: give a number of seconds, 0 or more", args.budget))
    })?;
    let wanted = Wanted {
        engine: args.engine,
        numerics: Numerics::Fast,
        assume: &args.rules.assume,
        lenient: args.rules.lenient,
        faults: None,
    };
    let (engine, title) = engine::open(&wanted, || args.profile.or_default(args.engine))?;
    let effort = Effort { warmup: args.warmup, runs: args.runs, budget };
    let weights = if args.own_weights { ChainWeights::Own } else { ChainWeights::Shared };
    let bench = Bench { engine, title, threads: engine::threads(), weights, effort };
    // Some configurations take seconds: whoever waits sees which.
    let quiet = args.json || args.csv || bench.engine.clock().is_some();
    let told = |row: &Row| {
        if !quiet {
            // A closed stderr cannot be told about.
            let _ = writeln!(io::stderr(), "{} done", row.config);
        }
    };
    Ok(bench.run(benchmark, told))
}

/// A saved report if there is such a file, else a published table.
fn reference(benchmark: Benchmark, name: &str) -> Result<Report, Failure> {
    if !Path::new(name).is_file() {
        return published(benchmark, name).map_err(|error| {
            Failure::Usage(format!("--compare {name}: {error}; and there is no file of that name"))
        });
    }
    let text =
        fs::read_to_string(name).map_err(|error| Failure::Failed(format!("cannot read {name}: {error}")))?;
    let report: Report = serde_json::from_str(&text).map_err(|error| {
        Failure::Usage(format!("{name} is not what `ferrane bench --json` prints: {error}"))
    })?;
    if report.benchmark != benchmark.name() {
        return Err(Failure::Usage(format!(
            "{name} holds the benchmark {}, which cannot be compared with {}",
            report.benchmark,
            benchmark.name()
        )));
    }
    Ok(report)
}

fn shown(report: &Report) -> String {
    let mut out = format!("{} on {}: {}\n\n", report.benchmark, report.on, report.basis);
    let metrics = report.metrics();
    let mut cells =
        vec![std::iter::once(String::new()).chain(metrics.iter().map(|m| m.heading().to_owned())).collect()];
    for row in report.rows.iter().filter(|row| row.failure.is_none()) {
        let value = |metric: &Metric| row.values.get(metric).map_or(String::new(), |v| metric.show(*v));
        cells.push(std::iter::once(row.config.clone()).chain(metrics.iter().map(value)).collect::<Vec<_>>());
    }
    if cells.len() > 1 {
        out.push_str(&lines::numbers(&cells));
    }
    for row in &report.rows {
        if let Some(reason) = &row.failure {
            out.push_str(&hanging(&format!("  {}  FAILS: ", row.config), reason));
        }
    }
    report.notes.iter().for_each(|note| out.push_str(&hanging("  note: ", note)));
    out
}

fn comparison(here: &Report, there: &Report) -> String {
    let mut out = format!("\nbeside {}: {}\n\n", there.on, there.basis);
    match here.common_metric(there) {
        None => out.push_str("  no row has a number in both\n"),
        Some(metric) => {
            let heads = [String::new(), metric.heading().into(), "there".into(), "here/there".into()];
            let mut cells = vec![heads.to_vec()];
            for (config, a, b) in here.beside(there, metric) {
                let show = |value: Option<f64>| value.map_or("fails".to_owned(), |v| metric.show(v));
                let ratio = a.zip(b).map_or(String::new(), |(a, b)| format!("{:.2}", a / b));
                cells.push(vec![config.to_owned(), show(a), show(b), ratio]);
            }
            out.push_str(&lines::numbers(&cells));
        }
    }
    there.source.iter().for_each(|source| out.push_str(&hanging("  source: ", source)));
    there.notes.iter().for_each(|note| out.push_str(&hanging("  note: ", note)));
    out
}

/// Bars of the metric that the reports are compared by.
fn chart(here: &Report, there: Option<&Report>) -> Result<String, Failure> {
    let metric = here.common_metric(there.unwrap_or(here)).ok_or_else(|| {
        Failure::Failed(format!("nothing to draw: {} has no numbers to compare", here.benchmark))
    })?;
    let value = |row: Option<&Row>| row.and_then(|row| row.values.get(&metric)).copied().unwrap_or(f64::NAN);
    let names = here.rows.iter().map(|row| row.config.clone());
    let title = format!("{}: {}", here.benchmark, metric.heading());
    let mut chart = Chart::new(title, Axis::names("", names), Axis::linear(metric.heading()).from_zero())
        .bars(label(here), here.rows.iter().map(|row| value(Some(row))));
    if let Some(there) = there {
        let beside = |row: &Row| value(there.rows.iter().find(|r| r.config == row.config));
        chart = chart.bars(label(there), here.rows.iter().map(beside));
    }
    chart.to_svg().map_err(Failure::failed)
}

fn label(report: &Report) -> String {
    match report.basis {
        Basis::Published => format!("{}, published", report.on),
        basis => format!("{}, {basis}", report.on),
    }
}
