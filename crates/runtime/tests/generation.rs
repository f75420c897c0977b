//! Generation token by token against whole windows.

mod common;

use std::sync::Arc;

use common::{config, parameters, relative_error};
use ferrane_cpu::CpuEngine;
use ferrane_engine::{Engine, Profile};
use ferrane_model::{ModelConfig, ParamTable, Parameters};
use ferrane_runtime::{Generator, Weights};
use ferrane_sim::SimEngine;

fn generator(engine: Arc<dyn Engine>) -> (Generator, Weights) {
    let config = ModelConfig { max_seq: 256, qk_norm: true, residual_scale: 0.7, ..config(true) };
    let table = ParamTable::new(&config).unwrap();
    let data = parameters(&table).iter().map(|&x| x as f32).collect();
    let weights = Weights::new(Parameters::from_parts(table, data).unwrap());
    (Generator::new(engine, weights.clone(), 2), weights)
}

fn sim() -> Arc<dyn Engine> {
    Arc::new(SimEngine::new(Profile::built_in("m4").unwrap(), 2))
}

fn to_f64(v: &[f32]) -> Vec<f64> {
    v.iter().map(|&x| f64::from(x)).collect()
}

/// Tokens of a text, none like its neighbours.
fn text(len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| (i * i + 3 * i) % 11).collect()
}

/// Logits after each of `lengths` tokens, from a generator that saw nothing before.
fn fresh(engine: &Arc<dyn Engine>, text: &[u32]) -> Vec<f64> {
    to_f64(generator(Arc::clone(engine)).0.logits(text).unwrap())
}

#[test]
fn a_token_at_a_time_gives_the_logits_of_the_whole_window() {
    let engines: [(Arc<dyn Engine>, f64); 2] = [(Arc::new(CpuEngine::new(2)), 1e-5), (sim(), 5e-3)];
    for (engine, tolerance) in engines {
        let (mut generator, _) = generator(Arc::clone(&engine));
        let text = text(140);
        // Across the first growth of the cache (at 32, on the simulated engine at 64) and the second.
        for length in 3..=text.len() {
            let logits = to_f64(generator.logits(&text[..length]).unwrap());
            if [4, 31, 32, 33, 64, 65, 128, 129, 140].contains(&length) {
                let error = relative_error(&logits, &fresh(&engine, &text[..length]));
                assert!(error < tolerance, "{} after {length} tokens: {error}", engine.name());
            }
        }
    }
}

#[test]
fn another_text_does_not_see_the_last_one() {
    let engine: Arc<dyn Engine> = Arc::new(CpuEngine::new(2));
    let (mut generator, _) = generator(Arc::clone(&engine));
    let (long, mut other) = (text(40), text(10));
    for length in [38, 39, 40] {
        generator.logits(&long[..length]).unwrap();
    }
    other[3] = 9;
    for length in [8, 9, 10] {
        let logits = to_f64(generator.logits(&other[..length]).unwrap());
        let error = relative_error(&logits, &fresh(&engine, &other[..length]));
        assert!(error < 1e-5, "after {length} tokens: {error}");
    }
}

#[test]
fn new_weights_forget_the_keys_and_values_of_the_old() {
    let engine: Arc<dyn Engine> = Arc::new(CpuEngine::new(2));
    let (mut stepped, weights) = generator(Arc::clone(&engine));
    stepped.logits(&text(5)).unwrap();
    weights.arena().write().iter_mut().for_each(|w| *w *= 0.5);
    stepped.weights_changed().unwrap();
    let logits = to_f64(stepped.logits(&text(6)).unwrap());
    let mut expected = Generator::new(engine, weights, 2);
    let error = relative_error(&logits, &to_f64(expected.logits(&text(6)).unwrap()));
    assert!(error < 1e-5, "{error}");
}

#[test]
fn a_refused_token_loses_nothing() {
    let engine: Arc<dyn Engine> = Arc::new(CpuEngine::new(2));
    let (mut generator, _) = generator(Arc::clone(&engine));
    let mut text = text(6);
    generator.logits(&text[..5]).unwrap();
    let good = std::mem::replace(&mut text[5], 11);
    let error = generator.logits(&text).unwrap_err().to_string();
    assert_eq!(error, "token 11 at position 5 is outside the vocabulary of 11");
    text[5] = good;
    let logits = to_f64(generator.logits(&text).unwrap());
    assert!(relative_error(&logits, &fresh(&engine, &text)) < 1e-5);
}

#[test]
fn a_longer_window_claims_its_own_sizes_of_the_simulated_engine() {
    let (mut generator, _) = generator(sim());
    // At 64 tokens the weights are the largest surfaces of a side, at 256 the activations are.
    for length in [10, 200, 10] {
        assert_eq!(generator.logits(&vec![1; length]).unwrap().len(), 11, "{length} tokens");
    }
}
