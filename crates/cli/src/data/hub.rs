//! Downloads from the Hugging Face hub.

use std::fs;
use std::path::Path;

use hf_hub::api::sync::{ApiBuilder, ApiError};

use super::fetch::Remote;

/// Downloads `files` of a data set into `folder`, one after the other. What is there is whole: a file gets its name when it has
/// arrived, and what a failed try leaves is gone on with.
pub(super) fn download(remote: &Remote, files: &[&str], folder: &Path) -> Result<(), String> {
    // In the folder itself, so that a file is moved and not copied.
    let cache = folder.join(".download");
    let failed = |error: ApiError| format!("cannot download from {}: {error}", remote.repository);
    let api = ApiBuilder::new().with_cache_dir(cache.clone()).build().map_err(failed)?;
    let repository = api.dataset(remote.repository.to_owned());
    for file in files {
        let arrived = repository.download(file).map_err(failed)?;
        put(&arrived, &folder.join(file))?;
    }
    // Links alone are left; if they stay, they do no harm.
    let _ = fs::remove_dir_all(cache);
    Ok(())
}

/// Moves a downloaded file, of which the hub's cache names a link.
fn put(arrived: &Path, to: &Path) -> Result<(), String> {
    let moved = fs::canonicalize(arrived).and_then(|file| fs::rename(file, to));
    moved.map_err(|error| format!("cannot put {} at {}: {error}", arrived.display(), to.display()))
}
