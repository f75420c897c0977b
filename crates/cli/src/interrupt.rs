//! Ctrl-C: the first asks to stop, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, INTERRUPTED};

/// Raised by the first Ctrl-C (or a request to terminate).
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over Ctrl-C for the rest of the process. `announce` is said at the first.
    pub(crate) fn install(announce: impl Fn() + Send + 'static) -> Result<Self, Failure> {
        let raised = Arc::new(AtomicBool::new(false));
        let handler = Arc::clone(&raised);
        ctrlc::set_handler(move || {
            if handler.swap(true, Ordering::SeqCst) {
                std::process::exit(i32::from(INTERRUPTED));
            }
            announce();
        })
        .map_err(|error| Failure::Failed(format!("cannot watch for Ctrl-C: {error}")))?;
        Ok(Self(raised))
    }

    pub(crate) fn raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
