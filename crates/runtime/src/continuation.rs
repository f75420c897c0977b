//! Continuing a text, token after token.

use std::ops::ControlFlow;

use crate::{Generator, RuntimeError, Sampler};

/// Why a continuation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The model chose a token that ends a text.
    EndOfText,
    /// There are as many tokens as asked for.
    Length,
    /// The receiver asked to stop.
    Stopped,
}

impl Generator {
    /// Continues `prompt` by at most `max_tokens` tokens and gives each to `receive` as soon as it is chosen; a token of
    /// `ends` ends the text and is not given out.
    ///
    /// When prompt and continuation outgrow the model's positions, the model sees the last of them: after an overflow
    /// half of the window is dropped at once, so that windows keep their beginning for many tokens.
    ///
    /// # Errors
    /// As [`Generator::logits`]; an empty prompt is such an error.
    pub fn continue_prompt(
        &mut self,
        prompt: &[u32],
        ends: &[u32],
        max_tokens: usize,
        sampler: &mut Sampler,
        mut receive: impl FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Ended, RuntimeError> {
        let longest = self.max_tokens();
        let mut window = prompt[prompt.len().saturating_sub(longest)..].to_vec();
        for _ in 0..max_tokens {
            if window.len() > longest {
                window.drain(..window.len() - longest.div_ceil(2));
            }
            let token = sampler.sample(self.logits(&window)?);
            if ends.contains(&token) {
                return Ok(Ended::EndOfText);
            }
            if receive(token).is_break() {
                return Ok(Ended::Stopped);
            }
            window.push(token);
        }
        Ok(Ended::Length)
    }
}
