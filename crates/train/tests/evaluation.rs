//! Evaluation against sums made by hand.

use std::sync::Arc;

use ferrane_cpu::CpuEngine;
use ferrane_model::{ModelConfig, Parameters, Preset, Tokenizer, stage::Tokens};
use ferrane_runtime::{Evaluator, Weights};
use ferrane_train::data::TokenSource;
use ferrane_train::evaluation::evaluate;

const TEXT: &str = "The fox had a red hat. Grüße! The bear had none, and the fox laughed.";

fn tokenizer() -> Tokenizer {
    Tokenizer::train([TEXT], 300).unwrap()
}

/// A model in which every token is equally likely: its classifier is zero.
fn uniform(vocab: usize, tokens: Tokens) -> Evaluator {
    let config = ModelConfig { vocab, ..Preset::Stories260K.config() };
    let mut parameters = Parameters::init(&config, 1).unwrap();
    let embedding = parameters.table().embedding().range();
    parameters.data_mut()[embedding].fill(0.0);
    Evaluator::new(Arc::new(CpuEngine::new(1)), Weights::new(parameters), tokens, 1).unwrap()
}

#[test]
fn a_uniform_model_has_the_vocabulary_as_perplexity_whatever_the_windows() {
    let tokenizer = tokenizer();
    let stream = tokenizer.encode_documents(&[TEXT]).unwrap();
    let (vocab, count) = (tokenizer.vocab_size(), stream.len() as u64 - 1);
    let source = TokenSource::from_memory("text", stream, vocab).unwrap();
    for tokens in [Tokens { batch: 1, seq: 8 }, Tokens { batch: 3, seq: 5 }, Tokens { batch: 2, seq: 64 }] {
        let mut seen = 0;
        let mut evaluator = uniform(vocab, tokens);
        let found =
            evaluate(&mut evaluator, &source, Some(&tokenizer), u64::MAX, &mut |done| seen = done).unwrap();
        assert_eq!((found.tokens, seen), (count, count), "{tokens:?}");
        assert_eq!(found.bytes, Some(TEXT.len() as u64));
        let nats = (vocab as f64).ln();
        assert!((found.loss - nats).abs() < 1e-6 && (found.perplexity / vocab as f64 - 1.0).abs() < 1e-5);
        let bits = nats * count as f64 / std::f64::consts::LN_2 / TEXT.len() as f64;
        assert!((found.bits_per_byte.unwrap() - bits).abs() < 1e-6);
    }
}

#[test]
fn a_limit_stops_and_without_a_tokenizer_there_are_no_bytes() {
    let source = TokenSource::from_memory("tokens", (0..50).collect(), 50).unwrap();
    let mut evaluator = uniform(50, Tokens { batch: 1, seq: 8 });
    let found = evaluate(&mut evaluator, &source, None, 11, &mut |_| {}).unwrap();
    assert_eq!((found.tokens, found.bytes, found.bits_per_byte), (11, None, None));
    let one = TokenSource::from_memory("one token", vec![3], 50).unwrap();
    let error = evaluate(&mut evaluator, &one, None, 11, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("one token"), "{error}");
}
