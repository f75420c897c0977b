//! The trainer through the messages of the framework: `nano` learns with the bits of the simulator.
#![cfg(not(target_vendor = "apple"))]

mod common;

use std::sync::Arc;

use common::*;
use ferrane_apple::Door;
use ferrane_engine::{Engine, Recovering};
use ferrane_model::{Parameters, Preset, stage::Tokens};
use ferrane_sim::SimEngine;
use ferrane_train::run::{EngineHandle, Event, Host, RunFolder};
use ferrane_train::tiny::{self, TinySettings};
use ferrane_train::{
    data::{BatchOrder, Order, TokenSource},
    loss_scale::LossScaleConfig,
    optim::{AdamWConfig, OptimiserConfig},
    run::{PlanChoice, WeightsMode},
    schedule::{Decay, Schedule, ScheduleConfig},
    trainer::{StepSettings, Trainer},
};

const STEPS: usize = 3;

/// Losses of the steps, and the weights after them.
fn train(engine: Arc<dyn Engine>, weights: WeightsMode) -> (Vec<f64>, Vec<f32>) {
    let parameters = Parameters::init(&Preset::Nano.config(), 1).unwrap();
    let schedule = ScheduleConfig {
        peak: 3e-3,
        decay: Decay::Constant,
        warmup: 0,
        total: 100,
        min_ratio: 0.0,
        decay_ratio: 0.0,
    };
    let settings = StepSettings {
        tokens: Tokens { batch: 1, seq: 64 },
        micro_batches: 1,
        optimiser: OptimiserConfig::AdamW(AdamWConfig::default()),
        z_loss: 0.0,
        clip: 1.0,
        schedule: Schedule::new(schedule).unwrap(),
        loss_scale: LossScaleConfig { start: 256.0, min: 1.0, max: 65536.0, growth_interval: 100 },
        weights,
        plan: PlanChoice::Six,
        compile_budget: None,
    };
    let mut trainer = Trainer::new(engine, parameters, settings, 1).unwrap();
    let tokens = (0..2000).map(|i| i % 50).collect();
    let source = TokenSource::from_memory("counting", tokens, 2048).unwrap();
    let mut order = BatchOrder::new(source, 64, Order::Random, 1).unwrap();
    let losses =
        (0..STEPS).map(|_| trainer.step(&mut |batch| order.next_batch(batch)).unwrap().loss).collect();
    let arena = trainer.weights().arena().read().to_vec();
    (losses, arena)
}

#[test]
fn nano_learns_as_it_does_on_the_simulator() {
    let _world = World::enter();
    let reference = train(Arc::new(SimEngine::new(m4(), 1)), WeightsMode::Streamed);
    assert!(reference.0[STEPS - 1] < reference.0[0], "{:?}", reference.0);
    for door in DOORS {
        let engine: Arc<dyn Engine> = Arc::new(open(door));
        let trained = train(Arc::clone(&engine), WeightsMode::Streamed);
        assert!(trained == reference, "{door}: {:?} for {:?}", trained.0, reference.0);
        assert!(engine.usage().compiles > 0);
    }
}

/// Kernels are compiled by one thread while another evaluates, and dropped by either.
#[test]
fn nano_learns_with_weights_in_its_programs() {
    let _world = World::enter();
    let baked = train(Arc::new(SimEngine::new(limitless(), 1)), WeightsMode::Baked);
    let engine: Arc<dyn Engine> = Arc::new(Recovering::new(Arc::new(open(Door::InMemory))));
    let trained = train(engine, WeightsMode::Baked);
    assert!(trained == baked, "{:?} for {:?}", trained.0, baked.0);
}

/// Losses of the published demonstration's steps.
fn demonstrate(engine: Arc<dyn Engine>) -> Vec<f64> {
    let settings = TinySettings { steps: 40, ..TinySettings::published() };
    let folder = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&folder.path().join("tiny"), &settings).unwrap();
    let host: Arc<dyn Engine> = Arc::new(ferrane_cpu::CpuEngine::new(1));
    let handle = EngineHandle { engine, host, title: "test".to_owned(), threads: 1 };
    let mut losses = Vec::new();
    let mut emit = |event: Event| {
        if let Event::TinyStep(metrics) = event {
            losses.push(metrics.loss);
        }
    };
    let host = Host { emit: &mut emit, stop: &|| false, drawn: &|| Err("there is no meter".to_owned()) };
    tiny::begin(folder, &settings, &handle, host).unwrap();
    losses
}

/// Its kernels are compiled by a thread, for every update.
#[test]
fn the_demonstration_runs_on_the_engine_it_is_given() {
    let _world = World::enter();
    let reference = demonstrate(Arc::new(SimEngine::new(limitless(), 1)));
    assert!(reference.len() == 40 && reference[39] < reference[0], "{reference:?}");
    for door in DOORS {
        let engine: Arc<dyn Engine> = Arc::new(open(door));
        let before = engine.usage().compiles;
        assert!(demonstrate(Arc::clone(&engine)) == reference, "{door}");
        assert_eq!(engine.usage().compiles - before, 4 * 4, "{door}: four kernels for each update");
    }
}
