//! Threads that somebody waits for.
#![allow(unsafe_code, reason = "each block says why it is sound")]

use std::io;
use std::thread::{Builder, JoinHandle};

/// Asks macOS for the faster cores for the thread that calls; elsewhere there are no classes of threads.
pub fn favour_this_thread() {
    #[cfg(target_vendor = "apple")]
    {
        unsafe extern "C" {
            fn pthread_set_qos_class_self_np(class: u32, relative_priority: i32) -> i32;
        }
        /// `QOS_CLASS_USER_INITIATED`.
        const USER_INITIATED: u32 = 0x19;
        // SAFETY: it concerns this thread alone. A refusal leaves the thread as it was.
        unsafe { pthread_set_qos_class_self_np(USER_INITIATED, 0) };
    }
}

/// Starts a thread that is favoured: a new one has no class of its own, whatever that of the thread that starts it.
///
/// # Errors
/// When the system has no thread to give.
pub fn spawn_favoured<R: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> R + Send + 'static,
) -> io::Result<JoinHandle<R>> {
    Builder::new().name(name.to_owned()).spawn(move || {
        favour_this_thread();
        work()
    })
}
