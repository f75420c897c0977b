//! Where tokens come from: memory, or flat files that are read piece by piece.
//!
//! Files are read where a batch needs them, through the system's cache, which is what a memory map would give; unlike one, a
//! file that shrinks while it is in use is then an error and not the end of the process.

use std::fmt::Display;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferrane_model::VocabMap;

use super::DataError;

/// Bytes of one token in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenWidth {
    /// Little-endian u16, as nanoGPT and llama2.c write them.
    #[default]
    Two,
    /// Little-endian u32.
    Four,
}

impl TokenWidth {
    /// Bytes of one token.
    pub fn bytes(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// The smaller one that holds every token of a vocabulary.
    pub fn for_vocab(vocab: usize) -> Self {
        if vocab <= 1 << 16 { Self::Two } else { Self::Four }
    }

    fn decode(self, bytes: &[u8], tokens: &mut [u32]) {
        match self {
            Self::Two => {
                let (pairs, _) = bytes.as_chunks();
                tokens.iter_mut().zip(pairs).for_each(|(t, &b)| *t = u32::from(u16::from_le_bytes(b)));
            }
            Self::Four => {
                let (quads, _) = bytes.as_chunks();
                tokens.iter_mut().zip(quads).for_each(|(t, &b)| *t = u32::from_le_bytes(b));
            }
        }
    }
}

impl TryFrom<usize> for TokenWidth {
    type Error = DataError;

    fn try_from(bytes: usize) -> Result<Self, DataError> {
        match bytes {
            2 => Ok(Self::Two),
            4 => Ok(Self::Four),
            other => Err(DataError::Width(other)),
        }
    }
}

/// A run of tokens, every one of them inside the vocabulary. Cloning is cheap: copies share what lies behind.
#[derive(Debug, Clone)]
pub struct TokenSource {
    store: Arc<Store>,
    start: u64,
    len: u64,
    /// Gives tokens the numbers of a compact vocabulary.
    map: Option<Arc<VocabMap>>,
}

#[derive(Debug)]
struct Store {
    name: String,
    vocab: usize,
    tokens: Tokens,
}

#[derive(Debug)]
enum Tokens {
    Memory(Vec<u32>),
    Files { files: Vec<TokenFile>, width: TokenWidth },
}

/// One of the files that together are a source.
#[derive(Debug)]
struct TokenFile {
    file: File,
    path: PathBuf,
    /// Tokens of the source before this file.
    first: u64,
    len: u64,
}

impl TokenSource {
    /// Tokens in memory. `name` says in errors what they were made from.
    ///
    /// # Errors
    /// When there are none, or one is outside the vocabulary.
    pub fn from_memory(name: &str, tokens: Vec<u32>, vocab: usize) -> Result<Self, DataError> {
        let len = tokens.len() as u64;
        let store = Store { name: name.to_owned(), vocab, tokens: Tokens::Memory(tokens) };
        if let Tokens::Memory(tokens) = &store.tokens {
            store.check(tokens, 0)?;
        }
        Self::whole(store, len)
    }

    /// A flat file of little-endian tokens; see [`TokenSource::from_files`].
    ///
    /// # Errors
    /// As [`TokenSource::from_files`].
    pub fn from_file(path: &Path, width: TokenWidth, vocab: usize) -> Result<Self, DataError> {
        Self::from_files(&[path.to_owned()], width, vocab)
    }

    /// Flat files of little-endian tokens, as if they were one. Every token is checked now; later only what a batch needs is
    /// read, so the files may be larger than memory.
    ///
    /// # Errors
    /// When a file cannot be read, is no whole number of tokens, or holds a token outside the vocabulary, or all are empty.
    pub fn from_files(paths: &[PathBuf], width: TokenWidth, vocab: usize) -> Result<Self, DataError> {
        let mut files = Vec::with_capacity(paths.len());
        let mut first = 0;
        for path in paths {
            let file = TokenFile::open(path, width, first)?;
            first += file.len;
            files.push(file);
        }
        let name = match paths {
            [one] => one.display().to_string(),
            [one, ..] => format!("{} and {} more", one.display(), paths.len() - 1),
            [] => "no file".to_owned(),
        };
        let source = Self::whole(Store { name, vocab, tokens: Tokens::Files { files, width } }, first)?;
        source.check_all()?;
        Ok(source)
    }

