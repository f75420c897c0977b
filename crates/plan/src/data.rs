//! The figures the planner starts from, each with its source.

use std::collections::BTreeMap;

use ferrane_engine::{Confidence, Figure, Profile};
use serde::Deserialize;

use crate::error::PlanError;
use crate::formula::Book;

/// Formulas and figures.
#[derive(Debug)]
pub struct Data {
    /// The formulas.
    pub book: Book,
    /// What is taken where nothing is said.
    pub assumptions: Assumptions,
    machines: BTreeMap<String, MachineData>,
    links: BTreeMap<String, Link>,
    published: Vec<Published>,
}

/// What is taken where nothing is said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assumptions {
    /// Part of an uplink that a collective reaches.
    pub link_efficiency: Figure<f64>,
    /// Token budget, in tokens a parameter.
    pub tokens_per_parameter: Figure<f64>,
    /// Tokens of one inner step on one worker.
    pub step_tokens: Figure<f64>,
    /// Memory that the system keeps, in GB.
    pub system_gb: Figure<f64>,
    /// Bytes a parameter without an outer optimiser.
    pub bytes_single: Figure<f64>,
    /// Bytes a parameter with one.
    pub bytes_diloco: Figure<f64>,
    /// Workers up to which DiLoCo was shown to equal synchronous training.
    pub proven_workers: Figure<f64>,
    /// Speed of writing a checkpoint, in bytes a second.
    pub disk: Figure<f64>,
    /// Price of a kWh, in dollars.
    pub electricity: Figure<f64>,
    /// Peak of a rented GPU, in FLOP/s.
    pub gpu_flops: Figure<f64>,
    /// Part of it that training sustains.
    pub gpu_mfu: Figure<f64>,
    /// Price of a GPU hour, in dollars.
    pub gpu_price: Figure<f64>,
    /// Longest acceptable time, in days.
    pub within_days: Figure<f64>,
    /// Least acceptable utilisation.
    pub least_utilisation: Figure<f64>,
    /// Least acceptable probability that a round survives.
    pub least_survival: Figure<f64>,
}

/// What is known of a machine beyond its profile.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MachineData {
    /// Memory of the smallest configuration sold, in GB.
    pub(crate) ram_gb: Figure<f64>,
    /// Power at the wall, at most, in watts.
    pub(crate) wall_w: Figure<f64>,
    /// Training steps that somebody measured.
    steps: Vec<MeasuredStep>,
    /// Power of the Neural Engine under full load, in watts, from the profile.
    #[serde(skip)]
    pub(crate) rail_w: Option<f64>,
}

/// A training step that somebody measured.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MeasuredStep {
    pub(crate) parameters: f64,
    pub(crate) tokens: f64,
    pub(crate) ms: Figure<f64>,
}

impl MachineData {
    /// The measured step whose model is nearest in size.
    pub(crate) fn nearest_step(&self, parameters: f64) -> Option<&MeasuredStep> {
        let distance = |step: &MeasuredStep| (step.parameters / parameters).ln().abs();
        self.steps.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)))
    }
}

/// A link between machines.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What it is, for people.
    pub title: String,
    /// Bytes a second in one direction.
    pub uplink: Figure<f64>,
    /// Seconds one way.
    pub latency: Figure<f64>,
    /// Hours between failures of a machine that usually hangs on it.
    pub mtbf: Figure<f64>,
}

/// A distributed run that was published.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Published {
    pub(crate) name: String,
    pub(crate) parameters: f64,
    pub(crate) workers: u32,
    pub(crate) result: String,
    pub(crate) source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishedFile {
    run: Vec<Published>,
}

macro_rules! embedded {
    ($name:literal) => {
        read($name, include_str!(concat!("../data/", $name)))?
    };
}

