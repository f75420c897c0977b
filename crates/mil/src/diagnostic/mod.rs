//! What is wrong with a program, and where.
//!
//! The text reader and the verifier report [`Diagnostic`]s: each has a stable [`Code`] that `explain` can say more about, a
//! sentence with the operand in it, places in the text and, where there is one, a remedy. Nothing here prints; a
//! one-line form is offered through `Display`, the picture with carets is drawn by the command line.

mod codes;
mod source_map;
mod suggest;
mod verifier;

pub use codes::Code;
pub use source_map::{FunctionSpans, OpSpans, SourceMap};
pub use suggest::nearest;

use std::fmt;

/// A range of bytes of the source text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes `start..end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The smallest span that covers both.
    pub fn to(self, other: Span) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The text it covers; empty when `source` is not the text it was made from.
    pub fn text(self, source: &str) -> &str {
        source.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// A place in a text as an editor shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Position {
    /// The place of byte `offset` of `source`.
    pub fn of(source: &str, offset: usize) -> Self {
        let mut end = offset.min(source.len());
        while !source.is_char_boundary(end) {
            end -= 1;
        }
        let before = &source[..end];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Self {
            line: 1 + before.bytes().filter(|&b| b == b'\n').count(),
            column: 1 + before[line_start..].chars().count(),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// How bad a diagnostic is. Only errors make a program unacceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing, not wrong.
    Note,
    /// Probably not what was meant.
    Warning,
    /// The program is not accepted.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable number, e.g. `MIL0012`.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, naming the operand.
    pub message: String,
    /// Places in the text with a remark each; the first is where it went wrong. Empty for programs that have no text.
    pub labels: Vec<(Span, String)>,
    /// What to do about it.
    pub help: Option<String>,
    /// Where the first label begins; filled in by [`Diagnostics::locate`].
    pub position: Option<Position>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        let severity = Severity::Error;
        Self { code, severity, message: message.into(), labels: Vec::new(), help: None, position: None }
    }

    /// A warning without a place.
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// A note without a place.
    pub fn note(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::error(code, message) }
    }

    /// Adds a place with a remark (which may be empty).
    pub fn label(mut self, span: Span, remark: impl Into<String>) -> Self {
        self.labels.push((span, remark.into()));
        self
    }

    /// Adds a remedy.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The place of the first label.
    pub fn span(&self) -> Option<Span> {
        self.labels.first().map(|(span, _)| *span)
    }

    /// The one-line form with a file name before it: `model.mil:3:14: error[MIL0012]: …`.
    pub fn in_file(&self, file: &str) -> String {
        match self.position {
            Some(_) => format!("{file}:{self}"),
            None => format!("{file}: {self}"),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = self.position {
            write!(f, "{position}: ")?;
        }
        write!(f, "{}[{}]: {}", self.severity, self.code, self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

/// Everything found wrong with a program, in the order found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// True when at least one is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    /// The errors among them.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter().filter(|d| d.severity == Severity::Error)
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Puts them in the order of their places and fills in line and column. Those without a place come first.
    pub fn locate(&mut self, source: &str) {
        self.0.sort_by_key(|d| d.span().map(|s| s.start));
        // Lines are counted once through the text, however many diagnostics there are.
        let (mut line, mut counted) = (0, 0);
        for diagnostic in &mut self.0 {
            let Some(span) = diagnostic.span() else { continue };
            let start = (span.start as usize).min(source.len());
            line += source.as_bytes()[counted..start].iter().filter(|&&b| b == b'\n').count();
            counted = start;
            let line_start =
                source.as_bytes()[..start].iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
            let within = Position::of(source.get(line_start..).unwrap_or_default(), start - line_start);
            diagnostic.position = Some(Position { line: line + 1, ..within });
        }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostic> for Diagnostics {
    fn from(d: Diagnostic) -> Self {
        Self(vec![d])
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let source = "ab\ncdé f";
        assert_eq!(Position::of(source, 0), Position { line: 1, column: 1 });
        assert_eq!(Position::of(source, 3), Position { line: 2, column: 1 });
        assert_eq!(Position::of(source, 7), Position { line: 2, column: 4 }, "é is one column");
        assert_eq!(Position::of(source, 6), Position { line: 2, column: 3 }, "inside é");
        assert_eq!(Position::of(source, 999), Position { line: 2, column: 6 });
    }

    #[test]
    fn locating_orders_by_place_and_agrees_with_position() {
        let source = "ab\ncdé f\n\nx";
        let mut all = Diagnostics::new();
        for at in [11, 3, 0, 7, 999] {
            all.push(Diagnostic::error(Code::SYNTAX, "").label(Span::new(at, at + 1), ""));
        }
        all.push(Diagnostic::error(Code::NO_FUNCTION, ""));
        all.locate(source);
        assert_eq!(all.0[0].position, None);
        let starts: Vec<u32> = all.iter().skip(1).filter_map(|d| d.span()).map(|s| s.start).collect();
        assert_eq!(starts, [0, 3, 7, 11, 999]);
        for d in all.iter().skip(1) {
            let start = d.span().unwrap_or_default().start as usize;
            assert_eq!(d.position, Some(Position::of(source, start)));
        }
    }

    #[test]
    fn one_line_form_has_file_place_code_and_help() {
        let d = Diagnostic::error(Code::UNDEFINED, "`q` is not defined")
            .label(Span::new(3, 4), "")
            .help("define it");
        let mut all = Diagnostics::from(d);
        all.locate("ab\nq");
        assert_eq!(all.0[0].in_file("m.mil"), format!("m.mil:{}", all.0[0]));
        assert_eq!(
            all.to_string(),
            format!("2:1: error[{}]: `q` is not defined (define it)", Code::UNDEFINED)
        );
    }
}
