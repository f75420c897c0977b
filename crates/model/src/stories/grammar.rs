//! The template language the stories are written in.
//!
//! | written | means |
//! |---|---|
//! | `(a\|b\|)` | one of the alternatives, which may be empty and may nest |
//! | `[a]` | `a` or nothing |
//! | `{h.he}` | the slot's value; `{H.he}` the same with a capital |
//! | `@` | "a" or "an", by the letter that follows |
//!
//! Sentences and quotations get their capitals in [`finish`], except after a quotation that ends in
//! `?"` or `!"`, where a tag such as `said Tom` may follow, and in a quotation after a comma, which
//! may go on with a sentence.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Values by slot name. A story has some dozens, so a list is searched fast enough.
#[derive(Debug, Default)]
pub(super) struct Slots(Vec<(&'static str, String)>);

impl Slots {
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.push((name, value.into()));
    }

    /// Reads every value once, so that alternatives in it are chosen for the whole story.
    pub(super) fn settle(&mut self, rng: &mut ChaCha8Rng) {
        let empty = Slots::default();
        for (_, value) in &mut self.0 {
            let mut settled = String::with_capacity(value.len());
            expand(value, &empty, rng, &mut settled);
            *value = settled;
        }
    }

    /// The latest value given to a slot.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// A number below `bound`, which is at least 1 and small; the same on every platform.
pub(super) fn below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
    ((u64::from(rng.next_u32()) * bound as u64) >> 32) as usize
}

/// One of the items of a non-empty list.
pub(super) fn pick<'a, T>(rng: &mut ChaCha8Rng, items: &'a [T]) -> &'a T {
    &items[below(rng, items.len())]
}

/// Appends one reading of `template` to `out`.
///
/// Templates are constants of this crate whose form a test checks; in one that is malformed the
/// remainder is taken literally.
pub(super) fn expand(template: &str, slots: &Slots, rng: &mut ChaCha8Rng, out: &mut String) {
    let mut rest = template;
    while let Some(at) = rest.find(['(', '[', '{']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some(end) = closing(rest) else { break };
        let inside = &rest[1..end];
        match rest.as_bytes()[0] {
            b'(' => expand(alternative(inside, rng), slots, rng, out),
            b'[' if below(rng, 2) == 0 => expand(inside, slots, rng, out),
            b'{' => push_slot(inside, slots, out),
            _ => {}
        }
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
}

/// Position of the bracket that closes the one `text` begins with.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn alternative<'a>(inside: &'a str, rng: &mut ChaCha8Rng) -> &'a str {
    let count = alternatives(inside).count();
    alternatives(inside).nth(below(rng, count)).unwrap_or(inside)
}

/// Splits at the bars that are not inside further brackets.
fn alternatives(inside: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0usize;
    inside.split(move |c| {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == '|' && depth == 0
    })
}

fn push_slot(name: &str, slots: &Slots, out: &mut String) {
    let capital = name.starts_with(|first: char| first.is_ascii_uppercase());
    let found = if capital { slots.get(&name.to_ascii_lowercase()) } else { slots.get(name) };
    let value = found.unwrap_or(name);
    if capital { push_capitalised(value, out) } else { out.push_str(value) }
}

fn push_capitalised(text: &str, out: &mut String) {
    let mut characters = text.chars();
    out.extend(characters.next().map(|first| first.to_ascii_uppercase()));
    out.push_str(characters.as_str());
}

/// Marks the beginning of a sentence where punctuation does not show it; [`finish`] removes it.
pub(super) const SENTENCE: char = '^';

/// Resolves `@` and capitalises the beginnings of sentences.
pub(super) fn finish(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut sentence_starts = true;
    let mut previous = ['\n'; 2];
    for (at, character) in text.char_indices() {
        match character {
            SENTENCE => {
                sentence_starts = true;
                continue;
            }
            '@' => {
                let vowel = text[at + 1..].trim_start().starts_with(['a', 'e', 'i', 'o', 'u']);
                let article = if vowel { "an" } else { "a" };
                if sentence_starts {
                    push_capitalised(article, &mut out)
                } else {
                    out.push_str(article)
                }
                sentence_starts = false;
            }
            ' ' | '\n' => {
                sentence_starts |= character == '\n' || ends_sentence(previous);
                out.push(character);
            }
            // A quotation is a sentence of its own unless it goes on after a comma.
            '"' if previous[1].is_whitespace() => {
                sentence_starts |= previous[0] != ',';
                out.push('"');
            }
            letter if sentence_starts && letter.is_ascii_alphabetic() => {
                out.push(letter.to_ascii_uppercase());
                sentence_starts = false;
            }
            other => out.push(other),
        }
        previous = [previous[1], character];
    }
    out
}

fn ends_sentence(last_two: [char; 2]) -> bool {
    matches!(last_two, [_, '.' | '!' | '?'] | ['.', '"'])
}

#[cfg(test)]
pub(super) mod checks {
    use std::collections::BTreeSet;

    /// Every slot a template mentions; panics if its brackets do not match.
    pub(in super::super) fn slots_of(template: &str) -> BTreeSet<String> {
        let mut open = Vec::new();
        let mut slots = BTreeSet::new();
        for (at, character) in template.char_indices() {
            match character {
                '(' | '[' => open.push(character),
                '{' => {
                    let end = template[at..].find('}').unwrap_or_else(|| panic!("{template}"));
                    slots.insert(template[at + 1..at + end].to_ascii_lowercase());
                }
                ')' => assert_eq!(open.pop(), Some('('), "{template}"),
                ']' => assert_eq!(open.pop(), Some('['), "{template}"),
                '|' => assert!(open.contains(&'('), "a bar outside brackets: {template}"),
                _ => {}
            }
        }
        assert!(open.is_empty(), "unclosed bracket: {template}");
        assert!(template.matches('"').count().is_multiple_of(2), "unbalanced quotes: {template}");
        slots
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    fn readings(template: &str) -> BTreeSet<String> {
        let mut slots = Slots::default();
        slots.set("h", "Lily");
        slots.set("h.he", "she");
        let read = |seed| {
            let mut out = String::new();
            expand(template, &slots, &mut ChaCha8Rng::seed_from_u64(seed), &mut out);
            out
        };
        (0..200).map(read).collect()
    }

    fn set(items: &[&str]) -> BTreeSet<String> {
        items.iter().map(|&item| item.to_owned()).collect()
    }

    #[test]
    fn alternatives_nest_and_may_be_empty() {
        assert_eq!(readings("(a|b(c|d)|)!"), set(&["a!", "bc!", "bd!", "!"]));
        assert_eq!(readings("x[ y[ z]]"), set(&["x", "x y", "x y z"]));
        assert_eq!(readings("{h} and {H.he}"), set(&["Lily and She"]));
    }

    #[test]
    fn malformed_templates_do_not_panic() {
        for template in ["(a|b", "{h", "]a)", "[", "{nobody}"] {
            assert!(!readings(template).is_empty());
        }
    }

    #[test]
    fn articles_and_capitals_follow_the_text() {
        assert_eq!(
            finish("^@ owl saw @ bear. it ran! \"Come,\" said @ egg. \"No.\" they sat.\n\nthe end"),
            "An owl saw a bear. It ran! \"Come,\" said an egg. \"No.\" They sat.\n\nThe end"
        );
        let quoted = "\"Help!\" cried Tom. \"Why?\" \"Well,\" said Mia, \"but we can.\"";
        assert_eq!(finish(&quoted.to_lowercase().replace("tom", "Tom").replace("mia", "Mia")), quoted);
    }
}
