//! What macOS counts and allows by process, however many engines there are in it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

static COMPILES: AtomicUsize = AtomicUsize::new(0);

static LOADED: AtomicUsize = AtomicUsize::new(0);

static COMPILING: Mutex<()> = Mutex::new(());

static EVALUATING: Mutex<()> = Mutex::new(());

/// Programs compiled so far.
pub(crate) fn compiles() -> usize {
    COMPILES.load(Ordering::Relaxed)
}

/// Counts a compile that is about to be, and says how many there were before.
pub(crate) fn count_compile() -> usize {
    COMPILES.fetch_add(1, Ordering::Relaxed)
}

/// Programs in slots.
pub(crate) fn loaded() -> usize {
    LOADED.load(Ordering::Relaxed)
}

pub(crate) fn count_load() {
    LOADED.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn count_unload() {
    LOADED.fetch_sub(1, Ordering::Relaxed);
}

/// Held while a program is compiled or loaded: the framework's compiler is known to be used by one thread at a time.
pub(crate) fn compiling() -> MutexGuard<'static, ()> {
    held(&COMPILING)
}

/// Held while a program is evaluated: the chip does one thing at a time, and two streams of evaluations were seen to hang.
pub(crate) fn evaluating() -> MutexGuard<'static, ()> {
    held(&EVALUATING)
}

/// Nothing is left half done under these locks.
pub(crate) fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
