//! The text reader and printer: what must be read, what must be refused and how, and that nothing is lost between.

mod arbitrary;
mod errors;
mod round_trip;
mod snippets;
