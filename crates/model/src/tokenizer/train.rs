//! Training a byte-level BPE.

use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, NormalizerWrapper, Tokenizer, TokenizerBuilder};

use super::{END_OF_TEXT, refused};
use crate::error::{ModelError, Result};

/// A pair of tokens seen only once is not worth a token.
const LEAST_FREQUENCY: u64 = 2;

pub(super) fn byte_level_bpe<'a>(
    documents: impl Iterator<Item = &'a str> + Send,
    vocab: usize,
) -> Result<Tokenizer> {
    let least = 256 + 1;
    if vocab < least {
        return Err(ModelError::VocabTooSmall { asked: vocab, least });
    }
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(vocab)
        .min_frequency(LEAST_FREQUENCY)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
        .build();
    // No space is put before the first word: decoding gives exactly the text that was encoded.
    let bytes = ByteLevel::default().add_prefix_space(false);
    let failed = |error| refused("train".to_owned(), error);
    let mut tokenizer = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None::<NormalizerWrapper>)
        .with_pre_tokenizer(Some(bytes))
        .with_post_processor(Some(bytes))
        .with_decoder(Some(bytes))
        .build()
        .map_err(failed)?;
    tokenizer.train(&mut trainer, documents).map_err(failed)?;
    Ok(tokenizer.into())
}
