//! What was published, from the data files.

use serde::Deserialize;

use crate::bench::{Benchmark, Metric, PublishedError, Row, published};

/// Embedded data that is malformed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimsError {
    /// The list of claims.
    #[error("reproduction.toml: {0}")]
    Data(Box<toml::de::Error>),
    /// A claim that says neither what was found nor how it failed, or both.
    #[error("reproduction.toml: claim `{0}` needs either `published` or `failure`")]
    NoFigure(String),
    /// A table that it names.
    #[error("reproduction.toml: {0}")]
    Table(#[from] PublishedError),
    /// A benchmark that it names.
    #[error("reproduction.toml: there is no benchmark `{0}`")]
    Benchmark(String),
}

/// The experiments and their claims.
pub(super) struct Script {
    pub(super) machine: String,
    /// The profile of its chip.
    pub(super) chip: String,
    pub(super) writeup: String,
    pub(super) steps: Vec<Part>,
}

/// One experiment.
pub(super) struct Part {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) about: String,
    pub(super) claims: Vec<Claim>,
}

/// One thing that was published.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) id: String,
    pub(super) says: String,
    pub(super) published: Published,
    pub(super) unit: String,
    /// Digits after the point that were published.
    pub(super) decimals: usize,
    /// How far off is near enough, as part of the published figure.
    pub(super) tolerance: f64,
    pub(super) source: String,
    pub(super) note: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Published {
    Figure(f64),
    Failure(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    machine: String,
    chip: String,
    writeup: String,
    step: Vec<StepData>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepData {
    id: String,
    title: String,
    about: String,
    #[serde(default)]
    tables: Vec<TableData>,
    claims: Vec<ClaimData>,
}

/// A table of `published.toml`, each row of which is a claim.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableData {
    benchmark: String,
    name: String,
    metric: Metric,
    tolerance: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimData {
    id: String,
    says: String,
    published: Option<f64>,
    failure: Option<String>,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    decimals: usize,
    #[serde(default)]
    tolerance: f64,
    source: Option<String>,
    note: Option<String>,
}

impl Script {
    pub(super) fn read() -> Result<Self, ClaimsError> {
        let file: File = toml::from_str(include_str!("../../data/reproduction.toml"))
            .map_err(|error| ClaimsError::Data(Box::new(error)))?;
        let part = |step: StepData| {
            let mut claims = Vec::new();
            for table in &step.tables {
                claims.extend(table.claims(&file.writeup)?);
            }
            for claim in step.claims {
                claims.push(claim.checked(&file.writeup)?);
            }
            Ok(Part { id: step.id, title: step.title, about: step.about, claims })
        };
        let steps = file.step.into_iter().map(part).collect::<Result<_, ClaimsError>>()?;
        Ok(Self { machine: file.machine, chip: file.chip, writeup: file.writeup, steps })
    }
}

impl TableData {
    fn claims(&self, writeup: &str) -> Result<Vec<Claim>, ClaimsError> {
        let benchmark = Benchmark::named(&self.benchmark)
            .ok_or_else(|| ClaimsError::Benchmark(self.benchmark.clone()))?;
        let report = published(benchmark, &self.name)?;
        let source = match report.source.as_deref() {
            Some(source) if source != writeup => format!("{source}: {}", report.on),
            _ => writeup.to_owned(),
        };
        let claim = |row: &Row| {
            let published = match (row.values.get(&self.metric), &row.failure) {
                (Some(value), _) => Published::Figure(*value),
                (None, Some(failure)) => Published::Failure(failure.clone()),
                (None, None) => return None,
            };
            Some(Claim {
                id: table_id(benchmark, &row.config),
                says: row.config.clone(),
                published,
                unit: self.metric.heading().into(),
                decimals: 2,
                tolerance: self.tolerance,
                source: source.clone(),
                note: None,
            })
        };
        Ok(report.rows.iter().filter_map(claim).collect())
    }
}

/// The id of the claim that a row of a table is.
pub(super) fn table_id(benchmark: Benchmark, config: &str) -> String {
    format!("{} {config}", benchmark.name())
}

impl ClaimData {
    fn checked(self, writeup: &str) -> Result<Claim, ClaimsError> {
        let published = match (self.published, self.failure) {
            (Some(figure), None) => Published::Figure(figure),
            (None, Some(failure)) => Published::Failure(failure),
            _ => return Err(ClaimsError::NoFigure(self.id)),
        };
        Ok(Claim {
            published,
            id: self.id,
            says: self.says,
            unit: self.unit,
            decimals: self.decimals,
            tolerance: self.tolerance,
            source: self.source.unwrap_or_else(|| writeup.to_owned()),
            note: self.note,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_data_is_sound_and_no_claim_is_there_twice() {
        let script = Script::read().unwrap();
        let mut ids = HashSet::new();
        for claim in script.steps.iter().flat_map(|step| &step.claims) {
            assert!(ids.insert(claim.id.clone()), "{}", claim.id);
            assert!(claim.tolerance >= 0.0 && !claim.source.is_empty(), "{claim:?}");
        }
        assert_eq!(script.steps.len(), 4);
    }
}
