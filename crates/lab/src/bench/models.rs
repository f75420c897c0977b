//! Whole models: a training step, and generation.

use std::sync::Arc;

use ferrane_model::plan::{Plan, PlanKind};
use ferrane_model::stage::Tokens;
use ferrane_model::{Parameters, Preset};
use ferrane_runtime::cost::{Phase, plan_cost};
use ferrane_runtime::{Generator, TrainingModel, Weights, WeightsMode, Write};

use super::measure::text;
use super::{Bench, Metric, Row};

/// Models that are trained, smallest first.
pub(super) const TRAIN: [Preset; 3] = [Preset::Nano, Preset::Stories15M, Preset::Stories110M];

/// Models that generate, smallest first.
pub(super) const GENERATE: [Preset; 3] = [Preset::Nano, Preset::Stories15M, Preset::Stories110M];

/// Tokens of the step: one sequence, as published.
const STEP_TOKENS: usize = 256;

/// Tokens that are there before the first is generated.
const PROMPT: usize = 64;

type Values = Vec<(Metric, f64)>;

impl Bench {
    /// Where times are modelled, weights compiled into the kernels are a row of their own: as published of the last model.
    pub(super) fn train(&self, preset: Preset) -> Vec<Row> {
        let name = format!("{} {STEP_TOKENS} tokens", preset.name());
        if self.engine.clock().is_none() {
            return vec![Row::new(name, self.step(preset))];
        }
        let mut rows = vec![Row::new(&*name, self.modelled_step(preset, WeightsMode::Streamed))];
        if preset == Preset::Stories110M {
            let baked = self.modelled_step(preset, WeightsMode::Baked);
            rows.push(Row::new(format!("{name} baked"), baked));
        }
        rows
    }

    /// Forward, loss, backward and weight gradients, by the clock.
    fn step(&self, preset: Preset) -> Result<Values, String> {
        let config = preset.config();
        let tokens = Tokens { batch: 1, seq: STEP_TOKENS };
        let plan = Plan::new(PlanKind::Six, &config, tokens).map_err(text)?;
        let weights = Weights::new(Parameters::init(&config, 1).map_err(text)?);
        let mut grads = vec![0.0; weights.table().len()];
        let mut model =
            TrainingModel::new(Arc::clone(&self.engine), weights, plan, self.threads).map_err(text)?;
        let ids = token_ids(STEP_TOKENS + 1, config.vocab);
        let (inputs, targets) = (&ids[..STEP_TOKENS], &ids[1..]);
        let timing = self.repeat(|| {
            let loss = model.loss_and_gradients(inputs, targets, 1.0, &mut grads, Write::Set);
            loss.map(drop).map_err(text)
        })?;
        let seconds = timing.seconds;
        let mut values = timing.values();
        values.push((Metric::TokensPerS, STEP_TOKENS as f64 / seconds));
        Ok(values)
    }

    /// The engine's part by the cost model.
    fn modelled_step(&self, preset: Preset, mode: WeightsMode) -> Result<Values, String> {
        let config = preset.config();
        let tokens = Tokens { batch: 1, seq: STEP_TOKENS };
        let plan = Plan::new(PlanKind::Six, &config, tokens).map_err(text)?;
        let profile = self.engine.profile();
        let cost = plan_cost(&plan, &config, profile, mode).map_err(text)?;
        Ok(vec![
            (Metric::Dispatches, cost.dispatches() as f64),
            (Metric::EngineMs, cost.seconds() * 1e3),
            (Metric::ForwardMs, cost.phase_seconds(Phase::Forward) * 1e3),
            (Metric::Tflops, cost.flops() / cost.seconds() / 1e12),
            (Metric::OfPeak, cost.of_peak()),
            (Metric::Mj, cost.joules() * 1e3),
            (Metric::CompileMs, cost.compiles().1 * 1e3),
        ])
    }

    pub(super) fn generate(&self, preset: Preset) -> Row {
        Row::new(format!("{} after {PROMPT}", preset.name()), self.tokens(preset))
    }

    /// One token more, again and again.
    fn tokens(&self, preset: Preset) -> Result<Values, String> {
        let config = preset.config();
        let weights = Weights::new(Parameters::init(&config, 1).map_err(text)?);
        let mut generator = Generator::new(Arc::clone(&self.engine), weights, self.threads);
        let ids = token_ids(generator.max_tokens(), config.vocab);
        let mut length = PROMPT;
        let mut next = |generator: &mut Generator| {
            length = if length < ids.len() { length + 1 } else { PROMPT + 1 };
            generator.logits(&ids[..length]).map(drop).map_err(text)
        };
        generator.logits(&ids[..PROMPT]).map_err(text)?;
        if let Some(before) = self.engine.clock() {
            /// Tokens over which a modelled time is averaged.
            const TOKENS: u32 = 4;
            for _ in 0..TOKENS {
                next(&mut generator)?;
            }
            let passed = self.engine.clock().unwrap_or_default() - before;
            let each = f64::from(TOKENS);
            return Ok(vec![
                (Metric::Dispatches, passed.evaluations as f64 / each),
                (Metric::EngineMs, passed.milliseconds() / each),
                (Metric::OfPeak, passed.utilisation()),
                (Metric::Mj, passed.joules() * 1e3 / each),
            ]);
        }
        let timing = self.repeat(|| next(&mut generator))?;
        let seconds = timing.seconds;
        let mut values = timing.values();
        values.push((Metric::TokensPerS, 1.0 / seconds));
        Ok(values)
    }
}

/// Token ids all over the vocabulary.
pub(crate) fn token_ids(count: usize, vocab: usize) -> Vec<u32> {
    (0..count as u32).map(|i| i.wrapping_mul(2_654_435_761) % vocab as u32).collect()
}
