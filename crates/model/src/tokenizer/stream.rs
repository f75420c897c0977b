//! Text of tokens that arrive one by one.

use super::Tokenizer;
use crate::error::Result;

/// More tokens than any character needs (four bytes, one token each); if that many did not complete
/// one, they are not UTF-8 and waiting for more would hold the text back for ever.
const MOST_PENDING: usize = 8;

/// Decodes a token at a time and gives out text only when its last character is complete.
///
/// The concatenation of all pieces, [`finish`](StreamDecoder::finish) included, is the text.
#[derive(Debug)]
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    /// The last tokens whose text was given out, kept because some tokenizers treat the first token
    /// of a text differently; then the pending ones.
    tokens: Vec<u32>,
    /// How many of `tokens` were given out.
    done: usize,
}

impl<'a> StreamDecoder<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer) -> Self {
        StreamDecoder { tokenizer, tokens: Vec::new(), done: 0 }
    }

    /// Takes the next token; returns the text it completes, often a word, sometimes nothing.
    ///
    /// # Errors
    /// The library's refusal to decode.
    pub fn push(&mut self, token: u32) -> Result<String> {
        self.tokens.push(token);
        let text = self.pending()?;
        let waiting = self.tokens.len() - self.done;
        let complete = !text.ends_with(char::REPLACEMENT_CHARACTER) || waiting >= MOST_PENDING;
        if text.is_empty() || !complete {
            return Ok(String::new());
        }
        self.tokens.drain(..self.done);
        self.done = self.tokens.len();
        Ok(text)
    }

    /// The text of tokens that never completed a character, if any (as U+FFFD).
    ///
    /// # Errors
    /// The library's refusal to decode.
    pub fn finish(self) -> Result<String> {
        self.pending()
    }

    fn pending(&self) -> Result<String> {
        let before = self.tokenizer.decode(&self.tokens[..self.done])?;
        let all = self.tokenizer.decode(&self.tokens)?;
        // `before` is a prefix of `all` unless the tokenizer rewrites earlier text; then the safe
        // answer is the part beyond its length.
        Ok(all.get(before.len()..).unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        Tokenizer::train(["a fox and a fox and a bear said hello to the fox"], 280).unwrap()
    }

    fn pieces(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<String> {
        let mut stream = tokenizer.stream();
        let mut pieces: Vec<String> = tokens.iter().map(|&token| stream.push(token).unwrap()).collect();
        pieces.push(stream.finish().unwrap());
        pieces
    }

    #[test]
    fn characters_of_several_tokens_come_whole() {
        let tokenizer = tokenizer();
        let text = "a fox 🦊 and 世界 and é";
        let tokens = tokenizer.encode(text).unwrap();
        let pieces = pieces(&tokenizer, &tokens);
        assert!(pieces.iter().all(|piece| !piece.contains('\u{fffd}')), "{pieces:?}");
        assert_eq!(pieces.concat(), text);
        assert!(pieces.iter().filter(|piece| piece.is_empty()).count() >= 3, "{pieces:?}");
    }

    #[test]
    fn an_unfinished_character_is_given_out_at_the_end() {
        let tokenizer = tokenizer();
        let mut tokens = tokenizer.encode("fox 🦊").unwrap();
        tokens.pop();
        let pieces = pieces(&tokenizer, &tokens);
        assert_eq!(pieces.concat(), "fox \u{fffd}");
        assert_eq!(pieces.last().unwrap(), "\u{fffd}");
    }

    /// An untrained model emits stray bytes for ever; text must still flow.
    #[test]
    fn endless_invalid_bytes_do_not_hold_the_text_back() {
        let tokenizer = tokenizer();
        let stray = tokenizer.encode("🦊").unwrap()[3];
        let mut tokens = vec![stray; 20];
        tokens.extend(tokenizer.encode("fox").unwrap());
        let pieces = pieces(&tokenizer, &tokens);
        assert!(!pieces[7].is_empty(), "{pieces:?}");
        assert_eq!(pieces.concat(), tokenizer.decode(&tokens).unwrap());
    }

    #[test]
    fn special_tokens_have_no_text() {
        let tokenizer = tokenizer();
        let end = tokenizer.end_of_text().unwrap();
        let fox = tokenizer.encode(" fox").unwrap();
        let tokens = [&[end][..], &fox, &[end]].concat();
        assert_eq!(pieces(&tokenizer, &tokens).concat(), " fox");
    }
}