    fn whole(store: Store, len: u64) -> Result<Self, DataError> {
        if len == 0 {
            return Err(DataError::Empty { name: store.name });
        }
        Ok(Self { store: Arc::new(store), start: 0, len, map: None })
    }

    /// Number of tokens, at least 1 unless split off as nothing.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no tokens, as in the held-out part of a fraction of 0.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The file, or what the tokens were made from.
    pub fn name(&self) -> &str {
        &self.store.name
    }

    /// Size of the vocabulary that every token lies in.
    pub fn vocab(&self) -> usize {
        self.map.as_ref().map_or(self.store.vocab, |map| map.len())
    }

    /// The same tokens by their numbers in a compact vocabulary that keeps all of them.
    pub fn compacted(&self, map: &Arc<VocabMap>) -> Self {
        Self { map: Some(Arc::clone(map)), ..self.clone() }
    }

    /// Marks the tokens that occur; `occurs` has an entry for each of the vocabulary.
    ///
    /// # Errors
    /// When the source cannot be read any more.
    pub fn mark(&self, occurs: &mut [bool]) -> Result<(), DataError> {
        self.for_each_piece(|tokens| tokens.iter().for_each(|&token| occurs[token as usize] = true))
    }

    /// The tokens to train on and, from the end, the `fraction` of them held out.
    ///
    /// # Errors
    /// When `fraction` is not in 0..1.
    pub fn hold_out(&self, fraction: f64) -> Result<(Self, Self), DataError> {
        if !(0.0..1.0).contains(&fraction) {
            return Err(DataError::Fraction(fraction));
        }
        let held = (self.len as f64 * fraction) as u64;
        let kept = self.len - held;
        let part = |start, len| Self { start, len, ..self.clone() };
        Ok((part(self.start, kept), part(self.start + kept, held)))
    }

    /// Checks that there is at least one window of sequence length `seq`.
    ///
    /// # Errors
    /// When there is none.
    pub fn require_window(&self, seq: usize) -> Result<(), DataError> {
        if self.len > seq as u64 {
            return Ok(());
        }
        Err(DataError::TooShort { name: self.store.name.clone(), tokens: self.len, seq })
    }

    /// Reads `tokens.len()` tokens from `start` on. They lie inside the source.
    pub(crate) fn read(&self, start: u64, tokens: &mut [u32]) -> Result<(), DataError> {
        self.read_whole(start, tokens)?;
        let Some(map) = &self.map else { return Ok(()) };
        for (offset, token) in tokens.iter_mut().enumerate() {
            // All occurred when the map was made, but a file can change.
            *token = map.compact(*token).ok_or_else(|| DataError::OutOfVocabulary {
                name: self.store.name.clone(),
                token: *token,
                position: self.start + start + offset as u64,
                vocab: map.len(),
            })?;
        }
        Ok(())
    }

    /// Reads tokens by their numbers in the whole vocabulary.
    fn read_whole(&self, start: u64, tokens: &mut [u32]) -> Result<(), DataError> {
        debug_assert!(start + tokens.len() as u64 <= self.len, "read past the end of the source");
        let first = self.start + start;
        match &self.store.tokens {
            Tokens::Memory(all) => {
                let first = first as usize;
                tokens.copy_from_slice(&all[first..first + tokens.len()]);
                Ok(())
            }
            Tokens::Files { files, width } => {
                let (mut at, mut rest) = (first, tokens);
                let mut index = files.partition_point(|file| file.first + file.len <= at);
                while !rest.is_empty() {
                    let file = &files[index];
                    let here = (file.first + file.len - at).min(rest.len() as u64) as usize;
                    let (now, later) = std::mem::take(&mut rest).split_at_mut(here);
                    file.read(*width, at - file.first, now)?;
                    // Checked when the file was opened, but a file can change.
                    self.store.check_named(&file.path.display(), now, at - file.first)?;
                    at += here as u64;
                    rest = later;
                    index += 1;
                }
                Ok(())
            }
        }
    }

    fn check_all(&self) -> Result<(), DataError> {
        self.for_each_piece(|_| ())
    }

