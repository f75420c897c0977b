//! MIL text: reading, printing and comparing programs.
//!
//! [`parse`] is a hand-written lexer and a recursive descent that goes on after an error at the next `;`, so that one run
//! tells of all mistakes. It reads both dialects and any mixture of them. [`print()`] writes one canonical form in either
//! [`Dialect`], from which [`parse`] makes the same program again ([`structurally_equal`]) bit for bit.
//!
//! ```
//! use ferrane_mil::text::{Dialect, parse, print};
//!
//! let text = r#"program(1.3) { func main<ios18>(fp16 x) { fp16 y=relu(x=x)[name=string("y")]; } -> (y); }"#;
//! let program = parse(text)?.program;
//! let canonical = print(&program, Dialect::Modern)?;
//! assert!(canonical.contains("        fp16 y = relu(x = x)[name = string(\"y\")];\n"));
//!
//! let errors = parse("program(1.3) { func main<ios18>(fp16 x) { fp16 y = rleu(x = x); } -> (y); }").unwrap_err();
//! assert_eq!(errors.to_string(), "1:52: error[MIL0100]: there is no op `rleu` (did you mean `relu`?)");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compare;
mod dialect;
mod lexer;
mod literal;
mod names;
mod number;
mod parser;
mod printer;
mod statement;
mod types;

pub use compare::{structural_difference, structurally_equal};
pub use dialect::{Dialect, Misfit};
pub use printer::{PrintError, print};

use crate::Program;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, SourceMap, Span};

/// A program read from text.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The program.
    pub program: Program,
    /// Where its parts are in the text.
    pub source_map: SourceMap,
    /// What was accepted with a remark.
    pub warnings: Diagnostics,
}

/// Reads a program from MIL text.
///
/// # Errors
/// Everything found wrong, in the order found, with places in the text.
pub fn parse(source: &str) -> Result<Parsed, Diagnostics> {
    parser::parse(source)
}

/// Reads a program from bytes that should be MIL text.
///
/// # Errors
/// As [`parse`]; bytes that are not UTF-8 are an error too.
pub fn parse_bytes(source: &[u8]) -> Result<Parsed, Diagnostics> {
    match std::str::from_utf8(source) {
        Ok(text) => parse(text),
        Err(error) => {
            let at = error.valid_up_to();
            let message = format!("byte {at} is not UTF-8 text");
            let d = Diagnostic::error(Code::NOT_UTF8, message).label(Span::new(at, at + 1), "");
            let mut all = Diagnostics::from(d);
            // Up to the bad byte it is text, so the place can be told.
            all.locate(std::str::from_utf8(&source[..at]).unwrap_or_default());
            Err(all)
        }
    }
}
