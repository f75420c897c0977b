//! A team of threads that shares out the items of one parallel loop after another.
//!
//! A training step is some thousand short loops, many of ten microseconds. Waking a thread for each costs more than that, so
//! threads of the rayon pool join a team and wait for the next loop without sleeping; one that finds none for a while
//! ([`PATIENCE`]) goes back to the pool, and is called again when there is work.
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! let sum = AtomicU64::new(0);
//! ferrane_team::gather(4, || {
//!     ferrane_team::each(100, |_, item| {
//!         sum.fetch_add(item as u64, Ordering::Relaxed);
//!     });
//! });
//! assert_eq!(sum.into_inner(), 4950);
//! ```
//!
//! Whoever calls [`each`] works along and never waits for a thread that has not begun: a busy pool makes loops slower, but
//! cannot stop them. Which member takes an item depends on timing, so items must not depend on who computes them.

mod crew;
mod shares;

use std::{
    cell::{Cell, RefCell},
    sync::{Arc, Mutex, PoisonError},
};

use crew::Crew;
pub use crew::PATIENCE;

thread_local! {
    /// The team that this thread leads.
    static LED: RefCell<Option<Arc<Crew>>> = const { RefCell::new(None) };
    /// Whether this thread is at an item; loops in it are not shared out.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on this thread, as the leader of a team of at most `members`: loops in it find a team that is awake. Within
/// another call the team is that call's.
pub fn gather<R>(members: usize, work: impl FnOnce() -> R) -> R {
    if AT_WORK.get() || LED.with_borrow(Option::is_some) {
        return work();
    }
    LED.set(Some(Arc::new(Crew::new(members.min(rayon::current_num_threads())))));
    let _dismissed_at_the_end = Dismissal;
    work()
}

/// Dismisses the team that this thread leads.
struct Dismissal;

impl Drop for Dismissal {
    fn drop(&mut self) {
        if let Some(crew) = LED.take() {
            crew.dismiss();
        }
    }
}

/// Calls `f(member, item)` for each of `0..items`, shared out among the team, and returns when all are done. Members are
/// numbered from 0, the thread that calls; no two items run with the same number at a time.
///
/// Without a team around it there is one for this loop, with all threads of the pool.
///
/// # Panics
/// When `f` does, on whichever thread; items that were not begun by then may be left out.
pub fn each(items: usize, f: impl Fn(usize, usize) + Sync) {
    if items < 2 || AT_WORK.get() {
        return (0..items).for_each(|item| f(0, item));
    }
    gather(usize::MAX, || {
        let crew = LED.with_borrow(Option::clone);
        // `gather` has set it.
        crew.iter().for_each(|crew| crew.share_out(items, &f));
    });
}

/// Calls `f(item, part)` for each of `parts`, which are shared out among the team.
///
/// # Panics
/// As [`each`].
pub fn each_of<T: Send>(parts: impl IntoIterator<Item = T>, f: impl Fn(usize, T) + Sync) {
    let parts: Vec<Mutex<Option<T>>> = parts.into_iter().map(|part| Mutex::new(Some(part))).collect();
    each(parts.len(), |_, item| {
        let part = parts[item].lock().unwrap_or_else(PoisonError::into_inner).take();
        part.into_iter().for_each(|part| f(item, part));
    });
}

/// What `f(item, part)` gives for each of `parts`, which are shared out among the team.
///
/// # Panics
/// As [`each`].
pub fn map<T: Send, R: Send>(parts: impl IntoIterator<Item = T>, f: impl Fn(usize, T) -> R + Sync) -> Vec<R> {
    let parts: Vec<T> = parts.into_iter().collect();
    let mut results: Vec<Option<R>> = parts.iter().map(|_| None).collect();
    each_of(parts.into_iter().zip(&mut results), |item, (part, result)| *result = Some(f(item, part)));
    results.into_iter().flatten().collect()
}
