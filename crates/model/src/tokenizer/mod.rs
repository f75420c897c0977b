//! Text to tokens and back: a thin layer over the `tokenizers` crate.
//!
//! A new tokenizer is a byte-level BPE with one special token, [`END_OF_TEXT`], which separates
//! documents and begins and ends a generated text. Any Hugging Face `tokenizer.json` can be loaded.

mod chunk;
mod llama2c;
mod stream;
mod train;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tokenizers::PreTokenizerWrapper;

use crate::config::hf::SpecialTokens;
use crate::error::{ModelError, Result};
pub use stream::StreamDecoder;

/// The token between documents of a tokenizer trained here.
pub const END_OF_TEXT: &str = "<|endoftext|>";
/// Name of the tokenizer in a model folder.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// Name of the tokenizer's settings in a model folder.
pub const SETTINGS_FILE: &str = "tokenizer_config.json";

/// End tokens of well-known tokenizers, tried if a folder does not say.
const KNOWN_ENDS: [&str; 5] = [END_OF_TEXT, "</s>", "<|end_of_text|>", "<|eot_id|>", "<|im_end|>"];

/// A tokenizer and the tokens that begin and end a text.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: SpecialTokens,
    settings: String,
}

impl Tokenizer {
    /// Trains a byte-level BPE of at most `vocab` tokens. Small or uniform text gives fewer.
    ///
    /// The result depends on the documents alone, not on threads or the machine.
    ///
    /// # Errors
    /// A `vocab` that does not hold the 256 bytes and the end token, or the library's refusal.
    pub fn train<'a, I>(documents: I, vocab: usize) -> Result<Tokenizer>
    where
        I: IntoIterator<Item = &'a str>,
        I::IntoIter: Send,
    {
        let inner = train::byte_level_bpe(documents.into_iter(), vocab)?;
        let end = inner.token_to_id(END_OF_TEXT);
        let special = SpecialTokens { bos: end, eos: end.into_iter().collect() };
        let settings = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": END_OF_TEXT,
            "eos_token": END_OF_TEXT,
            "unk_token": null,
            "add_bos_token": false,
            "add_prefix_space": false,
            "clean_up_tokenization_spaces": false,
            "model_max_length": 1_000_000_000u64,
        });
        Ok(Tokenizer { inner, special, settings: format!("{settings:#}\n") })
    }

    /// Loads `tokenizer.json`, given itself or the folder it lies in, or llama2.c's `tokenizer.bin`. The begin and end
    /// tokens are those `tokenizer_config.json` beside it names, else a well-known end token of its vocabulary.
    ///
    /// # Errors
    /// A missing, unreadable or damaged file.
    pub fn load(path: &Path) -> Result<Tokenizer> {
        let file = if path.is_dir() { path.join(TOKENIZER_FILE) } else { path.to_path_buf() };
        if file.extension().is_some_and(|extension| extension == "bin") {
            let (text, settings) = llama2c::to_json(&file)?;
            return Tokenizer::from_json(&text, Some(&settings), &file);
        }
        let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
        let text = fs::read_to_string(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ModelError::Tokenizer {
                action: format!("load {}", file.display()),
                problem: "there is no such file; this model came without a tokenizer".to_owned(),
            },
            _ => ModelError::io("read", &file)(error),
        })?;
        let settings = folder.join(SETTINGS_FILE);
        let settings = match fs::read_to_string(&settings) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(ModelError::io("read", &settings)(error)),
        };
        Tokenizer::from_json(&text, settings.as_deref(), &file)
    }

    /// Loads the text of a `tokenizer.json` and, if there is one, of its `tokenizer_config.json`;
    /// `path` is used in messages only.
    ///
    /// # Errors
    /// Text that is not a tokenizer.
    pub fn from_json(text: &str, settings: Option<&str>, path: &Path) -> Result<Tokenizer> {
        let action = || format!("load {}", path.display());
        let inner: tokenizers::Tokenizer =
            text.parse().map_err(|error: tokenizers::Error| refused(action(), error))?;
        let settings: Value = match settings {
            Some(text) => serde_json::from_str(text).map_err(|error| {
                let path = path.with_file_name(SETTINGS_FILE);
                ModelError::corrupt(SETTINGS_FILE, path, error.to_string())
            })?,
            None => json!({"tokenizer_class": "PreTrainedTokenizerFast"}),
        };
        let named = |field: &str| {
            let token = &settings[field];
            let text = token.as_str().or_else(|| token["content"].as_str())?;
            inner.token_to_id(text)
        };
        let known = || KNOWN_ENDS.iter().find_map(|token| inner.token_to_id(token));
        let eos = named("eos_token").or_else(known);
        let special = SpecialTokens { bos: named("bos_token"), eos: eos.into_iter().collect() };
        Ok(Tokenizer { inner, special, settings: format!("{settings:#}\n") })
    }

    /// The text of `tokenizer.json`.
    ///
    /// # Errors
    /// The library's refusal.
    pub fn to_json(&self) -> Result<String> {
        let text = self.inner.to_string(false);
        text.map_err(|error| refused("write tokenizer.json".to_owned(), error))
    }

    /// The files that let `transformers.AutoTokenizer` open a model folder, by name and text.
    ///
    /// # Errors
    /// The library's refusal.
    pub fn files(&self) -> Result<Vec<(String, String)>> {
        Ok(vec![
            (TOKENIZER_FILE.to_owned(), self.to_json()?),
            (SETTINGS_FILE.to_owned(), self.settings.clone()),
        ])
    }

    /// Number of tokens, special ones included: the model's `vocab`.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The tokens that begin and end a text.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// The token written between documents, if the tokenizer has one.
    pub fn end_of_text(&self) -> Option<u32> {
        self.special.eos.first().copied()
    }

    /// Tokens of one text, without begin and end tokens.
    ///
    /// # Errors
    /// The library's refusal.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.inner.encode(text, false);
        Ok(encoding.map_err(|error| refused("encode".to_owned(), error))?.get_ids().to_vec())
    }

    /// Tokens of each text, without begin and end tokens; texts are encoded in parallel.
    ///
    /// # Errors
    /// The library's refusal.
    pub fn encode_all(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
        let encodings = self.inner.encode_batch_fast(texts.to_vec(), false);
        let encodings = encodings.map_err(|error| refused("encode".to_owned(), error))?;
        Ok(encodings.into_iter().map(|encoding| encoding.get_ids().to_vec()).collect())
    }

    /// What stands around documents in a stream of them.
    pub fn framing(&self) -> Framing {
        let end = self.end_of_text();
        match self.special.bos {
            Some(begin) if Some(begin) != end => Framing { first: None, before: Some(begin), after: end },
            _ => Framing { first: end, before: None, after: end },
        }
    }

    /// One stream of tokens for training, in which each document stands in the tokenizer's [`Framing`]. Documents are
    /// encoded in parallel.
    ///
    /// # Errors
    /// The library's refusal.
    pub fn encode_documents(&self, documents: &[&str]) -> Result<Vec<u32>> {
        let (chunks, documents_of) = self.chunks(documents);
        let framing = self.framing();
        let mut tokens: Vec<u32> = framing.first.into_iter().collect();
        let mut chunk = 0;
        // Encodings keep offsets and texts; a batch at a time bounds the memory they take.
        for batch in chunks.chunks(BATCH) {
            for encoding in self.encode_all(batch)? {
                let first_of_document = chunk == 0 || documents_of[chunk - 1] != documents_of[chunk];
                let last_of_document = documents_of.get(chunk + 1) != Some(&documents_of[chunk]);
                tokens.extend(framing.before.filter(|_| first_of_document));
                tokens.extend(encoding);
                tokens.extend(framing.after.filter(|_| last_of_document));
                chunk += 1;
            }
        }
        Ok(tokens)
    }

    /// The pieces to encode, and for each the index of its document.
    fn chunks<'a>(&self, documents: &[&'a str]) -> (Vec<&'a str>, Vec<usize>) {
        let byte_level = matches!(self.inner.get_pre_tokenizer(), Some(PreTokenizerWrapper::ByteLevel(_)));
        let longest = if byte_level { LONGEST_CHUNK } else { usize::MAX };
        let pieces = documents.iter().enumerate().flat_map(|(index, document)| {
            chunk::chunks(document, longest).into_iter().map(move |piece| (piece, index))
        });
        pieces.unzip()
    }

    /// Text of tokens; special tokens are left out, bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// The library's refusal. Ids outside the vocabulary are left out.
    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        self.inner.decode(tokens, true).map_err(|error| refused("decode".to_owned(), error))
    }

    /// A decoder for tokens that arrive one by one.
    pub fn stream(&self) -> StreamDecoder<'_> {
        StreamDecoder::new(self)
    }
}

