//! Samples of a model in training.

use std::ops::ControlFlow;
use std::sync::Arc;

use ferrane_engine::Engine;
use ferrane_model::{Tokenizer, VocabMap};
use ferrane_runtime::{Generator, Sampler, Sampling, Weights};

use super::RunError;

/// Close to what the model thinks likeliest, so that a sample shows what it has learnt.
const SAMPLING: Sampling = Sampling { temperature: 0.7, top_p: 0.9, top_k: 0 };
/// Tokens of a sample; a story of the built-in corpus is about as long.
const TOKENS: usize = 220;

/// Lets a model begin a text and tell it to its end.
pub(super) struct Storyteller<'a> {
    generator: Generator,
    tokenizer: &'a Tokenizer,
    /// Of a model with a compact vocabulary.
    vocab: Option<&'a VocabMap>,
    seed: u64,
}

impl<'a> Storyteller<'a> {
    /// A teller with the words of `tokenizer` that shares `weights` with the trainer.
    pub(super) fn new(
        engine: Arc<dyn Engine>,
        threads: usize,
        weights: Weights,
        tokenizer: &'a Tokenizer,
        vocab: Option<&'a VocabMap>,
        seed: u64,
    ) -> Self {
        Self { generator: Generator::new(engine, weights, threads), tokenizer, vocab, seed }
    }

    /// A text by the weights as they are now. A model without an end token begins with its first token.
    pub(super) fn tell(&mut self) -> Result<String, RunError> {
        self.generator.weights_changed()?;
        let mut sampler = Sampler::new(SAMPLING, self.seed)?;
        let special = self.tokenizer.special();
        let known = |token: u32| self.vocab.map_or(Some(token), |vocab| vocab.compact(token));
        let begin = special.bos.or(special.eos.first().copied()).and_then(known).unwrap_or(0);
        let ends: Vec<u32> = special.eos.iter().copied().filter_map(known).collect();
        let mut tokens = Vec::new();
        let receive = |token| {
            tokens.push(self.vocab.map_or(token, |vocab| vocab.expand(token)));
            ControlFlow::Continue(())
        };
        self.generator.continue_prompt(&[begin], &ends, TOKENS, &mut sampler, receive)?;
        Ok(self.tokenizer.decode(&tokens)?.trim().to_owned())
    }
}
