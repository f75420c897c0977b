//! Time of a training step: `cargo bench -p ferrane-train`.
//!
//! Reports milliseconds and tokens a second of a whole optimiser step (forward, backward, AdamW) on the engines `cpu` and
//! `sim`, for llama2.c's stories15m and for the preset `nano`.

use std::{hint::black_box, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ferrane_cpu::CpuEngine;
use ferrane_engine::{Engine, Profile};
use ferrane_model::{Parameters, Preset, stage::Tokens};
use ferrane_sim::SimEngine;
use ferrane_train::{
    data::{BatchOrder, Order, TokenSource},
    loss_scale::LossScaleConfig,
    optim::{AdamWConfig, OptimiserConfig},
    schedule::{Decay, Schedule, ScheduleConfig},
    trainer::{StepSettings, Trainer},
};

fn trainer(engine: Arc<dyn Engine>, preset: Preset, tokens: Tokens, threads: usize) -> Trainer {
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
    };
    Trainer::new(engine, parameters, settings, threads).expect("the engine takes a preset")
}

fn steps(c: &mut Criterion) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let engines: [Arc<dyn Engine>; 2] = [
        Arc::new(CpuEngine::new(threads)),
        Arc::new(SimEngine::new(Profile::built_in("m4").expect("built in"), threads)),
    ];
    let cases =
        [(Preset::Stories15M, Tokens { batch: 1, seq: 256 }), (Preset::Nano, Tokens { batch: 4, seq: 256 })];
    let mut group = c.benchmark_group("step");
    group.sample_size(10);
    for (preset, tokens) in cases {
        for engine in &engines {
            let mut trainer = trainer(Arc::clone(engine), preset, tokens, threads);
            let vocab = preset.config().vocab;
            let ids = (0..20_000u32).map(|i| i.wrapping_mul(2_654_435_761) % vocab as u32).collect();
            let source = TokenSource::from_memory("noise", ids, vocab).expect("tokens fit");
            let mut order = BatchOrder::new(source, tokens.seq, Order::Random, 1).expect("long enough");
            group.throughput(Throughput::Elements(tokens.width() as u64));
            group.bench_function(format!("{}/{}", preset.name(), engine.name()), |b| {
                b.iter(|| black_box(trainer.step(&mut |batch| order.next_batch(batch)).expect("a step")));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
