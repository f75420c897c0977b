//! For tests on any machine: a small Objective-C runtime, and Apple's Neural Engine framework on top of it.
//!
//! The backend of `ferrane-apple` sends messages to classes of a private framework. Here the same messages arrive at
//! classes of the same names, written in Rust, which check what the real ones are known to check, and compute
//! with `ferrane-sim`. Below them are as much of Foundation, IOSurface and of the
//! runtime as that takes.
//!
//! What this proves: that the backend sends the messages that published programs send, with arguments of their types, in their
//! order; that it hands back what it took; and that every refusal ends in a sentence. What it cannot prove: that macOS
//! has these classes. Nor does it have exceptions, weak references or blocks.
//!
//! A test enters a [`World`], and may then [distort](World::hide_class) it.
#![cfg(not(target_vendor = "apple"))]
#![allow(unsafe_code, reason = "an Objective-C runtime is made of pointers; each block says why it is sound")]

mod foundation;
mod iosurface;
mod memory;
mod neural;
mod runtime;
mod world;

pub use world::{Fault, Live, World};
