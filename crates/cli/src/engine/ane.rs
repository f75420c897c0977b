//! The real Neural Engine, where there is one.

use std::sync::Arc;

use ferrane_engine::{Engine, Profile};

/// By way of what the engine is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    InMemory,
    Client,
}

pub(crate) use system::{absent, chip, open};

#[cfg(target_os = "macos")]
mod system {
    use ferrane_apple::{AneEngine, Machine, Setup, available};

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
}
