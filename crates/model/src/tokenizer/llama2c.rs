//! llama2.c's `tokenizer.bin`: SentencePiece's pieces and scores of the Llama 2 tokenizer.
//!
//! An `i32` that bounds the pieces' length, then for each piece an `f32` score, an `i32` length and its bytes, all
//! little-endian, to the end of the file. Piece 0 is unknown, 1 begins and 2 ends a text, 3 to 258 are the bytes; a space
//! stands where SentencePiece has U+2581.
//!
//! llama2.c joins, as long as it can, the neighbours whose joint piece has the best score. A BPE of the `tokenizers` crate
//! joins by rank; ranks in the order of scores make it the same.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::{ModelError, Result};

const FORMAT: &str = "llama2.c tokenizer";
/// Pieces before the ordinary ones: three special ones and the bytes.
const RESERVED: usize = 3 + 256;
/// SentencePiece's mark for a space.
const SPACE: &str = "\u{2581}";
const SPECIAL: [&str; 3] = ["<unk>", "<s>", "</s>"];

/// A `tokenizer.json` that encodes as llama2.c does, and the `tokenizer_config.json` to go with it.
pub(super) fn to_json(path: &Path) -> Result<(String, String)> {
    let bytes = fs::read(path).map_err(ModelError::io("read", path))?;
    let pieces = pieces(&bytes).map_err(|problem| ModelError::corrupt(FORMAT, path, problem))?;
    let mut vocab = Map::new();
    for (id, piece) in pieces.iter().enumerate() {
        if vocab.insert(piece.text.clone(), json!(id)).is_some() {
            let problem = format!("piece {id}, {:?}, occurs twice", piece.text);
            return Err(ModelError::corrupt(FORMAT, path, problem));
        }
    }
    let special = |(id, content): (usize, &&str)| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    };
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": SPECIAL.iter().enumerate().map(special).collect::<Vec<_>>(),
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": SPACE},
            {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        ]},
        "pre_tokenizer": null,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": Value::Object(vocab), "merges": merges(&pieces),
        },
    });
    let settings = json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "bos_token": "<s>",
        "eos_token": "</s>", "clean_up_tokenization_spaces": false,
        "model_max_length": 1_000_000_000u64,
    });
    Ok((tokenizer.to_string(), settings.to_string()))
}

struct Piece {
    text: String,
    score: f32,
}

fn pieces(bytes: &[u8]) -> std::result::Result<Vec<Piece>, String> {
    let (longest, mut rest) = int(bytes).ok_or("it is shorter than its header")?;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let id = pieces.len();
        let cut = || format!("it ends in the middle of piece {id}");
        let (score, after) = rest.split_first_chunk().ok_or_else(cut)?;
        let (length, after) = int(after).ok_or_else(cut)?;
        if length < 0 || length > longest {
            return Err(format!("piece {id} claims {length} bytes and the longest has {longest}"));
        }
        let (text, after) = after.split_at_checked(length as usize).ok_or_else(cut)?;
        let text = std::str::from_utf8(text).map_err(|_| format!("piece {id} is not UTF-8"))?;
        let text = match SPECIAL.get(id) {
            Some(name) => (*name).to_owned(),
            None => text.replace(' ', SPACE),
        };
        pieces.push(Piece { text, score: f32::from_le_bytes(*score) });
        rest = after;
    }
    if pieces.len() < RESERVED {
        return Err(format!(
            "it has {} pieces, fewer than the {RESERVED} special ones and bytes",
            pieces.len()
        ));
    }
    let byte = |value: usize| format!("<0x{value:02X}>");
    match (0..256).find(|&value| pieces[3 + value].text != byte(value)) {
        Some(value) => {
            Err(format!("piece {} is {:?} instead of {}", 3 + value, pieces[3 + value].text, byte(value)))
        }
        None => Ok(pieces),
    }
}

fn int(bytes: &[u8]) -> Option<(i32, &[u8])> {
    bytes.split_first_chunk().map(|(int, rest)| (i32::from_le_bytes(*int), rest))
}

