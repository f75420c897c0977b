//! From the path in MIL text to the file.

use std::path::{Component, Path, PathBuf};

use super::BlobError;

/// The file that `path`, as written in a `BLOBFILE(…)`, means for a model whose text is in the folder `model`.
///
/// `@model_path/` is that folder; a path without it is relative to the folder too.
///
/// # Errors
/// A path that is empty, absolute or leaves the folder.
pub fn resolve(model: &Path, path: &str) -> Result<PathBuf, BlobError> {
    let refuse = |why| Err(BlobError::Path { path: path.to_string(), why });
    let inside = path.strip_prefix("@model_path/").unwrap_or(path);
    if inside.is_empty() || inside == "@model_path" {
        return refuse("names no file");
    }
    // On every system alike: a backslash or a drive is a separator on Windows.
    if inside.contains(['\\', '\0', ':']) {
        return refuse("has a character that paths of weights do not have");
    }
    for component in Path::new(inside).components() {
        match component {
            Component::Normal(_) | Component::CurDir => {}
            Component::ParentDir => return refuse("leaves the folder by `..`"),
            Component::RootDir | Component::Prefix(_) => return refuse("is absolute"),
        }
    }
    Ok(model.join(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_folder() {
        let model = Path::new("/models/m");
        let ok = |path| resolve(model, path).ok().map(|p| p.to_string_lossy().into_owned());
        assert_eq!(ok("@model_path/weights/w.bin").as_deref(), Some("/models/m/weights/w.bin"));
        assert_eq!(ok("weights/w.bin").as_deref(), Some("/models/m/weights/w.bin"));
        for bad in [
            "",
            "@model_path/",
            "@model_path/../w.bin",
            "a/../../w",
            "/etc/passwd",
            "@model_path//etc/passwd",
            "c:\\w",
            "a\0",
        ] {
            assert_eq!(ok(bad), None, "{bad}");
        }
    }
}
