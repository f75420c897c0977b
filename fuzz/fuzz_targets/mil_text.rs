//! Any bytes are a program or located errors; a program survives its own text.
//!
//! `cargo +nightly fuzz run mil_text -- -max_total_time=600`

#![no_main]

use ferrane_mil::text::{Dialect, parse_bytes, print, structural_difference};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(parsed) = parse_bytes(bytes) else { return };
    let text = print(&parsed.program, Dialect::Modern).expect("what was read can be printed");
    let again = parse_bytes(text.as_bytes()).expect("what was printed can be read");
    assert_eq!(structural_difference(&parsed.program, &again.program), None, "{text}");
    assert_eq!(print(&again.program, Dialect::Modern).as_deref(), Ok(text.as_str()));
});
