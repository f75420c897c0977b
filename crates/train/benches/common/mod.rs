//! A trainer to be timed.

use std::sync::Arc;

use ferrane_engine::Engine;
use ferrane_model::{Parameters, Preset, stage::Tokens};
use ferrane_train::{
    data::{BatchOrder, Order, TokenSource},
    loss_scale::LossScaleConfig,
    optim::{AdamWConfig, OptimiserConfig},
    schedule::{Decay, Schedule, ScheduleConfig},
    trainer::{StepSettings, Trainer},
};

pub(crate) fn trainer(engine: Arc<dyn Engine>, preset: Preset, tokens: Tokens, threads: usize) -> Trainer {
    let parameters = Parameters::init(&preset.config(), 1).expect("a preset is valid");
    let settings = StepSettings {
        tokens,
        micro_batches: 1,
        optimiser: OptimiserConfig::AdamW(AdamWConfig::default()),
        z_loss: 0.0,
        clip: 1.0,
        schedule: Schedule::new(ScheduleConfig {
            peak: 3e-4,
            decay: Decay::Constant,
            warmup: 0,
            total: 1_000_000,
            min_ratio: 0.0,
            decay_ratio: 0.0,
        })
        .expect("valid"),
        loss_scale: LossScaleConfig::DYNAMIC,
        weights: ferrane_train::run::WeightsMode::Streamed,
        plan: ferrane_train::run::PlanChoice::Six,
        compile_budget: None,
    };
    Trainer::new(engine, parameters, settings, threads).expect("the engine takes a preset")
}

/// Batches of noise.
pub(crate) fn order(preset: Preset, tokens: Tokens) -> BatchOrder {
    let vocab = preset.config().vocab;
    let ids = (0..20_000u32).map(|i| i.wrapping_mul(2_654_435_761) % vocab as u32).collect();
    let source = TokenSource::from_memory("noise", ids, vocab).expect("tokens fit");
    BatchOrder::new(source, tokens.seq, Order::Random, 1).expect("long enough")
}
