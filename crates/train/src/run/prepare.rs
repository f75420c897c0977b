//! From a data setting to tokens: done once, kept in the run's `data/`, found there again when resuming.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use ferrane_model::config::hf::SpecialTokens;
use ferrane_model::hf::write_atomically;
use ferrane_model::tokenizer::{TOKENIZER_FILE, split_documents};
use ferrane_model::{Tokenizer, stories};
use serde::{Deserialize, Serialize};

use super::{Event, RunError, RunFolder, RunSettings, Source};
use crate::corpus::DataFolder;
use crate::data::{TokenSource, TokenWidth};

/// Bytes of built-in stories a run writes and trains on.
const STORIES_BYTES: usize = 4 << 20;
/// The part of the data that is held out for evaluation.
const HELD_OUT: f64 = 0.05;
/// With fewer documents the end of the text is held out instead of the last documents.
const FEW_DOCUMENTS: usize = 40;

const TRAIN: &str = "train.bin";
const HELD: &str = "held_out.bin";
const STORIES: &str = "stories.txt";
const MANIFEST: &str = "data.json";

/// What a run trains on.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Tokens to train on.
    pub(super) train: TokenSource,
    /// Tokens to evaluate on; none if the data is too small to hold any out, or is used whole.
    pub(super) held_out: Option<TokenSource>,
    /// The tokenizer; none for a token file whose model came without one.
    pub(super) tokenizer: Option<Tokenizer>,
    /// Size of the model's vocabulary.
    pub(super) vocab: usize,
}

/// What `data/` was made from and holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    /// Size of the model's vocabulary.
    vocab: usize,
    /// Bytes of a token in the token files.
    token_bytes: usize,
    /// Whether tokens are held out.
    held_out: bool,
    /// The user's token files, if the data is such; they are not copied.
    file: Option<Fingerprint>,
}

/// What tells token files that changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fingerprint {
    bytes: u64,
    crc32: u32,
}

/// Finds the data of a run in its folder, or makes it: writes stories, trains or takes over a tokenizer, encodes.
///
/// # Errors
/// Data that cannot be read, is too small for one window, or has tokens outside the vocabulary; a token file that changed
/// since the run began.
pub(super) fn prepare(
    folder: &RunFolder,
    settings: &RunSettings,
    emit: &mut dyn FnMut(Event),
) -> Result<Prepared, RunError> {
    let made = folder.data().join(MANIFEST).exists();
    let prepared = match settings.source() {
        Source::Tokens(path) => {
            let files = TokenFiles {
                train: vec![path.clone()],
                held_out: Vec::new(),
                width: TokenWidth::try_from(settings.token_bytes)?,
                tokenizer: None,
                path,
            };
            token_files(folder, settings, &files, made, emit)?
        }
        Source::Folder(path) => {
            token_files(folder, settings, &TokenFiles::of_folder(&path, settings)?, made, emit)?
        }
        Source::Stories | Source::Text(_) => {
            if !made {
                make_from_text(folder, settings, emit)?;
            }
            open_made(folder)?
        }
    };
    prepared.train.require_window(settings.seq)?;
    let held_out = prepared.held_out.filter(|held| held.require_window(settings.seq).is_ok());
    Ok(Prepared { held_out, ..prepared })
}

fn make_from_text(
    folder: &RunFolder,
    settings: &RunSettings,
    emit: &mut dyn FnMut(Event),
) -> Result<(), RunError> {
    let mut preparing = |what: String| emit(Event::Preparing { what });
    let (name, text) = match settings.source() {
        Source::Text(path) => (path.display().to_string(), read_text(&path)?),
        _ => {
            preparing(format!("writing {} MB of stories", STORIES_BYTES >> 20));
            ("the stories".to_owned(), stories::to_text(&stories::corpus(settings.seed, STORIES_BYTES)))
        }
    };
    let documents = split_documents(&text);
    if documents.is_empty() {
        return Err(crate::data::DataError::Empty { name }.into());
    }
    let tokenizer = match model_tokenizer(settings)? {
        Some(tokenizer) => tokenizer,
        None if settings.init.is_some() => return Err(RunError::NoTokenizer { data: settings.data.clone() }),
        None => {
            preparing(format!("training a tokenizer of {} tokens", settings.shape.vocab));
            Tokenizer::train(documents.iter().copied(), settings.shape.vocab)?
        }
    };
    let vocab = vocabulary(settings, &tokenizer)?;

    preparing(format!("encoding {name}"));
    let (train, held_out) = split(&documents, &tokenizer, settings.seq)?;
    let width = TokenWidth::for_vocab(vocab);
    let held = !held_out.is_empty();
    let manifest = Manifest { vocab, token_bytes: width.bytes(), held_out: held, file: None };
    write_folder(folder, &manifest, |temporary| {
        if settings.source() == Source::Stories {
            write_file(&temporary.join(STORIES), text.as_bytes())?;
        }
        for (file, text) in tokenizer.files()? {
            write_file(&temporary.join(file), text.as_bytes())?;
        }
        write_tokens(&temporary.join(TRAIN), &train, width)?;
        if held { write_tokens(&temporary.join(HELD), &held_out, width) } else { Ok(()) }
    })
}

