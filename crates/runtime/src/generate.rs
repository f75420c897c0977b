//! Next-token logits of a model.

use std::{collections::BTreeMap, sync::Arc};

use ferrane_engine::{Engine, Surface};
use ferrane_model::{
    plan::{HeadPlan, Plan},
    stage::{Tokens, names},
};

use crate::{
    RuntimeError,
    classifier::Classifier,
    layers::{Binder, Pass, Values, embed},
    weights::Weights,
};

/// The shortest window that is compiled.
const SHORTEST: usize = 32;

/// A model for generation. Each call computes the whole window again, in kernels compiled for the next power of two of
/// its length; columns after the window do not matter, because attention is causal.
pub struct Generator {
    binder: Binder,
    windows: BTreeMap<usize, Window>,
    classifier: Classifier,
    logits: Vec<f32>,
}

/// Kernels for one length.
struct Window {
    layers: Pass,
    head: Pass,
    input: Surface,
    last: Surface,
}

impl Generator {
    /// A generator of the model with these parameters, on `engine`.
    pub fn new(engine: Arc<dyn Engine>, weights: Weights, threads: usize) -> Self {
        let config = weights.table().config().clone();
        Self {
            binder: Binder::new(engine, weights, threads),
            windows: BTreeMap::new(),
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
    pub fn weights_changed(&self) -> Result<(), RuntimeError> {
        self.binder.renew_weights()
    }

    /// The logits of the token after `tokens`, one a vocabulary entry.
    ///
    /// # Errors
    /// When there are no tokens or more than the model's positions, a token is outside the vocabulary, or the engine fails.
    pub fn logits(&mut self, tokens: &[u32]) -> Result<&[f32], RuntimeError> {
        let config = self.binder.weights().table().config().clone();
        if tokens.is_empty() || tokens.len() > config.max_seq {
            return Err(RuntimeError::TooLong { tokens: tokens.len(), max: config.max_seq });
        }
        let least = SHORTEST.max(self.binder.min_input_width());
        let length = tokens.len().next_power_of_two().max(least);
        if !self.windows.contains_key(&length) {
            let window = Window::new(&mut self.binder, length)?;
            self.windows.insert(length, window);
        }
        let Some(window) = self.windows.get_mut(&length) else { return Ok(&self.logits) };

        let mut padded = tokens.to_vec();
        padded.resize(length, 0);
        let weights = self.binder.weights();
        let table = weights.table();
        embed(weights.arena(), table.embedding().offset, config.vocab, &padded, &window.input)?;
        for layer in 0..config.layers {
            window.layers.run(layer)?;
        }
        window.head.run(0)?;

        let arena = weights.arena().read();
        let weight = &arena[table.classifier().range()];
        let (classifier, logits) = (&self.classifier, &mut self.logits);
        window.last.read(|x| classifier.logits(x, weight, tokens.len() - 1, logits))?;
        Ok(&self.logits)
    }
}

impl Window {
    fn new(binder: &mut Binder, length: usize) -> Result<Self, RuntimeError> {
        let config = binder.weights().table().config().clone();
        let tokens = Tokens { batch: 1, seq: length };
        let pieces = binder.compile(&Plan::inference(&config, tokens)?)?;
        let head = binder.compile(std::slice::from_ref(&HeadPlan::host(&config, tokens)?.forward))?;

        // Two surfaces take turns as input and output of a layer.
        let template = binder.values(&pieces.iter().collect::<Vec<_>>(), &Values::new())?;
        let turns = [template[names::X].clone(), template[names::Y].clone()];
        let layer_values = |layer: usize| {
            let mut values = template.clone();
            values.insert(names::X.to_owned(), turns[layer % 2].clone());
            values.insert(names::Y.to_owned(), turns[(layer + 1) % 2].clone());
            values
        };
        let layers: Vec<Values> = (0..config.layers).map(layer_values).collect();
        let given = Values::from([(names::X.to_owned(), turns[config.layers % 2].clone())]);
        let head_values = binder.values(&[&head[0]], &given)?;
        let last = head_values[names::FINAL].clone();
        Ok(Self {
            layers: binder.bind(pieces, &layers)?,
            head: binder.bind(head, std::slice::from_ref(&head_values))?,
            input: turns[0].clone(),
            last,
        })
    }
}
