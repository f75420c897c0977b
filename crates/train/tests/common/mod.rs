//! Trainers for tests and benchmarks.
#![allow(dead_code, reason = "each test and benchmark uses its part")]

use ferrane_model::stage::Tokens;
use ferrane_train::{
    data::{BatchOrder, Order, TokenSource},
    loss_scale::LossScaleConfig,
    optim::{AdamWConfig, OptimiserConfig},
    run::{PlanChoice, WeightsMode},
    schedule::{Decay, Schedule, ScheduleConfig},
    trainer::StepSettings,
};

/// AdamW at a constant learning rate, one micro-batch a step, streamed weights.
pub(crate) fn settings(tokens: Tokens, lr: f64) -> StepSettings {
    let schedule = ScheduleConfig {
        peak: lr,
        decay: Decay::Constant,
        warmup: 0,
        total: 1_000_000,
        min_ratio: 0.0,
        decay_ratio: 0.0,
    };
    StepSettings {
        tokens,
        micro_batches: 1,
        optimiser: OptimiserConfig::AdamW(AdamWConfig::default()),
        z_loss: 0.0,
        clip: 1.0,
        schedule: Schedule::new(schedule).expect("valid"),
        loss_scale: LossScaleConfig::dynamic(tokens.width()),
        weights: WeightsMode::Streamed,
        plan: PlanChoice::Six,
        compile_budget: None,
    }
}

/// Windows of `seq` tokens of noise.
pub(crate) fn noise(vocab: usize, seq: usize) -> BatchOrder {
    let tokens = (0..20_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) % vocab as u32).collect();
    let source = TokenSource::from_memory("noise", tokens, vocab).expect("tokens fit");
    BatchOrder::new(source, seq, Order::Random, 1).expect("long enough")
}
