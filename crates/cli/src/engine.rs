//! From `--engine`, `--chip` and what belongs to them to an engine.

use std::io::{self, Write as _};
use std::num::NonZero;
use std::sync::Arc;

use ferrane_cpu::CpuEngine;
use ferrane_engine::{Engine, Profile, Recovering, Remark, RemarkKind};
use ferrane_sim::{SimEngine, faults::FaultPlan};
use ferrane_train::run::{EngineChoice, Numerics};

use crate::failure::Failure;

/// The engine `auto` stands for on this machine. There is no backend for the real one yet.
pub(crate) fn resolve(choice: EngineChoice) -> EngineChoice {
    match choice {
        EngineChoice::Auto => EngineChoice::Sim,
        other => other,
    }
}

/// Why `auto` is what it is, after the engine's title.
pub(crate) const WHY_AUTO: &str = "; auto: this version has no backend for a real Neural Engine";

/// Why there is no real engine.
pub(crate) const WHY_NO_ANE: &str = "this version has no backend for it";

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

/// The engine, and a line that says which it is and why. `profile` is what sim follows.
pub(crate) fn open(
    wanted: &Wanted<'_>,
    profile: impl FnOnce() -> Result<Profile, Failure>,
) -> Result<(Arc<dyn Engine>, String), Failure> {
    match resolve(wanted.engine) {
        EngineChoice::Cpu => {
            let simulated = [
                ("assume", !wanted.assume.is_empty()),
                ("lenient", wanted.lenient),
                ("faults", wanted.faults.is_some()),
            ];
            match simulated.iter().find(|(_, said)| *said) {
                Some((key, _)) => Err(Failure::Usage(format!(
                    "`{key}` is about the simulated engine, and `engine` is cpu; leave it out, or use sim"
                ))),
                None => Ok((Arc::new(CpuEngine::new(threads())), "cpu (fp32)".to_owned())),
            }
        }
        EngineChoice::Ane => Err(Failure::Usage(
            "`engine` ane: this version has no backend for the real Neural Engine yet; use sim or cpu"
                .to_owned(),
        )),
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
