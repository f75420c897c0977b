//! What is measured and shown.
//!
//! [`mod@bench`] measures an engine, or asks its model, in the configurations that others published; [`chart`] draws figures as SVG, for files and for pages alike.

pub mod bench;
pub mod chart;
