//! Compiling ahead of need.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use ferrane_engine::spawn_favoured;

use super::LayerKernel;

/// A thread that renews kernels in the order in which they will be needed.
pub(crate) struct Ahead {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    pub(crate) fn start(kernels: Vec<Arc<LayerKernel>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let renew = move || {
            for kernel in kernels {
                // A refusal is met again by whoever needs the kernel.
                if stopped.load(Ordering::Relaxed) || kernel.renew().is_err() {
                    return;
                }
            }
        };
        // Without a thread, kernels are compiled when they are needed.
        let thread = spawn_favoured("compile", renew).ok();
        Self { stop, thread }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does nothing that could panic but what an engine does; whatever was lost is compiled again.
            let _ = thread.join();
        }
    }
}
