//! The two ways into the framework, behind one type.
#![allow(unsafe_code, reason = "each block says why it is sound")]

mod client;
mod in_memory;

use std::fmt;
use std::sync::Arc;

use ferrane_engine::WeightFiles;
use objc2::rc::Retained;

use crate::folder::{Folder, Folders};
use crate::framework::{ErrorOut, FrameworkError};
use crate::object::{Object, guarded, words};

/// A way into the framework.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// `_ANEInMemoryModel`, which all published trainers use. It is said to leak something with every compile, after some 120 of which
    /// a process can compile no more.
    #[default]
    InMemory,
    /// `_ANEClient`, which the other uses itself. It is said to be without that limit.
    Client,
}

impl Door {
    /// Looks up what goes through this door, all of it in the class `qos` of the quality of service.
    ///
    /// # Errors
    /// When a class or method is not as expected.
    pub(crate) fn open(self, qos: u32) -> Result<Arc<dyn Messages>, FrameworkError> {
        Ok(match self {
            Door::InMemory => Arc::new(in_memory::InMemory::find(qos)?),
            Door::Client => Arc::new(client::Client::find(qos)?),
        })
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Door::InMemory => "in-memory",
            Door::Client => "client",
        })
    }
}

/// A program as it goes to the framework.
pub(crate) struct Content<'a> {
    /// A name of no other living program, which is in the text as well.
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    pub(crate) weights: &'a WeightFiles,
}

/// The messages of a door. Every error is in the framework's words.
pub(crate) trait Messages: Send + Sync {
    /// A model of the program, and its folder with everything in it.
    fn model(&self, content: &Content<'_>, folders: &Arc<Folders>) -> Result<(Object, Folder), String>;

    fn compile(&self, model: &Object) -> Result<(), String>;

    fn load(&self, model: &Object) -> Result<(), String>;

    fn unload(&self, model: &Object) -> Result<(), String>;

    fn evaluate(&self, model: &Object, request: &Object) -> Result<(), String>;
}

/// Sends a message that is answered by yes, or by no and an error, which may be missing.
fn done(send: impl FnOnce(ErrorOut) -> bool) -> Result<(), String> {
    guarded(|| {
        let mut error = std::ptr::null_mut();
        if send(&mut error) {
            return Ok(());
        }
        // SAFETY: what a method puts there is an error or nil, and lives as long as the pool at least.
        let error = unsafe { Retained::retain(error) };
        Err(error.map_or_else(|| "it refuses, and gives no reason".to_owned(), |error| words(&error)))
    })?
}
