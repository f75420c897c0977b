//! Apple's Neural Engine, through the private framework of macOS.
//!
//! [`AneEngine`] is an [`Engine`](ferrane_engine::Engine): it prints a program as MIL text, lets the framework compile and load it
//! through one of two [doors](Door), and evaluates it on IOSurfaces. Nothing of the framework is linked: it is
//! [opened](FrameworkError) at run time, and what will be called is looked up and its types compared before anything is, so
//! that a macOS that changed it is told of in a sentence.
//!
//! **Unproven.** No Mac was at hand when this was written. What published programs send to the framework is sent here, and
//! tests on other systems hold that against a double of it; whether macOS agrees is for the first reader with a Mac
//! to see (`docs/hardware.md`).
//!
//! Elsewhere the crate compiles for those tests alone, on an Objective-C runtime that only they bring.

#[cfg(all(test, not(target_vendor = "apple")))]
extern crate ferrane_apple_double as _;

mod door;
mod engine;
mod failure;
mod folder;
mod framework;
mod iosurface;
mod kernel;
mod loaded;
mod machine;
mod object;
mod power;
mod process;

pub use door::Door;
pub use engine::{AneEngine, OpenError, Setup};
pub use framework::{FRAMEWORK, FrameworkError};
pub use machine::{Machine, available, pieces, sub_type};
pub use power::{Energy, PowerMeter};
