//! Time of a training step: `cargo bench -p ferrane-train`.
//!
//! Reports milliseconds and tokens a second of a whole optimiser step (forward, backward, AdamW) on the engines `cpu` and
//! `sim`, for llama2.c's stories15m and for the preset `nano`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::{hint::black_box, sync::Arc};

use common::{noise, settings};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ferrane_cpu::CpuEngine;
use ferrane_engine::{Engine, Profile};
use ferrane_model::{Parameters, Preset, stage::Tokens};
use ferrane_sim::SimEngine;
use ferrane_train::trainer::Trainer;

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
            let parameters = Parameters::init(&preset.config(), 1).expect("a preset is valid");
            let mut trainer = Trainer::new(Arc::clone(engine), parameters, settings(tokens, 3e-4), threads)
                .expect("it fits");
            let mut order = noise(preset.config().vocab, tokens.seq);
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
