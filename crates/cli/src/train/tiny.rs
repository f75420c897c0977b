//! `ferrane train --preset tiny-mlp`.

use std::path::Path;
use std::process::ExitCode;

use ferrane_train::run::{EngineChoice, EngineHandle, Numerics, RunFolder};
use ferrane_train::tiny::{self, TinySettings};
use toml::Table;

use super::args::Given;
use super::resolve::table_of;
use super::{Shown, engine_handle, work};
use crate::engine::{self, ane::Meter};
use crate::failure::Failure;
use crate::profile;

/// Keys that say what to do with a run, not what it is.
const NOT_SETTINGS: [&str; 4] = ["out", "resume", "quiet", "json"];

/// Whether a folder holds a demonstration.
pub(super) fn is_one(root: &Path) -> bool {
    let text = std::fs::read_to_string(root.join("config.toml")).unwrap_or_default();
    text.parse::<Table>().is_ok_and(|table| table.contains_key("preset"))
}

pub(super) fn start(given: &Given, shown: Shown) -> Result<ExitCode, Failure> {
    let settings = settings(&TinySettings::published(), given)?;
    let engine = open(&settings)?;
    let folder = match &given.out {
        Some(out) => RunFolder::create(out, &settings)?,
        None => RunFolder::create_numbered(Path::new("runs"), "tiny-mlp", &settings)?,
    };
    let root = folder.root().to_owned();
    let meter = Meter::start(settings.engine);
    work(shown, None, &meter, &root, |host| tiny::begin(folder, &settings, &engine, host))
}

pub(super) fn resume(root: &Path, given: &Given, shown: Shown) -> Result<ExitCode, Failure> {
    let (folder, saved) = RunFolder::open::<TinySettings>(root)?;
    let settings = settings(&saved, given)?;
    let may_change =
        TinySettings { steps: saved.steps, compile_budget: saved.compile_budget, ..settings.clone() };
    if may_change != saved {
        return Err(Failure::Usage(format!(
            "only `steps` and `compile-budget` can change while resuming {0}; leave the rest out, or start a new run",
            root.display()
        )));
    }
    let engine = open(&settings)?;
    let meter = Meter::start(settings.engine);
    work(shown, None, &meter, root, |host| tiny::resume(&folder, &settings, &engine, host))
}

fn open(settings: &TinySettings) -> Result<EngineHandle, Failure> {
    let wanted = engine::Wanted {
        engine: settings.engine,
        numerics: settings.numerics,
        assume: &[],
        lenient: false,
        faults: None,
    };
    engine_handle(&wanted, || profile::built_in(&settings.chip))
}

/// Lays what was said over `base`.
fn settings(base: &TinySettings, given: &Given) -> Result<TinySettings, Failure> {
    let mut table = table_of(base)?;
    for (key, value) in table_of(given)? {
        if NOT_SETTINGS.contains(&key.as_str()) {
            continue;
        }
        if !table.contains_key(&key) {
            let known = table.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(Failure::Usage(format!(
                "`{key}` has no meaning for --preset tiny-mlp, which takes {known}; leave it out"
            )));
        }
        table.insert(key, value);
    }
    let mut settings: TinySettings = table.try_into().map_err(Failure::usage)?;
    settings.engine = engine::resolve(settings.engine);
    if settings.engine != EngineChoice::Sim && given.numerics.is_none() {
        settings.numerics = Numerics::Fast;
    }
    if given.chip.is_none() && base.engine == EngineChoice::Auto {
        settings.chip = engine::default_chip(settings.engine)?.to_owned();
    }
    settings.validate().map_err(Failure::usage)?;
    Ok(settings)
}
