//! The optimiser's passes over memory: `cargo bench -p ferrane-train --bench optimiser`.
//!
//! AdamW and the gradient's norm over as many parameters as stories15m and stories110m have. Bytes a second are those that must
//! move: AdamW reads four arenas and writes three, the norm reads one.
#![allow(missing_docs, reason = "criterion makes public items")]

use std::{hint::black_box, slice};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ferrane_model::Preset;
use ferrane_train::optim::{AdamWConfig, Arenas, Optimiser, OptimiserConfig, Update, global_norm};

fn passes(c: &mut Criterion) {
    let mut group = c.benchmark_group("optimiser");
    group.sample_size(20);
    for preset in [Preset::Stories15M, Preset::Stories110M] {
        let len = preset.config().parameters() as usize;
        let arena_bytes = 4 * len as u64;
        let [mut params, mut m, mut v] = [0.02, 0.0, 0.0].map(|value| vec![value; len]);
        let grads: Vec<f32> = (0..len).map(|i| (i % 13) as f32 * 1e-4 - 6e-4).collect();
        let config = OptimiserConfig::AdamW(AdamWConfig::default());
        let optimiser =
            Optimiser::new(config, len, slice::from_ref(&(0..len))).expect("the range is the arena");

        group.throughput(Throughput::Bytes(7 * arena_bytes));
        let mut number = 0;
        group.bench_function(format!("{preset}/adamw"), |b| {
            b.iter(|| {
                number += 1;
                let arenas = Arenas { params: &mut params, grads: &grads, m: &mut m, v: &mut v };
                optimiser.update(Update { lr: 3e-4, number, grad_scale: 1.0 }, arenas);
            });
        });
        group.throughput(Throughput::Bytes(arena_bytes));
        group.bench_function(format!("{preset}/norm"), |b| b.iter(|| black_box(global_norm(&grads))));
    }
    group.finish();
}

criterion_group!(benches, passes);
criterion_main!(benches);
