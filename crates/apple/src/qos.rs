//! How much macOS favours a thread.
#![allow(unsafe_code, reason = "each block says why it is sound")]

/// Asks for the faster cores for the thread that calls: work that somebody waits for.
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
