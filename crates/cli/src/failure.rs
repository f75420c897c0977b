//! How a command fails: what is said, and the exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;

use ferrane_train::run::RunError;

/// Exit code of a run that Ctrl-C stopped.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another command line would work.
    Usage(String),
    /// The work failed.
    Failed(String),
    /// Whoever read the output left; there is nobody to tell.
    OutputClosed,
}

impl Failure {
    pub(crate) fn usage(error: impl ToString) -> Self {
        Failure::Usage(error.to_string())
    }

    pub(crate) fn failed(error: impl ToString) -> Self {
        Failure::Failed(error.to_string())
    }

    /// What went wrong, for whoever says it elsewhere.
    pub(crate) fn into_message(self) -> String {
        match self {
            Failure::Usage(message) | Failure::Failed(message) => message,
            Failure::OutputClosed => "the output was closed".to_owned(),
        }
    }

    /// Tells the user, and what the process ends with.
    pub(crate) fn report(self) -> ExitCode {
        let (message, code) = match self {
            Failure::Usage(message) => (message, 2),
            Failure::Failed(message) => (message, 1),
            Failure::OutputClosed => return ExitCode::SUCCESS,
        };
        // A closed stderr cannot be told about.
        let _ = writeln!(io::stderr(), "error: {message}");
        ExitCode::from(code)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        if error.is_usage() { Failure::usage(error) } else { Failure::failed(error) }
    }
}

/// A write to stdout that failed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Failed(format!("cannot write the output: {error}")),
        }
    }
}
