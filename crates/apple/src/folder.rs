//! The folders the framework compiles from, which are nobody else's and go with their programs.
//!
//! The client's door takes any folder. The in-memory model wants one of the name it gives itself, beside those of all other
//! processes in the folder for temporary files. A process therefore keeps a ledger: a folder that holds the former, and for each of the
//! latter a file of its name. Beside the ledger is a file that the process has locked for as long as it lives. A ledger with a
//! file that can be locked is that of a process that is gone, and what it names is removed.
//!
//! No name is ever used again, for the daemon knows programs by their folders for longer than they are there.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use ferrane_engine::WeightFiles;
use ferrane_mil::blob;

/// How the names of ledgers begin.
const PREFIX: &str = "ferrane-ane-";

/// What is behind the name of a ledger in the name of the file that is locked.
const LOCK: &str = "lock";

/// The folders of one engine.
#[derive(Debug)]
pub(crate) struct Folders {
    temporary: PathBuf,
    ledger: PathBuf,
    /// Locked while this lives.
    lock: PathBuf,
    _locked: File,
    next: AtomicUsize,
}

impl Folders {
    /// Begins a ledger in `temporary`, after removing what processes left behind that are gone.
    ///
    /// # Errors
    /// When `temporary` cannot be read or written.
    pub(crate) fn open(temporary: PathBuf) -> io::Result<Self> {
        remove_leftovers(&temporary)?;
        loop {
            let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            let name = format!("{PREFIX}{}-{:x}", std::process::id(), now.as_nanos());
            let ledger = temporary.join(name);
            let lock = ledger.with_extension(LOCK);
            let locked = match File::create_new(&lock) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            // Between the two lines above and here, another process may have taken it for a leftover.
            if locked.try_lock().is_err() || !lock.exists() {
                continue;
            }
            return Ok(Self { temporary, ledger, lock, _locked: locked, next: AtomicUsize::new(0) });
        }
    }

    /// The ledger, which macOS may have removed: it tidies up what was not touched for some days.
    fn ledger(&self) -> io::Result<&Path> {
        fs::create_dir_all(&self.ledger)?;
        Ok(&self.ledger)
    }

    /// A name that no other folder has or had.
    pub(crate) fn unique(&self) -> String {
        let ledger = self.ledger.file_name().unwrap_or_default().to_string_lossy();
        format!("{ledger}-{}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// The new folder `name` in the ledger.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn own(self: &Arc<Self>, name: &str) -> io::Result<Folder> {
        let path = self.ledger()?.join(name);
        fs::create_dir(&path)?;
        Ok(Folder { path, entry: None, _folders: Arc::clone(self) })
    }

    /// The folder for temporary files that the in-memory model calls `identifier`, which may have made it.
    ///
    /// # Errors
    /// When another program of this process has it, or it cannot be made.
    pub(crate) fn identified(self: &Arc<Self>, identifier: &str) -> io::Result<Folder> {
        if !is_identifier(identifier) {
            let what = format!(
                "the framework names the folder `{identifier}`, which is no name it is known to give"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let path = self.temporary.join(identifier);
        let entry = self.ledger()?.join(identifier);
        File::create_new(&entry)?;
        if let Err(error) = fs::create_dir_all(&path) {
            fs::remove_file(&entry)?;
            return Err(error);
        }
        Ok(Folder { path, entry: Some(entry), _folders: Arc::clone(self) })
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        // What remains is found by the next process.
        let _ = removed(&self.ledger).and_then(|()| fs::remove_file(&self.lock));
    }
}

/// Hashes with lines between them. How missing options are hashed is not known, so it is enough that the name is one, and long: no
/// folder of another kind is taken for it.
fn is_identifier(name: &str) -> bool {
    name.len() >= 32 && !name.starts_with(['.', '/']) && Path::new(name).file_name() == Some(name.as_ref())
}

fn remove_leftovers(temporary: &Path) -> io::Result<()> {
    for entry in fs::read_dir(temporary)? {
        let lock = entry?.path();
        let name = lock.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(PREFIX) || lock.extension().is_none_or(|extension| extension != LOCK) {
            continue;
        }
        // Others may be removing the same at the same time: who has the lock may.
        let Ok(file) = File::open(&lock) else { continue };
        if file.try_lock().is_ok() {
            // What cannot be removed is no reason not to work.
            let _ = remove_ledger(temporary, &lock.with_extension("")).and_then(|()| fs::remove_file(&lock));
        }
    }
    Ok(())
}

fn remove_ledger(temporary: &Path, ledger: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(ledger) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_identifier(name)) else { continue };
        if entry.file_type()?.is_file() {
            removed(&temporary.join(name))?;
        }
    }
    fs::remove_dir_all(ledger)
}

/// Removes a folder, unless it is gone already.
fn removed(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The folder of one program, which goes with this.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Its file in the ledger, unless the folder itself is there.
    entry: Option<PathBuf>,
    _folders: Arc<Folders>,
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the text of the program.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write_text(&self, text: &str) -> io::Result<()> {
        self.write("model.mil", text.as_bytes())
    }

    /// Writes the file `name`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        fs::write(self.path.join(name), bytes)
    }

