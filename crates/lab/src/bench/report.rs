//! What a benchmark found: rows of metrics, and what is not a number.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What a benchmark found on one engine, or what somebody published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The benchmark's name.
    pub benchmark: String,
    /// What it ran on.
    pub on: String,
    /// Whether the times are real.
    pub basis: Basis,
    /// Where it was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// One for each configuration.
    pub rows: Vec<Row>,
    /// What is worth knowing beside them.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Whether times are real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// By the cost model, from the figures of a profile.
    Modelled,
    /// By the clock, on this machine.
    Measured,
    /// By somebody else, as published.
    Published,
}

impl std::fmt::Display for Basis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Basis::Modelled => "modelled",
            Basis::Measured => "measured",
            Basis::Published => "published",
        })
    }
}

/// One configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name.
    pub config: String,
    /// What was found.
    #[serde(default)]
    pub values: BTreeMap<Metric, f64>,
    /// Why nothing was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Row {
    /// A row of these values, or the reason why there are none.
    pub(super) fn new(
        config: impl Into<String>,
        found: Result<impl IntoIterator<Item = (Metric, f64)>, impl ToString>,
    ) -> Self {
        let (values, failure) = match found {
            Ok(values) => (values.into_iter().collect(), None),
            Err(error) => (BTreeMap::new(), Some(error.to_string())),
        };
        Self { config: config.into(), values, failure }
    }
}

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Weights, in MiB.
    WeightsMb,
    /// One activation, in MiB.
    ActivationMb,
    /// Weights and two activations, in MiB.
    TotalMb,
    /// Multiplications and additions, in GFLOP.
    Gflop,
    /// Evaluations in a step.
    Dispatches,
    /// Median time, in milliseconds.
    Ms,
    /// Interquartile range of the time, as part of the median.
    Spread,
    /// Time on the engine, in milliseconds.
    EngineMs,
    /// Time on the engine of the forward pass alone, in milliseconds.
    ForwardMs,
    /// Rate, in TFLOPS.
    Tflops,
    /// Rate as part of the chip's best published one.
    OfPeak,
    /// GFLOPS for each MiB of weights.
    GflopsPerMb,
    /// How many times as fast as fp16.
    Ratio,
    /// Tokens a second.
    TokensPerS,
    /// Energy, in millijoules.
    Mj,
    /// Compiling and loading, in milliseconds.
    CompileMs,
    /// Loading alone, in milliseconds.
    LoadMs,
    /// The first evaluation, in milliseconds.
    FirstMs,
}

impl Metric {
    /// A short heading.
    pub fn heading(self) -> &'static str {
        match self {
            Metric::WeightsMb => "W MB",
            Metric::ActivationMb => "act MB",
            Metric::TotalMb => "all MB",
            Metric::Gflop => "GFLOP",
            Metric::Dispatches => "evals",
            Metric::Ms => "ms",
            Metric::Spread => "spread",
            Metric::EngineMs => "engine ms",
            Metric::ForwardMs => "forward ms",
            Metric::Tflops => "TFLOPS",
            Metric::OfPeak => "of peak",
            Metric::GflopsPerMb => "GFLOPS/MB",
            Metric::Ratio => "ratio",
            Metric::TokensPerS => "tokens/s",
            Metric::Mj => "mJ",
            Metric::CompileMs => "compile ms",
            Metric::LoadMs => "load ms",
            Metric::FirstMs => "first ms",
        }
    }

    /// A value as people read it.
    pub fn show(self, value: f64) -> String {
        match self {
            Metric::Spread | Metric::OfPeak => format!("{:.1} %", value * 100.0),
            Metric::Dispatches => format!("{value:.0}"),
            _ => {
                let size = value.abs();
                let decimals = [1000.0, 100.0, 10.0].iter().take_while(|limit| size < **limit).count();
                format!("{value:.decimals$}")
            }
        }
    }
}

impl Report {
    /// The metrics that any row has, in order.
    pub fn metrics(&self) -> Vec<Metric> {
        let mut metrics: Vec<Metric> = self.rows.iter().flat_map(|row| row.values.keys().copied()).collect();
        metrics.sort();
        metrics.dedup();
        metrics
    }

