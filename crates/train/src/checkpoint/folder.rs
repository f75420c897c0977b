//! The folder of a run's checkpoints: saving, finding, loading, pruning.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::storage::{self, Hook, Opened, Stage, io_error};
use super::{CheckpointError, Damage, Tensors, TensorsMut, TrainerState};

/// Prefix of a checkpoint.
const STEP: &str = "step-";
/// Prefix of what is being written or deleted: worthless if it is still there later.
const TEMPORARY: &str = ".tmp-";
/// Prefix of a checkpoint that another of the same step is about to replace.
const OLD: &str = ".old-";
/// Link to the checkpoint of the lowest held-out loss.
const BEST: &str = "best";

/// A folder of checkpoints. One run at a time may write to it.
#[derive(Debug, Clone)]
pub struct CheckpointFolder {
    root: PathBuf,
}

/// A checkpoint that was compared with its checksums.
#[derive(Debug)]
pub struct WholeCheckpoint {
    /// Its folder.
    pub path: PathBuf,
    /// The state of the run.
    pub state: TrainerState,
    /// Newer checkpoints that are not whole, the newest first; they deserve a warning.
    pub damaged: Vec<DamagedCheckpoint>,
}

/// A checkpoint that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedCheckpoint {
    /// Its folder.
    pub path: PathBuf,
    /// What is wrong.
    pub damage: Damage,
}

impl CheckpointFolder {
    /// The folder at `root`; it need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Writes the checkpoint `step-N` of `state.step` and returns its folder. One of the same step is replaced. On an error
    /// the checkpoints that were there still are.
    ///
    /// # Errors
    /// When the system refuses to create, write, sync or rename.
    pub fn save(&self, state: &TrainerState, tensors: Tensors<'_>) -> Result<PathBuf, CheckpointError> {
        self.save_with(state, tensors, &mut |_| Ok(()))
    }

    pub(super) fn save_with(
        &self,
        state: &TrainerState,
        tensors: Tensors<'_>,
        hook: Hook<'_>,
    ) -> Result<PathBuf, CheckpointError> {
        fs::create_dir_all(&self.root).map_err(io_error("create folder", &self.root))?;
        self.clean()?;
        let name = format!("{STEP}{}", state.step);
        let temporary = self.root.join(format!("{TEMPORARY}{name}"));
        let written = fs::create_dir(&temporary)
            .map_err(io_error("create folder", &temporary))
            .and_then(|()| hook(Stage::FolderMade).map_err(io_error("write checkpoint", &temporary)))
            .and_then(|()| storage::write(&temporary, state, tensors, hook))
            .and_then(|()| self.put_in_place(&temporary, &name, hook));
        if written.is_err() {
            // Frees the space; what cannot be removed now is removed by the next save.
            let _ = fs::remove_dir_all(&temporary);
        }
        written
    }

    /// Gives the finished folder its name, with the one that had it moved aside in between: at every moment one of the two
    /// is there under a name that [`CheckpointFolder::latest_whole`] knows.
    fn put_in_place(&self, temporary: &Path, name: &str, hook: Hook<'_>) -> Result<PathBuf, CheckpointError> {
        let path = self.root.join(name);
        let mut at = |stage| hook(stage).map_err(io_error("write checkpoint", temporary));
        let old = self.root.join(format!("{OLD}{name}"));
        let replaces = path.exists();
        if replaces {
            fs::rename(&path, &old).map_err(io_error("rename", &path))?;
        }
        let renamed = at(Stage::OldMovedAside)
            .and_then(|()| fs::rename(temporary, &path).map_err(io_error("rename", temporary)));
        if let Err(error) = renamed {
            if replaces {
                fs::rename(&old, &path).map_err(io_error("rename", &old))?;
            }
            return Err(error);
        }
        at(Stage::Renamed)?;
        storage::sync_folder(&self.root)?;
        at(Stage::ParentSynced)?;
        if replaces {
            fs::remove_dir_all(&old).map_err(io_error("remove", &old))?;
        }
        Ok(path)
    }

    /// Removes what a killed writer left, and puts a checkpoint back that it had moved aside.
    fn clean(&self) -> Result<(), CheckpointError> {
        for name in self.names()? {
            let path = self.root.join(&name);
            if name.starts_with(TEMPORARY) {
                fs::remove_dir_all(&path).map_err(io_error("remove", &path))?;
            } else if let Some(replaced) = name.strip_prefix(OLD) {
                let replacement = self.root.join(replaced);
                if replacement.exists() {
                    fs::remove_dir_all(&path).map_err(io_error("remove", &path))?;
                } else {
                    fs::rename(&path, &replacement).map_err(io_error("rename", &path))?;
                }
            }
        }
        Ok(())
    }

    /// The newest checkpoint that is whole, all its checksums compared; `None` when there is no checkpoint at all. Deletes
    /// nothing.
    ///
    /// # Errors
    /// When there are checkpoints and none is whole, or the folder cannot be listed.
    pub fn latest_whole(&self) -> Result<Option<WholeCheckpoint>, CheckpointError> {
        let mut damaged = Vec::new();
        for (step, path) in self.steps()?.into_iter().rev() {
            match verified(step, &path) {
                Ok(state) => return Ok(Some(WholeCheckpoint { path, state, damaged })),
                Err(damage) => damaged.push(DamagedCheckpoint { path, damage }),
            }
        }
        if damaged.is_empty() {
            return Ok(None);
        }
        Err(CheckpointError::NoneWhole { path: self.root.clone(), damaged })
    }

