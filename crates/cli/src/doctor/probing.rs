//! `ferrane doctor --probe`: probes in processes of their own, a measured profile and a report.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use clap::value_parser;
use ferrane_cpu::CpuEngine;
use ferrane_doctor::{
    Dialect, Examination, Examined, Probe, Verdict, child, examine, measured_profile, probe, probes, report,
    unguarded,
};
use ferrane_engine::{Engine, Profile};
use ferrane_sim::SimEngine;
use ferrane_train::run::{EngineChoice, Numerics};
use serde_json::json;

use crate::engine::{ane, resolve, simulated, threads};
use crate::failure::Failure;
use crate::files;
use crate::lines::hanging;
use crate::profile::Flags;
use crate::train::args::{parse_engine, parse_numerics};

/// Flags of the probes.
#[derive(clap::Args)]
pub(super) struct Probing {
    /// Probe the engine; `--probe=width,concat` asks no more than that, and is the only way to ask what takes long: weight-bytes, wake, failed-compiles
    #[arg(long, value_name = "PROBES", num_args = 0.., value_delimiter = ',', require_equals = true, help_heading = "Probing")]
    probe: Option<Vec<String>>,
    /// auto, ane, ane-client, sim or cpu; what depends on the door into the Neural Engine is asked through the other, too
    #[arg(long, value_name = "ENGINE", value_parser = parse_engine, requires = "probe", help_heading = "Probing")]
    engine: Option<EngineChoice>,
    /// How sim computes [default: faithful]
    #[arg(long, value_name = "fast|faithful", value_parser = parse_numerics, requires = "probe", help_heading = "Probing")]
    numerics: Option<Numerics>,
    /// Write what was measured as a profile, which --profile reads
    #[arg(long, value_name = "FILE", requires = "probe", help_heading = "Probing")]
    out: Option<PathBuf>,
    /// Write a report to paste into an issue
    #[arg(long, value_name = "FILE", requires = "probe", help_heading = "Probing")]
    report: Option<PathBuf>,
    /// Seconds after which a probe is ended
    #[arg(long, value_name = "S", value_parser = value_parser!(u64).range(1..), default_value_t = 300, help_heading = "Probing")]
    timeout: u64,
    /// Run one probe in this process, in this dialect, and tell the verdict on stdout
    #[arg(long, value_name = "DIALECT", requires = "probe", hide = true)]
    child: Option<Dialect>,
}

impl Probing {
    pub(super) fn are_wanted(&self) -> bool {
        self.probe.is_some()
    }

    /// The probes that were asked for, or all that do not take long.
    fn probes(&self) -> Result<Vec<&'static Probe>, Failure> {
        match self.probe.as_deref().unwrap_or_default() {
            [] => Ok(probes().iter().filter(|probe| !probe.is_long).collect()),
            names => names.iter().map(|name| probe(name).map_err(Failure::usage)).collect(),
        }
    }

    fn engine(&self) -> EngineChoice {
        resolve(self.engine.unwrap_or(EngineChoice::Auto))
    }

    fn numerics(&self) -> Numerics {
        self.numerics.unwrap_or(Numerics::Faithful)
    }
}

