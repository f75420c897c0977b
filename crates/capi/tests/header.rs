//! `include/ferrane.h` is made from the functions it declares. With `FERRANE_BLESS=1` the test writes it.

use std::fmt::Write as _;
use std::path::Path;

const ABI: &str = include_str!("../src/abi.rs");
const OUTCOME: &str = include_str!("../src/outcome.rs");

const PREAMBLE: &str = "\
/* Ferrane: compile and evaluate MIL programs on Apple's Neural Engine, its simulation, or the CPU.
 *
 * Made from crates/capi/src/abi.rs by its tests; docs/capi.md says how to use it.
 *
 * Handles are looked up, never followed: one that was freed, or is of another kind, gives FERRANE_INVALID_ARGUMENT. Every
 * function may be called from any thread at any time; evaluations of one kernel wait for each other. Whoever writes a
 * surface that another thread reads must say when, as with any memory.
 */
#ifndef FERRANE_H
#define FERRANE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern \"C\" {
#endif
";

const END: &str = "
#ifdef __cplusplus
}
#endif

#endif
";

/// Rust's types as C has them.
const TYPES: [(&str, &str); 14] = [
    ("*const c_char", "const char *"),
    ("*const u8", "const uint8_t *"),
    ("*const f32", "const float *"),
    ("*mut f32", "float *"),
    ("*const *mut SurfaceHandle", "ferrane_surface *const *"),
    ("*mut PortInfo", "ferrane_port *"),
    ("*mut EngineHandle", "ferrane_engine *"),
    ("*mut WeightsHandle", "ferrane_weights *"),
    ("*mut KernelHandle", "ferrane_kernel *"),
    ("*mut SurfaceHandle", "ferrane_surface *"),
    ("Status", "ferrane_status "),
    ("usize", "size_t "),
    ("u32", "uint32_t "),
    ("", "void "),
];

fn c_type(rust: &str) -> String {
    if let Some(handle) = rust.strip_prefix("*mut ").filter(|inner| inner.starts_with("*mut ")) {
        return format!("{}*", c_type(handle));
    }
    match TYPES.iter().find(|(name, _)| *name == rust) {
        Some((_, c)) => (*c).to_owned(),
        None => panic!("the header has no type for `{rust}`"),
    }
}

/// The documentation above line `at`, without what is Rust's alone.
fn comment(lines: &[&str], at: usize) -> String {
    let above = lines[..at].iter().rev().skip_while(|line| line.trim_start().starts_with("#["));
    let doc: Vec<&str> = above.map_while(|line| line.trim_start().strip_prefix("///")).collect();
    let safety = |line: &&&str| line.trim() != "# Safety";
    let said: Vec<&str> = doc.iter().rev().take_while(safety).map(|line| line.trim()).collect();
    let promise: Vec<&str> = doc.iter().rev().skip_while(safety).skip(1).map(|line| line.trim()).collect();
    let all = said.into_iter().chain(promise).filter(|line| !line.is_empty());
    all.collect::<Vec<_>>().join(" ").replace('`', "")
}

/// A comment of lines that are not too long.
fn commented(text: &str, indent: &str) -> String {
    let mut out = format!("{indent}/*");
    let mut column = out.len();
    for word in text.split_whitespace() {
        if column + 1 + word.len() > 110 {
            let _ = write!(out, "\n{indent} *");
            column = indent.len() + 2;
        }
        let _ = write!(out, " {word}");
        column += 1 + word.len();
    }
    out + " */\n"
}

fn constant(variant: &str) -> String {
    let mut name = "FERRANE".to_owned();
    for (i, letter) in variant.chars().enumerate() {
        if i == 0 || letter.is_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// The lines between `begin` and the next `}`, with their numbers.
fn body<'a>(lines: &'a [&'a str], begin: &str) -> impl Iterator<Item = (usize, &'a str)> {
    let first = lines.iter().position(|line| *line == begin).unwrap_or_else(|| panic!("no `{begin}`"));
    let inside = lines.iter().enumerate().skip(first + 1).take_while(|(_, line)| **line != "}");
    inside.map(|(at, line)| (at, line.trim()))
}

fn c_enum(source: &str, rust: &str, c: &str) -> String {
    let lines: Vec<&str> = source.lines().collect();
    let mut out = "typedef enum {\n".to_owned();
    for (at, line) in body(&lines, &format!("pub enum {rust} {{")).filter(|(_, line)| line.contains(" = ")) {
        let (variant, number) = line.trim_end_matches(',').split_once(" = ").unwrap();
        out += &commented(&comment(&lines, at), "    ");
        let _ = writeln!(out, "    {} = {number},", constant(variant));
    }
    out + &format!("}} {c};\n")
}

fn header() -> String {
    let lines: Vec<&str> = ABI.lines().collect();
    let mut out = PREAMBLE.to_owned();
    out += "\n/* How a call ended. */\n";
    out += &c_enum(OUTCOME, "Status", "ferrane_status");
    out += "\n/* A side of a kernel. */\n";
    out += &c_enum(ABI, "Side", "ferrane_side");
    for (rust, c) in
        [("Engine", "engine"), ("Weights", "weights"), ("Kernel", "kernel"), ("Surface", "surface")]
    {
        let line = format!("pub enum {rust}Handle {{}}");
        let at = lines.iter().position(|l| *l == line).unwrap();
        let _ =
            write!(out, "\n{}typedef struct ferrane_{c} ferrane_{c};\n", commented(&comment(&lines, at), ""));
    }
    let at = lines.iter().position(|line| *line == "pub struct PortInfo {").unwrap();
    let _ = write!(out, "\n{}typedef struct {{\n", commented(&comment(&lines, at), ""));
    for (at, line) in body(&lines, "pub struct PortInfo {").filter(|(_, line)| line.starts_with("pub ")) {
        let (name, ty) = line.trim_end_matches(',').strip_prefix("pub ").unwrap().split_once(": ").unwrap();
        let _ = writeln!(out, "{}    {}{name};", commented(&comment(&lines, at), "    "), c_type(ty));
    }
    out += "} ferrane_port;\n";
    for at in (0..lines.len()).filter(|&at| lines[at].contains("extern \"C\" fn ")) {
        out += &format!("\n{}{}", commented(&comment(&lines, at), ""), declaration(&lines[at..]));
    }
    out + END
}

fn declaration(lines: &[&str]) -> String {
    let end = lines.iter().position(|line| line.ends_with('{')).unwrap();
    let text = lines[..=end].iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    let (name, rest) = text.split_once("fn ").unwrap().1.split_once('(').unwrap();
    let (parameters, result) = rest.rsplit_once(')').unwrap();
    let result = result.trim_start_matches(" ->").trim_end_matches('{').trim();
    let parameter = |text: &str| {
        let (name, ty) = text.trim().split_once(": ").unwrap();
        format!("{}{name}", c_type(ty))
    };
    let parameters: Vec<String> =
        parameters.split(',').filter(|p| !p.trim().is_empty()).map(parameter).collect();
    let parameters = if parameters.is_empty() { "void".to_owned() } else { parameters.join(", ") };
    format!("{}{name}({parameters});\n", c_type(result))
}

#[test]
fn the_header_is_that_of_the_functions() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include/ferrane.h");
    let made = header();
    if std::env::var_os("FERRANE_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == made,
        "include/ferrane.h is not that of src/abi.rs; `FERRANE_BLESS=1 cargo test -p ferrane-capi --test header` writes it"
    );
}
