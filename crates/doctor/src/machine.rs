//! The Mac that was examined.

/// What a Mac tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The chip's name, e.g. `Apple M4`.
    pub chip: String,
    /// Memory, in bytes.
    pub memory: u64,
    /// Version and build of macOS.
    pub macos: String,
    /// The subtype that the engine's framework gives, e.g. `h16g`.
    pub ane_subtype: Option<String>,
    /// What of the private framework is there: the framework and its classes, by name.
    pub framework: Vec<(String, bool)>,
}

/// Why nothing is known of the machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a Mac: there is no Neural Engine to examine, only its simulation")]
pub struct NoMachine;