/// Every way to make a piece of two, those of the best score first; of one piece, the longest beginning first.
fn merges(pieces: &[Piece]) -> Vec<[&str; 2]> {
    let known: HashMap<&str, ()> = pieces[RESERVED..].iter().map(|piece| (piece.text.as_str(), ())).collect();
    let mut merges = Vec::new();
    for piece in &pieces[RESERVED..] {
        let splits = piece.text.char_indices().skip(1).map(|(at, _)| piece.text.split_at(at));
        let splits = splits.filter(|(a, b)| known.contains_key(a) && known.contains_key(b));
        merges.extend(splits.map(|(a, b)| (piece.score, [a, b])));
    }
    merges.sort_by(|(a, x), (b, y)| b.total_cmp(a).then_with(|| y[0].len().cmp(&x[0].len())));
    merges.into_iter().map(|(_, merge)| merge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokenizer;
    use proptest::prelude::*;

    /// A file with these ordinary pieces, the first of the best score.
    fn file(ordinary: &[&str]) -> Vec<u8> {
        let mut pieces: Vec<(f32, String)> =
            ["<unk>", "\n<s>\n", "\n</s>\n"].map(|special| (0.0, special.to_owned())).into();
        pieces.extend((0..256).map(|byte| (0.0, format!("<0x{byte:02X}>"))));
        pieces.extend(ordinary.iter().enumerate().map(|(i, piece)| (-(i as f32), (*piece).to_owned())));
        let longest = pieces.iter().map(|(_, piece)| piece.len()).max().unwrap();
        let mut bytes = (longest as i32).to_le_bytes().to_vec();
        for (score, piece) in pieces {
            bytes.extend(score.to_le_bytes());
            bytes.extend((piece.len() as i32).to_le_bytes());
            bytes.extend(piece.as_bytes());
        }
        bytes
    }

    fn load(bytes: &[u8]) -> Result<Tokenizer> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.bin");
        fs::write(&path, bytes).unwrap();
        Tokenizer::load(&path)
    }

    /// `encode` of llama2.c's run.c, without begin and end tokens.
    fn llama2c(ordinary: &[&str], text: &str) -> Vec<u32> {
        let find = |piece: &str| ordinary.iter().position(|p| *p == piece).map(|i| (RESERVED + i) as u32);
        let piece = |id: u32| (id as usize).checked_sub(RESERVED).map(|i| ordinary[i]);
        let mut tokens = Vec::new();
        if !text.is_empty() {
            tokens.push(find(" ").unwrap());
        }
        for c in text.chars() {
            match find(c.encode_utf8(&mut [0; 4])) {
                Some(id) => tokens.push(id),
                None => tokens.extend(c.to_string().bytes().map(|byte| u32::from(byte) + 3)),
            }
        }
        loop {
            let mut best: Option<(f32, usize, u32)> = None;
            for i in 0..tokens.len().saturating_sub(1) {
                let (Some(a), Some(b)) = (piece(tokens[i]), piece(tokens[i + 1])) else { continue };
                let Some(id) = find(&format!("{a}{b}")) else { continue };
                let score = -((id as usize - RESERVED) as f32);
                if best.is_none_or(|(best, ..)| score > best) {
                    best = Some((score, i, id));
                }
            }
            let Some((_, at, id)) = best else { return tokens };
            tokens[at] = id;
            tokens.remove(at + 1);
        }
    }

    const ORDINARY: [&str; 17] = [
        "aa", "ab", " a", "ba", "aab", "abab", " ab", "aaaa", "  ", "    ", "bé", "é", "a", "b", " ", "世",
        "\n",
    ];

    proptest! {
        #[test]
        fn texts_are_encoded_as_llama2c_does(text in "[ab é世\nx]{0,24}") {
            let tokenizer = load(&file(&ORDINARY)).unwrap();
            prop_assert_eq!(tokenizer.encode(&text).unwrap(), llama2c(&ORDINARY, &text));
            prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text).unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn unknown_characters_are_their_bytes_and_special_tokens_are_named() {
        let tokenizer = load(&file(&ORDINARY)).unwrap();
        // 🦊 is F0 9F A6 8A.
        assert_eq!(tokenizer.encode("🦊").unwrap()[1..], [0xf0 + 3, 0x9f + 3, 0xa6 + 3, 0x8a + 3]);
        assert_eq!(tokenizer.special().bos, Some(1));
        assert_eq!(tokenizer.special().eos, [2]);
        assert_eq!(tokenizer.vocab_size(), RESERVED + ORDINARY.len());
    }

    #[test]
    fn damaged_files_are_named_with_what_is_wrong() {
        let whole = file(&ORDINARY);
        let problem = |bytes: &[u8]| load(bytes).unwrap_err().to_string();
        assert!(problem(&whole[..whole.len() - 1]).contains("ends in the middle of piece 275"));
        assert!(problem(&whole[..2]).contains("tokenizer.bin"));
        assert!(problem(&whole[..44]).contains("fewer than the 259"));
        let mut long = whole.clone();
        long[8..12].copy_from_slice(&i32::MAX.to_le_bytes());
        assert!(problem(&long).contains("piece 0 claims 2147483647 bytes"));
        assert!(problem(&file(&["a", "a"])).contains("occurs twice"));
    }
}
