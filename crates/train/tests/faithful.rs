//! Training by the engine's measured arithmetic: it gives the same bits for any number of threads and tells what saturated.

mod common;

use std::sync::Arc;

use common::settings;
use ferrane_cpu::CpuEngine;
use ferrane_engine::{Engine, Profile};
use ferrane_model::{Parameters, Preset, stage::Tokens};
use ferrane_sim::{Numerics, SimEngine};
use ferrane_train::{
    data::{BatchOrder, EvalWindows, Order, TokenSource},
    loss_scale::LossScaleConfig,
    trainer::{StepReport, StepSettings, Trainer},
};

const SEQ: usize = 64;

fn faithful(chip: &str, threads: usize) -> Arc<dyn Engine> {
    let profile = Profile::built_in(chip).unwrap();
    Arc::new(SimEngine::new(profile, threads).with_numerics(Numerics::Faithful))
}

fn trainer(engine: Arc<dyn Engine>, loss_scale: LossScaleConfig, lr: f64, threads: usize) -> Trainer {
    let parameters = Parameters::init(&Preset::Stories260K.config(), 1).unwrap();
    let settings = StepSettings { loss_scale, ..settings(Tokens { batch: 1, seq: SEQ }, lr) };
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
            (trainer(faithful("m4", threads), LossScaleConfig::dynamic(SEQ), 5e-3, threads), order());
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

/// Held-out loss, as steps do not agree for long; and no update is dropped, or equal steps would not be equal updates.
#[test]
fn it_learns_what_fp32_learns() {
    const STEPS: u64 = 80;
    let learned = |engine: Arc<dyn Engine>, loss_scale| {
        let mut trainer = trainer(engine, loss_scale, 2e-3, 2);
        let (mut order, windows) = (order(), EvalWindows::new(tokens(2), 1, SEQ, 32).unwrap());
        let before = trainer.evaluate(&windows).unwrap();
        (0..STEPS).for_each(|_| drop(step(&mut trainer, &mut order)));
        assert_eq!(trainer.progress().updates, STEPS);
        (before, trainer.evaluate(&windows).unwrap())
    };
    let (before, fp32) = learned(Arc::new(CpuEngine::new(2)), LossScaleConfig::FIXED);
    assert!(fp32 < 0.3 * before, "fp32 learned too little to compare with: {before} to {fp32}");
    let (_, faithful) = learned(faithful("m4", 2), LossScaleConfig::dynamic(SEQ));
    assert!((faithful / fp32 - 1.0).abs() < 0.03, "{faithful} instead of {fp32}");
}

#[test]
fn what_saturates_is_told_by_layer_and_op() {
    let large = LossScaleConfig { start: 16_777_216.0, ..LossScaleConfig::dynamic(SEQ) };
    let (mut trainer, mut order) = (trainer(faithful("m6", 1), large, 5e-3, 1), order());
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
