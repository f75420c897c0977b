//! Stories110M from random weights, with weights compiled into kernels.

use std::sync::Arc;

use ferrane_model::flops::StepFlops;
use ferrane_model::plan::{Plan, PlanKind};
use ferrane_model::stage::Tokens;
use ferrane_model::{LayerRole, ModelConfig, ParamTable, Parameters, Preset};
use ferrane_runtime::cost::{Phase, plan_cost};
use ferrane_runtime::{TrainingModel, Weights, WeightsMode, Write};

use super::outcome::{Findings, How};
use super::{Figure, ruled_how};
use crate::bench::Bench;
use crate::bench::measure::text;
use crate::bench::models::token_ids;

const TOKENS: Tokens = Tokens { batch: 1, seq: 256 };

/// Programs that the published trainer lets a process compile.
const BUDGET: usize = 100;

pub(super) fn run(bench: &Bench, quick: bool) -> Result<(Findings, Option<Figure>), String> {
    let config = Preset::Stories110M.config();
    let plan = Plan::new(PlanKind::Six, &config, TOKENS).map_err(text)?;
    let mut findings = Findings::default();
    count(&mut findings, &config, &plan)?;
    let timed = if bench.engine.clock().is_some() { Some(modelled(bench, &config, &plan)?) } else { None };
    let pass = if quick { None } else { Some(pass(bench, &config, plan)) };
    let how = ruled_how(bench);
    match &pass {
        None => {
            ["first-loss", "updates"]
                .into_iter()
                .for_each(|id| findings.apart(id, None, "--quick leaves it out"));
        }
        Some(pass) => {
            findings.result("first-loss", pass.as_ref().map(|p| p.loss).map_err(Clone::clone), how);
            findings.result("updates", pass.as_ref().map(|p| p.updates as f64).map_err(Clone::clone), how);
        }
    }
    let times = match (timed, pass) {
        (Some(modelled), _) => Ok((modelled, How::Modelled)),
        (None, Some(pass)) => pass.map(|pass| ([pass.compile_seconds, pass.forward_ms], How::Measured)),
        (None, None) => Err("--quick leaves it out".into()),
    };
    for (i, id) in ["compile", "engine-forward"].into_iter().enumerate() {
        match &times {
            Ok((values, how)) => findings.figure(id, values[i], *how),
            Err(reason) => findings.apart(id, None, reason.clone()),
        }
    }
    Ok((findings, None))
}

/// What needs no engine.
fn count(findings: &mut Findings, config: &ModelConfig, plan: &Plan) -> Result<(), String> {
    let table = ParamTable::new(config).map_err(text)?;
    let (all, embedding) = (table.len() as f64, table.embedding().range().len() as f64);
    let flops = StepFlops::of(config, TOKENS);
    let (kernels, with_weights) = plan.kernels(config.layers);
    for (id, value) in [
        ("parameters", all / 1e6),
        ("transformer", (all - embedding) / 1e6),
        ("embedding", embedding / 1e6),
        ("kernels", kernels as f64),
        ("kernels-with-weights", with_weights as f64),
        ("forward", flops.forward as f64 / 1e6),
        ("attention", flops.attention as f64 / 1e6),
        ("total", flops.total() as f64 / 1e6),
        ("on-engine", flops.on_engine() as f64 / 1e6),
    ] {
        findings.figure(id, value, How::Counted);
    }
    Ok(())
}

/// Seconds to compile the kernels with weights, and milliseconds of the forward pass.
fn modelled(bench: &Bench, config: &ModelConfig, plan: &Plan) -> Result<[f64; 2], String> {
    let cost = plan_cost(plan, config, bench.engine.profile(), WeightsMode::Baked).map_err(text)?;
    Ok([cost.recompiles().1, 1e3 * cost.phase_seconds(Phase::Forward)])
}

/// The weights that the published trainer begins with, its fan-ins as they stand there.
fn published_weights(config: &ModelConfig) -> Result<Parameters, String> {
    use LayerRole::{Down, Gate, K, O, Q, Up, V};
    let mut random = Drand48::new(42);
    let mut parameters = Parameters::init(config, 0).map_err(text)?;
    let by = |width: usize| 1.0 / (width as f64).sqrt();
    for layer in 0..config.layers {
        let ranges = [Q, K, V, O, Gate, Down, Up].map(|role| parameters.table().layer(layer, role).range());
        let [q, k, v, o, gate, down, up] = ranges;
        let data = parameters.data_mut();
        // One element of each in turn.
        for (a, b) in q.zip(k).chain(v.zip(o)) {
            data[a] = random.within(by(config.dim));
            data[b] = random.within(by(config.dim));
        }
        for (range, width) in [(gate, config.hidden), (down, config.dim), (up, config.hidden)] {
            data[range].fill_with(|| random.within(by(width)));
        }
    }
    let embedding = parameters.table().embedding().range();
    parameters.data_mut()[embedding].fill_with(|| random.within(0.02));
    Ok(parameters)
}

/// The random numbers of POSIX.
struct Drand48(u64);

impl Drand48 {
    /// As `srand48` begins.
    fn new(seed: u32) -> Self {
        Self(u64::from(seed) << 16 | 0x330e)
    }

    /// The next number, between -`scale` and `scale`.
    fn within(&mut self, scale: f64) -> f32 {
        const STATES: u64 = 1 << 48;
        self.0 = self.0.wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) % STATES;
        (scale * (2.0 * (self.0 as f64 / STATES as f64) - 1.0)) as f32
    }
}

/// What a pass through the model gives.
struct Pass {
    loss: f64,
    /// Updates after each of which kernels can be compiled again in this process.
    updates: usize,
    compile_seconds: f64,
    forward_ms: f64,
}

fn pass(bench: &Bench, config: &ModelConfig, plan: Plan) -> Result<Pass, String> {
    let weights = Weights::new(published_weights(config)?);
    let mut grads = vec![0.0; weights.table().len()];
    let engine = Arc::clone(&bench.engine);
    let mut model =
        TrainingModel::with_mode(engine, weights, plan, bench.threads, WeightsMode::Baked).map_err(text)?;
    let ids = token_ids(TOKENS.seq + 1, config.vocab);
    let (inputs, targets) = (&ids[..TOKENS.seq], &ids[1..]);
    let mut updates = 0;
    let mut sum = 0.0;
    while !model.exceeds_compiles(Some(BUDGET)) {
        sum = model.loss_and_gradients(inputs, targets, 1.0, &mut grads, Write::Set).map_err(text)?;
        updates += 1;
        model.weights_changed().map_err(text)?;
        if updates > BUDGET {
            break;
        }
    }
    let compile_seconds = model.compile_log().time_spent().as_secs_f64();
    model.take_spent();
    model.loss(inputs, targets).map_err(text)?;
    let forward_ms = model.take_spent().engine.as_secs_f64() * 1e3;
    Ok(Pass { loss: sum / TOKENS.seq as f64, updates, compile_seconds, forward_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What glibc's `drand48` gives after `srand48(42)`.
    #[test]
    fn random_numbers_are_those_of_posix() {
        let mut random = Drand48::new(42);
        for expected in [0.744_525, 0.342_701_5, 0.111_085_28] {
            assert!((random.within(1.0) - (2.0 * expected - 1.0)).abs() < 1e-6);
        }
    }
}
