//! How well a model predicts data: loss, perplexity, bits per byte.

use ferrane_model::{ModelError, Tokenizer};
use ferrane_runtime::{Evaluator, RuntimeError};
use serde::Serialize;
use thiserror::Error;

use crate::data::{DataError, TokenSource};

/// Why data could not be evaluated.
#[derive(Debug, Error)]
pub enum EvaluationError {
    /// Tokens cannot be read, or are fewer than two.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The engine failed, or the loss is not finite.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The tokenizer refuses.
    #[error(transparent)]
    Tokenizer(#[from] ModelError),
}

/// What an evaluation found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Evaluation {
    /// Mean negative log-likelihood of a token, in nats.
    pub loss: f64,
    /// e to the loss.
    pub perplexity: f64,
    /// Bits it takes to tell a byte of the text, whatever the tokenizer; none without one.
    pub bits_per_byte: Option<f64>,
    /// Tokens that were predicted.
    pub tokens: u64,
    /// Bytes of text they stand for; end tokens are none. None without a tokenizer.
    pub bytes: Option<u64>,
}

/// Predicts every token of `source` but the first, at most `limit`, from those before it in its window of the evaluator's
/// sequence length; windows lie side by side. `progress` is told how many tokens are done.
///
/// # Errors
/// Tokens that cannot be read, fewer than two of them, an engine that fails, a loss that is not finite.
pub fn evaluate(
    evaluator: &mut Evaluator,
    source: &TokenSource,
    tokenizer: Option<&Tokenizer>,
    limit: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Evaluation, EvaluationError> {
    source.require_window(1)?;
    let all = (source.len() - 1).min(limit);
    let width = evaluator.tokens().width() as u64;
    let mut words = tokenizer.map(|tokenizer| (tokenizer.stream(), 0));
    let (mut nats, mut done) = (0.0, 0);
    while done < all {
        let count = (all - done).min(width) as usize;
        let mut tokens = vec![0; count + 1];
        source.read(done, &mut tokens)?;
        let (inputs, targets) = (&tokens[..count], &tokens[1..]);
        nats += evaluator.loss(inputs, targets)?;
        if let Some((stream, bytes)) = &mut words {
            for &target in targets {
                *bytes += stream.push(target)?.len() as u64;
            }
        }
        done += count as u64;
        progress(done);
    }
    let bytes = match words {
        Some((stream, bytes)) => Some(bytes + stream.finish()?.len() as u64),
        None => None,
    };
    let loss = nats / done.max(1) as f64;
    Ok(Evaluation {
        loss,
        perplexity: loss.exp(),
        bits_per_byte: bytes
            .filter(|&bytes| bytes > 0)
            .map(|bytes| nats / std::f64::consts::LN_2 / bytes as f64),
        tokens: done,
        bytes,
    })
}