/// The tokens around documents. With a begin token of its own a document is `before` document `after`; else the end token
/// stands before the first document and after each, so that every document begins after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// Before the first document.
    pub first: Option<u32>,
    /// Before each document.
    pub before: Option<u32>,
    /// After each document.
    pub after: Option<u32>,
}

const BATCH: usize = 4096;
/// Encoding slows down on very long texts; longer documents are cut where that changes no token.
const LONGEST_CHUNK: usize = 16 * 1024;

fn refused(action: String, error: tokenizers::Error) -> ModelError {
    ModelError::Tokenizer { action, problem: error.to_string() }
}

/// Splits text into documents at [`END_OF_TEXT`]; without it the whole text is one document.
/// White space around documents and empty documents are dropped.
pub fn split_documents(text: &str) -> Vec<&str> {
    text.split(END_OF_TEXT).map(str::trim).filter(|document| !document.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTS: [&str; 4] = [
        "Once there was a small fox. The fox had a red hat.\n\nThe hat was warm.",
        "Once there was a big bear. \"Hello,\" said the bear.",
        "The naïve café owner said: “Grüße, 世界!” 🦊",
        "",
    ];

    fn trained(vocab: usize) -> Tokenizer {
        Tokenizer::train(DOCUMENTS, vocab).unwrap()
    }

    #[test]
    fn training_twice_gives_the_same_tokenizer() {
        let first = trained(300).to_json().unwrap();
        for _ in 0..4 {
            assert_eq!(first, trained(300).to_json().unwrap());
        }
    }

    #[test]
    fn every_text_comes_back_even_one_of_unseen_bytes() {
        let tokenizer = trained(300);
        for text in DOCUMENTS.into_iter().chain(["Привет\t\u{0}\r\n  two  spaces ", " x"]) {
            assert_eq!(tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn documents_are_framed_by_the_end_token() {
        let tokenizer = trained(300);
        let end = tokenizer.end_of_text().unwrap();
        let stream = tokenizer.encode_documents(&DOCUMENTS[..2]).unwrap();
        let expected: Vec<u32> = [
            vec![end],
            tokenizer.encode(DOCUMENTS[0]).unwrap(),
            vec![end],
            tokenizer.encode(DOCUMENTS[1]).unwrap(),
            vec![end],
        ]
        .concat();
        assert_eq!(stream, expected);
        assert_eq!(tokenizer.encode_documents(&[]).unwrap(), [end]);
        assert!(stream.iter().all(|&token| (token as usize) < tokenizer.vocab_size()));
    }

    #[test]
    fn a_begin_token_of_its_own_stands_before_each_document() {
        let json = trained(300).to_json().unwrap();
        let settings = json!({"bos_token": "a", "eos_token": END_OF_TEXT}).to_string();
        let tokenizer = Tokenizer::from_json(&json, Some(&settings), Path::new("t")).unwrap();
        let (begin, end) = (tokenizer.special().bos.unwrap(), tokenizer.end_of_text().unwrap());
        let encode = |text| tokenizer.encode(text).unwrap();
        let expected = [vec![begin], encode("x"), vec![end], vec![begin], encode("yz"), vec![end]].concat();
        assert_eq!(tokenizer.encode_documents(&["x", "yz"]).unwrap(), expected);
    }

    #[test]
    fn a_long_document_is_encoded_as_if_it_were_not_cut() {
        let tokenizer = trained(300);
        let end = tokenizer.end_of_text().unwrap();
        let long = [DOCUMENTS[0], DOCUMENTS[1], DOCUMENTS[2]].join("\n").repeat(500);
        assert!(long.len() > 4 * LONGEST_CHUNK);
        let expected = [vec![end], tokenizer.encode(&long).unwrap(), vec![end]].concat();
        assert_eq!(tokenizer.encode_documents(&[&long]).unwrap(), expected);
    }

    #[test]
    fn a_folder_gives_the_tokenizer_back() {
        let tokenizer = trained(300);
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in tokenizer.files().unwrap() {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let loaded = Tokenizer::load(folder.path()).unwrap();
        assert_eq!(loaded.to_json().unwrap(), tokenizer.to_json().unwrap());
        assert_eq!(loaded.special(), tokenizer.special());
        assert_eq!(loaded.files().unwrap(), tokenizer.files().unwrap());
        let by_file = Tokenizer::load(&folder.path().join(TOKENIZER_FILE)).unwrap();
        assert_eq!(by_file.vocab_size(), tokenizer.vocab_size());
    }

    #[test]
    fn an_absent_or_damaged_tokenizer_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let error = Tokenizer::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json"), "{error}");
        let json = trained(300).to_json().unwrap();
        fs::write(folder.path().join(TOKENIZER_FILE), &json[..json.len() / 2]).unwrap();
        let error = Tokenizer::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json"), "{error}");
        fs::write(folder.path().join(TOKENIZER_FILE), json).unwrap();
        fs::write(folder.path().join(SETTINGS_FILE), "{").unwrap();
        let error = Tokenizer::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains(SETTINGS_FILE), "{error}");
    }

    #[test]
    fn a_vocabulary_without_room_for_the_bytes_is_refused() {
        let error = Tokenizer::train(DOCUMENTS, 256).unwrap_err().to_string();
        assert!(error.contains("256") && error.contains("257"), "{error}");
        assert_eq!(trained(257).vocab_size(), 257);
        assert_eq!(Tokenizer::train([], 1000).unwrap().vocab_size(), 257);
    }

    #[test]
    fn files_split_at_the_end_token() {
        assert_eq!(split_documents("one\n<|endoftext|>\n\n<|endoftext|> two "), ["one", "two"]);
        assert_eq!(split_documents("a\n\nb\n"), ["a\n\nb"]);
        assert!(split_documents(" \n").is_empty());
    }
}
