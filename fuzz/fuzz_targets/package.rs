//! Any bytes are a model file or an error, and what is a model can be exported and is then the same.
//!
//! `cargo +nightly fuzz run package -- -max_total_time=600`
//!
//! The fixtures of `crates/package/tests` are a corpus to begin with.

#![no_main]

use std::collections::BTreeMap;

use ferrane_package::{ExportOptions, Weights, export, import, import_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The first half is the model, the second its weight file.
    let (model, weights) = bytes.split_at(bytes.len() / 2);
    let path = String::from("@model_path/weights/weight.bin");
    let weights = Weights::Memory(BTreeMap::from([(path, weights.to_vec())]));
    let _ = import_bytes(bytes, Weights::none());
    let Ok(first) = import_bytes(model, weights) else { return };
    let to = std::env::temp_dir().join(format!("ferrane-fuzz-{}.mlpackage", std::process::id()));
    let options = ExportOptions { description: Some(first.description), overwrite: true, ..ExportOptions::default() };
    if export(&first.program, &first.weights, &to, &options).is_ok() {
        let second = import(&to).expect("what was exported imports");
        assert_eq!(second.program.functions.len(), first.program.functions.len());
    }
});
