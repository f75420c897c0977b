//! Diagnostics as people and as editors read them.

use std::io::{self, IsTerminal as _, Write as _};
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use ferrane_mil::diagnostic::{Diagnostic, Diagnostics, Position, Severity, Span};
use serde_json::{Value, json};

/// What is known of one file.
pub(crate) struct Report<'a> {
    /// The file as the user knows it.
    pub(crate) file: String,
    /// Its text; empty for packages.
    pub(crate) source: &'a str,
    pub(crate) diagnostics: &'a Diagnostics,
}

impl Report<'_> {
    /// Draws every diagnostic with the lines it is about, on stderr.
    pub(crate) fn draw(&self) -> io::Result<()> {
        let mut err = io::stderr().lock();
        let styled = err.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        for diagnostic in self.diagnostics.iter() {
            let text = renderer.render(&[self.group(diagnostic)]);
            writeln!(err, "{text}\n")?;
        }
        Ok(())
    }

    fn group<'a>(&'a self, d: &'a Diagnostic) -> Group<'a> {
        let level = match d.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => Level::NOTE,
        };
        let title = level.primary_title(d.message.as_str()).id(d.code.to_string());
        let mut group = if d.labels.is_empty() || self.source.is_empty() {
            title.element(annotate_snippets::Origin::path(self.file.as_str()))
        } else {
            let mut snippet = Snippet::source(self.source).path(self.file.as_str()).fold(true);
            for (i, (span, remark)) in d.labels.iter().enumerate() {
                let kind = if i == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
                let annotation = kind.span(bytes(*span, self.source));
                snippet = snippet.annotation(match remark.is_empty() {
                    true => annotation,
                    false => annotation.label(remark.as_str()),
                });
            }
            title.element(snippet)
        };
        if let Some(help) = &d.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        group
    }

    /// The report as JSON.
    pub(crate) fn json(&self) -> Value {
        let diagnostics: Vec<Value> = self.diagnostics.iter().map(|d| self.diagnostic_json(d)).collect();
        json!({
            "file": self.file,
            "errors": self.diagnostics.errors().count(),
            "diagnostics": diagnostics,
        })
    }

    fn diagnostic_json(&self, d: &Diagnostic) -> Value {
        let labels: Vec<Value> = d
            .labels
            .iter()
            .map(|(span, remark)| {
                let range = bytes(*span, self.source);
                json!({
                    "start": self.place(range.start),
                    "end": self.place(range.end),
                    "text": remark,
                })
            })
            .collect();
        json!({
            "code": d.code.to_string(),
            "title": d.code.title(),
            "severity": d.severity.to_string(),
            "message": d.message,
            "help": d.help,
            "labels": labels,
        })
    }

    fn place(&self, offset: usize) -> Value {
        let Position { line, column } = Position::of(self.source, offset);
        json!({"line": line, "column": column, "offset": offset})
    }
}

/// The bytes a span covers, inside the text and on character boundaries.
fn bytes(span: Span, source: &str) -> Range<usize> {
    let within = |offset: u32| {
        let mut offset = (offset as usize).min(source.len());
        while !source.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    };
    let start = within(span.start);
    start..within(span.end).max(start)
}
