//! What faithful numerics cost: `cargo bench -p ferrane-train --bench numerics`.
//!
//! Steps of stories15m by the simulated engine's fast and faithful arithmetic in turn, so that a machine that slows down does
//! so for both; the median of the ratios of neighbours is the figure.

#[path = "../tests/common/mod.rs"]
mod common;

use std::{sync::Arc, time::Instant};

use common::{noise, settings};
use ferrane_engine::Profile;
use ferrane_model::{Parameters, Preset, stage::Tokens};
use ferrane_sim::{Numerics, SimEngine};
use ferrane_train::trainer::Trainer;

const ROUNDS: usize = 15;

#[expect(clippy::print_stdout, reason = "a benchmark tells what it measured")]
fn main() {
    let (preset, tokens) = (Preset::Stories15M, Tokens { batch: 1, seq: 256 });
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let sim = SimEngine::new(Profile::built_in("m4").expect("built in"), threads);
    let mut runs = [Numerics::Fast, Numerics::Faithful].map(|numerics| {
        let engine = Arc::new(sim.clone().with_numerics(numerics));
        let parameters = Parameters::init(&preset.config(), 1).expect("a preset is valid");
        let trainer = Trainer::new(engine, parameters, settings(tokens, 3e-4), threads).expect("it fits");
        (trainer, noise(preset.config().vocab, tokens.seq))
    });
    let mut times = Vec::new();
    for _ in 0..=ROUNDS {
        times.push(runs.each_mut().map(|(trainer, order)| {
            let begin = Instant::now();
            trainer.step(&mut |batch| order.next_batch(batch)).expect("a step");
            begin.elapsed().as_secs_f64() * 1e3
        }));
    }
    // The first round warms up.
    let times = &times[1..];
    let median = |mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let of = |i: usize| median(times.iter().map(|pair| pair[i]).collect());
    let ratio = median(times.iter().map(|[fast, faithful]| faithful / fast).collect());
    println!("fast {:.0} ms, faithful {:.0} ms, ratio {ratio:.2} (medians of {ROUNDS})", of(0), of(1));
}
