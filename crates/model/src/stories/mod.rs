//! The built-in corpus: small English stories from a seeded generator.
//!
//! A story is a plot (see `plots`) told with people, places and things chosen for it; every step of a
//! plot has several phrasings, and every phrasing has choices inside. Words and sentences are simple
//! and regular, so that a model of a million parameters learns to write such stories in a minute or
//! two; names, things and phrasings vary, so that it cannot do so by heart.
//!
//! Story `i` of a seed is the same on every platform and does not depend on the others.

mod beats;
mod grammar;
mod people;
mod plots;
mod setting;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::tokenizer::END_OF_TEXT;
use grammar::{SENTENCE, Slots, expand, finish, pick};
use plots::{PLOTS, Plot};

/// Story number `index` of the corpus of `seed`: paragraphs separated by empty lines.
pub fn story(seed: u64, index: u64) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index);
    let plot = *pick(&mut rng, PLOTS);
    tell(plot, &mut rng)
}

/// The first stories of `seed` that together have at least `bytes` bytes.
pub fn corpus(seed: u64, bytes: usize) -> Vec<String> {
    let mut stories = Vec::new();
    let mut length = 0;
    while length < bytes {
        let story = story(seed, stories.len() as u64);
        length += story.len();
        stories.push(story);
    }
    stories
}

/// Stories as one text, separated by [`END_OF_TEXT`] on lines of its own: what a text file for
/// training looks like, and what [`crate::tokenizer::split_documents`] takes apart.
pub fn to_text(stories: &[String]) -> String {
    let mut text = stories.join(&format!("\n{END_OF_TEXT}\n"));
    text.push('\n');
    text
}

fn tell(plot: &Plot, rng: &mut ChaCha8Rng) -> String {
    let slots = choose_slots(plot, rng);
    let mut draft = String::with_capacity(1024);
    for paragraph in plot.paragraphs {
        if !draft.is_empty() {
            draft.push_str("\n\n");
        }
        let mut previous = "";
        for beat in *paragraph {
            let phrasing = *pick(rng, beat);
            if phrasing.is_empty() {
                continue;
            }
            if !draft.is_empty() && !draft.ends_with('\n') {
                draft.push(' ');
            }
            draft.push(SENTENCE);
            match phrasing.strip_prefix("{h} ") {
                Some(rest) if only_hero_acts(previous) => {
                    expand("{h.he} ", &slots, rng, &mut draft);
                    expand(rest, &slots, rng, &mut draft);
                }
                _ => expand(phrasing, &slots, rng, &mut draft),
            }
            previous = phrasing;
        }
    }
    finish(&draft)
}

/// Whether a phrasing leaves no doubt that the next "he" or "she" is the hero: it begins with the
/// hero, and neither the elder appears nor anyone speaks. (The friend has the other pronoun.)
fn only_hero_acts(phrasing: &str) -> bool {
    (phrasing.starts_with("{h} ") || phrasing.starts_with("{h.he} "))
        && !phrasing.contains("{e")
        && !phrasing.contains('"')
}

fn choose_slots(plot: &Plot, rng: &mut ChaCha8Rng) -> Slots {
    let mut slots = Slots::default();
    people::cast(&mut slots, rng);
    setting::scene(&mut slots, rng);
    slots.settle(rng);
    for &(name, value) in *pick(rng, plot.cases) {
        let mut chosen = String::with_capacity(value.len());
        expand(value, &slots, rng, &mut chosen);
        slots.set(name, chosen);
    }
    slots
}

#[cfg(test)]
mod tests;
