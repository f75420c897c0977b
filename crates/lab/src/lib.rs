//! What is measured and shown.
//!
//! [`chart`] draws figures as SVG, for files and for pages alike.

pub mod chart;