pub(super) fn run(args: &Probing, flags: &Flags, json: bool) -> Result<ExitCode, Failure> {
    let probes = args.probes()?;
    let ignores_results = probes.iter().all(|probe| probe.ignores_results);
    let Opened { engine, title, base } = open(args, flags, ignores_results)?;
    if let (Some(dialect), [probe]) = (args.child, &probes[..]) {
        let verdict = probe.run(engine, dialect, &ane::Watts);
        writeln!(io::stdout(), "{}", child::told(&verdict).map_err(Failure::failed)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !json {
        writeln!(io::stdout(), "probing {title}, each probe in a process of its own")?;
    }
    // Whoever left need not be told.
    let tell = |examined: &Examined| {
        if !json {
            let _ = io::stdout().write_all(shown(examined).as_bytes());
        }
    };
    let limit = Duration::from_secs(args.timeout);
    let own = std::env::current_exe().map_err(Failure::failed)?;
    // Whoever cannot write them says so before hours of probing.
    write_files(args, flags, &title, &base, &Examination::default())?;
    let run = |probe: &'static Probe, dialect, door: Option<&str>| {
        let engine = door.map_or_else(|| args.engine().to_string(), str::to_owned);
        child::run(command(&own, args, flags, &engine, probe, dialect), limit)
    };
    let examination = examine(&probes, other_door(args.engine()), run, tell);
    write_files(args, flags, &title, &base, &examination)?;
    if json {
        let text = serde_json::to_string_pretty(&to_json(&title, &examination)).map_err(Failure::failed)?;
        writeln!(io::stdout(), "{text}")?;
    }
    let answered = examination.examined.iter().any(|examined| examined.verdict.found().is_some());
    Ok(if answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The other door into a Neural Engine, as `--engine` calls it.
fn other_door(engine: EngineChoice) -> Option<&'static str> {
    match engine {
        EngineChoice::Ane => Some("ane-client"),
        EngineChoice::AneClient => Some("ane"),
        EngineChoice::Auto | EngineChoice::Sim | EngineChoice::Cpu => None,
    }
}

/// An engine to probe.
struct Opened {
    engine: Arc<dyn Engine>,
    title: String,
    /// What it is compared with.
    base: Profile,
}

/// The engine as it is: nothing here is to be tried again or made good.
fn open(args: &Probing, flags: &Flags, ignores_results: bool) -> Result<Opened, Failure> {
    match args.engine() {
        EngineChoice::Cpu => {
            let engine: Arc<dyn Engine> = Arc::new(CpuEngine::new(threads()));
            let base = engine.profile().clone();
            Ok(Opened { engine, title: "cpu (fp32)".into(), base })
        }
        EngineChoice::Sim | EngineChoice::Auto => {
            let (base, numerics) = (flags.or_m4()?, args.numerics());
            let title = format!("sim ({}, {numerics}): a simulation, no hardware", base.name);
            let computed = match ignores_results {
                true => ferrane_sim::Numerics::Skipped,
                false => simulated(numerics),
            };
            let sim = SimEngine::new(base.clone(), threads()).with_numerics(computed);
            Ok(Opened { engine: Arc::new(sim), title, base })
        }
        engine @ (EngineChoice::Ane | EngineChoice::AneClient) => {
            let base = flags.or_default(engine)?;
            let title = format!("{engine} (profile {})", base.name);
            let profile = unguarded(base.clone()).map_err(Failure::failed)?;
            Ok(Opened { engine: ane::open(engine, profile)?, title, base })
        }
    }
}

/// This program again, for one probe.
fn command(
    own: &Path,
    args: &Probing,
    flags: &Flags,
    engine: &str,
    probe: &Probe,
    dialect: Dialect,
) -> Command {
    let mut command = Command::new(own);
    command.arg("doctor").arg(format!("--probe={}", probe.name)).args(["--child", &dialect.to_string()]);
    command.args(["--engine", engine, "--numerics", &args.numerics().to_string()]);
    command.args(flags.args());
    command
}

fn write_files(
    args: &Probing,
    flags: &Flags,
    title: &str,
    base: &Profile,
    examination: &Examination,
) -> Result<(), Failure> {
    if let Some(path) = &args.out {
        let name = path.file_stem().map_or_else(|| "measured".into(), |stem| stem.to_string_lossy());
        let by = format!("ferrane doctor on {title}");
        let profile = measured_profile(&flags.text(args.engine())?, base, &name, &by, examination)
            .map_err(Failure::failed)?;
        files::write(path, profile.as_bytes())?;
    }
    if let Some(path) = &args.report {
        files::write(path, report(&ane::machine(), title, base, examination).as_bytes())?;
    }
    Ok(())
}

/// What a probe found, as a line or more.
fn shown(examined: &Examined) -> String {
    let said = match &examined.verdict {
        Verdict::Found(found) => {
            let findings = found.findings.iter().map(|finding| format!("{finding}"));
            findings.chain(found.notes.iter().cloned()).collect::<Vec<_>>().join("; ")
        }
        Verdict::Unclear(why) => format!("unclear: {why}"),
        Verdict::TimedOut { seconds } => format!("lost: it did not end within {seconds} s"),
        Verdict::Died(how) => format!("lost: its process died ({how})"),
    };
    hanging(&format!("  {:20} ", examined.title()), &said)
}

fn to_json(title: &str, examination: &Examination) -> serde_json::Value {
    let probes: Vec<_> = examination
        .examined
        .iter()
        .map(|e| {
            json!({
                "probe": e.probe.name,
                "question": e.probe.question,
                "other_door": e.other_door,
                "verdict": e.verdict,
            })
        })
        .collect();
    json!({ "engine": title, "probes": probes })
}
