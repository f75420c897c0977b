//! Documents of a file, one after the other, in bounded memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use ferrane_model::tokenizer::END_OF_TEXT;
use serde::Deserialize;

use super::CorpusError;

/// A document longer than this comes in pieces, cut before a line break where there is one.
pub(super) const LONGEST_PIECE: usize = 1 << 20;
/// A line of JSON longer than this is an error.
const LONGEST_LINE: u64 = 64 << 20;
/// Bytes read at a time.
const READ: usize = 1 << 16;

/// A document, or a piece of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// Whether a document ends with it.
    pub(super) last: bool,
}

/// Reads a `.jsonl` file, a document a line under `text`, or any other as text in which [`END_OF_TEXT`] stands between
/// documents. Documents of nothing but white space are passed over; white space around them is dropped.
pub(super) struct Documents {
    path: PathBuf,
    source: Source,
    longest: usize,
}

enum Source {
    Text(Text),
    Lines { reader: BufReader<File>, line: u64 },
}

/// Text from which documents are taken at the front while it is read at the back.
struct Text {
    file: File,
    buffer: Vec<u8>,
    /// Where in `buffer` what was not yet given out begins.
    start: usize,
    /// Up to where `buffer` was searched for a separator.
    searched: usize,
    /// Position of `buffer[0]` in the file.
    offset: u64,
    at_end: bool,
    /// Whether a piece of the current document was given out.
    inside: bool,
}

#[derive(Deserialize)]
struct Line {
    text: String,
}

impl Documents {
    pub(super) fn open(path: &Path) -> Result<Self, CorpusError> {
        Self::with_longest(path, LONGEST_PIECE)
    }

    fn with_longest(path: &Path, longest: usize) -> Result<Self, CorpusError> {
        let file = File::open(path).map_err(CorpusError::io("read", path))?;
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        let source = match extension.as_deref() {
            Some("jsonl" | "ndjson") => {
                Source::Lines { reader: BufReader::with_capacity(READ, file), line: 0 }
            }
            Some("json" | "parquet" | "gz" | "zst" | "zip" | "tar" | "bin") => {
                return Err(CorpusError::Kind { path: path.to_owned() });
            }
            _ => Source::Text(Text {
                file,
                buffer: Vec::new(),
                start: 0,
                searched: 0,
                offset: 0,
                at_end: false,
                inside: false,
            }),
        };
        Ok(Self { path: path.to_owned(), source, longest })
    }

    /// The next document or piece of one.
    ///
    /// # Errors
    /// A file that cannot be read, is not UTF-8, or has a line that is no JSON object with a `text`.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, CorpusError> {
        match &mut self.source {
            Source::Text(text) => text.next(&self.path, self.longest),
            Source::Lines { reader, line } => next_line(reader, line, &self.path),
        }
    }
}

