//! What is measured and shown.
//!
//! [`mod@bench`] measures an engine, or asks its model, in the configurations that others published; [`chart`] draws figures as SVG, for files and for pages alike;
//! [`reproduce`] runs a published text's experiments again.

pub mod bench;
pub mod chart;
pub mod reproduce;