    fn for_each_piece(&self, mut visit: impl FnMut(&[u32])) -> Result<(), DataError> {
        const PIECE: usize = 1 << 18;
        let mut tokens = vec![0; PIECE.min(self.len as usize)];
        let mut at = 0;
        while at < self.len {
            let piece = (self.len - at).min(PIECE as u64) as usize;
            self.read(at, &mut tokens[..piece])?;
            visit(&tokens[..piece]);
            at += piece as u64;
        }
        Ok(())
    }
}

impl Store {
    fn check(&self, tokens: &[u32], first: u64) -> Result<(), DataError> {
        self.check_named(&self.name, tokens, first)
    }

    fn check_named(&self, name: &dyn Display, tokens: &[u32], first: u64) -> Result<(), DataError> {
        let Some(offset) = tokens.iter().position(|&token| token as usize >= self.vocab) else {
            return Ok(());
        };
        Err(DataError::OutOfVocabulary {
            name: name.to_string(),
            token: tokens[offset],
            position: first + offset as u64,
            vocab: self.vocab,
        })
    }
}

impl TokenFile {
    fn open(path: &Path, width: TokenWidth, first: u64) -> Result<Self, DataError> {
        let io = |source| DataError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if metadata.is_dir() {
            return Err(io(std::io::ErrorKind::IsADirectory.into()));
        }
        let bytes = metadata.len();
        if bytes % width.bytes() as u64 != 0 {
            return Err(DataError::PartialToken { path: path.to_owned(), bytes, width: width.bytes() });
        }
        Ok(Self { file, path: path.to_owned(), first, len: bytes / width.bytes() as u64 })
    }

