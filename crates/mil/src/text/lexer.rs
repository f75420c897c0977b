//! Tokens of MIL text. A token is a kind and a span: nothing is copied.

use crate::diagnostic::Span;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or keyword.
    Ident,
    /// A number, `-inf` and `-nan` included; not yet known to be well formed.
    Number,
    /// A string, quotes included.
    Str,
    /// One of `( ) [ ] { } < > , ; = ?`.
    Punct(u8),
    /// `->`
    Arrow,
    /// A string without its closing quote, or a comment without its end.
    Unterminated,
    /// A character that no token begins with.
    Unknown,
    /// The end of the text.
    Eof,
}

/// A token and where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Span,
}

impl Token {
    pub(super) fn is(self, punct: u8) -> bool {
        self.kind == Kind::Punct(punct)
    }
}

/// Reads tokens one after another. Copying it and reading on from the copy looks ahead.
#[derive(Clone, Copy)]
pub(super) struct Lexer<'a> {
    source: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        let bom = if source.starts_with('\u{feff}') { 3 } else { 0 };
        Self { source: source.as_bytes(), at: bom }
    }

    /// Bytes not yet read: a bound on how many elements a literal can still have.
    pub(super) fn remaining(&self) -> usize {
        self.source.len() - self.at
    }

    /// Makes the rest of the text unread and unreadable.
    pub(super) fn stop(&mut self) {
        self.at = self.source.len();
    }

    /// The next token; [`Kind::Eof`] for ever at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Token {
        if let Err(comment) = self.skip_blank() {
            return comment;
        }
        let start = self.at;
        let kind = match self.peek(0) {
            None => Kind::Eof,
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => {
                self.skip_while(is_ident);
                Kind::Ident
            }
            Some(b'0'..=b'9' | b'.' | b'+') => self.number(),
            Some(b'-') if self.peek(1) == Some(b'>') => {
                self.at += 2;
                Kind::Arrow
            }
            Some(b'-') => self.number(),
            Some(b'"') => self.string(),
            Some(c @ (b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b',' | b';' | b'=' | b'?')) => {
                self.at += 1;
                Kind::Punct(c)
            }
            Some(_) => {
                // The whole character, so that the span falls on its boundaries.
                self.at += 1;
                self.skip_while(|c| c & 0xc0 == 0x80);
                Kind::Unknown
            }
        };
        Token { kind, span: Span::new(start, self.at) }
    }

    #[inline]
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.source.get(self.at + ahead).copied()
    }

    #[inline]
    fn skip_while(&mut self, mut wanted: impl FnMut(u8) -> bool) {
        while self.peek(0).is_some_and(&mut wanted) {
            self.at += 1;
        }
    }

    /// Skips white space and comments. `Err` is the token of a comment that does not end.
    #[inline]
    fn skip_blank(&mut self) -> Result<(), Token> {
        loop {
            self.skip_while(|c| c.is_ascii_whitespace());
            match (self.peek(0), self.peek(1)) {
                (Some(b'/'), Some(b'/')) => self.skip_while(|c| c != b'\n'),
                (Some(b'/'), Some(b'*')) => {
                    let start = self.at;
                    let body = &self.source[start + 2..];
                    match body.windows(2).position(|w| w == b"*/") {
                        Some(i) => self.at = start + 2 + i + 2,
                        None => {
                            self.stop();
                            let span = Span::new(start, start + 2);
                            return Err(Token { kind: Kind::Unterminated, span });
                        }
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    /// A sign, digits (decimal or hexadecimal), a point, an exponent, or a sign and `inf` or `nan`. Letters that follow are
    /// taken in, so that `12ab` is one malformed number and not two tokens.
    #[inline]
    fn number(&mut self) -> Kind {
        self.skip_while(|c| c == b'-' || c == b'+');
        let hex = self.peek(0) == Some(b'0') && matches!(self.peek(1), Some(b'x' | b'X'));
        let mut last = 0;
        self.skip_while(|c| {
            let exponent = if hex { matches!(last, b'p' | b'P') } else { matches!(last, b'e' | b'E') };
            let more = is_ident(c) || c == b'.' || (exponent && (c == b'-' || c == b'+'));
            last = c;
            more
        });
        Kind::Number
    }

    fn string(&mut self) -> Kind {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek(0) {
                Some(b'"') => {
                    self.at += 1;
                    return Kind::Str;
                }
                Some(b'\\') if !matches!(self.peek(1), None | Some(b'\n')) => self.at += 2,
                None | Some(b'\n') => {
                    debug_assert!(self.at > start);
                    return Kind::Unterminated;
                }
                Some(_) => self.at += 1,
            }
        }
    }
}

fn is_ident(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_'
}

/// True for what the lexer takes for one name.
pub(super) fn is_name(text: &str) -> bool {
    text.bytes().all(is_ident) && text.bytes().next().is_some_and(|c| !c.is_ascii_digit())
}

/// The text of a string token (quotes included) with its escapes resolved, or the bytes (relative to the token) of an escape
/// that does not exist.
pub(super) fn unescape(token: &str) -> Result<String, std::ops::Range<usize>> {
    let body = &token[1..token.len() - 1];
    let mut out = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(i) = rest.find('\\') {
        out.push_str(&rest[..i]);
        let escape = &rest[i + 1..];
        let (c, length) = match escape.as_bytes() {
            [b'"', ..] => ('"', 1),
            [b'\\', ..] => ('\\', 1),
            [b'n', ..] => ('\n', 1),
            [b'r', ..] => ('\r', 1),
            [b't', ..] => ('\t', 1),
            [b'x', high @ b'0'..=b'7', low, ..] if low.is_ascii_hexdigit() => {
                let digit = |d: u8| (d as char).to_digit(16).unwrap_or(0);
                (char::from((digit(*high) * 16 + digit(*low)) as u8), 3)
            }
            _ => {
                let at = 1 + body.len() - rest.len() + i;
                let width = escape.chars().next().map_or(0, char::len_utf8);
                return Err(at..at + 1 + width);
            }
        };
        out.push(c);
        rest = &escape[length..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(source: &str) -> Vec<(Kind, &str)> {
        let mut lexer = Lexer::new(source);
        let mut out = Vec::new();
        loop {
            let token = lexer.next();
            if token.kind == Kind::Eof {
                return out;
            }
            out.push((token.kind, token.span.text(source)));
        }
    }

    #[test]
    fn numbers_keep_their_signs_points_and_exponents() {
        for number in
            ["0", "-1", "1.5", "-0x1.8p-3", "1e-05", "+2", ".5", "0x1p0", "-inf", "-nan", "12ab", "0x1e"]
        {
            assert_eq!(tokens(number), [(Kind::Number, number)]);
        }
        // In hexadecimal `e` is a digit and not an exponent.
        assert_eq!(tokens("0x1e-3"), [(Kind::Number, "0x1e"), (Kind::Number, "-3")]);
    }

    #[test]
    fn arrows_and_comments_are_not_numbers() {
        assert_eq!(
            tokens("}->(a) // b\n/* c */;"),
            [
                (Kind::Punct(b'}'), "}"),
                (Kind::Arrow, "->"),
                (Kind::Punct(b'('), "("),
                (Kind::Ident, "a"),
                (Kind::Punct(b')'), ")"),
                (Kind::Punct(b';'), ";"),
            ]
        );
    }

    #[test]
    fn what_does_not_end_is_one_token() {
        assert_eq!(tokens("a /* b"), [(Kind::Ident, "a"), (Kind::Unterminated, "/*")]);
        assert_eq!(tokens("\"ab\nc"), [(Kind::Unterminated, "\"ab"), (Kind::Ident, "c")]);
        assert_eq!(tokens("\"ab\\"), [(Kind::Unterminated, "\"ab\\")]);
        assert_eq!(tokens("é"), [(Kind::Unknown, "é")]);
        assert_eq!(tokens("\"\\é\""), [(Kind::Str, "\"\\é\"")]);
    }

    #[test]
    fn escapes_are_resolved() {
        assert_eq!(unescape(r#""a\"b\\c\n\t\r\x01é""#).unwrap(), "a\"b\\c\n\t\r\u{1}é");
        assert_eq!(unescape(r#""ab\q""#), Err(3..5));
        assert_eq!(unescape(r#""\xff""#), Err(1..3));
        assert_eq!(unescape("\"\\é\""), Err(1..4));
    }
}
