//! Reading profiles: inheritance and the checks that a type cannot make.

use std::collections::BTreeMap;

use ferrane_mil::Opcode;
use toml::{Table, Value};

use super::{Figure, Profile};

macro_rules! files {
    ($folder:literal: $($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../profiles/", $folder, $name, ".toml")))),*]
    };
}

/// The profiles that can be asked for.
pub(super) const CHIPS: &[(&str, &str)] = files!(
    "": "cpu" "m1" "m1-max" "m2-pro" "m3-pro" "m3-ultra" "m4" "m4-pro" "m4-max" "m5" "m5-pro" "m5-max" "m6"
);

/// What chips extend.
const FAMILIES: &[(&str, &str)] = files!("families/": "ane" "h13" "h14" "h15" "h16" "h17" "h18");

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
    /// A figure or rule that cannot be.
    #[error("profile `{name}`: {key} {reason}")]
    Invalid {
        /// The profile's name or file.
        name: String,
        /// The dotted key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such rule.
    #[error("there is no rule `{rule}`; {near}`ferrane mil explain` lists them all")]
    UnknownRule {
        /// The rule asked for.
        rule: String,
        /// Rules of similar names.
        near: String,
    },
}

/// Reads a profile and what it extends.
pub(super) fn profile(name: &str, text: &str) -> Result<Profile, ProfileError> {
    let malformed = |source| ProfileError::Malformed { name: name.into(), source: Box::new(source) };
    let table = if text.parse::<Table>().is_ok_and(|t| !t.contains_key("extends")) {
        // Complete in itself: reading it from the text gives errors with lines.
        toml::from_str::<Profile>(text).map_err(malformed)?;
        text.parse().map_err(malformed)?
    } else {
        resolve(name, text, &mut Vec::new())?
    };
    let mut profile: Profile = Value::Table(table.clone()).try_into().map_err(malformed)?;
    gather(&table, "", &mut profile.figures);
    check(name, &profile)?;
    Ok(profile)
}

/// A profile's table laid over that of what it extends.
fn resolve(name: &str, text: &str, above: &mut Vec<String>) -> Result<Table, ProfileError> {
    let invalid = |reason: String| ProfileError::Invalid { name: name.into(), key: "extends".into(), reason };
    let mut own: Table = text
        .parse()
        .map_err(|source| ProfileError::Malformed { name: name.into(), source: Box::new(source) })?;
    let Some(base) = own.remove("extends") else { return Ok(own) };
    let Value::String(base) = base else { return Err(invalid("is not the name of a profile".into())) };
    if above.contains(&base) {
        return Err(invalid(format!("comes back to `{base}`")));
    }
    let is_chip = CHIPS.iter().any(|(n, _)| *n == base);
    let Some((_, text)) = CHIPS.iter().chain(FAMILIES).find(|(n, _)| *n == base) else {
        let known = CHIPS.iter().chain(FAMILIES).map(|(n, _)| *n).collect::<Vec<_>>().join(", ");
        return Err(invalid(format!("names `{base}`, which is not built in; there are {known}")));
    };
    above.push(base.clone());
    let mut table = resolve(&base, text, above)?;
    if is_chip {
        let measured: Table = text.parse().map_err(|e| invalid(format!("{e}")))?;
        carry_over(&mut table, &measured, &base);
    }
    merge(&mut table, own);
    Ok(table)
}

/// Marks the figures that a chip's own file gives: for another chip they are carried over.
fn carry_over(table: &mut Table, own: &Table, chip: &str) {
    for (key, value) in own {
        let (Some(Value::Table(inherited)), Value::Table(own)) = (table.get_mut(key), value) else {
            continue;
        };
        if is_figure(own) {
            inherited.insert("confidence".into(), "extrapolated".into());
            if let Some(Value::String(source)) = inherited.get_mut("source")
                && !source.starts_with("on ")
            {
                *source = format!("on {chip}: {source}");
            }
        } else {
            carry_over(inherited, own, chip);
        }
    }
}

/// Lays `own` over `table`: figures and all that isn't a table replace, tables are merged.
fn merge(table: &mut Table, own: Table) {
    for (key, value) in own {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) if !is_figure(&above) => merge(below, above),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

fn is_figure(table: &Table) -> bool {
    table.contains_key("value")
}

/// Collects all figures under their dotted keys.
fn gather(table: &Table, prefix: &str, figures: &mut BTreeMap<String, Figure<Value>>) {
    for (key, value) in table {
        let Value::Table(inner) = value else { continue };
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match Value::Table(inner.clone()).try_into() {
            Ok(figure) if is_figure(inner) => {
                figures.insert(path, figure);
            }
            _ => gather(inner, &path, figures),
        }
    }
}

fn check(name: &str, profile: &Profile) -> Result<(), ProfileError> {
    let invalid =
        |key: &str, reason: String| ProfileError::Invalid { name: name.into(), key: key.into(), reason };
    for (key, figure) in profile.figures() {
        if figure.source.trim().is_empty() {
            return Err(invalid(key, "has no source".into()));
        }
        let number = figure.value.as_float().or_else(|| figure.value.as_integer().map(|i| i as f64));
        let Some(number) = number else { continue };
        let least_is_zero = key.ends_with("idle_w");
        if !number.is_finite() || number < 0.0 || (number == 0.0 && !least_is_zero) {
            return Err(invalid(key, format!("is {number}, and must be a positive number")));
        }
        if let Some((low, high)) = figure.range
            && !(low <= number && number <= high)
        {
            return Err(invalid(key, format!("is {number}, outside its range {low} to {high}")));
        }
    }
    for (id, quirk) in &profile.quirks {
        if let Some(op) = quirk.ops.iter().find(|op| Opcode::from_name(op).is_none()) {
            return Err(invalid(&format!("quirks.{id}.ops"), format!("names `{op}`, which is not an op")));
        }
    }
    Ok(())
}
