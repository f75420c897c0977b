//! Profiles: what is known of one chip, system and door, as data with sources.

use std::fmt;

use ferrane_mil::{DType, Opset};
use serde::{Deserialize, Deserializer, de::Error as _};

/// How sure a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Two or more independent measurements agree.
    Measured,
    /// One measurement.
    Single,
    /// Follows from other facts or from source code.
    Inferred,
    /// Carried over from another chip or system.
    Extrapolated,
    /// A property of Ferrane's own engines.
    Exact,
}

/// A value with its source.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure<T> {
    /// The value.
    pub value: T,
    /// Who measured or stated it.
    pub source: String,
    /// How sure it is.
    pub confidence: Confidence,
    /// What other sources say, where they contradict.
    #[serde(default)]
    pub contradicted_by: Option<String>,
}

/// The MIL text a compiler takes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialect {
    /// `program(major.minor)`
    pub version: Figure<(u32, u32)>,
    /// `func main<opset>`
    #[serde(deserialize_with = "opset")]
    pub opset: Figure<Opset>,
}

/// Extents and counts a compiler or engine refuses to go beyond.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Smallest width of an input, in elements.
    pub min_input_width: Figure<usize>,
    /// Largest width, height or inner extent of a product.
    pub max_extent: Figure<usize>,
    /// Largest number of channels.
    pub max_channels: Figure<usize>,
    /// Largest rank of a tensor.
    pub max_rank: Figure<usize>,
    /// Programs one process can hold loaded.
    pub slots: Figure<usize>,
}

/// How surfaces are bound.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ports {
    /// Inputs and outputs are bound in the alphabetical order of their names.
    pub alphabetical: Figure<bool>,
    /// All surfaces of a side must claim the same number of bytes.
    pub equal_allocation: Figure<bool>,
    /// Convolution weights may be computed or given as inputs.
    pub runtime_conv_weights: Figure<bool>,
}

/// What is known of one chip, system and door.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Short name, e.g. `m4`.
    pub name: String,
    /// What it describes, for people.
    pub title: String,
    /// Element type of computation.
    #[serde(deserialize_with = "dtype")]
    pub compute: Figure<DType>,
    /// The MIL text it takes.
    pub dialect: Dialect,
    /// What it refuses.
    pub limits: Limits,
    /// How surfaces are bound.
    pub ports: Ports,
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// There is no built-in profile of this name.
    #[error("there is no profile `{name}`; there are {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The text is not a profile.
    #[error("profile `{name}`: {source}")]
    Malformed {
        /// The profile's name or file.
        name: String,
        /// What and where.
        source: Box<toml::de::Error>,
    },
}

const BUILT_IN: &[(&str, &str)] =
    &[("cpu", include_str!("../profiles/cpu.toml")), ("m4", include_str!("../profiles/m4.toml"))];

impl Profile {
    /// The names of the built-in profiles.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// A built-in profile.
    ///
    /// # Errors
    /// [`ProfileError::Unknown`].
    pub fn built_in(name: &str) -> Result<Self, ProfileError> {
        match BUILT_IN.iter().find(|(n, _)| *n == name) {
            Some((name, text)) => Self::parse(name, text),
            None => Err(ProfileError::Unknown {
                name: name.into(),
                known: Self::names().collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// Reads a profile from TOML. `name` is for error messages.
    ///
    /// # Errors
    /// [`ProfileError::Malformed`] for anything but exactly the known keys.
    pub fn parse(name: &str, text: &str) -> Result<Self, ProfileError> {
        toml::from_str(text)
            .map_err(|source| ProfileError::Malformed { name: name.into(), source: Box::new(source) })
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.title)
    }
}

/// Maps a figure given as text to its type.
fn named<'de, D: Deserializer<'de>, T>(
    d: D,
    what: &str,
    from_name: impl Fn(&str) -> Option<T>,
) -> Result<Figure<T>, D::Error> {
    let Figure { value, source, confidence, contradicted_by } = Figure::<String>::deserialize(d)?;
    let value = from_name(&value).ok_or_else(|| D::Error::custom(format!("`{value}` is not {what}")))?;
    Ok(Figure { value, source, confidence, contradicted_by })
}

fn dtype<'de, D: Deserializer<'de>>(d: D) -> Result<Figure<DType>, D::Error> {
    named(d, "an element type", DType::from_name)
}

fn opset<'de, D: Deserializer<'de>>(d: D) -> Result<Figure<Opset>, D::Error> {
    named(d, "an op set", Opset::from_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_loads_under_its_own_name() {
        for name in Profile::names() {
            assert_eq!(Profile::built_in(name).unwrap().name, name);
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let text = include_str!("../profiles/m4.toml").replace("max_rank", "max_rnak");
        let message = Profile::parse("mine.toml", &text).unwrap_err().to_string();
        assert!(message.contains("mine.toml") && message.contains("max_rnak"), "{message}");
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = Profile::built_in("m9").unwrap_err().to_string();
        assert_eq!(message, "there is no profile `m9`; there are cpu, m4");
    }
}
