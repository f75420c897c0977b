//! From `--engine`, `--chip` and `--numerics` to an engine.

use std::num::NonZero;
use std::sync::Arc;

use ferrane_cpu::CpuEngine;
use ferrane_engine::{Engine, Profile};
use ferrane_sim::SimEngine;
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

/// The engine, and a line that says which it is and why. `profile` is what sim follows.
pub(crate) fn open(
    choice: EngineChoice,
    profile: impl FnOnce() -> Result<Profile, Failure>,
    numerics: Numerics,
) -> Result<(Arc<dyn Engine>, String), Failure> {
    match resolve(choice) {
        EngineChoice::Cpu => Ok((Arc::new(CpuEngine::new(threads())), "cpu (fp32)".to_owned())),
        EngineChoice::Ane => Err(Failure::Usage(
            "`engine` ane: this version has no backend for the real Neural Engine yet; use sim or cpu"
                .to_owned(),
        )),
        EngineChoice::Sim | EngineChoice::Auto => {
            let engine = SimEngine::new(profile()?, threads()).with_numerics(simulated(numerics));
            let caveat = engine.caveat().map_or(String::new(), |caveat| format!("; {caveat}"));
            let title = format!("sim ({}, {numerics}{caveat})", engine.profile().name);
            Ok((Arc::new(engine), title))
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

/// All cores; results do not depend on their number.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}