fn open_made(folder: &RunFolder) -> Result<Prepared, RunError> {
    let manifest = read_manifest(folder)?;
    let width = TokenWidth::try_from(manifest.token_bytes)?;
    let open = |name| TokenSource::from_file(&folder.data().join(name), width, manifest.vocab);
    Ok(Prepared {
        train: open(TRAIN)?,
        held_out: if manifest.held_out { Some(open(HELD)?) } else { None },
        tokenizer: Some(Tokenizer::load(&folder.data())?),
        vocab: manifest.vocab,
    })
}

/// Token files a user has.
struct TokenFiles {
    /// The file or folder, as it was given.
    path: PathBuf,
    train: Vec<PathBuf>,
    /// None if the end of `train` is to be held out.
    held_out: Vec<PathBuf>,
    width: TokenWidth,
    tokenizer: Option<Tokenizer>,
}

impl TokenFiles {
    fn of_folder(path: &Path, settings: &RunSettings) -> Result<Self, RunError> {
        let DataFolder { train, validation, token_bytes, tokenizer } = DataFolder::open(path)?;
        Ok(Self {
            path: path.to_owned(),
            train,
            held_out: validation,
            width: TokenWidth::try_from(token_bytes.unwrap_or(settings.token_bytes))?,
            tokenizer: tokenizer.map(|folder| Tokenizer::load(&folder)).transpose()?,
        })
    }

    fn fingerprint(&self) -> Result<Fingerprint, RunError> {
        let mut hasher = crc32fast::Hasher::new();
        let mut bytes = 0;
        for path in self.train.iter().chain(&self.held_out) {
            bytes += hash(path, &mut hasher).map_err(RunError::io("read", path))?;
        }
        Ok(Fingerprint { bytes, crc32: hasher.finalize() })
    }
}

/// Token files are used where they lie, whole, unless evaluations are asked for and none are made for them: then their end
/// is held out.
fn token_files(
    folder: &RunFolder,
    settings: &RunSettings,
    files: &TokenFiles,
    made: bool,
    emit: &mut dyn FnMut(Event),
) -> Result<Prepared, RunError> {
    emit(Event::Preparing { what: format!("checking {}", files.path.display()) });
    let fingerprint = files.fingerprint()?;
    if made {
        let manifest = read_manifest(folder)?;
        if manifest.file.as_ref() != Some(&fingerprint) {
            return Err(RunError::DataChanged { path: files.path.clone(), run: folder.root().to_owned() });
        }
    } else {
        let tokenizer = match model_tokenizer(settings)? {
            Some(tokenizer) => Some(tokenizer),
            None => files.tokenizer.clone(),
        };
        let vocab = match &files.tokenizer {
            Some(tokenizer) => vocabulary(settings, tokenizer)?,
            None => settings.shape.vocab,
        };
        let manifest = Manifest {
            vocab,
            token_bytes: files.width.bytes(),
            held_out: settings.eval_every > 0 || !files.held_out.is_empty(),
            file: Some(fingerprint),
        };
        write_folder(folder, &manifest, |temporary| {
            let Some(tokenizer) = &tokenizer else { return Ok(()) };
            for (file, text) in tokenizer.files()? {
                write_file(&temporary.join(file), text.as_bytes())?;
            }
            Ok(())
        })?;
    }
    let Manifest { vocab, held_out, .. } = read_manifest(folder)?;
    let whole = TokenSource::from_files(&files.train, files.width, vocab)?;
    let (train, held) = if files.held_out.is_empty() {
        whole.hold_out(if held_out { HELD_OUT } else { 0.0 })?
    } else {
        (whole, TokenSource::from_files(&files.held_out, files.width, vocab)?)
    };
    let tokenizer = folder.data().join(TOKENIZER_FILE).exists().then(|| Tokenizer::load(&folder.data()));
    Ok(Prepared { train, held_out: held_out.then_some(held), tokenizer: tokenizer.transpose()?, vocab })
}

/// The tokenizer that belongs to the weights or to the model's folder.
fn model_tokenizer(settings: &RunSettings) -> Result<Option<Tokenizer>, RunError> {
    let model = Path::new(&settings.model);
    let folder = settings.init.as_deref().or_else(|| model.is_dir().then_some(model));
    let Some(folder) = folder.filter(|folder| folder.join(TOKENIZER_FILE).exists()) else { return Ok(None) };
    Ok(Some(Tokenizer::load(folder)?))
}