    /// The bytes of the file `name`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    /// Writes the weight files, each where the text says.
    ///
    /// # Errors
    /// When a file cannot be written, or its path leaves the folder.
    pub(crate) fn write_weights(&self, weights: &WeightFiles) -> io::Result<()> {
        for (path, bytes) in weights.iter() {
            let file =
                blob::resolve(&self.path, path).map_err(|error| io::Error::other(error.to_string()))?;
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(file, bytes)?;
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What remains is found by the next process, for the ledger still names it.
        if removed(&self.path).is_ok()
            && let Some(entry) = &self.entry
        {
            let _ = fs::remove_file(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTIFIER: &str = "0123456789ABCDEF0123456789ABCDEF_0123456789ABCDEF0123456789ABCDEF";

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn folders_go_with_what_they_are_for() {
        let temporary = tempfile::tempdir().unwrap();
        let folders = Arc::new(Folders::open(temporary.path().into()).unwrap());
        let own = folders.own(&folders.unique()).unwrap();
        let identified = folders.identified(IDENTIFIER).unwrap();
        let mut weights = WeightFiles::none();
        weights.insert("@model_path/weights/w.bin", *b"w");
        for folder in [&own, &identified] {
            folder.write_text("text").unwrap();
            folder.write_weights(&weights).unwrap();
            assert_eq!(fs::read(folder.path().join("weights/w.bin")).unwrap(), b"w");
        }
        assert_eq!(identified.path(), temporary.path().join(IDENTIFIER));
        assert!(folders.identified(IDENTIFIER).is_err(), "it would be shared");
        drop((own, identified));
        assert_eq!(names(temporary.path()).len(), 2, "the ledger and its lock");
        // As the framework and macOS may do it.
        fs::create_dir(temporary.path().join(IDENTIFIER)).unwrap();
        fs::remove_dir(&folders.ledger).unwrap();
        drop(folders.identified(IDENTIFIER).unwrap());
        fs::remove_dir(&folders.ledger).unwrap();
        drop(folders.own("again").unwrap());
        assert_eq!(names(temporary.path()).len(), 2);
        drop(folders);
        assert!(names(temporary.path()).is_empty());
    }

    #[test]
    fn what_a_process_that_is_gone_left_behind_is_removed_and_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let at = |name: &str| temporary.path().join(name);
        let living = Arc::new(Folders::open(temporary.path().into()).unwrap());
        let used = living.own("used").unwrap();
        // As a process leaves it that was killed: the lock goes with the process, the files stay.
        let others = IDENTIFIER.replace('0', "1");
        for folder in ["ferrane-ane-1-0", "ferrane-ane-1-0/own", IDENTIFIER, &others, "ferrane-ane-notes"] {
            fs::create_dir(at(folder)).unwrap();
        }
        fs::write(at("ferrane-ane-1-0.lock"), "").unwrap();
        fs::write(at("ferrane-ane-1-0").join(IDENTIFIER), "").unwrap();
        fs::write(at("ferrane-ane-1-0").join("outside"), "").unwrap();
        fs::create_dir(at("outside")).unwrap();

        drop(Folders::open(temporary.path().into()).unwrap());
        assert!(used.path().is_dir());
        drop(used);
        drop(living);
        let mut left = vec!["ferrane-ane-notes".to_owned(), others, "outside".to_owned()];
        left.sort();
        assert_eq!(names(temporary.path()), left);
    }

    #[test]
    fn no_name_is_used_twice() {
        let temporary = tempfile::tempdir().unwrap();
        let name = || Folders::open(temporary.path().into()).unwrap().unique();
        assert_ne!(name(), name());
    }

    #[test]
    fn a_name_that_is_no_hash_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let folders = Arc::new(Folders::open(temporary.path().into()).unwrap());
        folders.identified(&IDENTIFIER.replace('_', "_(null)_")).unwrap();
        let path = "0123456789abcdef0123456789abcdef";
        for name in ["", "..", "0123", &format!("../{path}"), &format!("{path}/."), &format!("/{path}")] {
            let error = folders.identified(name).unwrap_err();
            assert!(error.to_string().contains(&format!("names the folder `{name}`")), "{error}");
        }
    }
}
