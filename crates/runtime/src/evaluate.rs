//! The loss of a model, without what training needs.

use std::sync::Arc;

use ferrane_engine::{Engine, Surface};
use ferrane_model::{
    plan::{HeadPlan, Plan},
    stage::{Tokens, names},
};

use crate::{
    RuntimeError,
    classifier::Classifier,
    layers::{Binder, Pass, Values, embed, in_turns},
    weights::Weights,
};

/// Forward kernels for batches of one shape.
pub struct Evaluator {
    binder: Binder,
    tokens: Tokens,
    layers: Pass,
    head: Pass,
    input: Surface,
    last: Surface,
    classifier: Classifier,
}

impl Evaluator {
    /// Compiles the model with these parameters for `engine`. `threads` is for the host's part.
    ///
    /// # Errors
    /// When the engine refuses a kernel or memory.
    pub fn new(
        engine: Arc<dyn Engine>,
        weights: Weights,
        tokens: Tokens,
        threads: usize,
    ) -> Result<Self, RuntimeError> {
        let config = weights.table().config().clone();
        let mut binder = Binder::new(engine, weights, threads);
        let pieces = binder.compile(&Plan::inference(&config, tokens)?)?;
        let head = binder.compile(&HeadPlan::host(&config, tokens)?.forward)?;
        let values = binder.values(&pieces.iter().collect::<Vec<_>>(), &Values::new())?;
        let turns = [values[names::X].clone(), values[names::Y].clone()];
        let layers = in_turns(&turns, &vec![values; config.layers]);
        let given = Values::from([(names::X.to_owned(), turns[config.layers % 2].clone())]);
        let head_values = binder.values(&head.iter().collect::<Vec<_>>(), &given)?;
        Ok(Self {
            layers: binder.bind(pieces, &layers)?,
            head: binder.bind(head, std::slice::from_ref(&head_values))?,
            input: turns[0].clone(),
            last: head_values[names::FINAL].clone(),
            classifier: Classifier::new(config.vocab, config.dim, tokens.width()),
            tokens,
            binder,
        })
    }

    /// Tokens of a batch.
    pub fn tokens(&self) -> Tokens {
        self.tokens
    }

    /// Sum over positions of the negative log-likelihood of `targets` after `inputs`: sequence after sequence, of which the
    /// last may be cut short and others be left out.
    ///
    /// # Errors
    /// When there are more tokens than a batch has, one is outside the vocabulary, the engine fails, or the loss is not
    /// finite.
    pub fn loss(&mut self, inputs: &[u32], targets: &[u32]) -> Result<f64, RuntimeError> {
        let width = self.tokens.width();
        if inputs.len() != targets.len() || inputs.len() > width {
            return Err(RuntimeError::TokenCount { given: inputs.len(), expected: width });
        }
        // Attention is causal: what stands after a sequence's tokens does not matter.
        let mut padded = inputs.to_vec();
        padded.resize(width, 0);
        let weights = self.binder.weights();
        embed(weights, &padded, &self.input)?;
        for layer in 0..weights.table().config().layers {
            self.layers.run(layer)?;
        }
        self.head.run(0)?;
        let weights = self.binder.weights();
        let arena = weights.arena().read();
        let (classifier, weight) = (&mut self.classifier, &arena[weights.table().classifier().range()]);
        Ok(self.last.read(|x| classifier.forward(x, weight, targets))??)
    }
}
