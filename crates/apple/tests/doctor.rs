//! The doctor sees the chip through the backend, and not what the backend's profile says of it.
#![cfg(not(target_vendor = "apple"))]

mod common;

use std::sync::Arc;

use common::*;
use ferrane_apple::AneEngine;
use ferrane_doctor::{Dialect, Examination, Finding, NoMeter, Probe, examine, probes, unguarded};
use ferrane_engine::{Engine, Profile};
use ferrane_sim::SimEngine;

/// A chip that is in no profile.
fn chip(alphabetical: bool) -> Profile {
    let mut chip = m4();
    chip.limits.slots.value = 9;
    chip.limits.compiles.as_mut().unwrap().value = 150;
    chip.ports.alphabetical.value = alphabetical;
    chip.quirks.get_mut("weight-file-ignored").unwrap().holds.value = alphabetical;
    chip.quirks.get_mut("data-file-ignored").unwrap().holds.value = !alphabetical;
    chip
}

fn examination(
    other_door: Option<&'static str>,
    engine: impl Fn(Option<&'static str>) -> Arc<dyn Engine>,
) -> Examination {
    // Here time is the host's, and no finding.
    let asked: Vec<&Probe> = probes().iter().filter(|p| !p.ignores_results && !p.is_long).collect();
    let run = |probe: &'static Probe, dialect: Dialect, door| probe.run(engine(door), dialect, &NoMeter);
    examine(&asked, other_door, run, |_| {})
}

#[test]
fn the_doctor_finds_through_either_door_what_it_finds_on_the_simulation() {
    const CLIENT: &str = "the client";
    let machine = World::enter();
    for alphabetical in [true, false] {
        let chip = chip(alphabetical);
        let simulated = examination(None, |_| Arc::new(SimEngine::new(chip.clone(), 1)));
        let through = examination(Some(CLIENT), |door| {
            // A new process for each probe, as far as the chip can tell.
            machine.set_chip(chip.clone());
            let door = if door.is_some() { DOORS[1] } else { DOORS[0] };
            let engine = AneEngine::open(unguarded(m4()).unwrap(), &setup(door)).unwrap();
            Arc::new(engine)
        });
        let expected: Vec<&Finding> = simulated.findings().collect();
        assert!(expected.len() > 40, "{}", expected.len());
        assert_eq!(through.findings().collect::<Vec<_>>(), expected);
        for other in through.examined.iter().filter(|examined| examined.other_door.is_some()) {
            let own = simulated.examined.iter().find(|examined| examined.probe == other.probe).unwrap();
            let findings = [own, other].map(|examined| examined.verdict.found().unwrap().findings.clone());
            assert_eq!(findings[0], findings[1], "{}", other.title());
        }
    }
}
