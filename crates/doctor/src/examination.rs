//! Probes one after the other.

use std::sync::Arc;

use ferrane_engine::Engine;

use crate::finding::{Finding, Found, Measured, Verdict};
use crate::probes::{self, Probe};
use crate::rig::{Dialect, Meter, Rig};

/// What one probe found.
#[derive(Clone, Debug, PartialEq)]
pub struct Examined {
    /// The probe.
    pub probe: &'static Probe,
    /// The door it was put through, if not that of the examination.
    pub other_door: Option<&'static str>,
    /// How it ended.
    pub verdict: Verdict,
}

impl Examined {
    /// The probe's name, and through which other door it went.
    pub fn title(&self) -> String {
        match self.other_door {
            None => self.probe.name.to_owned(),
            Some(door) => format!("{} by {door}", self.probe.name),
        }
    }
}

/// What all probes found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Examination {
    /// In the order of the probes.
    pub examined: Vec<Examined>,
}

impl Examination {
    /// All findings of the examination's own door, in the order they were made.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        let own = self.examined.iter().filter(|examined| examined.other_door.is_none());
        own.filter_map(|e| e.verdict.found()).flat_map(|found| &found.findings)
    }

    /// The finding of this key.
    pub fn finding(&self, key: &str) -> Option<&Finding> {
        self.findings().find(|finding| finding.key == key)
    }
}

/// Runs `probes`, each by `run` and in the dialect that was found to be taken, and tells of each as it ends. Those that are
/// [of a door](Probe::is_of_door) are run again through `other_door`, if there is one, which is given to `run`.
///
/// The dialect is always probed first: without it no other program can be written. If no dialect is taken, nothing else is
/// tried.
pub fn examine(
    probes: &[&'static Probe],
    other_door: Option<&'static str>,
    mut run: impl FnMut(&'static Probe, Dialect, Option<&'static str>) -> Verdict,
    mut tell: impl FnMut(&Examined),
) -> Examination {
    let mut examined = Vec::new();
    let mut add = |probe, other_door, verdict| {
        let one = Examined { probe, other_door, verdict };
        tell(&one);
        examined.push(one);
    };
    let first = &probes::DIALECT;
    let verdict = run(first, probes::text::OLDEST, None);
    let dialect = verdict.found().and_then(dialect);
    add(first, None, verdict);
    for probe in probes.iter().filter(|probe| probe.name != first.name) {
        for door in [None].into_iter().chain(other_door.filter(|_| probe.is_of_door).map(Some)) {
            add(
                probe,
                door,
                match dialect {
                    Some(dialect) => run(probe, dialect, door),
                    None => Verdict::Unclear("not tried: the engine takes no dialect".into()),
                },
            );
        }
    }
    Examination { examined }
}

/// The dialect that was found to be taken.
fn dialect(found: &Found) -> Option<Dialect> {
    let value = |key: &str| found.findings.iter().find(|f| f.key == key).map(|f| &f.value);
    match (value("dialect.version")?, value("dialect.opset")?) {
        (Measured::Version(major, minor), Measured::Name(opset)) => {
            Some(Dialect { version: (*major, *minor), opset: ferrane_mil::Opset::from_name(opset)? })
        }
        _ => None,
    }
}

impl Probe {
    /// Runs the probe in this process. The engine should be one that nothing has used before, and keep nothing from its chip
    /// ([`unguarded`](crate::unguarded)). `meter` tells what the machine draws.
    pub fn run(&self, engine: Arc<dyn Engine>, dialect: Dialect, meter: &dyn Meter) -> Verdict {
        let rig = Rig::new(engine, dialect, meter);
        match (self.run)(&rig) {
            Ok(found) => Verdict::Found(found),
            Err(trouble) => Verdict::Unclear(trouble.to_string()),
        }
    }
}
