//! Events in words.

use ferrane_train::compiling::Compiling;
use ferrane_train::metrics::Health;
use ferrane_train::run::{Event, MeasuredEnergy, ModelSummary, Phases, Timing};
use ferrane_train::saturation::SaturationTotal;

use super::demonstration;
use super::progress::{clock, short};

/// The lines that tell people of an event; steps have the progress line instead.
pub(super) fn lines(event: &Event) -> Vec<String> {
    match event {
        Event::Preparing { what } => vec![format!("{what} ...")],
        Event::Started {
            run,
            engine,
            parameters,
            vocab,
            trained_vocab,
            model,
            train_tokens,
            held_out_tokens,
            tokens_per_step,
            done,
            steps,
        } => {
            let mut lines = vec![
                format!(
                    "model    {:.2} M parameters, {vocab} tokens{}",
                    *parameters as f64 / 1e6,
                    if trained_vocab == vocab {
                        String::new()
                    } else {
                        format!(", {trained_vocab} of them trained")
                    }
                ),
                shape(model, *vocab),
                kernels(model),
                format!(
                    "data     {} tokens, {} held out",
                    short(*train_tokens as f64),
                    short(*held_out_tokens as f64)
                ),
                format!("engine   {engine}"),
                format!("run      {}", run.display()),
                format!("training {steps} steps of {tokens_per_step} tokens"),
            ];
            if *done > 0 {
                lines.push(format!("going on after step {done}"));
            }
            lines
        }
        // What overflowed gradients is told with the loss scale, and the rest at the end.
        Event::Step(_) | Event::Warning { .. } | Event::Saved { .. } | Event::Saturated { .. } => Vec::new(),
        Event::Saturations { steps, ops } => saturations(*steps, ops),
        // Growth is routine.
        Event::LossScale { overflow: None, .. } => Vec::new(),
        Event::LossScale { step, from, to, overflow: Some(place) } => {
            vec![format!(
                "step {step}: gradients overflowed in {place}; update skipped, loss scale {from} -> {to}"
            )]
        }
        Event::Fault { step, message } => vec![format!("fault after step {step}: {message}")],
        Event::Recovered { step, message } => vec![format!("recovered after step {step}: {message}")],
        Event::Restarting { step, compiles } => {
            vec![format!(
                "going on in a new process after step {step}: this one has compiled {compiles} programs"
            )]
        }
        Event::TinyStarted { run, engine, settings, done } => {
            demonstration::started(run, engine, settings, *done)
        }
        Event::TinyStep(metrics) => demonstration::step(metrics).into_iter().collect(),
        Event::TinyFinished { step, loss, output, target, report, compiling, .. } => {
            let mut lines = demonstration::finished(*step, *loss, output.as_deref(), target);
            lines.push(shares(&report.shares));
            lines.push(compiled(compiling));
            lines.extend(drew(&report.measured_energy));
            lines
        }
        Event::Evaluated { step, loss, .. } => {
            vec![format!("held-out loss after step {step}: {loss:.3} (perplexity {:.2})", loss.exp())]
        }
        Event::Sample { step, text } => {
            let mut lines = vec![String::new(), format!("sample after step {step}:"), String::new()];
            lines.extend(text.lines().map(|line| format!("    {line}")));
            lines.push(String::new());
            lines
        }
        Event::Finished { step, interrupted, model, timing, health, report, compiling, .. } => {
            let how = if *interrupted { "stopped" } else { "done" };
            let mut lines = vec![format!("{how} after step {step}; the model is in {}", model.display())];
            lines.extend(took(timing));
            lines.push(shares(&report.shares));
            lines.push(compiled(compiling));
            lines.extend(drew(&report.measured_energy));
            if !health.is_good() {
                let Health { faults, recoveries } = health;
                lines.push(format!("faults   {faults}, made good by {recoveries} recoveries"));
            }
            lines
        }
    }
}

