//! Next-token logits of a model.

mod cache;
mod window;

use std::{collections::BTreeMap, sync::Arc};

use ferrane_engine::{Engine, Surface};

use crate::{
    RuntimeError,
    classifier::Classifier,
    layers::{Binder, check_tokens},
    weights::Weights,
};
use cache::Cache;
use window::Window;

/// The fewest tokens that kernels are compiled for.
const SHORTEST: usize = 32;

/// A model for generation.
///
/// A prompt passes through kernels for a whole window, compiled for the next power of two of its length; columns after
/// the prompt do not matter, because attention is causal. Its keys and values are kept, so that each token added to it
/// costs one pass of one column.
pub struct Generator {
    binder: Binder,
    windows: BTreeMap<usize, Window>,
    cache: Option<Cache>,
    /// The tokens whose keys and values the cache holds.
    seen: Vec<u32>,
    classifier: Classifier,
    logits: Vec<f32>,
}

impl Generator {
    /// A generator of the model with these parameters, on `engine`.
    pub fn new(engine: Arc<dyn Engine>, weights: Weights, threads: usize) -> Self {
        let config = weights.table().config().clone();
        Self {
            binder: Binder::new(engine, weights, threads),
            windows: BTreeMap::new(),
            cache: None,
            seen: Vec::new(),
            classifier: Classifier::new(config.vocab, config.dim, 1),
            logits: vec![0.0; config.vocab],
        }
    }

    /// The most tokens a window can have.
    pub fn max_tokens(&self) -> usize {
        self.binder.weights().table().config().max_seq
    }

    /// To be called after the parameters changed.
    ///
    /// # Errors
    /// When surface memory cannot be written.
    pub fn weights_changed(&mut self) -> Result<(), RuntimeError> {
        self.seen.clear();
        self.binder.renew_weights()
    }

    /// The logits of the token after `tokens`, one a vocabulary entry. Cheap when `tokens` are those of the last call and
    /// one more.
    ///
    /// # Errors
    /// When there are no tokens or more than the model's positions, a token is outside the vocabulary, or the engine fails.
    pub fn logits(&mut self, tokens: &[u32]) -> Result<&[f32], RuntimeError> {
        if tokens.is_empty() || tokens.len() > self.max_tokens() {
            return Err(RuntimeError::TooLong { tokens: tokens.len(), max: self.max_tokens() });
        }
        check_tokens(tokens, self.logits.len())?;
        // A call that fails on the way leaves nothing to build on.
        let mut seen = std::mem::take(&mut self.seen);
        // One team for all kernels and the classifier.
        ferrane_team::gather(usize::MAX, || match tokens.split_last() {
            Some((&next, before)) if !before.is_empty() && before == seen => self.step(before.len(), next),
            _ => self.prompt(tokens),
        })?;
        seen.clear();
        seen.extend_from_slice(tokens);
        self.seen = seen;
        Ok(&self.logits)
    }

    /// All of `tokens` at once.
    fn prompt(&mut self, tokens: &[u32]) -> Result<(), RuntimeError> {
        let length = self.compiled_length(tokens.len());
        if !self.windows.contains_key(&length) {
            let window = Window::new(&mut self.binder, length)?;
            self.windows.insert(length, window);
        }
        self.make_room(tokens.len())?;
        let (Some(window), Some(cache)) = (self.windows.get_mut(&length), &self.cache) else { return Ok(()) };
        window.run(self.binder.weights(), tokens, cache)?;
        classify(&self.classifier, self.binder.weights(), window.last(), tokens.len() - 1, &mut self.logits)
    }

    /// One token more, at `position`.
    fn step(&mut self, position: usize, token: u32) -> Result<(), RuntimeError> {
        self.make_room(position + 1)?;
        let Some(cache) = &mut self.cache else { return Ok(()) };
        cache.step(self.binder.weights(), position, token)?;
        classify(&self.classifier, self.binder.weights(), cache.last(), 0, &mut self.logits)
    }

    /// Makes the cache large enough for `tokens` tokens.
    fn make_room(&mut self, tokens: usize) -> Result<(), RuntimeError> {
        if self.cache.as_ref().is_some_and(|cache| cache.capacity() >= tokens) {
            return Ok(());
        }
        let capacity = self.compiled_length(tokens);
        let larger = Cache::new(&mut self.binder, capacity)?;
        if let Some(cache) = &self.cache {
            larger.take_over(cache)?;
        }
        self.cache = Some(larger);
        Ok(())
    }

    /// The number of tokens that kernels for `tokens` of them are compiled for.
    fn compiled_length(&self, tokens: usize) -> usize {
        tokens.next_power_of_two().max(SHORTEST).max(self.binder.min_input_width())
    }
}

fn classify(
    classifier: &Classifier,
    weights: &Weights,
    hidden: &Surface,
    position: usize,
    logits: &mut [f32],
) -> Result<(), RuntimeError> {
    let arena = weights.arena().read();
    let weight = &arena[weights.table().classifier().range()];
    hidden.read(|x| classifier.logits(x, weight, position, logits))?;
    Ok(())
}
