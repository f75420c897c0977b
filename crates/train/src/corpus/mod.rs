//! From text files to a folder of token files, in one pass and bounded memory.
//!
//! ```text
//! data.json              what the folder holds
//! train-00000.bin …      flat little-endian tokens, documents in the order of the files
//! validation-00000.bin … every so many documents, held out
//! tokenizer.json …       the tokenizer
//! ```

mod documents;
mod shards;

pub use shards::DataFolder;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ferrane_model::{ModelError, Tokenizer};
use thiserror::Error;

use crate::data::TokenWidth;
use documents::{Documents, LONGEST_PIECE, Piece};
use shards::{Manifest, ShardWriter};

/// Why data cannot be prepared or a folder of it not be used.
#[derive(Debug, Error)]
pub enum CorpusError {
    /// The system refused something.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file whose format is not read.
    #[error("{path} is not of a kind that is read; give .txt or .jsonl files, unpacked", path = path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// A line is not what it should be.
    #[error("{path}, line {line}: {problem}; each line is an object such as {{\"text\": \"...\"}}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// A text file is not text.
    #[error("{path} is not UTF-8 text: byte {position} begins no character; save it as UTF-8", path = path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first byte that is not text.
        position: u64,
    },
    /// Nothing to train on.
    #[error("there are no documents to train on in {}", list(files))]
    Empty {
        /// The files.
        files: Vec<PathBuf>,
    },
    /// The folder to write exists.
    #[error("{path} exists and is not an empty folder; nothing was changed, give another --out", path = path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// A number that makes no sense.
    #[error("{name} is {value}; it must be {expected}")]
    Setting {
        /// Which.
        name: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// A folder without token files.
    #[error(
        "{path} holds no token files (.bin); make some from text with `ferrane data prepare`", path = path.display()
    )]
    NoTokens {
        /// The folder.
        path: PathBuf,
    },
    /// A folder is not what its manifest says.
    #[error("{path}: {problem}", path = path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The tokenizer refuses.
    #[error(transparent)]
    Tokenizer(#[from] ModelError),
}

impl CorpusError {
    fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> CorpusError {
        let path = path.as_ref().to_path_buf();
        move |source| CorpusError::Io { action, path, source }
    }
}

fn list(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// What to prepare.
#[derive(Debug, Clone)]
pub struct Preparation {
    /// `.txt` and `.jsonl` files, read in this order.
    pub files: Vec<PathBuf>,
    /// The folder to make.
    pub out: PathBuf,
    /// The part of the documents that is held out, spread evenly over all.
    pub validation: f64,
    /// Tokens of a file at most.
    pub shard_tokens: u64,
}

/// What was prepared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Documents, those held out among them.
    pub documents: u64,
    /// Bytes of their text.
    pub bytes: u64,
    /// Tokens to train on.
    pub train_tokens: u64,
    /// Tokens held out.
    pub validation_tokens: u64,
}

/// Bytes of text that are encoded at a time.
const BATCH_BYTES: usize = 4 * LONGEST_PIECE;

/// Encodes files into a new folder, which appears whole or not at all. `progress` is told from time to time how far it is.
///
/// # Errors
/// A file that cannot be read, an `out` that is not new or empty, text without documents.
pub fn prepare(
    preparation: &Preparation,
    tokenizer: &Tokenizer,
    progress: &mut dyn FnMut(&Prepared),
) -> Result<Prepared, CorpusError> {
    let Preparation { out, validation, shard_tokens, .. } = preparation;
    if !(0.0..1.0).contains(validation) {
        let (name, expected) = ("the part held out", "at least 0 and below 1");
        return Err(CorpusError::Setting { name, value: *validation, expected });
    }
    if *shard_tokens == 0 {
        let (name, expected) = ("the number of tokens of a file", "at least 1");
        return Err(CorpusError::Setting { name, value: 0.0, expected });
    }
    require_new(out)?;
    let name = out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = out.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    fs::create_dir_all(&temporary).map_err(CorpusError::io("create", &temporary))?;
    let written = write(preparation, tokenizer, &temporary, progress).and_then(|prepared| {
        if out.exists() {
            fs::remove_dir(out).map_err(CorpusError::io("replace", out))?;
        }
        fs::rename(&temporary, out).map_err(CorpusError::io("rename to", out))?;
        Ok(prepared)
    });
    if written.is_err() {
        // Preparing has failed already; a leftover that cannot be removed changes nothing.
        let _ = fs::remove_dir_all(&temporary);
    }
    written
}