    /// Reads the checkpoint in the folder `path` into `tensors`. After an error their contents are undefined.
    ///
    /// # Errors
    /// When the checkpoint is damaged, or of a model with another number of parameters.
    pub fn load(path: &Path, tensors: TensorsMut<'_>) -> Result<TrainerState, CheckpointError> {
        let damaged = |damage| CheckpointError::Damaged { path: path.to_owned(), damage };
        let opened = Opened::new(path).map_err(damaged)?;
        let state = opened.state().map_err(damaged)?;
        let lengths = [tensors.params.len(), tensors.m.len(), tensors.v.len()].map(|len| len as u64);
        for (expected, bytes) in lengths.into_iter().zip(opened.arena_bytes().map_err(damaged)?) {
            if bytes != expected * 4 {
                let path = path.to_owned();
                return Err(CheckpointError::OtherModel { path, expected, found: bytes / 4 });
            }
        }
        opened.read_arenas(tensors).map_err(damaged)?;
        Ok(state)
    }

    /// Makes the link `best` point to the checkpoint of `step`, in one step; does nothing if that is not there.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn link_best(&self, step: u64) -> Result<(), CheckpointError> {
        if !self.root.join(format!("{STEP}{step}")).exists() {
            return Ok(());
        }
        let (link, temporary) = (self.root.join(BEST), self.root.join(format!("{TEMPORARY}{BEST}")));
        // What a killed process left; usually there is nothing.
        let _ = fs::remove_file(&temporary);
        std::os::unix::fs::symlink(format!("{STEP}{step}"), &temporary)
            .map_err(io_error("link", &temporary))?;
        fs::rename(&temporary, &link).map_err(io_error("link", &link))
    }

    /// Removes old checkpoints after that of step `newest` was saved: it and the `keep` − 1 before it stay, and that of step
    /// `best`. Of the others
    /// only such with a manifest and all lengths right are counted and removed; a damaged one is left for its owner, and so
    /// is one of a later step. Returns the steps removed.
    ///
    /// # Errors
    /// When the checkpoint of `newest` is not there in full, or the system refuses.
    pub fn prune(&self, newest: u64, keep: usize, best: Option<u64>) -> Result<Vec<u64>, CheckpointError> {
        let path = self.root.join(format!("{STEP}{newest}"));
        Opened::new(&path).map_err(|damage| CheckpointError::Damaged { path, damage })?;
        let older = self.steps()?.into_iter().rev().filter(|(step, _)| *step < newest);
        let whole = older.filter(|(_, path)| Opened::new(path).is_ok());
        let surplus = whole.skip(keep.max(1) - 1).filter(|(step, _)| Some(*step) != best);
        let surplus: Vec<(u64, PathBuf)> = surplus.collect();
        for (step, path) in &surplus {
            // Renamed first: a deletion that is cut short leaves no checkpoint that looks damaged.
            let condemned = self.root.join(format!("{TEMPORARY}prune-{step}"));
            fs::rename(path, &condemned).map_err(io_error("rename", path))?;
            fs::remove_dir_all(&condemned).map_err(io_error("remove", &condemned))?;
        }
        Ok(surplus.into_iter().map(|(step, _)| step).collect())
    }

    /// Folders of checkpoints by step. One moved aside counts where its replacement is not there.
    fn steps(&self) -> Result<BTreeMap<u64, PathBuf>, CheckpointError> {
        let mut steps = BTreeMap::new();
        // Sorted, `.old-step-N` comes before the `step-N` that takes its place.
        for name in self.names()? {
            let plain = name.strip_prefix(OLD).unwrap_or(&name);
            let number = plain.strip_prefix(STEP).and_then(|number| number.parse::<u64>().ok());
            // The round trip leaves out names such as `step-007`, which are not ours.
            if let Some(step) = number.filter(|number| format!("{STEP}{number}") == plain) {
                steps.insert(step, self.root.join(&name));
            }
        }
        Ok(steps)
    }

    /// Names in the folder, sorted; none if it does not exist.
    fn names(&self) -> Result<Vec<String>, CheckpointError> {
        let list = || -> io::Result<Vec<String>> {
            let entries = fs::read_dir(&self.root)?;
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        match list() {
            Ok(mut names) => {
                names.sort();
                Ok(names)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(io_error("list folder", &self.root)(error)),
        }
    }
}

/// The state of a checkpoint that is whole and of the step its name says.
fn verified(step: u64, path: &Path) -> Result<TrainerState, Damage> {
    let opened = Opened::new(path)?;
    let state = opened.state()?;
    if state.step != step {
        let reason = format!("it is of step {}, not of step {step}", state.step);
        return Err(Damage::Unreadable { file: "state.json".to_owned(), reason });
    }
    opened.verify_arenas()?;
    Ok(state)
}
