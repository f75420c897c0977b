//! Probes one after the other.

use std::sync::Arc;

use ferrane_engine::Engine;

use crate::finding::{Finding, Found, Measured, Verdict};
use crate::probes::{self, Probe};
use crate::rig::{Dialect, Rig};

/// What one probe found.
#[derive(Clone, Debug, PartialEq)]
pub struct Examined {
    /// The probe.
    pub probe: &'static Probe,
    /// How it ended.
    pub verdict: Verdict,
}

/// What all probes found.
#[derive(Clone, Debug, PartialEq)]
pub struct Examination {
    /// In the order of the probes.
    pub examined: Vec<Examined>,
}

impl Examination {
    /// All findings, in the order they were made.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.examined.iter().filter_map(|e| e.verdict.found()).flat_map(|found| &found.findings)
    }

    /// The finding of this key.
    pub fn finding(&self, key: &str) -> Option<&Finding> {
        self.findings().find(|finding| finding.key == key)
    }
}

/// Runs `probes`, each by `run` and in the dialect that was found to be taken, and tells of each as it ends.
///
/// The dialect is always probed first: without it no other program can be written. If no dialect is taken, nothing else is
/// tried.
pub fn examine(
    probes: &[&'static Probe],
    mut run: impl FnMut(&'static Probe, Dialect) -> Verdict,
    mut tell: impl FnMut(&Examined),
) -> Examination {
    let mut examined = Vec::new();
    let mut add = |probe, verdict| {
        let one = Examined { probe, verdict };
        tell(&one);
        examined.push(one);
    };
    let first = &probes::DIALECT;
    let verdict = run(first, probes::text::OLDEST);
    let dialect = verdict.found().and_then(dialect);
    add(first, verdict);
    for probe in probes.iter().filter(|probe| probe.name != first.name) {
        add(
            probe,
            match dialect {
                Some(dialect) => run(probe, dialect),
                None => Verdict::Unclear("not tried: the engine takes no dialect".into()),
            },
        );
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
    /// Runs the probe in this process. The engine should be one that nothing has used before.
    pub fn run(&self, engine: Arc<dyn Engine>, dialect: Dialect) -> Verdict {
        let rig = Rig::new(engine, dialect);
        match (self.run)(&rig) {
            Ok(found) => Verdict::Found(found),
            Err(trouble) => Verdict::Unclear(trouble.to_string()),
        }
    }
}