    fn read(&self, width: TokenWidth, start: u64, tokens: &mut [u32]) -> Result<(), DataError> {
        let mut bytes = [0u8; 16_384];
        let mut at = start * width.bytes() as u64;
        for tokens in tokens.chunks_mut(bytes.len() / width.bytes()) {
            let bytes = &mut bytes[..tokens.len() * width.bytes()];
            let read = self.file.read_exact_at(bytes, at);
            read.map_err(|source| DataError::Io { path: self.path.clone(), source })?;
            width.decode(bytes, tokens);
            at += bytes.len() as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn all(source: &TokenSource) -> Vec<u32> {
        let mut tokens = vec![0; source.len() as usize];
        source.read(0, &mut tokens).unwrap();
        tokens
    }

    fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn files_of_both_widths_give_their_tokens() {
        // More tokens than one read takes.
        let tokens: Vec<u32> = (0..20_000).map(|i| i * 3 % 60_000).collect();
        let narrow: Vec<u8> = tokens.iter().flat_map(|&t| (t as u16).to_le_bytes()).collect();
        let wide: Vec<u8> = tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
        for (bytes, width) in [(narrow, TokenWidth::Two), (wide, TokenWidth::Four)] {
            let file = file_of(&bytes);
            let source = TokenSource::from_file(file.path(), width, 60_000).unwrap();
            assert_eq!(all(&source), tokens);
            let mut middle = [0; 3];
            source.read(12_345, &mut middle).unwrap();
            assert_eq!(middle, tokens[12_345..12_348]);
        }
    }

    #[test]
    fn several_files_are_read_as_one() {
        let parts: [&[u8]; 4] = [&[0, 0, 1, 0], &[], &[2, 0], &[3, 0, 4, 0, 5, 0]];
        let files: Vec<_> = parts.iter().map(|bytes| file_of(bytes)).collect();
        let paths: Vec<PathBuf> = files.iter().map(|file| file.path().to_owned()).collect();
        let source = TokenSource::from_files(&paths, TokenWidth::Two, 6).unwrap();
        assert_eq!(all(&source), [0, 1, 2, 3, 4, 5]);
        for start in 0..6 {
            for len in 0..=6 - start {
                let mut tokens = vec![9; len];
                source.read(start as u64, &mut tokens).unwrap();
                assert_eq!(tokens, (start as u32..(start + len) as u32).collect::<Vec<_>>());
            }
        }
        let error = TokenSource::from_files(&paths, TokenWidth::Two, 5).unwrap_err();
        let DataError::OutOfVocabulary { name, token: 5, position: 2, .. } = error else { panic!("{error}") };
        assert_eq!(name, paths[3].display().to_string());
        assert!(matches!(
            TokenSource::from_files(&paths[1..2], TokenWidth::Two, 5),
            Err(DataError::Empty { .. })
        ));
    }

    #[test]
    fn a_compact_source_has_the_same_tokens_by_other_numbers() {
        let source = TokenSource::from_memory("text", vec![7, 2, 9, 2, 7, 4], 12).unwrap();
        let (train, held) = source.hold_out(0.2).unwrap();
        let mut occurs = vec![false; 12];
        train.mark(&mut occurs).unwrap();
        held.mark(&mut occurs).unwrap();
        let map = Arc::new(VocabMap::new(&occurs));
        let (train, held) = (train.compacted(&map), held.compacted(&map));
        assert_eq!((all(&train), all(&held)), (vec![2, 0, 3, 0, 2], vec![1]));
        assert_eq!(train.vocab(), 4);
        let partial = Arc::new(VocabMap::new(&[true; 3]));
        let error = source.compacted(&partial).read(0, &mut [0]).unwrap_err();
        assert!(matches!(error, DataError::OutOfVocabulary { token: 7, position: 0, .. }));
    }

    #[test]
    fn unusable_tokens_are_named() {
        let read = |bytes: &[u8], width| {
            let file = file_of(bytes);
            TokenSource::from_file(file.path(), width, 100).unwrap_err()
        };
        assert!(matches!(read(&[], TokenWidth::Two), DataError::Empty { .. }));
        assert!(matches!(
            read(&[1, 0, 2], TokenWidth::Two),
            DataError::PartialToken { bytes: 3, width: 2, .. }
        ));
        assert!(matches!(read(&[1, 0], TokenWidth::Four), DataError::PartialToken { .. }));
        let DataError::OutOfVocabulary { token, position, vocab, .. } =
            read(&[99, 0, 0, 0, 100, 0, 255, 255], TokenWidth::Two)
        else {
            panic!("the token outside the vocabulary went unseen");
        };
        assert_eq!((token, position, vocab), (100, 2, 100));
        // A u32 token above 65535 must not wrap into the vocabulary.
        assert!(matches!(
            read(&[1, 0, 1, 0], TokenWidth::Four),
            DataError::OutOfVocabulary { token: 65_537, .. }
        ));

        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("absent.bin"), folder.path().to_owned()] {
            let error = TokenSource::from_file(&path, TokenWidth::Two, 100).unwrap_err();
            assert!(matches!(&error, DataError::Io { path: named, .. } if *named == path), "{error}");
        }
        assert!(matches!(TokenSource::from_memory("text", vec![], 9), Err(DataError::Empty { .. })));
        assert!(matches!(
            TokenSource::from_memory("text", vec![8, 9], 9),
            Err(DataError::OutOfVocabulary { token: 9, position: 1, .. })
        ));
        assert!(matches!(TokenWidth::try_from(3), Err(DataError::Width(3))));
    }

    #[test]
    fn a_file_that_shrinks_or_changes_under_a_run_is_an_error() {
        let file = file_of(&[1, 0, 2, 0, 3, 0]);
        let source = TokenSource::from_file(file.path(), TokenWidth::Two, 10).unwrap();
        fs::write(file.path(), [1, 0, 99, 0]).unwrap();
        assert!(matches!(source.read(1, &mut [0]), Err(DataError::OutOfVocabulary { position: 1, .. })));
        assert!(matches!(source.read(2, &mut [0]), Err(DataError::Io { .. })));
    }

    #[test]
    fn holding_out_takes_the_end() {
        let source = TokenSource::from_memory("text", (0..100).collect(), 100).unwrap();
        let (kept, held) = source.hold_out(0.1).unwrap();
        assert_eq!((all(&kept), all(&held)), ((0..90).collect(), (90..100).collect()));
        // Splitting what was split off stays inside it.
        let (_, end) = held.hold_out(0.5).unwrap();
        assert_eq!(all(&end), (95..100).collect::<Vec<_>>());
        let (whole, nothing) = source.hold_out(0.0).unwrap();
        assert_eq!((whole.len(), nothing.is_empty()), (100, true));
        for fraction in [1.0, -0.1, f64::NAN] {
            assert!(matches!(source.hold_out(fraction), Err(DataError::Fraction(_))));
        }
    }

    #[test]
    fn a_window_needs_one_token_more_than_its_length() {
        let source = TokenSource::from_memory("text", vec![0; 9], 1).unwrap();
        source.require_window(8).unwrap();
        assert!(matches!(source.require_window(9), Err(DataError::TooShort { tokens: 9, seq: 9, .. })));
    }
}
