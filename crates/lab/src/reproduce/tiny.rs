//! The small network that restarts to compile.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ferrane_model::tiny::FLOPS;
use ferrane_train::tiny::TinyMetrics;

use super::claims::Published;
use super::outcome::{Findings, How};
use super::{Figure, Script, ruled_how};
use crate::bench::Bench;
use crate::bench::measure::text;
use crate::chart::{Axis, Chart};

/// Steps whose losses were published, as the published program counts: step 0 is before any update.
const LOGGED: [usize; 9] = [0, 200, 400, 479, 780, 880, 959, 1840, 1990];

pub(super) fn run(
    bench: &Bench,
    demonstration: &dyn Fn() -> Result<PathBuf, String>,
) -> Result<(Findings, Option<Figure>), String> {
    let begun = Instant::now();
    let metrics = read(&demonstration()?)?;
    let seconds = begun.elapsed().as_secs_f64();
    let (Some(last), restarts) = (metrics.last(), restarts(&metrics)) else {
        return Err("the run has no steps".into());
    };
    let how = ruled_how(bench);
    let mut findings = Findings::default();
    for step in LOGGED {
        let loss =
            metrics.get(step).map(|m| m.loss).ok_or_else(|| format!("the run ended before step {step}"));
        findings.result(format!("loss-{step}"), loss, how);
    }
    for (i, id) in ["restart-1", "restart-2"].into_iter().enumerate() {
        let step = restarts.get(i).map(|(step, _)| *step as f64);
        findings.result(
            id,
            step.ok_or_else(|| format!("there were {} restarts", restarts.len())),
            How::Counted,
        );
    }
    let compiles = restarts.first().map(|(_, compiles)| *compiles as f64);
    findings.result("compiles", compiles.ok_or_else(|| "there was no restart".into()), How::Counted);
    findings.figure("operations", FLOPS as f64, How::Counted);
    if bench.engine.clock().is_some() {
        let here = Some((seconds, How::Measured));
        findings.apart("wall", here, "wall time of the simulator on this machine, not of a Neural Engine");
    } else {
        findings.figure("wall", seconds, How::Measured);
    }
    let caption = format!(
        "Loss of {} steps in {} processes. At each vertical line a process had compiled as many programs as it may, saved, and \
         was replaced by a new one that went on.",
        last.step,
        restarts.len() + 1
    );
    Ok((findings, Some(Figure { chart: curve(bench, &metrics, &restarts)?, caption })))
}

fn read(path: &Path) -> Result<Vec<TinyMetrics>, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let lines = fs::read_to_string(path).map_err(|error| named(&error))?;
    lines.lines().map(|line| serde_json::from_str(line).map_err(|error| named(&error))).collect()
}

/// Steps done before each restart, and the programs compiled until then. They are counted at first steps of processes, which
/// wait for their kernels: those of other steps are compiled beside them.
fn restarts(metrics: &[TinyMetrics]) -> Vec<(u64, u64)> {
    let pairs = metrics.windows(2).filter(|pair| pair[1].compiling.restarts > pair[0].compiling.restarts);
    let compiled = |m: &TinyMetrics| m.compiling.compiles.saturating_sub(metrics[0].compiling.compiles);
    pairs.map(|pair| (pair[0].step, compiled(&pair[1]))).collect()
}

fn curve(bench: &Bench, metrics: &[TinyMetrics], restarts: &[(u64, u64)]) -> Result<Chart, String> {
    let script = Script::read().map_err(text)?;
    let claims = script.steps.into_iter().flat_map(|part| part.claims);
    let logged = claims.filter_map(|claim| {
        let step: f64 = claim.id.strip_prefix("loss-")?.parse().ok()?;
        match claim.published {
            Published::Figure(loss) => Some((step, loss)),
            Published::Failure(_) => None,
        }
    });
    let chart = Chart::new("Loss", Axis::linear("step"), Axis::log("mean squared error"))
        .line(format!("here, {}", ruled_how(bench)), metrics.iter().map(|m| ((m.step - 1) as f64, m.loss)))
        .points("published", logged);
    Ok(restarts.iter().fold(chart, |chart, (step, _)| chart.mark(*step as f64, "restart")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_that_are_not_there_or_not_metrics_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        assert!(read(&path).unwrap_err().contains("metrics.jsonl: No such file"));
        fs::write(&path, "{}\n").unwrap();
        assert!(read(&path).unwrap_err().contains("metrics.jsonl: missing field"));
    }
}
