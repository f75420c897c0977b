//! Elementwise arithmetic on tiles, compiled for several instruction sets and chosen when the program runs.

pub(crate) mod kernels;
pub(crate) mod math;
pub(crate) mod matvec;
pub(crate) mod round;
