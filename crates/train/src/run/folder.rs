//! The folder of a run: where its files lie, who may write to it.
//!
//! ```text
//! config.toml            every setting, resolved
//! profile.toml           a copy of the user's own profile, if the engine follows one
//! data/                  tokens, tokenizer and their fingerprint, made once
//! metrics.jsonl          one line a step
//! checkpoints/step-N/    what is needed to go on after step N
//! checkpoints/best       link to the one of the lowest held-out loss
//! model/                 the model as a Hugging Face folder
//! report.json            what the run took and came to
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ferrane_model::hf::write_atomically;
use serde::{Serialize, de::DeserializeOwned};

use super::RunError;

/// A run's folder, held by this process alone while the value lives.
#[derive(Debug)]
pub struct RunFolder {
    root: PathBuf,
    /// Whether it was made by this value, and not found empty.
    made: bool,
    /// Holds the system's lock on the folder; a killed process lets go of it.
    _lock: File,
}

const CONFIG: &str = "config.toml";
const PROFILE: &str = "profile.toml";
const LOCK: &str = ".lock";

/// What a run's `config.toml` holds.
pub trait Settings: Serialize + DeserializeOwned {
    /// The file of the user's own profile, if the engine follows one; the run keeps a copy.
    fn profile(&self) -> Option<&Path>;
}

impl RunFolder {
    /// Makes the folder of a new run and writes its `config.toml`.
    ///
    /// # Errors
    /// When something else is in the folder, another process works in it, or the system refuses.
    pub fn create(root: &Path, settings: &impl Settings) -> Result<Self, RunError> {
        let made = match fs::read_dir(root) {
            Ok(entries) => {
                Self::refuse_foreign(root, entries)?;
                false
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(root).map_err(RunError::io("create the run folder", root))?;
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(RunError::NotAFolder { path: root.to_owned() });
            }
            Err(error) => return Err(RunError::io("read", root)(error)),
        };
        let folder = Self { made, ..Self::lock(root)? };
        folder.write_settings(settings)?;
        if let Some(profile) = settings.profile() {
            fs::copy(profile, root.join(PROFILE)).map_err(RunError::io("copy", profile))?;
        }
        Ok(folder)
    }

    /// Makes `parent/name-N` with the smallest N that is free.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn create_numbered(parent: &Path, name: &str, settings: &impl Settings) -> Result<Self, RunError> {
        fs::create_dir_all(parent).map_err(RunError::io("create", parent))?;
        let mut number = 1u64;
        loop {
            let root = parent.join(format!("{name}-{number}"));
            match fs::create_dir(&root) {
                Ok(()) => return Ok(Self { made: true, ..Self::create(&root, settings)? }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(RunError::io("create the run folder", &root)(error)),
            }
        }
    }

    /// Opens the folder of a run that was begun.
    ///
    /// # Errors
    /// When it is not a run's folder, another process works in it, or its settings cannot be read.
    pub fn open<S: Settings>(root: &Path) -> Result<(Self, S), RunError> {
        let config = root.join(CONFIG);
        let text = fs::read_to_string(&config).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                RunError::NotARun { path: root.to_owned() }
            }
            _ => RunError::io("read", &config)(error),
        })?;
        let settings = toml::from_str(&text).map_err(|error| RunError::Config {
            path: config,
            problem: error.to_string().trim_end().to_owned(),
        })?;
        Ok((Self::lock(root)?, settings))
    }

    /// Replaces `config.toml`.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn write_settings(&self, settings: &impl Settings) -> Result<(), RunError> {
        let path = self.root.join(CONFIG);
        let text = toml::to_string(settings)
            .map_err(|error| RunError::Config { path: path.clone(), problem: error.to_string() })?;
        Ok(write_atomically(&path, |writer| writer.write_all(text.as_bytes()))?)
    }

    /// Takes back the folder of a run that could not begin, so that the same command works once its cause is removed.
    /// Only what [`RunFolder::create`] and the preparation wrote is removed.
    pub fn abandon(self) {
        // The run has failed already; leftovers that cannot be removed change nothing.
        let _ = fs::remove_dir_all(self.data());
        for file in [CONFIG, PROFILE, LOCK] {
            let _ = fs::remove_file(self.root.join(file));
        }
        if self.made {
            let _ = fs::remove_dir(&self.root);
        }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The run's copy of the user's own profile, if its engine follows one.
    pub fn profile(&self) -> Option<PathBuf> {
        Some(self.root.join(PROFILE)).filter(|path| path.exists())
    }

    /// Where tokens and tokenizer lie.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// One line of JSON a step.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// The checkpoint of a run that has but one file of it.
    pub fn checkpoint_file(&self) -> PathBuf {
        self.root.join("checkpoint.bin")
    }

    /// Where checkpoints lie.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// The model as a Hugging Face folder.
    pub fn model(&self) -> PathBuf {
        self.root.join("model")
    }

    /// What the run took and came to.
    pub fn report(&self) -> PathBuf {
        self.root.join("report.json")
    }

    fn lock(root: &Path) -> Result<Self, RunError> {
        let path = root.join(LOCK);
        let lock = File::create(&path).map_err(RunError::io("write to", root))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root: root.to_owned(), made: false, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(RunError::Busy { path: root.to_owned() }),
            Err(TryLockError::Error(error)) => Err(RunError::io("lock", &path)(error)),
        }
    }

    /// A run killed while it was made leaves hidden files at most; those may be written over.
    fn refuse_foreign(root: &Path, entries: fs::ReadDir) -> Result<(), RunError> {
        for entry in entries {
            let name = entry.map_err(RunError::io("read", root))?.file_name();
            if !is_leftover(&name.to_string_lossy()) {
                let is_run = root.join(CONFIG).exists();
                return Err(RunError::Occupied { path: root.to_owned(), is_run });
            }
        }
        Ok(())
    }
}