impl Data {
    /// The built-in figures.
    ///
    /// # Errors
    /// [`PlanError::Data`], which the tests exclude.
    pub fn built_in() -> Result<Self, PlanError> {
        let mut machines: BTreeMap<String, MachineData> = embedded!("machines.toml");
        for (name, machine) in &mut machines {
            let profile = Profile::built_in(name).map_err(|e| PlanError::data("machines.toml", e))?;
            machine.rail_w = profile.power.fp16_w.map(|figure| figure.value);
        }
        let published: PublishedFile = embedded!("published.toml");
        Ok(Self {
            book: Book::parse(include_str!("../data/formulas.toml"))?,
            assumptions: embedded!("assumptions.toml"),
            machines,
            links: embedded!("links.toml"),
            published: published.run,
        })
    }

    /// The machines that can be planned with.
    pub fn machine_names(&self) -> impl Iterator<Item = &str> {
        self.machines.keys().map(String::as_str)
    }

    /// The links that have a name.
    pub fn link_names(&self) -> impl Iterator<Item = &str> {
        self.links.keys().map(String::as_str)
    }

    /// A link by its name.
    ///
    /// # Errors
    /// [`PlanError::Unknown`].
    pub fn link(&self, name: &str) -> Result<&Link, PlanError> {
        self.links.get(name).ok_or_else(|| PlanError::unknown("link", name, self.link_names()))
    }

    pub(crate) fn machine(&self, name: &str) -> Result<&MachineData, PlanError> {
        self.machines.get(name).ok_or_else(|| PlanError::unknown("machine", name, self.machine_names()))
    }

    /// The published run nearest in parameters and workers.
    pub(crate) fn nearest_published(&self, parameters: f64, workers: f64) -> Option<&Published> {
        let distance = |run: &Published| {
            (run.parameters / parameters).ln().powi(2) + (f64::from(run.workers) / workers).ln().powi(2)
        };
        self.published.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)))
    }
}

/// Whether a figure was carried over from another chip.
pub(crate) fn is_extrapolated<T>(figure: &Figure<T>) -> bool {
    figure.confidence == Confidence::Extrapolated
}

pub(crate) fn read<'de, T: Deserialize<'de>>(file: &'static str, text: &'de str) -> Result<T, PlanError> {
    let parsed = toml::Deserializer::parse(text).map_err(|e| PlanError::data(file, e))?;
    T::deserialize(parsed).map_err(|e| PlanError::data(file, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_of_a_chip_can_be_planned_with() {
        let data = Data::built_in().unwrap();
        for name in Profile::names().filter(|name| *name != "cpu") {
            let machine = data.machine(name).unwrap();
            assert!(machine.nearest_step(1e8).is_some(), "{name}");
        }
    }

    #[test]
    fn every_figure_has_a_source_and_lies_in_its_range() {
        fn check(file: &str, key: &str, value: &toml::Value) {
            match value {
                toml::Value::Table(table) if table.contains_key("value") => {
                    let figure: Figure<f64> = value.clone().try_into().unwrap();
                    assert!(!figure.source.trim().is_empty(), "{file}: {key}");
                    assert!(figure.value > 0.0 && figure.value.is_finite(), "{file}: {key}");
                    if let Some((low, high)) = figure.range {
                        assert!(low <= figure.value && figure.value <= high, "{file}: {key}");
                    }
                }
                toml::Value::Table(table) => {
                    table.iter().for_each(|(k, v)| check(file, &format!("{key}.{k}"), v))
                }
                toml::Value::Array(array) => array.iter().for_each(|v| check(file, key, v)),
                _ => {}
            }
        }
        for (file, text) in [
            ("machines", include_str!("../data/machines.toml")),
            ("links", include_str!("../data/links.toml")),
            ("assumptions", include_str!("../data/assumptions.toml")),
        ] {
            check(file, "", &toml::Value::Table(text.parse().unwrap()));
        }
    }

    #[test]
    fn the_nearest_step_is_nearest_in_ratio() {
        let data = Data::built_in().unwrap();
        let tokens = |parameters| data.machine("m4-max").unwrap().nearest_step(parameters).unwrap().tokens;
        assert_eq!(tokens(109_529_856.0), 256.0);
        assert_eq!(tokens(2.5e8), 256.0);
        assert_eq!(tokens(2.7e8), 512.0);
    }
}
