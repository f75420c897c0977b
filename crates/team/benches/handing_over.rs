//! What sharing out a loop costs: `cargo bench -p ferrane-team`.
//!
//! A loop of eight items of some six microseconds, by one thread, by a team, and by rayon alone.
#![allow(missing_docs, reason = "criterion makes public items")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rayon::prelude::*;

const ITEMS: usize = 8;

fn item() {
    black_box((0..2_000).fold(1.0f32, |x, _| black_box(x * 1.000_1)));
}

fn loops(c: &mut Criterion) {
    let mut group = c.benchmark_group("loop of eight items");
    group.bench_function("one thread", |b| {
        b.iter(|| (0..ITEMS).for_each(|_| item()));
    });
    ferrane_team::gather(usize::MAX, || {
        group.bench_function("team", |b| {
            b.iter(|| ferrane_team::each(ITEMS, |_, _| item()));
        });
    });
    group.bench_function("rayon", |b| {
        b.iter(|| (0..ITEMS).into_par_iter().for_each(|_| item()));
    });
    group.finish();
}

criterion_group!(benches, loops);
criterion_main!(benches);