fn next_line(
    reader: &mut BufReader<File>,
    number: &mut u64,
    path: &Path,
) -> Result<Option<Piece>, CorpusError> {
    let mut line = Vec::new();
    loop {
        *number += 1;
        line.clear();
        let read =
            reader.take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(CorpusError::io("read", path))?;
        if read == 0 {
            return Ok(None);
        }
        let refused = |problem: String| CorpusError::Line { path: path.to_owned(), line: *number, problem };
        if read as u64 == LONGEST_LINE {
            return Err(refused(format!("is longer than {LONGEST_LINE} bytes")));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let Line { text } = serde_json::from_slice(&line).map_err(|error| refused(error.to_string()))?;
        let text = text.trim();
        if !text.is_empty() {
            return Ok(Some(Piece { text: text.to_owned(), last: true }));
        }
    }
}

impl Text {
    fn next(&mut self, path: &Path, longest: usize) -> Result<Option<Piece>, CorpusError> {
        loop {
            let separator = END_OF_TEXT.as_bytes();
            let found = find(&self.buffer[self.searched..], separator).map(|at| self.searched + at);
            // A separator may have begun at the end of what was read.
            let unfinished = self.buffer.len().saturating_sub(separator.len() - 1);
            self.searched = found.unwrap_or(unfinished).max(self.start);
            let piece = match found {
                _ if self.searched - self.start > longest => self.take(path, self.cut(longest), false)?,
                Some(end) => {
                    let piece = self.take(path, end, true)?;
                    self.start = end + separator.len();
                    self.searched = self.start;
                    piece
                }
                None if self.at_end => return self.take(path, self.buffer.len(), true),
                None => {
                    self.read(path)?;
                    continue;
                }
            };
            if piece.is_some() {
                return Ok(piece);
            }
        }
    }

    /// Where a piece of at most `longest` bytes ends: before the last line break, else between characters.
    fn cut(&self, longest: usize) -> usize {
        let most = &self.buffer[self.start..self.start + longest];
        let line_break = most.iter().rposition(|&byte| byte == b'\n').filter(|&at| at > 0);
        let boundary = || (1..longest).rev().find(|&at| self.buffer[self.start + at] & 0xc0 != 0x80);
        self.start + line_break.or_else(boundary).unwrap_or(longest)
    }

    /// Gives out the text up to `end`; none if it is nothing but white space and no piece came before.
    fn take(&mut self, path: &Path, end: usize, last: bool) -> Result<Option<Piece>, CorpusError> {
        let bytes = &self.buffer[self.start..end];
        let text = std::str::from_utf8(bytes).map_err(|error| CorpusError::NotText {
            path: path.to_owned(),
            position: self.offset + (self.start + error.valid_up_to()) as u64,
        })?;
        let text = if self.inside { text } else { text.trim_start() };
        let text = if last { text.trim_end() } else { text };
        let piece = (self.inside || !text.is_empty()).then(|| Piece { text: text.to_owned(), last });
        self.start = end;
        self.inside = !last && piece.is_some();
        Ok(piece)
    }

    fn read(&mut self, path: &Path) -> Result<(), CorpusError> {
        self.buffer.drain(..self.start);
        self.offset += self.start as u64;
        self.searched -= self.start;
        self.start = 0;
        let before = self.buffer.len();
        self.buffer.resize(before + READ, 0);
        let read = self.file.read(&mut self.buffer[before..]).map_err(CorpusError::io("read", path))?;
        self.buffer.truncate(before + read);
        self.at_end = read == 0;
        Ok(())
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    let first = pattern[0];
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|&byte| byte == first) {
        from += at;
        if bytes[from..].starts_with(pattern) {
            return Some(from);
        }
        from += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrane_model::tokenizer::split_documents;
    use proptest::prelude::*;

    fn read(name: &str, bytes: &[u8], longest: usize) -> Result<Vec<Piece>, CorpusError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut documents = Documents::with_longest(&path, longest)?;
        let mut pieces = Vec::new();
        while let Some(piece) = documents.next()? {
            pieces.push(piece);
        }
        Ok(pieces)
    }

    /// Pieces joined to documents.
    fn joined(pieces: Vec<Piece>) -> Vec<String> {
        let mut documents = vec![String::new()];
        for piece in pieces {
            documents.last_mut().unwrap().push_str(&piece.text);
            if piece.last {
                documents.push(String::new());
            }
        }
        assert_eq!(documents.pop().unwrap(), "", "a document did not end");
        documents
    }

    proptest! {
        /// What is read piece by piece is what a text split as a whole has.
        #[test]
        fn a_stream_of_pieces_is_the_text(
            parts in prop::collection::vec("[ a\nbé世<|]{0,40}", 0..6),
            longest in 8usize..64,
        ) {
            let text = parts.join(END_OF_TEXT);
            let pieces = read("a.txt", text.as_bytes(), longest).unwrap();
            prop_assert!(pieces.iter().all(|piece| piece.text.len() <= longest + END_OF_TEXT.len()));
            // White space at the end of a document may be in a piece that was given out.
            let joined: Vec<String> = joined(pieces).iter().map(|text| text.trim_end().to_owned()).collect();
            prop_assert_eq!(joined, split_documents(&text));
        }
    }

    #[test]
    fn a_separator_across_two_reads_is_seen() {
        for before in READ - 14..READ + 2 {
            let text = format!("{}{END_OF_TEXT}second", "x".repeat(before));
            let documents = joined(read("a.txt", text.as_bytes(), LONGEST_PIECE).unwrap());
            assert_eq!(documents.len(), 2, "{before}");
            assert_eq!(documents[1], "second");
        }
    }

    #[test]
    fn lines_of_json_are_documents() {
        let text = "{\"text\": \"one\\ntwo \", \"id\": 3}\n\n  \n{\"text\": \"\"}\n{\"text\":\"last\"}";
        let documents = joined(read("a.jsonl", text.as_bytes(), 8).unwrap());
        assert_eq!(documents, ["one\ntwo", "last"]);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_place() {
        let message = |name: &str, bytes: &[u8]| read(name, bytes, 8).unwrap_err().to_string();
        let line = message("a.jsonl", b"{\"text\": \"x\"}\n{\"content\": \"y\"}\n");
        assert!(line.contains("a.jsonl") && line.contains("line 2") && line.contains("text"), "{line}");
        let text = message("a.txt", b"0123456789abcdef\xff");
        assert!(text.contains("a.txt") && text.contains("byte 16"), "{text}");
        assert!(message("a.parquet", b"").contains("a.parquet"));
        let absent = Documents::open(Path::new("/absent.txt")).err().unwrap().to_string();
        assert!(absent.contains("/absent.txt"), "{absent}");
    }
}