    /// One line a row: the configuration, its metrics, and the reason if it failed.
    pub fn to_csv(&self) -> String {
        let metrics = self.metrics();
        let key =
            |metric: &Metric| toml::Value::try_from(metric).ok().and_then(|v| v.as_str().map(str::to_owned));
        let mut out = String::from("config,basis");
        metrics.iter().filter_map(key).for_each(|name| {
            out.push(',');
            out.push_str(&name);
        });
        out.push_str(",failure\n");
        for row in &self.rows {
            out.push_str(&quoted(&row.config));
            let _ = write!(out, ",{}", self.basis);
            for metric in &metrics {
                out.push(',');
                if let Some(value) = row.values.get(metric) {
                    let _ = write!(out, "{value}");
                }
            }
            out.push(',');
            out.push_str(&quoted(row.failure.as_deref().unwrap_or_default()));
            out.push('\n');
        }
        out
    }

    /// The metric two reports of this benchmark are compared by: the first that both have in a row of the same name.
    pub fn common_metric(&self, other: &Report) -> Option<Metric> {
        const PREFERRED: [Metric; 7] = [
            Metric::Tflops,
            Metric::TokensPerS,
            Metric::CompileMs,
            Metric::EngineMs,
            Metric::ForwardMs,
            Metric::Ms,
            Metric::FirstMs,
        ];
        PREFERRED
            .into_iter()
            .find(|metric| self.beside(other, *metric).any(|(_, a, b)| a.is_some() && b.is_some()))
    }

    /// The values of one metric in the rows that both reports have, by configuration; none where a row failed. Rows that say
    /// something else are left out.
    pub fn beside<'a>(
        &'a self,
        other: &'a Report,
        metric: Metric,
    ) -> impl Iterator<Item = (&'a str, Option<f64>, Option<f64>)> {
        self.rows.iter().filter_map(move |row| {
            let there = other.rows.iter().find(|there| there.config == row.config)?;
            let speaks = |row: &Row| row.values.contains_key(&metric) || row.failure.is_some();
            if !speaks(row) || !speaks(there) {
                return None;
            }
            let value = |row: &Row| row.values.get(&metric).copied();
            Some((row.config.as_str(), value(row), value(there)))
        })
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            benchmark: "peak".into(),
            on: "here".into(),
            basis: Basis::Measured,
            source: None,
            rows: vec![
                Row::new("a", Ok::<_, String>([(Metric::Ms, 0.5), (Metric::Tflops, 12.25)])),
                Row::new("b", Err::<[(Metric, f64); 0], _>("no, \"never\"")),
            ],
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_failure_is_a_row_of_the_table() {
        assert_eq!(
            report().to_csv(),
            "config,basis,ms,tflops,failure\na,measured,0.5,12.25,\nb,measured,,,\"no, \"\"never\"\"\"\n"
        );
    }

    #[test]
    fn reports_are_compared_by_rows_of_the_same_name() {
        let mut other = report();
        other.rows[0].values.remove(&Metric::Tflops);
        other.rows.push(Row::new("c", Ok::<_, String>([(Metric::Ms, 1.0)])));
        assert_eq!(report().common_metric(&other), Some(Metric::Ms));
        let here = report();
        let rows: Vec<_> = other.beside(&here, Metric::Ms).collect();
        assert_eq!(rows, [("a", Some(0.5), Some(0.5)), ("b", None, None)]);
        let rates: Vec<_> = other.beside(&here, Metric::Tflops).collect();
        assert_eq!(rates, [("b", None, None)], "the other's `a` has no rate, and did not fail");
    }

    #[test]
    fn values_have_about_three_digits() {
        assert_eq!(Metric::Ms.show(0.16), "0.160");
        assert_eq!(Metric::Ms.show(14.8), "14.80");
        assert_eq!(Metric::Ms.show(1234.5), "1234");
        assert_eq!(Metric::OfPeak.show(0.5), "50.0 %");
    }
}
