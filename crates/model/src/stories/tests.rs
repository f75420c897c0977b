use std::collections::{BTreeSet, HashMap, HashSet};

use super::grammar::checks::slots_of;
use super::*;

const STORIES: u64 = 1000;

fn stories() -> Vec<String> {
    (0..STORIES).map(|index| story(1, index)).collect()
}

/// Sentences, with the tag of a quotation kept with it.
fn sentences(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut start = 0;
    let bytes = text.as_bytes();
    for at in 0..bytes.len() {
        let ends = matches!(bytes[at], b'.' | b'!' | b'?') && bytes.get(at + 1) != Some(&b'"')
            || bytes[at] == b'"' && at > 0 && bytes[at - 1] == b'.';
        if ends {
            out.push(text[start..=at].trim());
            start = at + 1;
        }
    }
    out
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphabetic() && c != '\'').filter(|word| !word.is_empty())
}

#[test]
fn every_template_is_well_formed_and_every_slot_is_filled() {
    for plot in PLOTS {
        assert!(!plot.cases.is_empty(), "{}", plot.name);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut base = Slots::default();
        people::cast(&mut base, &mut rng);
        setting::scene(&mut base, &mut rng);
        for case in plot.cases {
            let mut known: BTreeSet<&str> = case.iter().map(|&(name, _)| name).collect();
            let unset = |known: &BTreeSet<&str>, slot: &String| {
                base.get(slot).is_none() && !known.contains(slot.as_str())
            };
            for &(_, value) in *case {
                for slot in slots_of(value) {
                    assert!(!unset(&known, &slot), "{}: slot {slot} in {value}", plot.name);
                }
            }
            for beat in plot.paragraphs.iter().flat_map(|paragraph| paragraph.iter()) {
                assert!(!beat.is_empty());
                for template in *beat {
                    for slot in slots_of(template) {
                        assert!(!unset(&known, &slot), "{}: slot {slot} in {template}", plot.name);
                    }
                }
            }
            known.clear();
        }
        // Slots of people and setting may be replaced in some cases; those of the plot itself not.
        let own = |case: &plots::Case| -> Vec<&str> {
            case.iter().map(|&(name, _)| name).filter(|&name| base.get(name).is_none()).collect()
        };
        let names: Vec<_> = plot.cases.iter().map(own).collect();
        assert!(names.iter().all(|n| n == &names[0]), "{}: cases fill different slots", plot.name);
    }
}

#[test]
fn there_are_plots_enough() {
    let names: HashSet<&str> = PLOTS.iter().map(|plot| plot.name).collect();
    assert_eq!(names.len(), PLOTS.len());
    assert!(PLOTS.len() >= 12, "{}", PLOTS.len());
}

#[test]
fn stories_are_clean_text() {
    for text in stories() {
        let bad = [
            "  ", "{", "}", "(", ")", "[", "]", "|", "@", " .", " ,", "..", ".,", ",.", "!.", "?.", "\n\n\n",
            " \n", "\n ", ",\"\n",
        ];
        for pattern in bad {
            assert!(!text.contains(pattern), "{pattern:?} in: {text}");
        }
        assert!(text.is_ascii(), "{text}");
        assert!(text.starts_with(|c: char| c.is_ascii_uppercase()), "{text}");
        assert!(text.ends_with(['.', '!', '?', '"']), "{text}");
        assert_eq!(text.matches('"').count() % 2, 0, "{text}");
        for paragraph in text.split("\n\n") {
            assert_eq!(paragraph.matches('"').count() % 2, 0, "{paragraph}");
        }
    }
}

