//! Cutting long texts for parallel encoding.
//!
//! A byte-level tokenizer splits text by a pattern in which a single line break between two
//! characters that are not white space is a word of its own. Cutting just before such a line break
//! changes no token.

/// Cuts `text` before single line breaks into pieces of at least `length` bytes (the last may be
/// shorter). Text without such line breaks stays whole.
pub(super) fn chunks(text: &str, length: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(cut) = next_cut(rest, length) {
        let (piece, after) = rest.split_at(cut);
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

fn next_cut(text: &str, length: usize) -> Option<usize> {
    // Searching bytes is safe: a line break is one byte and never part of another character.
    let bytes = text.as_bytes();
    let from = length.max(1);
    (from..bytes.len()).find(|&at| {
        bytes[at] == b'\n'
            && text[..at].chars().next_back().is_some_and(|before| !before.is_whitespace())
            && text[at + 1..].chars().next().is_some_and(|after| !after.is_whitespace())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_before_single_line_breaks_and_nothing_is_lost() {
        assert_eq!(chunks("ab\ncd\nef", 3), ["ab\ncd", "\nef"]);
        assert_eq!(chunks("ab\n\ncd\n ef\n", 1), ["ab\n\ncd\n ef\n"]);
        assert_eq!(chunks("é\n世\nx", 1), ["é", "\n世", "\nx"]);
        assert_eq!(chunks("", 4), [""]);
        assert_eq!(chunks("a\nb", usize::MAX), ["a\nb"]);
    }
}
