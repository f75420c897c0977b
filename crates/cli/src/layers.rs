//! `--layer N|all`.

use std::ops::Range;
use std::str::FromStr;

use crate::failure::Failure;

/// Layers of a model.
#[derive(Clone, Copy)]
pub(crate) enum Layers {
    One(usize),
    All,
}

impl Layers {
    /// Which of `count` they are.
    pub(crate) fn of(self, count: usize) -> Result<Range<usize>, Failure> {
        match self {
            Self::All => Ok(0..count),
            Self::One(layer) if layer < count => Ok(layer..layer + 1),
            Self::One(layer) => Err(Failure::Usage(format!(
                "`layer` {layer}: the model has {count} layers, 0 to {}",
                count.saturating_sub(1)
            ))),
        }
    }
}

impl FromStr for Layers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            number => number.parse().map(Self::One).map_err(|_| "write a layer's number or all".into()),
        }
    }
}