/// The begin and end tokens that go into the model's `config.json`.
///
/// # Errors
/// A model folder whose `config.json` cannot be read.
pub(super) fn special_tokens(settings: &RunSettings, prepared: &Prepared) -> Result<SpecialTokens, RunError> {
    if let Some(folder) = &settings.init {
        return Ok(ferrane_model::initial::load_config(folder)?.special);
    }
    Ok(prepared.tokenizer.as_ref().map(|tokenizer| tokenizer.special().clone()).unwrap_or_default())
}

/// A model that starts from given weights keeps their vocabulary; a fresh one gets the tokenizer's, for a small text
/// gives fewer tokens than asked for.
fn vocabulary(settings: &RunSettings, tokenizer: &Tokenizer) -> Result<usize, RunError> {
    let (model, tokens) = (settings.shape.vocab, tokenizer.vocab_size());
    if settings.init.is_none() {
        return Ok(tokens);
    }
    if tokens > model {
        return Err(RunError::Vocabulary { tokenizer: tokens, model });
    }
    Ok(model)
}

/// Tokens to train on, and the last documents held out, or the end of a text that is few documents. A part too small for
/// a window is not held out.
fn split(documents: &[&str], tokenizer: &Tokenizer, seq: usize) -> Result<(Vec<u32>, Vec<u32>), RunError> {
    let (train, held_out) = if documents.len() >= FEW_DOCUMENTS {
        let kept = documents.len() - (documents.len() as f64 * HELD_OUT) as usize;
        (tokenizer.encode_documents(&documents[..kept])?, tokenizer.encode_documents(&documents[kept..])?)
    } else {
        let mut train = tokenizer.encode_documents(documents)?;
        let held_out = train.split_off(train.len() - (train.len() as f64 * HELD_OUT) as usize);
        (train, held_out)
    };
    if held_out.len() > seq { Ok((train, held_out)) } else { Ok(([train, held_out].concat(), Vec::new())) }
}

fn read_text(path: &Path) -> Result<String, RunError> {
    let bytes = fs::read(path).map_err(RunError::io("read", path))?;
    String::from_utf8(bytes).map_err(|error| RunError::NotText {
        path: path.to_owned(),
        position: error.utf8_error().valid_up_to(),
    })
}

/// Hashes a file's bytes and counts them.
fn hash(path: &Path, hasher: &mut crc32fast::Hasher) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(bytes),
            n => {
                hasher.update(&piece[..n]);
                bytes += n as u64;
            }
        }
    }
}

fn read_manifest(folder: &RunFolder) -> Result<Manifest, RunError> {
    let path = folder.data().join(MANIFEST);
    let text = fs::read_to_string(&path).map_err(RunError::io("read", &path))?;
    serde_json::from_str(&text).map_err(|error| RunError::Config { path, problem: error.to_string() })
}

/// Makes `data/` whole or not at all.
fn write_folder(
    folder: &RunFolder,
    manifest: &Manifest,
    fill: impl FnOnce(&Path) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let temporary = folder.root().join(format!(".data.{}.tmp", std::process::id()));
    let target = folder.data();
    fs::create_dir_all(&temporary).map_err(RunError::io("create", &temporary))?;
    let written = fill(&temporary)
        .and_then(|()| {
            let text = serde_json::to_string(manifest).map_err(|error| RunError::Config {
                path: temporary.join(MANIFEST),
                problem: error.to_string(),
            })?;
            write_file(&temporary.join(MANIFEST), text.as_bytes())
        })
        .and_then(|()| fs::rename(&temporary, &target).map_err(RunError::io("rename to", &target)));
    if written.is_err() {
        // Writing has failed already; a leftover that cannot be removed changes nothing.
        let _ = fs::remove_dir_all(&temporary);
    }
    written
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    Ok(write_atomically(path, |writer| writer.write_all(bytes))?)
}

fn write_tokens(path: &Path, tokens: &[u32], width: TokenWidth) -> Result<(), RunError> {
    let write = |writer: &mut io::BufWriter<File>| {
        tokens.iter().try_for_each(|token| writer.write_all(&token.to_le_bytes()[..width.bytes()]))
    };
    Ok(write_atomically(path, write)?)
}

/// The files a run reads that lie outside its folder, made absolute so that it can be resumed from anywhere.
///
/// # Errors
/// A file or folder that does not exist.
pub fn absolute(path: &Path, what: &'static str) -> Result<PathBuf, RunError> {
    fs::canonicalize(path).map_err(|source| RunError::Missing { what, path: path.to_owned(), source })
}
