//! A prompt in one pass.

use ferrane_engine::Surface;
use ferrane_model::{
    plan::{HeadPlan, Plan},
    stage::{Tokens, names},
};

use super::cache::Cache;
use crate::{
    RuntimeError,
    layers::{Binder, Pass, Values, embed, in_turns},
    weights::Weights,
};

/// Kernels for one length.
pub(super) struct Window {
    length: usize,
    layers: Pass,
    head: Pass,
    input: Surface,
    /// Keys and values of the layer that ran last.
    taps: [Surface; 2],
    last: Surface,
}

impl Window {
    pub(super) fn new(binder: &mut Binder, length: usize) -> Result<Self, RuntimeError> {
        let config = binder.weights().table().config().clone();
        let tokens = Tokens { batch: 1, seq: length };
        let pieces = binder.compile(&Plan::inference(&config, tokens)?)?;
        let head = binder.compile(&HeadPlan::host(&config, tokens)?.forward)?;

        let values = binder.values(&pieces.iter().collect::<Vec<_>>(), &Values::new())?;
        let turns = [values[names::X].clone(), values[names::Y].clone()];
        let layers = in_turns(&turns, &vec![values.clone(); config.layers]);
        let given = Values::from([(names::X.to_owned(), turns[config.layers % 2].clone())]);
        let head_values = binder.values(&[&head[0]], &given)?;
        Ok(Self {
            length,
            layers: binder.bind(pieces, &layers)?,
            head: binder.bind(head, std::slice::from_ref(&head_values))?,
            taps: [values[names::K].clone(), values[names::V].clone()],
            last: head_values[names::FINAL].clone(),
            input: turns[0].clone(),
        })
    }

    /// Computes the hidden states of `tokens` and puts their keys and values into `cache`.
    pub(super) fn run(
        &mut self,
        weights: &Weights,
        tokens: &[u32],
        cache: &Cache,
    ) -> Result<(), RuntimeError> {
        let mut padded = tokens.to_vec();
        padded.resize(self.length, 0);
        embed(weights, &padded, &self.input)?;
        for layer in 0..weights.table().config().layers {
            self.layers.run(layer)?;
            cache.put(layer, &self.taps, tokens.len(), 0)?;
        }
        cache.mask_after(tokens.len())?;
        self.head.run(0)
    }

    /// The normed hidden states.
    pub(super) fn last(&self) -> &Surface {
        &self.last
    }
}
