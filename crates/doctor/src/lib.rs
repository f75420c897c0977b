//! Measures what a profile says of a Neural Engine.
//!
//! A [`Probe`] asks an engine one question by small MIL programs, and answers with [`Finding`]s: figures and rules of a
//! profile, as measured. Probes see an engine without its profile, so that they cannot answer from what is published. An
//! [`examination`](examine) runs probes one after the other, each in a process of its own if the caller wants it
//! ([`child`]), for a probe may crash the process, or never end. What was found makes a profile
//! ([`measured_profile`]) and a report.

pub mod child;
mod examination;
mod finding;
mod machine;
mod mil;
mod probes;
mod profile;
mod report;
mod rig;
mod search;

pub use examination::{Examination, Examined, examine};
pub use finding::{Finding, Found, Measured, Sharpness, Verdict};
pub use machine::{Machine, NoMachine};
pub use probes::{Probe, UnknownProbe, probe, probes};
pub use profile::{MeasuredProfileError, measured_profile, unguarded};
pub use report::report;
pub use rig::{Dialect, Meter, NoMeter};