/// Names of the lock and of files that were being written.
fn is_leftover(name: &str) -> bool {
    name == LOCK || (name.starts_with('.') && name.ends_with(".tmp"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::RunSettings;
    use ferrane_model::Preset;

    fn settings() -> RunSettings {
        RunSettings::defaults("nano", Preset::Nano.config())
    }

    #[test]
    fn a_run_opens_with_the_settings_it_was_made_with() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a/b");
        drop(RunFolder::create(&root, &settings()).unwrap());
        let (opened, read) = RunFolder::open::<RunSettings>(&root).unwrap();
        assert_eq!(read, settings());
        assert_eq!(opened.root(), root);
    }

    #[test]
    fn a_folder_with_anything_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "words").unwrap();
        let error = RunFolder::create(folder.path(), &settings()).unwrap_err();
        assert!(matches!(error, RunError::Occupied { is_run: false, .. }), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        let run = folder.path().join("run");
        drop(RunFolder::create(&run, &settings()).unwrap());
        let error = RunFolder::create(&run, &settings()).unwrap_err();
        assert!(matches!(error, RunError::Occupied { is_run: true, .. }), "{error}");
        assert!(error.to_string().contains("--resume"), "{error}");

        let error = RunFolder::create(&folder.path().join("thesis.txt"), &settings()).unwrap_err();
        assert!(matches!(error, RunError::NotAFolder { .. }), "{error}");
    }

    #[test]
    fn what_a_kill_leaves_before_the_settings_are_written_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".lock"), "").unwrap();
        fs::write(folder.path().join(".config.toml.17.tmp"), "model = ").unwrap();
        assert!(matches!(RunFolder::open::<RunSettings>(folder.path()), Err(RunError::NotARun { .. })));
        RunFolder::create(folder.path(), &settings()).unwrap();
    }

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = RunFolder::create(folder.path(), &settings()).unwrap();
        assert!(matches!(RunFolder::open::<RunSettings>(folder.path()), Err(RunError::Busy { .. })));
        drop(held);
        RunFolder::open::<RunSettings>(folder.path()).unwrap();
    }

    #[test]
    fn numbers_go_on_and_an_abandoned_folder_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        let first = RunFolder::create_numbered(parent.path(), "nano", &settings()).unwrap();
        let second = RunFolder::create_numbered(parent.path(), "nano", &settings()).unwrap();
        assert_eq!(first.root(), parent.path().join("nano-1"));
        assert_eq!(second.root(), parent.path().join("nano-2"));
        first.abandon();
        assert!(!parent.path().join("nano-1").exists() && parent.path().join("nano-2").exists());

        let mine = parent.path().join("mine");
        fs::create_dir(&mine).unwrap();
        RunFolder::create(&mine, &settings()).unwrap().abandon();
        assert_eq!(
            fs::read_dir(&mine).unwrap().count(),
            0,
            "a folder that was there stays, as empty as it was"
        );
    }

    #[test]
    fn damaged_settings_are_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(CONFIG), "model = 3").unwrap();
        let message = RunFolder::open::<RunSettings>(folder.path()).unwrap_err().to_string();
        assert!(message.contains(CONFIG) && message.contains("model"), "{message}");
    }
}
