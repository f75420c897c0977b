//! Any bytes are a weight file or an error.
//!
//! `cargo +nightly fuzz run mil_blob -- -max_total_time=600`

#![no_main]

use ferrane_mil::blob::BlobFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = BlobFile::parse(bytes) else { return };
    let _ = file.check();
    for offset in (0..bytes.len() as u64 + 64).step_by(32) {
        let _ = file.raw(offset);
    }
    for chunk in file.chunks().take(64) {
        assert_eq!(chunk.to_data().len(), chunk.elements);
        assert_eq!(chunk.to_f32().len(), chunk.elements);
    }
});
