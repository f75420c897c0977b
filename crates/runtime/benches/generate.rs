//! Time of generation: `cargo bench -p ferrane-runtime`.
//!
//! `prompt` is one pass over 128 tokens; `token` is one token more after at least 128, on the engine `cpu`.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ferrane_cpu::CpuEngine;
use ferrane_model::{Parameters, Preset};
use ferrane_runtime::{Generator, Weights};

const PROMPT: usize = 128;

/// The time of the `i`th token. Where the text ends it is taken up again after its prompt, which does not count.
fn token(generator: &mut Generator, text: &[u32], i: usize) -> Duration {
    let position = PROMPT + i % (text.len() - PROMPT);
    if position == PROMPT {
        generator.logits(&text[..PROMPT]).expect("a prompt");
    }
    let start = Instant::now();
    black_box(generator.logits(&text[..=position]).expect("a token")[0]);
    start.elapsed()
}

fn generate(c: &mut Criterion) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut group = c.benchmark_group("generate");
    for preset in [Preset::Stories15M, Preset::Stories110M] {
        let parameters = Parameters::init(&preset.config(), 1).expect("a preset is valid");
        let engine = Arc::new(CpuEngine::new(threads));
        let mut generator = Generator::new(engine, Weights::new(parameters), threads);
        let text: Vec<u32> = (0..256u32).map(|i| i.wrapping_mul(2_654_435_761) % 32_000).collect();

        group.sample_size(10).throughput(Throughput::Elements(PROMPT as u64));
        group.bench_function(format!("{}/prompt", preset.name()), |b| {
            b.iter(|| black_box(generator.logits(&text[..PROMPT]).expect("a prompt")[0]));
        });
        group.sample_size(20).throughput(Throughput::Elements(1));
        group.bench_function(format!("{}/token", preset.name()), |b| {
            b.iter_custom(|tokens| (0..tokens).map(|i| token(&mut generator, &text, i as usize)).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, generate);
criterion_main!(benches);
