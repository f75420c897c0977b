//! How a call ends: a status for the caller, and words for whoever asks for them.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ferrane_engine::{EngineError, SurfaceError};

/// How a call ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It did what it was asked.
    Ok = 0,
    /// A null pointer, a handle that was freed or is of another kind, a wrong size, or text that is not UTF-8.
    InvalidArgument = 1,
    /// There is no such engine or chip here.
    NotAvailable = 2,
    /// The text is not MIL, or not a valid program.
    InvalidProgram = 3,
    /// A weight file is missing or damaged.
    Weights = 4,
    /// The engine cannot compile the program.
    Compile = 5,
    /// The engine cannot load the program.
    Load = 6,
    /// The engine cannot evaluate the program.
    Evaluate = 7,
    /// Memory could not be had or used.
    Surface = 8,
    /// A defect of Ferrane: please report it.
    Defect = 9,
}

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    /// The framework's status code, where there is one.
    code: u32,
    message: String,
}

impl Failure {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, code: 0, message: message.into() }
    }

    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::new(Status::InvalidArgument, message)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let (status, code) = match &error {
            EngineError::Compile { .. } => (Status::Compile, 0),
            EngineError::Load { status, .. } => (Status::Load, status.0),
            EngineError::Evaluate { status, .. } => (Status::Evaluate, status.0),
            EngineError::Binding { .. } => (Status::InvalidArgument, 0),
            EngineError::Surface(_) => (Status::Surface, 0),
            EngineError::Weights(_) => (Status::Weights, 0),
        };
        Self { status, code, message: error.to_string() }
    }
}

impl From<SurfaceError> for Failure {
    fn from(error: SurfaceError) -> Self {
        Failure::new(Status::Surface, error.to_string())
    }
}

/// What a thread's last call said.
struct Last {
    message: CString,
    code: u32,
}

thread_local! {
    static LAST: RefCell<Last> = RefCell::new(Last { message: CString::default(), code: 0 });
}

/// Runs the body of a call. Panics end here.
pub(crate) fn call(body: impl FnOnce() -> Result<(), Failure>) -> Status {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => Failure::new(Status::Ok, ""),
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            Failure::new(Status::Defect, format!("a defect of Ferrane, please report it: {words}"))
        }
    };
    let message = CString::new(failure.message.replace('\0', "\u{fffd}")).unwrap_or_default();
    // A thread that is ending has nobody to tell.
    let _ = LAST.try_with(|last| *last.borrow_mut() = Last { message, code: failure.code });
    failure.status
}

/// The words of this thread's last call; empty if it succeeded.
pub(crate) fn last_message() -> *const c_char {
    LAST.try_with(|last| last.borrow().message.as_ptr()).unwrap_or(c"".as_ptr())
}

/// The framework's status code of this thread's last call; 0 if there is none.
pub(crate) fn last_code() -> u32 {
    LAST.try_with(|last| last.borrow().code).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    #[test]
    fn a_panic_ends_at_the_border() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let status = call(|| panic!("broken {}", "here"));
        std::panic::set_hook(hook);
        assert_eq!(status, Status::Defect);
        // SAFETY: the words are a C string until the next call.
        #[allow(unsafe_code, reason = "reads what C would")]
        let words = unsafe { CStr::from_ptr(last_message()) }.to_str().unwrap();
        assert!(words.contains("broken here"), "{words}");
        assert_eq!((call(|| Ok(())), last_code()), (Status::Ok, 0));
    }
}
