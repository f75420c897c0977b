//! A profile of what was measured.

use ferrane_engine::{Profile, ProfileError};
use toml::{Table, Value};

use crate::Examination;
use crate::finding::{Finding, Sharpness};

/// `profile` for an engine that is to be probed: under it the backend neither refuses what is the chip's to refuse, nor puts
/// surfaces into another order than they are given in.
///
/// # Errors
/// Never: the rules are known.
pub fn unguarded(mut profile: Profile) -> Result<Profile, ProfileError> {
    ["slots", "compile-count", "port-order"].into_iter().try_for_each(|rule| profile.assume(rule))?;
    Ok(profile)
}

/// Why there is no measured profile.
#[derive(Debug, thiserror::Error)]
pub enum MeasuredProfileError {
    /// The text of the base is not TOML.
    #[error("the profile to extend: {0}")]
    Base(Box<toml::de::Error>),
    /// The result cannot be written.
    #[error("the measured profile cannot be written: {0}")]
    Write(#[from] toml::ser::Error),
}

/// The profile whose text is `text` with what was measured laid over it, as TOML that [`Profile::parse`] reads. `base` is
/// that profile, `name` the new one's name, and `by` says who measured what, as a figure's source.
///
/// # Errors
/// When `text` is not TOML.
pub fn measured_profile(
    text: &str,
    base: &Profile,
    name: &str,
    by: &str,
    examination: &Examination,
) -> Result<String, MeasuredProfileError> {
    let mut table: Table = text.parse().map_err(|error| MeasuredProfileError::Base(Box::new(error)))?;
    table.insert("name".into(), name.into());
    table.insert("title".into(), format!("{}, measured by ferrane doctor", base.title).into());
    for finding in examination.findings() {
        lay(&mut table, base, by, finding);
    }
    Ok(toml::to_string(&table)?)
}

/// Lays one finding over the table.
fn lay(table: &mut Table, base: &Profile, by: &str, finding: &Finding) {
    let keys: Vec<&str> = finding.key.split('.').collect();
    if let ["quirks", name, ..] = keys[..]
        && !base.quirks.contains_key(name)
    {
        // What is absent here as it is there need not be said.
        if finding.value == crate::Measured::Flag(false) || !define(table, name) {
            return;
        }
    }
    let Some((last, path)) = keys.split_last() else { return };
    let mut at = table;
    for key in path {
        let next = at.entry(*key).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(next) = next else { return };
        at = next;
    }
    let is_plain = *last == "threshold";
    let value = if is_plain { finding.value.to_toml() } else { figure(base, by, finding).into() };
    at.insert((*last).to_owned(), value);
}

/// Writes a quirk that the base has not as another chip's profile has it.
fn define(table: &mut Table, name: &str) -> bool {
    let built_in = Profile::names().filter_map(|chip| Profile::built_in(chip).ok());
    let Some(quirk) = built_in.into_iter().find_map(|mut profile| profile.quirks.remove(name)) else {
        return false;
    };
    let quirks = table.entry("quirks").or_insert_with(|| Value::Table(Table::new()));
    let Value::Table(quirks) = quirks else { return false };
    let defined = quirks.entry(name).or_insert_with(|| Value::Table(Table::new()));
    let Value::Table(defined) = defined else { return false };
    defined.insert("what".into(), quirk.what.into());
    defined.insert("effect".into(), quirk.effect.name().into());
    defined.insert("ops".into(), quirk.ops.into());
    if let Some(threshold) = quirk.threshold {
        defined.insert("threshold".into(), threshold.into());
    }
    true
}

fn figure(base: &Profile, by: &str, finding: &Finding) -> Table {
    let mut figure = Table::new();
    figure.insert("value".into(), finding.value.to_toml());
    figure.insert("confidence".into(), "measured".into());
    let source = match finding.sharpness {
        Sharpness::AtLeast => format!("{by}: the largest tried, no limit was met"),
        _ => by.to_owned(),
    };
    figure.insert("source".into(), source.into());
    if let (Sharpness::UpTo(most), Some(least)) = (finding.sharpness, finding.value.as_number()) {
        figure.insert("range".into(), vec![least, most].into());
    }
    if let Some(other) = base.figure(&finding.key).filter(|other| !agrees(finding, &other.value)) {
        let published = format!("{}: {}", other.source, shown(&other.value));
        figure.insert("contradicted_by".into(), published.into());
    }
    figure
}

/// Whether a finding is what a profile says.
pub(crate) fn agrees(finding: &Finding, published: &Value) -> bool {
    let number = published.as_float().or_else(|| published.as_integer().map(|n| n as f64));
    match (finding.value.as_number(), number) {
        (Some(found), Some(said)) => match finding.sharpness {
            Sharpness::Exact => found == said,
            Sharpness::AtLeast => found <= said,
            Sharpness::UpTo(most) => (found..=most).contains(&said),
            Sharpness::Timed => (found - said).abs() <= CLOSE * said.abs(),
        },
        _ => finding.value.to_toml() == *published,
    }
}

/// How far a timed value may be from a published one and still agree with it.
const CLOSE: f64 = 0.1;

/// A value as people read it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(shown).collect::<Vec<_>>().join("."),
        other => other.to_string(),
    }
}
