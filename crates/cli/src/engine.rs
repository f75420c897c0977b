//! From `--engine`, `--chip` and what belongs to them to an engine.

pub(crate) mod ane;

use std::io::{self, Write as _};
use std::num::NonZero;
use std::sync::Arc;

use ferrane_cpu::CpuEngine;
use ferrane_engine::{Engine, Profile, Recovering, Remark, RemarkKind};
use ferrane_sim::{SimEngine, faults::FaultPlan};
use ferrane_train::run::{EngineChoice, Numerics};

use crate::failure::Failure;
use crate::profile;
use crate::train::args::{parse_engine, parse_numerics};

/// The engine `auto` stands for on this machine.
pub(crate) fn resolve(choice: EngineChoice) -> EngineChoice {
    match choice {
        EngineChoice::Auto if ane::absent().is_none() => EngineChoice::Ane,
        EngineChoice::Auto => EngineChoice::Sim,
        other => other,
    }
}

/// Why `auto` is what it is.
pub(crate) fn why_auto() -> String {
    ane::absent().unwrap_or_else(|| "this machine has a Neural Engine".to_owned())
}

/// The chip whose profile an engine follows if none is said: the machine's own for the real one, else the M4.
pub(crate) fn default_chip(engine: EngineChoice) -> Result<&'static str, Failure> {
    match resolve(engine) {
        EngineChoice::Ane | EngineChoice::AneClient if ane::absent().is_none() => {
            ane::chip().ok_or_else(|| {
                Failure::usage(
                    "this machine's chip is none that there is a profile of; say the nearest with `chip`",
                )
            })
        }
        _ => Ok("m4"),
    }
}

/// What of the engine a command line or a settings file says.
pub(crate) struct Wanted<'a> {
    pub(crate) engine: EngineChoice,
    pub(crate) numerics: Numerics,
    /// Rules to turn off.
    pub(crate) assume: &'a [String],
    /// Report breaches of rules instead of refusing.
    pub(crate) lenient: bool,
    /// A fault plan as text.
    pub(crate) faults: Option<&'a str>,
}

impl Wanted<'_> {
    /// Refuses what has no meaning for `engine`.
    fn refuse_simulated(&self, engine: EngineChoice, keys: &[&str]) -> Result<(), Failure> {
        let said = |key: &&str| match *key {
            "assume" => !self.assume.is_empty(),
            "lenient" => self.lenient,
            "faults" => self.faults.is_some(),
            _ => self.numerics == Numerics::Faithful,
        };
        match keys.iter().copied().find(said) {
            Some(key) => Err(Failure::Usage(format!(
                "`{key}` is about the simulated engine, and `engine` is {engine}; leave it out, or use sim"
            ))),
            None => Ok(()),
        }
    }
}

/// Flags that choose an engine and how it computes.
#[derive(clap::Args)]
pub(crate) struct EngineFlags {
    /// auto, ane, ane-client, sim or cpu
    #[arg(long, value_name = "ENGINE", default_value = "auto", value_parser = parse_engine)]
    engine: EngineChoice,
    #[command(flatten)]
    profile: profile::Flags,
    /// How the simulated engine computes: fast or faithful
    #[arg(long, value_name = "NUMERICS", default_value = "fast", value_parser = parse_numerics)]
    numerics: Numerics,
    #[command(flatten)]
    rules: RuleFlags,
}

impl EngineFlags {
    /// As [`open`]; `faults` is a fault plan as text.
    pub(crate) fn open(&self, faults: Option<&str>) -> Result<(Arc<dyn Engine>, String), Failure> {
        let wanted = Wanted {
            engine: self.engine,
            numerics: self.numerics,
            assume: &self.rules.assume,
            lenient: self.rules.lenient,
            faults,
        };
        open(&wanted, || self.profile.or_default(self.engine))
    }
}

/// Flags about the rules of a chip.
#[derive(clap::Args)]
pub(crate) struct RuleFlags {
    /// Turn a rule of the chip off, e.g. concat-ok; once for each. `ferrane mil explain` lists the rules
    #[arg(long, value_name = "RULE-ok")]
    pub(crate) assume: Vec<String>,
    /// Report what the chip's rules refuse, and go on
    #[arg(long)]
    pub(crate) lenient: bool,
}

/// The engine, and a line that says which it is and why. `profile` is what sim and the real engine follow.
pub(crate) fn open(
    wanted: &Wanted<'_>,
    profile: impl FnOnce() -> Result<Profile, Failure>,
) -> Result<(Arc<dyn Engine>, String), Failure> {
    let engine = resolve(wanted.engine);
    match engine {
        EngineChoice::Cpu => {
            wanted.refuse_simulated(engine, &["assume", "lenient", "faults"])?;
            Ok((Arc::new(CpuEngine::new(threads())), "cpu (fp32)".to_owned()))
        }
        EngineChoice::Ane | EngineChoice::AneClient => {
            wanted.refuse_simulated(engine, &["lenient", "faults", "numerics"])?;
            let ane = ane::open(engine, assuming(profile()?, wanted.assume)?)?;
            let title = format!("{engine} (profile {})", ane.profile().name);
            Ok((Arc::new(Recovering::new(ane)), title))
        }
        EngineChoice::Sim | EngineChoice::Auto => {
            let plan = match wanted.faults {
                Some(text) => text.parse().map_err(|error| Failure::Usage(format!("`faults`: {error}")))?,
                None => FaultPlan::default(),
            };
            let sim = SimEngine::new(assuming(profile()?, wanted.assume)?, threads())
                .with_numerics(simulated(wanted.numerics))
                .lenient(wanted.lenient)
                .with_faults(plan);
            let caveat = sim.caveat().map_or(String::new(), |caveat| format!("; {caveat}"));
            let title = format!("sim ({}, {}{caveat})", sim.profile().name, wanted.numerics);
            Ok((Arc::new(Recovering::new(Arc::new(sim))), title))
        }
    }
}

/// A run's numerics as the simulator has them.
pub(crate) fn simulated(numerics: Numerics) -> ferrane_sim::Numerics {
    match numerics {
        Numerics::Fast => ferrane_sim::Numerics::Fast,
        Numerics::Faithful => ferrane_sim::Numerics::Faithful,
    }
}

/// A profile without the rules that are assumed away.
pub(crate) fn assuming(mut profile: Profile, assume: &[String]) -> Result<Profile, Failure> {
    for rule in assume {
        profile.assume(rule).map_err(|error| Failure::Usage(format!("`assume`: {error}")))?;
    }
    Ok(profile)
}

/// Tells of what an engine noticed, on stderr.
pub(crate) fn tell(engine: &dyn Engine) -> Result<(), Failure> {
    for Remark { kind, program, message } in engine.remarks() {
        let kind = match kind {
            RemarkKind::Rule => "warning",
            RemarkKind::Fault => "fault",
            RemarkKind::Recovery => "recovered",
        };
        writeln!(io::stderr(), "{kind}: `{program}`: {message}")?;
    }
    Ok(())
}

/// All cores; results do not depend on their number.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}
