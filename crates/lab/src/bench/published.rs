//! Tables that others published, to compare with.

use serde::Deserialize;

use super::{Benchmark, Report};

/// Why there is no published table.
#[derive(Debug, thiserror::Error)]
pub enum PublishedError {
    /// No table of this benchmark has that name.
    #[error("no published table of {benchmark} is called `{name}`; {}", known(.names))]
    Unknown {
        /// The benchmark.
        benchmark: &'static str,
        /// The name.
        name: String,
        /// The names there are.
        names: Vec<String>,
    },
    /// Embedded data that is malformed.
    #[error("published.toml: {0}")]
    Data(Box<toml::de::Error>),
}

fn known(names: &[String]) -> String {
    if names.is_empty() { "there are none".into() } else { format!("there are {}", names.join(", ")) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    table: Vec<Table>,
}

#[derive(Deserialize)]
struct Table {
    name: String,
    #[serde(flatten)]
    report: Report,
}

fn tables() -> Result<Vec<Table>, PublishedError> {
    let file: File = toml::from_str(include_str!("../../data/published.toml"))
        .map_err(|e| PublishedError::Data(Box::new(e)))?;
    Ok(file.table)
}

/// The names of the tables of a benchmark.
///
/// # Errors
/// [`PublishedError::Data`], which the tests exclude.
pub fn published_names(benchmark: Benchmark) -> Result<Vec<String>, PublishedError> {
    let of = tables()?.into_iter().filter(|table| table.report.benchmark == benchmark.name());
    Ok(of.map(|table| table.name).collect())
}

/// A published table of a benchmark, with its source.
///
/// # Errors
/// [`PublishedError::Unknown`] with the names there are.
pub fn published(benchmark: Benchmark, name: &str) -> Result<Report, PublishedError> {
    let table = tables()?.into_iter().find(|t| t.name == name && t.report.benchmark == benchmark.name());
    match table {
        Some(table) => Ok(table.report),
        None => Err(PublishedError::Unknown {
            benchmark: benchmark.name(),
            name: name.into(),
            names: published_names(benchmark)?,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Basis, Metric};

    #[test]
    fn tables_are_of_known_benchmarks_with_sources_and_rates_that_follow_from_their_times() {
        for table in tables().unwrap() {
            let report = &table.report;
            assert!(Benchmark::named(&report.benchmark).is_some(), "{}", table.name);
            let sourced = report.source.as_ref().is_some_and(|source| !source.is_empty());
            assert!(sourced && report.basis == Basis::Published, "{}", table.name);
            for row in &report.rows {
                let value = |metric| row.values.get(&metric).copied();
                let numbers: Vec<usize> =
                    row.config.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
                if let (Some(ms), Some(tflops), &[depth, channels, width, ..]) =
                    (value(Metric::Ms), value(Metric::Tflops), numbers.as_slice())
                {
                    let flops = 2.0 * (depth * channels * channels * width) as f64;
                    // Times have two or three digits.
                    let by_time = flops / ms / 1e9;
                    assert!(
                        (by_time / tflops - 1.0).abs() < 0.07,
                        "{} {}: {by_time}",
                        table.name,
                        row.config
                    );
                }
            }
        }
    }

    #[test]
    fn an_unknown_table_is_answered_with_those_there_are() {
        let error = published(Benchmark::Peak, "m99").unwrap_err().to_string();
        assert!(error.contains("no published table of peak is called `m99`; there are m4-mini"), "{error}");
        let error = published(Benchmark::Generate, "m4").unwrap_err().to_string();
        assert!(error.ends_with("there are none"), "{error}");
    }
}
