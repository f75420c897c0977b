//! Tokens, the order in which batches visit them, and held-out windows.
//!
//! A *window* of sequence length S is S + 1 tokens in a row: the first S are inputs, the last S their targets.

mod order;
mod source;
mod windows;

pub use order::{BatchOrder, Cursor, Order};
pub use source::{TokenSource, TokenWidth};
pub use windows::{EvalBatch, EvalWindows};

use std::path::PathBuf;

use thiserror::Error;

/// Why tokens cannot be used.
#[derive(Debug, Error)]
pub enum DataError {
    /// The file cannot be opened or read.
    #[error("cannot read token file {path}: {source}; check the path and its permissions", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There are no tokens at all.
    #[error("{name} holds no tokens; give a text or a token file with at least one sequence")]
    Empty {
        /// The file, or what the tokens were made from.
        name: String,
    },
    /// There are fewer tokens than one window needs.
    #[error(
        "{name} holds {tokens} tokens, but a sequence of {seq} needs {seq} and one more as the last target; \
         give more text or a shorter sequence"
    )]
    TooShort {
        /// The file, or what the tokens were made from.
        name: String,
        /// Tokens there are.
        tokens: u64,
        /// Sequence length asked for.
        seq: usize,
    },
    /// The file's length is not a whole number of tokens.
    #[error(
        "token file {path} has {bytes} bytes, which is no whole number of {width}-byte tokens; \
         the file is cut short or its tokens have another width (--token-bytes)", path = path.display()
    )]
    PartialToken {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// Bytes of one token.
        width: usize,
    },
    /// A token is not in the vocabulary.
    #[error(
        "{name} holds token {token} at position {position}, outside the vocabulary of {vocab}; \
         use the token file of this model's tokenizer, and check the width of its tokens (--token-bytes)"
    )]
    OutOfVocabulary {
        /// The file, or what the tokens were made from.
        name: String,
        /// The token.
        token: u32,
        /// Its index among the tokens.
        position: u64,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// A token width other than 2 or 4 bytes.
    #[error("tokens of {0} bytes are not supported; --token-bytes is 2 or 4")]
    Width(usize),
    /// A held-out fraction outside 0..1.
    #[error("held-out fraction {0} is not between 0 and 1; 0.05 holds out the last twentieth")]
    Fraction(f64),
    /// A batch of no sequences or sequences of no tokens.
    #[error("a batch of {batch_size} sequences of {seq} tokens is empty; both must be at least 1")]
    EmptyBatch {
        /// Sequences asked for.
        batch_size: usize,
        /// Tokens of a sequence asked for.
        seq: usize,
    },
}

/// Windows of `seq` tokens side by side in a source that holds one or more, each with one token after it.
fn windows_in(source: &TokenSource, seq: usize) -> u64 {
    (source.len() - 1) / seq as u64
}

/// Some sequences of one length, with their targets. Memory is allocated once and filled again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    batch_size: usize,
    seq: usize,
    inputs: Vec<u32>,
    targets: Vec<u32>,
}

impl Batch {
    /// A batch of `batch_size` sequences of `seq` tokens, all 0.
    ///
    /// # Errors
    /// When either is 0.
    pub fn new(batch_size: usize, seq: usize) -> Result<Self, DataError> {
        if batch_size == 0 || seq == 0 {
            return Err(DataError::EmptyBatch { batch_size, seq });
        }
        let tokens = vec![0; batch_size * seq];
        Ok(Self { batch_size, seq, inputs: tokens.clone(), targets: tokens })
    }

    /// Number of sequences B.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Tokens of a sequence, S.
    pub fn seq(&self) -> usize {
        self.seq
    }

    /// Input tokens, `[B·S]`, one sequence after the other.
    pub fn inputs(&self) -> &[u32] {
        &self.inputs
    }

    /// For each input the token that follows it, `[B·S]`.
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// Fills sequence `b` with the window that starts at token `start` of `source`.
    fn fill(&mut self, b: usize, source: &TokenSource, start: u64) -> Result<(), DataError> {
        let place = b * self.seq..(b + 1) * self.seq;
        let targets = &mut self.targets[place.clone()];
        source.read(start + 1, targets)?;
        let inputs = &mut self.inputs[place];
        source.read(start, &mut inputs[..1])?;
        inputs[1..].copy_from_slice(&targets[..self.seq - 1]);
        Ok(())
    }
}
