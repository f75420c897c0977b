//! `ferrane doctor`: this machine, the engines, what is known of a chip, and what probes measure.

mod probing;

use std::io::{self, Write as _};
use std::process::ExitCode;

use ferrane_engine::{Figure, Profile, Quirk};
use serde_json::{Value, json};

use crate::engine::{ane, threads};
use crate::failure::Failure;
use crate::profile::Flags;

/// Tell what this machine is and which engines it has; with --chip or --profile, what is known of a chip; with --probe,
/// measure it.
///
/// Every figure of a profile was published by somebody, and is shown with that source and how sure it is. Probes ask the engine
/// by small programs, each in a process of its own; on `sim` they measure what the simulation follows.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    profile: Flags,
    #[command(flatten)]
    probing: probing::Probing,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if args.probing.are_wanted() {
        return probing::run(&args.probing, &args.profile, args.json);
    }
    let mut out = io::stdout().lock();
    let profile = args.profile.given()?;
    if args.json {
        let value = profile.as_ref().map_or_else(machine_json, profile_json);
        writeln!(out, "{}", serde_json::to_string_pretty(&value).map_err(Failure::failed)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    match &profile {
        Some(profile) => show(&mut out, profile)?,
        None => machine(&mut out)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Said wherever somebody may expect a measurement.
const PROBES: &str = "`ferrane doctor --probe` measures; what profiles hold was published by others";

fn system() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

fn machine(out: &mut impl io::Write) -> io::Result<()> {
    writeln!(out, "machine   {}, {} threads", system(), threads())?;
    writeln!(out, "engines   cpu   plain execution, fp32: available")?;
    writeln!(out, "          sim   a Neural Engine, simulated after a profile: available")?;
    match ane::absent() {
        None => writeln!(out, "          ane   the Neural Engine: available")?,
        Some(why) => writeln!(out, "          ane   the Neural Engine: not available, {why}")?,
    }
    writeln!(out, "probes    {PROBES}")?;
    writeln!(out, "\nprofiles (ferrane doctor --chip NAME):")?;
    for profile in Profile::names().filter_map(|name| Profile::built_in(name).ok()) {
        writeln!(out, "    {:9} {}", profile.name, profile.title)?;
    }
    Ok(())
}

fn machine_json() -> Value {
    let absent = ane::absent();
    let profiles: Vec<Value> = Profile::names()
        .filter_map(|name| Profile::built_in(name).ok())
        .map(|profile| json!({ "name": profile.name, "title": profile.title }))
        .collect();
    json!({
        "machine": { "system": system(), "threads": threads() },
        "engines": [
            { "name": "cpu", "available": true },
            { "name": "sim", "available": true },
            { "name": "ane", "available": absent.is_none(), "why": absent },
        ],
        "probes": PROBES,
        "profiles": profiles,
    })
}

/// What the tables of a profile are about, in the order they are shown.
const TABLES: [(&str, &str); 9] = [
    ("", "element type"),
    ("dialect", "text"),
    ("limits", "limits"),
    ("ports", "surfaces"),
    ("numerics", "numerics"),
    ("speed", "speed: floor, peaks, bandwidth, working set"),
    ("cost", "parameters of the cost model"),
    ("power", "power"),
    ("compile", "compiling"),
];

fn show(out: &mut impl io::Write, profile: &Profile) -> io::Result<()> {
    writeln!(out, "{profile}")?;
    for (table, title) in TABLES {
        let figures: Vec<(&str, &Figure<_>)> = profile
            .figures()
            .filter_map(|(key, figure)| match key.split_once('.') {
                Some((of, name)) => (of == table).then_some((name, figure)),
                None => table.is_empty().then_some((key, figure)),
            })
            .collect();
        if figures.is_empty() {
            continue;
        }
        writeln!(out, "\n{title}")?;
        for (name, figure) in figures {
            show_figure(out, name, figure)?;
        }
    }
    writeln!(out, "\nrules")?;
    for (name, quirk) in &profile.quirks {
        show_quirk(out, name, quirk)?;
    }
    writeln!(out, "\nprobes: {PROBES}")
}

fn show_figure(out: &mut impl io::Write, name: &str, figure: &Figure<toml::Value>) -> io::Result<()> {
    let value = value(&figure.value);
    let range = figure.range.map_or(String::new(), |(low, high)| format!(", seen {low} to {high}"));
    writeln!(out, "    {name:22} {value:>12}  {}{range}: {}", figure.confidence, figure.source)?;
    match &figure.contradicted_by {
        Some(other) => writeln!(out, "{:41}but {other}", ""),
        None => Ok(()),
    }
}

fn show_quirk(out: &mut impl io::Write, name: &str, quirk: &Quirk) -> io::Result<()> {
    let holds = &quirk.holds;
    let here = if holds.value { "holds" } else { "does not hold" };
    let from = quirk.threshold.map_or(String::new(), |t| format!(" ({t})"));
    writeln!(out, "    {name}: {}{from}", quirk.what)?;
    writeln!(out, "        {here}, {}: {}", holds.confidence, holds.source)?;
    match &holds.contradicted_by {
        Some(other) => writeln!(out, "        but {other}"),
        None => Ok(()),
    }
}

fn value(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(parts) => parts.iter().map(self::value).collect::<Vec<_>>().join("."),
        other => other.to_string(),
    }
}

fn profile_json(profile: &Profile) -> Value {
    let figure = |figure: &Figure<toml::Value>| {
        json!({
            "value": serde_json::to_value(&figure.value).unwrap_or(Value::Null),
            "confidence": figure.confidence.to_string(),
            "source": figure.source,
            "range": figure.range,
            "contradicted_by": figure.contradicted_by,
        })
    };
    let figures: serde_json::Map<String, Value> = profile
        .figures()
        .filter(|(key, _)| !key.starts_with("quirks."))
        .map(|(key, f)| (key.to_owned(), figure(f)))
        .collect();
    let rules: serde_json::Map<String, Value> = profile
        .quirks
        .iter()
        .map(|(name, quirk)| {
            let holds = profile.figure(&format!("quirks.{name}.holds")).map(figure);
            (
                name.clone(),
                json!({ "what": quirk.what, "ops": quirk.ops, "threshold": quirk.threshold, "holds": holds }),
            )
        })
        .collect();
    json!({ "name": profile.name, "title": profile.title, "figures": figures, "rules": rules, "probes": PROBES })
}
