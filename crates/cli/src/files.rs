//! Files that a command writes.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use ferrane_model::hf;

use crate::failure::Failure;

/// Writes a whole file or nothing; folders on the way are made.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent)
            .map_err(|error| Failure::Failed(format!("cannot create {}: {error}", parent.display())))?;
    }
    hf::write_atomically(path, |writer| writer.write_all(bytes)).map_err(Failure::failed)
}