fn require_new(out: &Path) -> Result<(), CorpusError> {
    let occupied = || CorpusError::Occupied { path: out.to_owned() };
    match fs::read_dir(out) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(occupied()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => match out.parent() {
            Some(parent) => fs::create_dir_all(parent).map_err(CorpusError::io("create", parent)),
            None => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(occupied()),
        Err(error) => Err(CorpusError::io("read", out)(error)),
    }
}

fn write(
    preparation: &Preparation,
    tokenizer: &Tokenizer,
    folder: &Path,
    progress: &mut dyn FnMut(&Prepared),
) -> Result<Prepared, CorpusError> {
    let width = TokenWidth::for_vocab(tokenizer.vocab_size());
    let mut encoder = Encoder::new(preparation, tokenizer, folder, width)?;
    for path in &preparation.files {
        let mut documents = Documents::open(path)?;
        while let Some(piece) = documents.next()? {
            if encoder.add(piece)? {
                progress(&encoder.prepared);
            }
        }
    }
    encoder.flush()?;
    let mut prepared = encoder.prepared;
    if encoder.train_documents == 0 {
        return Err(CorpusError::Empty { files: preparation.files.clone() });
    }
    (prepared.train_tokens, prepared.validation_tokens) =
        (encoder.train.tokens(), encoder.validation.tokens());
    for (name, text) in tokenizer.files()? {
        let path = folder.join(name);
        fs::write(&path, text).map_err(CorpusError::io("write", &path))?;
    }
    let manifest = Manifest {
        vocab: tokenizer.vocab_size(),
        token_bytes: width.bytes(),
        documents: prepared.documents,
        train: encoder.train.finish()?,
        validation: encoder.validation.finish()?,
    };
    manifest.write(folder)?;
    Ok(prepared)
}

/// Collects documents, encodes a batch at a time and shares the tokens out.
struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    held_out: f64,
    train: ShardWriter,
    validation: ShardWriter,
    batch: Vec<Piece>,
    batch_bytes: usize,
    /// Whether the next piece begins a document.
    at_start: bool,
    prepared: Prepared,
    train_documents: u64,
}

impl<'a> Encoder<'a> {
    fn new(
        preparation: &Preparation,
        tokenizer: &'a Tokenizer,
        folder: &Path,
        width: TokenWidth,
    ) -> Result<Self, CorpusError> {
        let shards = |stem| ShardWriter::new(folder, stem, width, preparation.shard_tokens);
        Ok(Self {
            tokenizer,
            held_out: preparation.validation,
            train: shards("train"),
            validation: shards("validation"),
            batch: Vec::new(),
            batch_bytes: 0,
            at_start: true,
            prepared: Prepared::default(),
            train_documents: 0,
        })
    }

    /// Takes a piece; says whether a batch was written.
    fn add(&mut self, piece: Piece) -> Result<bool, CorpusError> {
        self.batch_bytes += piece.text.len();
        self.batch.push(piece);
        if self.batch_bytes < BATCH_BYTES {
            return Ok(false);
        }
        self.flush()?;
        Ok(true)
    }

    fn flush(&mut self) -> Result<(), CorpusError> {
        let texts: Vec<&str> = self.batch.iter().map(|piece| piece.text.as_str()).collect();
        let encoded = self.tokenizer.encode_all(&texts)?;
        let framing = self.tokenizer.framing();
        for (piece, tokens) in std::mem::take(&mut self.batch).iter().zip(encoded) {
            let held_out = is_held_out(self.prepared.documents, self.held_out);
            let writer = if held_out { &mut self.validation } else { &mut self.train };
            if writer.tokens() == 0 {
                writer.write(framing.first.as_slice())?;
            }
            if self.at_start {
                writer.write(framing.before.as_slice())?;
            }
            writer.write(&tokens)?;
            if piece.last {
                writer.write(framing.after.as_slice())?;
                self.prepared.documents += 1;
                self.train_documents += u64::from(!held_out);
            }
            self.at_start = piece.last;
            self.prepared.bytes += piece.text.len() as u64;
        }
        (self.prepared.train_tokens, self.prepared.validation_tokens) =
            (self.train.tokens(), self.validation.tokens());
        self.batch_bytes = 0;
        Ok(())
    }
}

/// Whether document `index` is held out: every 1/`part`-th, wherever the count passes a whole number.
fn is_held_out(index: u64, part: f64) -> bool {
    let count = |documents: u64| (documents as f64 * part).floor();
    count(index + 1) > count(index)
}

#[cfg(test)]
mod tests;
