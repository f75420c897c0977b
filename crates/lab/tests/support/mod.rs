//! Reproductions small enough for tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ferrane_engine::{Engine, Profile};
use ferrane_lab::bench::Effort;
use ferrane_lab::reproduce::{Reproduction, Setup};
use ferrane_sim::SimEngine;

/// Runs the experiments on `engine`; the small network is said to have left its metrics at `metrics`.
pub(crate) fn reproduce(
    engine: &dyn Fn() -> Result<Arc<dyn Engine>, String>,
    metrics: &Path,
) -> Reproduction {
    let demonstration = || Ok::<PathBuf, String>(metrics.to_owned());
    let setup = Setup {
        engine,
        demonstration: &demonstration,
        title: "sim <m4-max>".into(),
        threads: 2,
        effort: Effort { warmup: 0, runs: 1, budget: Duration::ZERO },
        quick: true,
    };
    let mut told = Vec::new();
    let report = setup.run(|_| (), |step| told.push(step.id.clone())).unwrap();
    assert_eq!(told, report.steps.iter().map(|step| step.id.clone()).collect::<Vec<_>>());
    report
}

/// The engine of the write-up's machine.
pub(crate) fn m4_max() -> Result<Arc<dyn Engine>, String> {
    Ok(Arc::new(SimEngine::new(Profile::built_in("m4-max").unwrap(), 2)))
}

/// Metrics of a run of 2000 steps whose loss falls from 0.5 to 0.0014, with restarts as published.
pub(crate) fn write_metrics(path: &Path) {
    let line = |step: u64| {
        let loss = if step <= 250 { 0.5 } else { (0.5 * (-0.006 * (step - 250) as f64).exp()).max(0.0014) };
        let restarts = (step - 1) / 480;
        let compiles = 4 + 4 * ((step - 1) / 20) + 4 * restarts;
        format!(
            "{{\"step\":{step},\"loss\":{loss},\"overlapped\":false,\"step_ms\":0.1,\"compiles\":{compiles},\"compile_ms\":1.0,\
             \"restarts\":{restarts}}}\n"
        )
    };
    std::fs::write(path, (1..=2000).map(line).collect::<String>()).unwrap();
}
