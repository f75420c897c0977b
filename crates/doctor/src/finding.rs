//! What a probe finds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A measured value of a figure or rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measured {
    /// Whether something holds.
    Flag(bool),
    /// An extent or a number of things.
    Count(u64),
    /// A quantity, in the figure's unit.
    Number(f64),
    /// A name, as profiles write it.
    Name(String),
    /// The major and minor version of a text.
    Version(u32, u32),
}

impl Measured {
    /// The number, for values that are one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Measured::Count(n) => Some(*n as f64),
            Measured::Number(n) => Some(*n),
            _ => None,
        }
    }

    /// As a profile writes it.
    pub(crate) fn to_toml(&self) -> toml::Value {
        match self {
            Measured::Flag(holds) => toml::Value::Boolean(*holds),
            Measured::Count(n) => toml::Value::Integer(i64::try_from(*n).unwrap_or(i64::MAX)),
            Measured::Number(n) => toml::Value::Float(*n),
            Measured::Name(name) => toml::Value::String(name.clone()),
            Measured::Version(major, minor) => {
                toml::Value::Array([major, minor].map(|n| toml::Value::Integer(i64::from(*n))).into())
            }
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measured::Flag(holds) => write!(f, "{holds}"),
            Measured::Count(n) => write!(f, "{n}"),
            Measured::Number(n) => write!(f, "{n}"),
            Measured::Name(name) => f.write_str(name),
            Measured::Version(major, minor) => write!(f, "{major}.{minor}"),
        }
    }
}

/// How much a measurement settles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharpness {
    /// The value is what it is.
    Exact,
    /// The true value is this one or greater: the probe did not come to its end.
    AtLeast,
    /// The true value is between this one and another.
    UpTo(f64),
    /// Timed: the value is as good as the clock and the model behind it.
    Timed,
}

/// One figure or rule of a profile, as measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The dotted key in a profile, e.g. `limits.max_extent` or `quirks.conv-bias.holds`.
    pub key: String,
    /// What was measured.
    pub value: Measured,
    /// How much that settles.
    pub sharpness: Sharpness,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.key, self.shown())
    }
}

impl Finding {
    /// The value with what it settles.
    pub(crate) fn shown(&self) -> String {
        match (self.sharpness, self.value.as_number()) {
            (Sharpness::AtLeast, _) => format!("at least {}", self.value),
            (Sharpness::UpTo(most), _) => format!("{} to {most}", self.value),
            (Sharpness::Timed, Some(number)) => format!("{number:.4}"),
            _ => self.value.to_string(),
        }
    }
}

/// What a probe found: findings, and what is worth knowing beside them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Figures and rules.
    pub findings: Vec<Finding>,
    /// What was seen, in words.
    pub notes: Vec<String>,
}

impl Found {
    pub(crate) fn with(mut self, key: &str, value: Measured, sharpness: Sharpness) -> Self {
        self.findings.push(Finding { key: key.into(), value, sharpness });
        self
    }

    pub(crate) fn flag(self, key: &str, value: bool) -> Self {
        self.with(key, Measured::Flag(value), Sharpness::Exact)
    }

    /// Whether a quirk holds.
    pub(crate) fn quirk(self, name: &str, holds: bool) -> Self {
        self.flag(&format!("quirks.{name}.holds"), holds)
    }

    /// The number from which a quirk holds.
    pub(crate) fn threshold(self, name: &str, threshold: f64) -> Self {
        self.with(&format!("quirks.{name}.threshold"), Measured::Number(threshold), Sharpness::Exact)
    }

    /// A figure from times; one that they do not give is told in words, for profiles take none that cannot be.
    pub(crate) fn timed(self, key: &str, value: f64) -> Self {
        match value.is_finite() && value > 0.0 {
            true => self.with(key, Measured::Number(value), Sharpness::Timed),
            false => self.note(format!(
                "{key} came out as {value:.4}: the times that it follows from are not exact enough"
            )),
        }
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub(crate) fn and(mut self, other: Found) -> Self {
        self.findings.extend(other.findings);
        self.notes.extend(other.notes);
        self
    }
}

/// How a probe ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It found something.
    Found(Found),
    /// It found nothing that settles the question.
    Unclear(String),
    /// It did not end in time, and was ended.
    TimedOut {
        /// The time it had, in seconds.
        seconds: u64,
    },
    /// Its process died.
    Died(String),
}

impl Verdict {
    /// What it found, if it did.
    pub fn found(&self) -> Option<&Found> {
        match self {
            Verdict::Found(found) => Some(found),
            _ => None,
        }
    }
}

/// Why a probe settles nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// Its program is not valid MIL: a defect of ours, or an op that is later than the op set that the engine takes.
    #[error("the probe's program cannot be written: {0}")]
    Program(String),
    /// The engine refuses what it took before, so its refusals say nothing.
    #[error("the engine refuses even the plainest program: {0}")]
    Control(String),
    /// What was seen fits no answer.
    #[error("{0}")]
    Unclear(String),
}

impl From<ferrane_engine::SurfaceError> for Trouble {
    fn from(error: ferrane_engine::SurfaceError) -> Self {
        Trouble::Unclear(error.to_string())
    }
}

impl From<ferrane_mil::blob::BlobError> for Trouble {
    fn from(error: ferrane_mil::blob::BlobError) -> Self {
        Trouble::Program(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_cannot_be_are_told_in_words() {
        for value in [-27.0, 0.0, f64::INFINITY, f64::NAN] {
            let found = Found::default().timed("cost.half_width", value);
            assert!(found.findings.is_empty() && found.notes[0].starts_with("cost.half_width came out as"));
        }
        assert_eq!(Found::default().timed("cost.half_width", 1.0).findings.len(), 1);
    }
}
