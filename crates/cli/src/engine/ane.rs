//! The real Neural Engine, where there is one.

use std::sync::Arc;

use ferrane_engine::{Engine, Profile};

/// By way of what the engine is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    InMemory,
    Client,
}

pub(crate) use system::{Meter, absent, chip, favour_threads, open};

#[cfg(target_os = "macos")]
mod system {
    use ferrane_apple::{AneEngine, Machine, PowerMeter, Setup, available, favour_this_thread};

    use super::{Arc, Door, Engine, Profile};

    fn setup(door: Door) -> Setup {
        let door = match door {
            Door::InMemory => ferrane_apple::Door::InMemory,
            Door::Client => ferrane_apple::Door::Client,
        };
        Setup { door, ..Setup::default() }
    }

    /// Why this machine has none; none if it has one.
    pub(crate) fn absent() -> Option<String> {
        if cfg!(not(target_arch = "aarch64")) {
            return Some("a Neural Engine is part of Apple's own chips, and this is another".to_owned());
        }
        available(&setup(Door::InMemory)).err().map(|error| error.to_string())
    }

    /// The name of the profile of this machine's chip.
    pub(crate) fn chip() -> Option<&'static str> {
        Machine::this().profile()
    }

    pub(crate) fn open(door: Door, profile: Profile) -> Result<Arc<dyn Engine>, String> {
        let engine = AneEngine::open(profile, &setup(door)).map_err(|error| error.to_string())?;
        Ok(Arc::new(engine))
    }

    /// Asks for the faster cores for this thread and those that compute.
    pub(crate) fn favour_threads() {
        favour_this_thread();
        // Where the threads are there already, they stay as they are.
        let _ = rayon::ThreadPoolBuilder::new().start_handler(|_| favour_this_thread()).build_global();
    }

    /// What the chip draws, where the system tells without asking for a password.
    pub(crate) struct Meter(PowerMeter);

    impl Meter {
        pub(crate) fn start() -> Option<Self> {
            PowerMeter::start().map(Self)
        }

        /// Ends it, and says what was drawn.
        pub(crate) fn line(self) -> String {
            let drawn = self.0.stop();
            format!(
                "measured {:.1} J on the Neural Engine, {:.1} J on the CPU in {:.0} s, the whole machine's (powermetrics)",
                drawn.ane, drawn.cpu, drawn.seconds
            )
        }
    }
}

#[cfg(not(target_os = "macos"))]
mod system {
    use super::{Arc, Door, Engine, Profile};

    /// Why this machine has none; none if it has one.
    pub(crate) fn absent() -> Option<String> {
        Some(format!("a Neural Engine is part of a Mac, and this is {}", std::env::consts::OS))
    }

    /// The name of the profile of this machine's chip.
    pub(crate) fn chip() -> Option<&'static str> {
        None
    }

    pub(crate) fn open(_door: Door, _profile: Profile) -> Result<Arc<dyn Engine>, String> {
        Err(absent().unwrap_or_default())
    }

    /// No other system has such.
    pub(crate) fn favour_threads() {}

    /// There is none.
    pub(crate) enum Meter {}

    impl Meter {
        pub(crate) fn start() -> Option<Self> {
            None
        }

        pub(crate) fn line(self) -> String {
            match self {}
        }
    }
}
