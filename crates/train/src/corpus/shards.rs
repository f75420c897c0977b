//! A folder of token files: what `data prepare` writes and training reads.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use ferrane_model::tokenizer::TOKENIZER_FILE;
use serde::{Deserialize, Serialize};

use super::CorpusError;
use crate::data::TokenWidth;

/// Says what a folder holds.
const MANIFEST: &str = "data.json";

/// What a folder of tokens holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// Size of the vocabulary.
    pub(super) vocab: usize,
    /// Bytes of a token.
    pub(super) token_bytes: usize,
    /// Documents, those held out among them.
    pub(super) documents: u64,
    /// Files to train on, in order.
    pub(super) train: Vec<Shard>,
    /// Files to evaluate on, in order.
    pub(super) validation: Vec<Shard>,
}

/// One file of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shard {
    pub(super) file: String,
    pub(super) tokens: u64,
}

impl Manifest {
    pub(super) fn write(&self, folder: &Path) -> Result<(), CorpusError> {
        let path = folder.join(MANIFEST);
        let text = serde_json::to_string_pretty(self).map_err(io::Error::from);
        text.and_then(|text| fs::write(&path, text + "\n")).map_err(CorpusError::io("write", &path))
    }
}

/// A folder of token files: one that `data prepare` made, or any in which there are `.bin` files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFolder {
    /// Files to train on, in order; at least one.
    pub train: Vec<PathBuf>,
    /// Files to evaluate on, in order.
    pub validation: Vec<PathBuf>,
    /// Bytes of a token, if the folder says.
    pub token_bytes: Option<usize>,
    /// The folder again if it has a tokenizer.
    pub tokenizer: Option<PathBuf>,
}

impl DataFolder {
    /// Looks at a folder.
    ///
    /// # Errors
    /// When it holds no token files, or not those it says.
    pub fn open(path: &Path) -> Result<Self, CorpusError> {
        let manifest = path.join(MANIFEST);
        let tokenizer = path.join(TOKENIZER_FILE).exists().then(|| path.to_owned());
        let text = match fs::read_to_string(&manifest) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let train = token_files(path)?;
                return Ok(Self { train, validation: Vec::new(), token_bytes: None, tokenizer });
            }
            Err(error) => return Err(CorpusError::io("read", &manifest)(error)),
        };
        let refused = |problem: String| CorpusError::Manifest { path: manifest.clone(), problem };
        let parsed: Manifest = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
        if parsed.train.is_empty() {
            return Err(refused("it lists no files to train on".to_owned()));
        }
        let files = |shards: &[Shard]| -> Result<Vec<PathBuf>, CorpusError> {
            shards.iter().map(|shard| shard.check(path, parsed.token_bytes).map_err(&refused)).collect()
        };
        Ok(Self {
            train: files(&parsed.train)?,
            validation: files(&parsed.validation)?,
            token_bytes: Some(parsed.token_bytes),
            tokenizer,
        })
    }
}

impl Shard {
    fn check(&self, folder: &Path, token_bytes: usize) -> Result<PathBuf, String> {
        let name = Path::new(&self.file);
        if name.file_name() != Some(name.as_os_str()) {
            return Err(format!("file name `{}` leads out of the folder", self.file));
        }
        let path = folder.join(name);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() == self.tokens.saturating_mul(token_bytes as u64) => Ok(path),
            Ok(metadata) => Err(format!(
                "{} should hold {} tokens and has {} bytes; prepare the data again",
                self.file,
                self.tokens,
                metadata.len()
            )),
            Err(error) => Err(format!("{}: {error}; prepare the data again", self.file)),
        }
    }
}

/// The `.bin` files of a folder, sorted by name.
fn token_files(folder: &Path) -> Result<Vec<PathBuf>, CorpusError> {
    let entries = fs::read_dir(folder).map_err(CorpusError::io("read", folder))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(CorpusError::io("read", folder))?.path();
        if path.extension().is_some_and(|extension| extension == "bin") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(CorpusError::NoTokens { path: folder.to_owned() });
    }
    Ok(files)
}

/// Writes a stream of tokens into files of at most so many.
pub(super) struct ShardWriter {
    folder: PathBuf,
    stem: &'static str,
    width: TokenWidth,
    most: u64,
    file: Option<(PathBuf, BufWriter<File>)>,
    shards: Vec<Shard>,
}

impl ShardWriter {
    pub(super) fn new(folder: &Path, stem: &'static str, width: TokenWidth, most: u64) -> Self {
        Self { folder: folder.to_owned(), stem, width, most, file: None, shards: Vec::new() }
    }

    /// Tokens written.
    pub(super) fn tokens(&self) -> u64 {
        self.shards.iter().map(|shard| shard.tokens).sum()
    }

    pub(super) fn write(&mut self, tokens: &[u32]) -> Result<(), CorpusError> {
        let mut rest = tokens;
        while !rest.is_empty() {
            if self.shards.last().is_none_or(|shard| shard.tokens == self.most) {
                self.next_file()?;
            }
            let (Some((path, file)), Some(shard)) = (&mut self.file, self.shards.last_mut()) else { break };
            let room = usize::try_from(self.most - shard.tokens).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(room.min(rest.len()));
            let written = now.iter().try_for_each(|t| file.write_all(&t.to_le_bytes()[..self.width.bytes()]));
            written.map_err(CorpusError::io("write", &*path))?;
            shard.tokens += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    fn next_file(&mut self) -> Result<(), CorpusError> {
        self.close()?;
        let name = format!("{}-{:05}.bin", self.stem, self.shards.len());
        let path = self.folder.join(&name);
        let file = File::create_new(&path).map_err(CorpusError::io("create", &path))?;
        self.file = Some((path, BufWriter::with_capacity(1 << 18, file)));
        self.shards.push(Shard { file: name, tokens: 0 });
        Ok(())
    }

    fn close(&mut self) -> Result<(), CorpusError> {
        let Some((path, file)) = self.file.take() else { return Ok(()) };
        let file = file.into_inner().map_err(io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all()).map_err(CorpusError::io("write", path))
    }

    /// Everything on disk.
    pub(super) fn finish(mut self) -> Result<Vec<Shard>, CorpusError> {
        self.close()?;
        Ok(self.shards)
    }
}
