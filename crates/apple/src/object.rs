//! Objective-C objects from safe code: calls, strings, errors.
#![allow(unsafe_code, reason = "each block says why it is sound")]

use std::mem::ManuallyDrop;

use objc2::rc::{Retained, autoreleasepool};
use objc2::runtime::AnyObject;
use objc2_foundation::NSError;

/// An object of the framework.
///
/// The framework's objects are used by one thread at a time: a model and its requests belong to a kernel, which is not shared,
/// and published programs compile on one thread and evaluate on another.
#[derive(Debug)]
pub(crate) struct Object(ManuallyDrop<Retained<AnyObject>>);

// SAFETY: references are counted atomically, and no object has a thread it belongs to; see above.
unsafe impl Send for Object {}
// SAFETY: shared references give access to nothing but what `Framework` does with objects, which changes none of those that are
// shared: wrappers of surfaces.
unsafe impl Sync for Object {}

impl Object {
    pub(crate) fn new(object: Retained<AnyObject>) -> Self {
        Self(ManuallyDrop::new(object))
    }
}

impl std::ops::Deref for Object {
    type Target = AnyObject;

    fn deref(&self) -> &AnyObject {
        &self.0
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // The last reference takes the object with it, by the framework's own code. What it throws, nobody waits for.
        // SAFETY: this is the end of it, and comes once.
        let _ = guarded(|| unsafe { ManuallyDrop::drop(&mut self.0) });
    }
}

/// Calls `f`, which sends messages, in an autorelease pool of its own. An Objective-C exception is an error here.
///
/// # Errors
/// What the exception says.
pub(crate) fn guarded<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    autoreleasepool(|_| caught(f))
}

#[cfg(target_vendor = "apple")]
fn caught<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    // What a caller could find half done is not used again: a kernel whose call failed is reported as failed.
    objc2::exception::catch(std::panic::AssertUnwindSafe(f)).map_err(|exception| match exception {
        Some(exception) => format!("{exception:?}"),
        None => "an exception without a description".to_owned(),
    })
}

/// The runtime of the tests has no exceptions.
#[cfg(not(target_vendor = "apple"))]
fn caught<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    Ok(f())
}

/// What an error says, with its domain and code, and what the errors beneath it say.
pub(crate) fn words(error: &NSError) -> String {
    let said = format!("{} ({}, code {})", error.localizedDescription(), error.domain(), error.code());
    let beneath = error.underlyingErrors();
    (0..beneath.count()).fold(said, |said, i| format!("{said}: {}", words(&beneath.objectAtIndex(i))))
}