/// "a" before consonants, "an" before vowels, and no sentence begins in lower case.
#[test]
fn articles_and_capitals_are_right() {
    for text in stories() {
        let all: Vec<&str> = words(&text).collect();
        for pair in all.windows(2) {
            // "one" and "use" begin with a consonant's sound.
            let vowel = pair[1].to_ascii_lowercase().starts_with(['a', 'e', 'i', 'o', 'u'])
                && !pair[1].starts_with("one")
                && !pair[1].starts_with("use");
            match pair[0] {
                "a" | "A" => assert!(!vowel, "{pair:?}: {text}"),
                "an" | "An" => assert!(vowel, "{pair:?}: {text}"),
                _ => {}
            }
        }
        for (at, _) in text.match_indices(". ") {
            let next = text[at + 2..].trim_start_matches('"');
            assert!(!next.starts_with(|c: char| c.is_ascii_lowercase()), "{}: {text}", &text[at..]);
        }
        for (at, _) in text.match_indices(" \"") {
            let quoted = text.as_bytes()[at + 2];
            let continues = text[..at].ends_with(',') || text[..at].ends_with(|c: char| c.is_alphabetic());
            assert!(continues || quoted.is_ascii_uppercase(), "{}: {text}", &text[at..]);
        }
    }
}

/// A small vocabulary for a small model, and yet stories that differ.
#[test]
fn words_are_few_and_sentences_many() {
    let stories = stories();
    let mut vocabulary = HashSet::new();
    let (mut sentence_count, mut distinct) = (0, HashSet::new());
    let (mut gram_count, mut grams) = (0, HashSet::new());
    let mut shared_most = 0;
    let mut seen: HashMap<String, usize> = HashMap::new();
    for text in &stories {
        let all: Vec<String> = words(text).map(str::to_ascii_lowercase).collect();
        vocabulary.extend(all.iter().cloned());
        for gram in all.windows(8) {
            gram_count += 1;
            grams.insert(gram.to_vec());
        }
        for sentence in sentences(text) {
            sentence_count += 1;
            distinct.insert(sentence.to_owned());
            let count = seen.entry(sentence.to_owned()).or_default();
            *count += 1;
            shared_most = shared_most.max(*count);
        }
    }
    let sentence_ratio = distinct.len() as f64 / f64::from(sentence_count);
    let gram_ratio = grams.len() as f64 / f64::from(gram_count);
    let words_each = stories.iter().map(|text| words(text).count()).sum::<usize>() / stories.len();
    let figures = format!(
        "{} words, distinct sentences {sentence_ratio:.3}, distinct 8-grams {gram_ratio:.3}, \
         most repeated sentence {shared_most}, {words_each} words a story",
        vocabulary.len()
    );
    assert!(vocabulary.len() <= 1500, "{figures}");
    assert!(sentence_ratio >= 0.55, "{figures}");
    assert!(gram_ratio >= 0.55, "{figures}");
    assert!(shared_most <= 40, "{figures}");
    assert!((90..=190).contains(&words_each), "{figures}");
}

#[test]
fn no_two_stories_are_the_same() {
    let stories = stories();
    assert_eq!(stories.iter().collect::<HashSet<_>>().len(), stories.len());
}

#[test]
fn two_stories_share_few_sentences() {
    let stories = stories();
    let sets: Vec<HashSet<&str>> = stories.iter().map(|text| sentences(text).into_iter().collect()).collect();
    for pair in sets.windows(2) {
        let shared: Vec<_> = pair[0].intersection(&pair[1]).collect();
        assert!(3 * shared.len() <= pair[0].len(), "{} of {}: {shared:?}", shared.len(), pair[0].len());
    }
}

#[test]
fn a_seed_decides_and_a_larger_corpus_begins_like_a_smaller_one() {
    let small = corpus(7, 10_000);
    let large = corpus(7, 20_000);
    assert_eq!(small, large[..small.len()]);
    assert_ne!(small[0], corpus(8, 1)[0]);
    assert!(small.iter().map(String::len).sum::<usize>() >= 10_000);
}

#[test]
fn the_text_form_comes_apart_again() {
    let stories = corpus(3, 5_000);
    assert_eq!(crate::tokenizer::split_documents(&to_text(&stories)), stories);
}
