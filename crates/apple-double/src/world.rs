//! What a test arranges: the folder for temporary files, and what is to be missing or to fail.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use ferrane_engine::Profile;
use tempfile::TempDir;

use crate::{foundation, iosurface, memory, neural};

/// A process on a Mac, as far as the backend can tell.
///
/// There is one at a time: whoever enters waits until it was left. What a world distorts, it distorts for its own thread, and until
/// it is dropped, as its folder for temporary files is.
pub struct World {
    temporary: TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// Something that fails once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The descriptor of a model comes out nil.
    Descriptor,
    /// The compiler refuses.
    Compile,
    /// A compiled model cannot be loaded.
    Load,
    /// An evaluation fails.
    Evaluate,
    /// A model cannot be unloaded.
    Unload,
    /// A surface cannot be made.
    Create,
    /// A surface cannot be locked.
    Lock,
    /// A refusal comes without an error.
    Reason,
}

/// What there is in this process. A test that has dropped everything finds what it began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// Objective-C objects.
    pub objects: isize,
    /// IOSurfaces.
    pub surfaces: isize,
    /// Models that are loaded.
    pub loaded: isize,
}

#[derive(Default)]
struct Distortion {
    classes: HashSet<CString>,
    /// By how a method is written, `-[NSString length]`: none for one that is hidden, or another encoding.
    methods: HashMap<String, Option<CString>>,
    faults: Vec<Fault>,
    sent: Vec<String>,
    /// The quality of service to be asked for, if not the usual one.
    qos: Option<u64>,
}

thread_local! {
    static DISTORTION: RefCell<Distortion> = RefCell::default();
}

static TEMPORARY: Mutex<Option<PathBuf>> = Mutex::new(None);

impl World {
    /// Enters the world: from now on the classes are there.
    pub fn enter() -> Self {
        static CLASSES: Once = Once::new();
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        CLASSES.call_once(|| {
            memory::define_root();
            foundation::define();
            iosurface::define();
            neural::define();
        });
        let temporary = tempfile::Builder::new().prefix("ferrane-double-").tempdir();
        let temporary = temporary.expect("a temporary folder");
        *TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner) = Some(temporary.path().to_owned());
        Self { temporary, _alone: alone }
    }

    /// The chip that computes. All worlds of a process have the same: it is the machine's.
    pub fn set_chip(&self, profile: Profile) {
        neural::set_chip(profile);
    }

    /// The folder for temporary files.
    pub fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// From now on there is no class `name`.
    pub fn hide_class(&self, name: &CStr) {
        DISTORTION.with_borrow_mut(|d| d.classes.insert(name.to_owned()));
    }

    /// From now on there is no method `method`, written `-[NSString length]`.
    pub fn hide_method(&self, method: &str) {
        DISTORTION.with_borrow_mut(|d| d.methods.insert(method.to_owned(), None));
    }

    /// From now on the method `method`, written `-[NSString length]`, says that it has the types `types`.
    pub fn retype_method(&self, method: &str, types: &CStr) {
        DISTORTION.with_borrow_mut(|d| d.methods.insert(method.to_owned(), Some(types.to_owned())));
    }

    /// The next time it can, this fails. Said twice, it fails twice.
    pub fn fail_next(&self, fault: Fault) {
        DISTORTION.with_borrow_mut(|d| d.faults.push(fault));
    }

    /// From now on this is the quality of service that must be asked for.
    pub fn expect_qos(&self, class: u64) {
        DISTORTION.with_borrow_mut(|d| d.qos = Some(class));
    }

    /// What there is in this process.
    pub fn live(&self) -> Live {
        Live { objects: memory::objects(), surfaces: iosurface::surfaces(), loaded: neural::loaded() }
    }

    /// The messages to the framework since this was last asked, by selector.
    pub fn take_sent(&self) -> Vec<String> {
        DISTORTION.with_borrow_mut(|d| std::mem::take(&mut d.sent))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        DISTORTION.set(Distortion::default());
    }
}

pub(crate) fn temporary() -> PathBuf {
    let folder = TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner).clone();
    folder.unwrap_or_else(std::env::temp_dir)
}

pub(crate) fn is_hidden_class(name: &CStr) -> bool {
    DISTORTION.with_borrow(|d| d.classes.contains(name))
}

/// None for a method that is as it should be, else what is seen of it.
pub(crate) fn distorted(method: impl FnOnce() -> String) -> Option<Option<CString>> {
    DISTORTION.with_borrow(|d| if d.methods.is_empty() { None } else { d.methods.get(&method()).cloned() })
}

/// True if this is to fail now.
pub(crate) fn fails(fault: Fault) -> bool {
    DISTORTION.with_borrow_mut(|d| {
        let next = d.faults.iter().position(|&f| f == fault);
        next.map(|i| d.faults.remove(i)).is_some()
    })
}

/// The quality of service to be asked for: what every published program asks for, unless a test says otherwise.
pub(crate) fn qos() -> u64 {
    DISTORTION.with_borrow(|d| d.qos.unwrap_or(21))
}

pub(crate) fn note(selector: &str) {
    DISTORTION.with_borrow_mut(|d| d.sent.push(selector.to_owned()));
}
