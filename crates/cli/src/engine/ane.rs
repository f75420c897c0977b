//! The real Neural Engine, where there is one.

use std::sync::Arc;

use ferrane_doctor::{Machine, NoMachine};
use ferrane_engine::{Engine, Profile};
use ferrane_train::run::{Drawn, EngineChoice};

use crate::failure::Failure;

pub(crate) use system::{Watts, absent, chip, favour_threads, machine};

/// The Neural Engine by the door that `engine` stands for, as it is: nothing it fails to do is tried again.
pub(crate) fn open(engine: EngineChoice, profile: Profile) -> Result<Arc<dyn Engine>, Failure> {
    if let Some(why) = absent() {
        return Err(Failure::Usage(format!("`engine` {engine}: {why}; use sim or cpu")));
    }
    system::open(engine, profile).map_err(Failure::Failed)
}

/// What the machine draws while the chip computes, or why nobody knows.
pub(crate) struct Meter(Result<system::PowerMeter, String>);

impl Meter {
    /// Starts measuring if `engine` is the chip, and the system lets us. Nobody is asked for a password.
    pub(crate) fn start(engine: EngineChoice) -> Self {
        Self(match engine {
            EngineChoice::Ane | EngineChoice::AneClient => system::meter(),
            other => Err(format!("the engine is {other}, which draws nothing on a Neural Engine")),
        })
    }

    /// What was drawn since this was last asked.
    pub(crate) fn drawn(&self) -> Result<Drawn, String> {
        self.0.as_ref().map_err(Clone::clone).and_then(system::drawn)
    }
}

#[cfg(target_os = "macos")]
mod system {
    pub(super) use ferrane_apple::PowerMeter;
    use ferrane_apple::{AneEngine, Door, Energy, Setup, available, pieces, sub_type};
    use ferrane_engine::favour_this_thread;

    use super::{Arc, Drawn, Engine, EngineChoice, Machine, NoMachine, Profile};

    /// Why this machine has none; none if it has one.
    pub(crate) fn absent() -> Option<String> {
        if cfg!(not(target_arch = "aarch64")) {
            return Some("a Neural Engine is part of Apple's own chips, and this is another".to_owned());
        }
        available(&Setup::default()).err().map(|error| error.to_string())
    }

    /// The name of the profile of this machine's chip.
    pub(crate) fn chip() -> Option<&'static str> {
        ferrane_apple::Machine::this().profile()
    }

    pub(super) fn open(engine: EngineChoice, profile: Profile) -> Result<Arc<dyn Engine>, String> {
        let door = if engine == EngineChoice::AneClient { Door::Client } else { Door::InMemory };
        let engine = AneEngine::open(profile, &Setup { door, ..Setup::default() });
        Ok(Arc::new(engine.map_err(|error| error.to_string())?))
    }

    /// What this machine tells of itself.
    pub(crate) fn machine() -> Result<Machine, NoMachine> {
        let this = ferrane_apple::Machine::this();
        let setup = Setup::default();
        Ok(Machine {
            chip: this.chip.unwrap_or_default(),
            memory: this.memory.unwrap_or_default(),
            macos: [this.version, this.build].into_iter().flatten().collect::<Vec<_>>().join(" "),
            ane_subtype: sub_type(&setup).unwrap_or_default(),
            framework: pieces(&setup),
        })
    }

    /// Asks for the faster cores for this thread and those that compute.
    pub(crate) fn favour_threads() {
        favour_this_thread();
        // Where the threads are there already, they stay as they are.
        let _ = rayon::ThreadPoolBuilder::new().start_handler(|_| favour_this_thread()).build_global();
    }

    /// Starts a meter of what the machine draws.
    pub(super) fn meter() -> Result<PowerMeter, String> {
        PowerMeter::start().map_err(|error| format!("powermetrics cannot be started: {error}"))
    }

    /// What the Neural Engine draws while a probe has it work.
    pub(crate) struct Watts;

    impl ferrane_doctor::Meter for Watts {
        fn watts(&self, work: &mut dyn FnMut()) -> Result<f64, String> {
            let meter = meter()?;
            work();
            let Energy { ane, seconds, .. } = meter.take()?;
            Ok(ane / seconds)
        }
    }

    /// What was drawn since this was last asked.
    pub(super) fn drawn(meter: &PowerMeter) -> Result<Drawn, String> {
        let Energy { ane, cpu, gpu, seconds } = meter.take()?;
        Ok(Drawn { ane, cpu, gpu, seconds })
    }
}

#[cfg(not(target_os = "macos"))]
mod system {
    use super::{Arc, Drawn, Engine, EngineChoice, Machine, NoMachine, Profile};

    /// Why this machine has none; none if it has one.
    pub(crate) fn absent() -> Option<String> {
        Some(format!("a Neural Engine is part of a Mac, and this is {}", std::env::consts::OS))
    }

    /// The name of the profile of this machine's chip.
    pub(crate) fn chip() -> Option<&'static str> {
        None
    }

    pub(super) fn open(_engine: EngineChoice, _profile: Profile) -> Result<Arc<dyn Engine>, String> {
        Err(absent().unwrap_or_default())
    }

    /// Nobody else is asked.
    pub(crate) fn machine() -> Result<Machine, NoMachine> {
        Err(NoMachine)
    }

    /// No other system has such.
    pub(crate) fn favour_threads() {}

    pub(crate) use ferrane_doctor::NoMeter as Watts;

    /// There is none.
    pub(super) enum PowerMeter {}

    pub(super) fn meter() -> Result<PowerMeter, String> {
        Err(absent().unwrap_or_default())
    }

    pub(super) fn drawn(meter: &PowerMeter) -> Result<Drawn, String> {
        match *meter {}
    }
}
