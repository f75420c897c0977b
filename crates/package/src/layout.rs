//! Where things are in a package, and which paths are safe to follow.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::PackageError;

/// Folder of the items inside a package.
pub(crate) const DATA: &str = "Data";
/// The model's item, relative to [`DATA`].
pub(crate) const MODEL_ITEM: &str = "com.apple.CoreML/model.mlmodel";
/// The weight folder's item, relative to [`DATA`].
pub(crate) const WEIGHTS_ITEM: &str = "com.apple.CoreML/weights";
/// What the folder of the model file is called in paths of a program.
pub(crate) const MODEL_PATH: &str = "@model_path/";

/// Largest manifest read; real ones have half a kilobyte.
const MANIFEST_LIMIT: u64 = 1 << 20;

/// `Manifest.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) file_format_version: String,
    pub(crate) item_info_entries: std::collections::BTreeMap<String, Item>,
    pub(crate) root_model_identifier: String,
}

/// A file or folder of a package.
#[derive(Serialize, Deserialize)]
pub(crate) struct Item {
    #[serde(default)]
    pub(crate) author: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) path: String,
}

/// The model file that `path` means: a package folder's root model, or the file itself.
pub(crate) fn model_file(path: &Path) -> Result<PathBuf, PackageError> {
    let kind = std::fs::metadata(path).map_err(PackageError::io("read", path))?;
    if kind.is_file() {
        return Ok(path.into());
    }
    let not_a_model = |reason: &str| PackageError::NotAModel { path: path.into(), reason: reason.into() };
    if !kind.is_dir() {
        return Err(not_a_model("it is neither a file nor a folder"));
    }
    let file = path.join("Manifest.json");
    if !file.is_file() {
        return Err(not_a_model("the folder has no Manifest.json"));
    }
    let manifest = read_manifest(&file)?;
    let root = &manifest.root_model_identifier;
    let item = manifest.item_info_entries.get(root).ok_or_else(|| PackageError::Manifest {
        path: file.clone(),
        reason: format!("the root model `{}` is not among the items", crate::error::shorten(root)),
    })?;
    inside(&path.join(DATA), &item.path)
}

fn read_manifest(file: &Path) -> Result<Manifest, PackageError> {
    let text = read_limited(file, MANIFEST_LIMIT)?;
    serde_json::from_slice(&text).map_err(|e| PackageError::Manifest {
        path: file.into(),
        reason: format!("not a package manifest: {e}"),
    })
}

/// The bytes of a file that may have no more than `limit`.
pub(crate) fn read_limited(file: &Path, limit: u64) -> Result<Vec<u8>, PackageError> {
    use std::io::Read as _;
    let opened = std::fs::File::open(file).map_err(PackageError::io("open", file))?;
    let bytes = opened.metadata().map_err(PackageError::io("read", file))?.len();
    let mut read = Vec::new();
    if bytes <= limit {
        opened.take(limit + 1).read_to_end(&mut read).map_err(PackageError::io("read", file))?;
    }
    let bytes = bytes.max(read.len() as u64);
    if bytes > limit {
        return Err(PackageError::TooLarge { path: file.into(), bytes, limit });
    }
    Ok(read)
}

/// The existing regular file that `written`, a path from a package, means under `root`.
///
/// The path must be relative, without `..`, and after following symbolic links still lie in `root`.
pub(crate) fn inside(root: &Path, written: &str) -> Result<PathBuf, PackageError> {
    let refuse = |reason: String| PackageError::Path {
        written: crate::error::shorten(written),
        root: root.into(),
        reason,
    };
    let relative = Path::new(written);
    let plain = relative.components().all(|c| matches!(c, Component::Normal(_)));
    // A backslash or colon would be a separator or a drive on other systems.
    if written.is_empty() || !plain || written.contains(['\\', ':', '\0']) {
        return Err(refuse("it must be relative and without `..`".into()));
    }
    let root_path = root.canonicalize().map_err(PackageError::io("read", root))?;
    let path = root_path.join(relative).canonicalize().map_err(|e| refuse(e.to_string()))?;
    if !path.starts_with(&root_path) {
        return Err(refuse("a symbolic link leads out of the folder".into()));
    }
    if !path.is_file() {
        return Err(refuse("it is not a file".into()));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(root: &Path, written: &str) -> bool {
        matches!(inside(root, written), Err(PackageError::Path { .. }))
    }

    #[test]
    fn paths_stay_in_the_folder() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("weights"))?;
        std::fs::write(root.join("weights/weight.bin"), b"x")?;
        std::fs::write(dir.path().join("secret"), b"x")?;
        assert!(inside(&root, "weights/weight.bin").is_ok());
        for written in
            ["", ".", "..", "../secret", "weights/../../secret", "/etc/passwd", "weights", "absent", "a\0b"]
        {
            assert!(refused(&root, written), "{written:?}");
        }
        let absolute = dir.path().join("secret");
        assert!(refused(&root, absolute.to_str().unwrap_or_default()));
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn links_out_of_the_folder_are_refused() -> Result<(), Box<dyn std::error::Error>> {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir()?;
        let root = dir.path().join("root");
        std::fs::create_dir(&root)?;
        std::fs::write(dir.path().join("secret"), b"x")?;
        std::fs::write(root.join("own"), b"x")?;
        symlink(dir.path().join("secret"), root.join("file"))?;
        symlink(dir.path(), root.join("folder"))?;
        symlink("own", root.join("within"))?;
        assert!(refused(&root, "file"));
        assert!(refused(&root, "folder/secret"));
        assert!(inside(&root, "within").is_ok());
        Ok(())
    }
}
