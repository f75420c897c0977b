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

/// The engine, and a line that says which it is and why.
pub(crate) fn open(
    choice: EngineChoice,
    chip: &str,
    numerics: Numerics,
) -> Result<(Arc<dyn Engine>, String), Failure> {
    match resolve(choice) {
        EngineChoice::Cpu => Ok((Arc::new(CpuEngine::new(threads())), "cpu (fp32)".to_owned())),
        EngineChoice::Ane => Err(Failure::Usage(
            "`engine` ane: this version has no backend for the real Neural Engine yet; use sim or cpu"
                .to_owned(),
        )),
        EngineChoice::Sim | EngineChoice::Auto => {
            if numerics == Numerics::Faithful {
                return Err(Failure::Usage(
                    "`numerics` faithful: this version simulates only `fast` (fp16 results, fp32 accumulation)"
                        .to_owned(),
                ));
            }
            let profile =
                Profile::built_in(chip).map_err(|error| Failure::Usage(format!("`chip`: {error}")))?;
            let title = format!("sim ({}, {numerics})", profile.name);
            Ok((Arc::new(SimEngine::new(profile, threads())), title))
        }
    }
}

/// All cores; results do not depend on their number.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}