/// Where the time of the run went.
fn shares(shares: &Phases) -> String {
    let Phases { prepare, compile, train, evaluate, save, sample } = *shares;
    let parts = [
        ("training", train),
        ("data", prepare),
        ("compiling", compile),
        ("evaluating", evaluate),
        ("saving", save),
        ("samples", sample),
    ];
    let parts = parts.map(|(what, share)| format!("{what} {:.1} %", 1e2 * share));
    format!("of it    {}", parts.join(", "))
}

/// What was measured of the machine's energy, if anything was; why not is in the report.
fn drew(energy: &MeasuredEnergy) -> Option<String> {
    let (joules, watts) = (energy.joules?, energy.watts?);
    let parts = [
        ("Neural Engine", joules.ane, watts.ane),
        ("CPU", joules.cpu, watts.cpu),
        ("GPU", joules.gpu, watts.gpu),
    ];
    let parts = parts.map(|(part, joules, watts)| format!("{part} {joules:.1} J ({watts:.2} W)"));
    Some(format!("drew     {} in {:.0} s ({})", parts.join(", "), energy.seconds, energy.how))
}

/// Which op of which layer saturated, how often, and at which loss scales.
fn saturations(steps: u64, ops: &[SaturationTotal]) -> Vec<String> {
    if ops.is_empty() {
        return vec![format!("no op saturated in {steps} steps")];
    }
    let mut lines = vec![format!("saturated in {steps} steps:")];
    lines.extend(ops.iter().map(|total| {
        let op = &total.op;
        let place = op.layer.map_or("after the layers".to_owned(), |layer| format!("layer {layer}"));
        let scales = match total.lowest_scale == total.highest_scale {
            true => format!("loss scale {}", total.highest_scale),
            false => format!("loss scales {} to {}", total.lowest_scale, total.highest_scale),
        };
        format!(
            "    {place}, {}: {} `{}`, {} results in {} steps, {scales}",
            op.kernel, op.op, op.value, op.count, total.steps
        )
    }));
    lines
}

/// What the steps took here and, modelled, would take of the chip's engine.
fn took(timing: &Timing) -> Vec<String> {
    if timing.steps == 0 {
        return Vec::new();
    }
    let steps = timing.steps as f64;
    let a_step = timing.wall_ms / steps;
    let mut lines =
        vec![format!("time     {} for {steps} steps, {a_step:.0} ms a step", clock(timing.wall_ms / 1e3))];
    if let Some(modelled) = timing.modelled {
        lines.push(format!(
            "modelled {:.1} ms, {:.1} mJ a step on the Neural Engine, multiplying at {:.1} % of its peak; {} and {:.1} J \
             in all, the host's part not included",
            modelled.ane_ms / steps,
            1e3 * modelled.ane_joules / steps,
            1e2 * modelled.ane_utilisation,
            clock(modelled.ane_ms / 1e3),
            modelled.ane_joules,
        ));
    }
    lines
}

fn shape(model: &ModelSummary, vocab: usize) -> String {
    let ModelSummary { dim, hidden, heads, kv_heads, seq, layers, .. } = model;
    format!(
        "         dim {dim}, hidden {hidden}, heads {heads} ({kv_heads} of keys and values), seq {seq}, vocab {vocab}, \
         layers {layers}"
    )
}

fn kernels(model: &ModelSummary) -> String {
    let ModelSummary { plan, kernels, kernels_with_weights, weights, flops, engine_flops, .. } = model;
    let millions = |n: u64| (n as f64 / 1e6).round();
    let on_engine = engine_flops.map_or(String::new(), |n| format!(", {} on the engine", millions(n)));
    format!(
        "kernels  {kernels} ({kernels_with_weights} with weights, {weights}), plan {plan}; {} MFLOP a micro-batch{on_engine}",
        millions(*flops)
    )
}

pub(super) fn compiled(compiling: &Compiling) -> String {
    let Compiling { compiles, compile_ms, restarts } = compiling;
    format!("compiled {compiles} programs in {:.1} s; {restarts} restarts", compile_ms / 1e3)
}
