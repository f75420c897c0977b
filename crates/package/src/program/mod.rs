//! Programs from and to their protobuf form.

pub(crate) mod read;
mod tensor;
mod types;
mod value;
pub(crate) mod write;

use crate::PackageError;
use crate::error::Feature;

/// Something wrong with a type or value; whoever knows the place turns it into a [`PackageError`].
#[derive(Debug)]
enum Fault {
    Unsupported(Feature, String),
    Invalid(String),
}

impl Fault {
    fn at(self, place: impl std::fmt::Display) -> PackageError {
        match self {
            Fault::Unsupported(feature, detail) => PackageError::unsupported(place, feature, detail),
            Fault::Invalid(reason) => PackageError::invalid(place, reason),
        }
    }
}

fn invalid<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Invalid(reason.into()))
}

/// True for what MIL text takes for one name.
fn is_name(text: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    text.bytes().all(word) && text.bytes().next().is_some_and(|c| !c.is_ascii_digit())
}
