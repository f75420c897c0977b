//! The two-layer demonstration in words.

use std::path::Path;

use ferrane_model::tiny;
use ferrane_train::tiny::{TinyMetrics, TinySettings, WhileCompiling};

pub(super) fn started(run: &Path, engine: &str, settings: &TinySettings, done: u64) -> Vec<String> {
    if done > 0 {
        return vec![format!("going on after step {done}")];
    }
    let overlap = match settings.while_compiling {
        WhileCompiling::Wait => "passes wait for new kernels",
        WhileCompiling::HalfRate => "old kernels go on at half the rate while new ones compile",
    };
    vec![
        format!(
            "model    y = W2 relu(W1 x), {} to {} to {}, {} columns",
            tiny::DIM,
            tiny::HIDDEN,
            tiny::DIM,
            tiny::COLUMNS
        ),
        format!("         {} parameters, {} operations a step", tiny::PARAMETERS, tiny::FLOPS),
        "task     the identity on one batch; mean squared error".to_owned(),
        format!("engine   {engine}"),
        format!("run      {}", run.display()),
        format!(
            "training {} steps, {} an update, rate {}; 4 kernels an update, {} compiles a process; {overlap}",
            settings.steps, settings.micro_batches, settings.lr, settings.compile_budget
        ),
    ]
}

/// Steps between those that are shown.
const SHOWN_EVERY: u64 = 100;

/// Counts from 0, as the published program does: the loss before any update is that of step 0.
pub(super) fn step(metrics: &TinyMetrics) -> Option<String> {
    let TinyMetrics { step, loss, overlapped, compiling, .. } = metrics;
    let overlapped = if *overlapped { "  (while compiling)" } else { "" };
    let line = format!("step {:<5} loss {loss:.6}  {} compiles{overlapped}", step - 1, compiling.compiles);
    (step % SHOWN_EVERY == 1).then_some(line)
}

fn numbers(values: &[f32]) -> String {
    values.iter().map(|value| format!("{value:7.4}")).collect::<Vec<_>>().join(" ")
}

pub(super) fn finished(step: u64, loss: f64, output: Option<&[f32]>, target: &[f32]) -> Vec<String> {
    let mut lines = vec![format!("done after step {step}: loss {loss:.6}")];
    if let Some(output) = output {
        lines.push(format!("output   {}", numbers(output)));
        lines.push(format!("target   {}", numbers(target)));
    }
    lines
}
