//! Training by the engine's measured arithmetic: it gives the same bits for any number of threads and tells what saturated.

use std::sync::Arc;

use ferrane_engine::{Engine, Profile};
use ferrane_model::{Parameters, Preset, stage::Tokens};
use ferrane_sim::{Numerics, SimEngine};
use ferrane_train::{
    data::{BatchOrder, Order, TokenSource},
    loss_scale::LossScaleConfig,
    optim::{AdamWConfig, OptimiserConfig},
    schedule::{Decay, Schedule, ScheduleConfig},
    trainer::{StepReport, StepSettings, Trainer},
};

const SEQ: usize = 64;

fn faithful(chip: &str, threads: usize) -> Arc<dyn Engine> {
    let profile = Profile::built_in(chip).unwrap();
    Arc::new(SimEngine::new(profile, threads).with_numerics(Numerics::Faithful))
}

fn trainer(engine: Arc<dyn Engine>, loss_scale: LossScaleConfig, threads: usize) -> Trainer {
    let parameters = Parameters::init(&Preset::Stories260K.config(), 1).unwrap();
    let settings = StepSettings {
        tokens: Tokens { batch: 1, seq: SEQ },
        micro_batches: 1,
        optimiser: OptimiserConfig::AdamW(AdamWConfig::default()),
        z_loss: 0.0,
        clip: 1.0,
        schedule: Schedule::new(ScheduleConfig {
            peak: 5e-3,
            decay: Decay::Constant,
            warmup: 0,
            total: 100,
            min_ratio: 0.0,
            decay_ratio: 0.0,
        })
        .unwrap(),
        loss_scale,
        weights: ferrane_train::run::WeightsMode::Streamed,
        plan: ferrane_train::run::PlanChoice::Six,
        compile_budget: None,
    };
    Trainer::new(engine, parameters, settings, threads).unwrap()
}

/// A walk through the vocabulary that three times in four goes where it always goes.
fn tokens(seed: u64) -> TokenSource {
    let (mut bits, mut token) = (seed, 0u32);
    let walk = (0..20_000).map(|_| {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let stray = (bits >> 60) < 4;
        token = if stray { (bits >> 33) as u32 % 32 } else { (token * 5 + 3) % 32 };
        token
    });
    TokenSource::from_memory("walk", walk.collect(), 512).unwrap()
}

fn order() -> BatchOrder {
    BatchOrder::new(tokens(1), SEQ, Order::Random, 1).unwrap()
}

fn step(trainer: &mut Trainer, order: &mut BatchOrder) -> StepReport {
    trainer.step(&mut |batch| order.next_batch(batch)).unwrap()
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let weights = |threads: usize| {
        let (mut trainer, mut order) =
            (trainer(faithful("m4", threads), LossScaleConfig::DYNAMIC, threads), order());
        for _ in 0..3 {
            step(&mut trainer, &mut order);
        }
        assert!(trainer.progress().updates > 0);
        let arena = trainer.weights().arena().read();
        arena.iter().map(|w| w.to_bits()).collect::<Vec<u32>>()
    };
    let one = weights(1);
    for threads in 2..=4 {
        assert!(weights(threads) == one, "{threads} threads differ from one");
    }
}

#[test]
fn what_saturates_is_told_by_layer_and_op() {
    let large = LossScaleConfig { start: 16_777_216.0, ..LossScaleConfig::DYNAMIC };
    let (mut trainer, mut order) = (trainer(faithful("m6", 1), large, 1), order());
    let layers = Preset::Stories260K.config().layers;
    // At first what the host hands to the engine is infinite already, which is no op's doing.
    let reports: Vec<StepReport> = (0..20).map(|_| step(&mut trainer, &mut order)).collect();
    let report =
        reports.iter().find(|report| !report.saturated.is_empty()).expect("some scale saturates ops");
    assert!(report.grad_norm.is_none() && report.overflow.is_some(), "{report:?}");
    for op in &report.saturated {
        assert!(op.layer.is_none_or(|layer| layer < layers) && op.count > 0, "{op:?}");
        assert!(op.kernel.contains("bwd"), "{op:?}");
    }
    let last = reports.last().unwrap();
    assert!(last.saturated.is_empty() && last.grad_norm.is_some(), "{last:?}");
    assert!(trainer.progress().updates > 0);
}
