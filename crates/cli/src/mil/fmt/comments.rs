//! Comments, which a program does not have, carried from one text of it to another.

use ferrane_mil::diagnostic::SourceMap;
use ferrane_mil::text::parse;

use super::Text;

/// A comment and where it belongs.
struct Comment<'a> {
    text: &'a str,
    /// Index of the first anchor that begins after it; the number of anchors when none does.
    before: usize,
    /// It follows something on its line.
    trailing: bool,
}

/// `printed`, the canonical text of the program in `text`, with the comments of `text` before, or on the line of, the
/// statements they stood at.
pub(super) fn carry_over(text: &Text, printed: String) -> Result<String, String> {
    let found = find(&text.source);
    if found.is_empty() {
        return Ok(printed);
    }
    let old = anchors(program_start(&text.source, &found), &text.map);
    let parsed = parse(&printed).map_err(|errors| format!("the canonical text cannot be read: {errors}"))?;
    let new = anchors(0, &parsed.source_map);
    if old.len() != new.len() {
        return Err("its comments cannot be kept: the rewritten program has other statements; remove them \
                    first, or print with --stdout from a file without comments"
            .into());
    }
    let comments = found.into_iter().map(|(start, end)| Comment {
        text: &text.source[start..end],
        before: old.partition_point(|&anchor| (anchor as usize) < start),
        trailing: !text.source[..start].rsplit('\n').next().unwrap_or("").trim().is_empty(),
    });

    let mut out = String::with_capacity(printed.len() + text.source.len());
    let mut copied = 0;
    for comment in comments {
        let (at, own_line) = match comment.trailing && comment.before > 0 {
            // Behind the statement it follows.
            true => (line_end(&printed, new[comment.before - 1] as usize), false),
            false => match new.get(comment.before) {
                Some(&next) => (line_start(&printed, next as usize), true),
                None => (printed.len(), true),
            },
        };
        // Comments come in order, but a trailing one may point at a line that others already follow.
        let at = at.max(copied);
        out.push_str(&printed[copied..at]);
        copied = at;
        if own_line {
            let indent = printed[at..].chars().take_while(|c| *c == ' ').count();
            out.push_str(&" ".repeat(indent));
            out.push_str(comment.text.trim_end());
            out.push('\n');
        } else {
            out.push(' ');
            out.push_str(comment.text.trim_end());
        }
    }
    out.push_str(&printed[copied..]);
    Ok(out)
}

/// Where comments can be attached: the program, each function's header, each statement, each return tuple.
fn anchors(program: usize, map: &SourceMap) -> Vec<u32> {
    let mut anchors = vec![program as u32];
    for function in &map.functions {
        anchors.push(function.name.start);
        anchors.extend(function.ops.iter().map(|op| op.statement.start));
        anchors.extend(function.outputs.first().map(|output| output.start));
    }
    anchors
}

/// Where the text proper begins, behind the comments at its head.
fn program_start(source: &str, comments: &[(usize, usize)]) -> usize {
    let mut at = 0;
    loop {
        at += source[at..].len() - source[at..].trim_start().len();
        match comments.iter().find(|(start, _)| *start == at) {
            Some((_, end)) => at = *end,
            None => return at,
        }
    }
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |i| i + 1)
}

fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |i| at + i)
}

/// The comments of a text, as byte ranges. Text in quotes is none.
fn find(source: &str) -> Vec<(usize, usize)> {
    let bytes = source.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'"', _) => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            (b'/', Some(b'/')) => {
                let end = line_end(source, at);
                found.push((at, end));
                at = end;
            }
            (b'/', Some(b'*')) => {
                let end = source[at + 2..].find("*/").map_or(source.len(), |i| at + 2 + i + 2);
                found.push((at, end));
                at = end;
            }
            _ => at += 1,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ferrane_mil::diagnostic::Diagnostics;
    use ferrane_mil::text::{Dialect, print};

    use super::*;

    #[test]
    fn comments_stay_with_what_they_are_about() {
        let source = "\n// one\n/* two\n   lines */\nprogram(1.3) // version\n{ // open\n// of main\n\
            func main<ios18>(fp16 x) { // header\n// first\nfp16 a = relu(x = /* in */ x); // \"a\"\n\
            string s = const()[val = string(\"// no comment\")];\n// last\n} -> (a); // out\n}\n// end\n";
        let parsed = parse(source).unwrap();
        let printed = print(&parsed.program, Dialect::Modern).unwrap();
        let text = Text {
            path: PathBuf::new(),
            source: source.into(),
            map: parsed.source_map,
            warnings: Diagnostics::new(),
        };
        let carried = carry_over(&text, printed).unwrap();
        let expected = "// one\n/* two\n   lines */\nprogram(1.3) // version // open\n{\n    // of main\n    \
            func main<ios18>(fp16 x) { // header\n        // first\n        fp16 a = relu(x = x)[name = string(\"a\")]; \
            /* in */ // \"a\"\n        string s = const()[name = string(\"s\"), val = string(\"// no comment\")];\n    \
            // last\n    } -> (a); // out\n}\n// end\n";
        assert_eq!(carried, expected);
    }
}
