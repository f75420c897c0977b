//! One input varied, everything else as asked.

use serde::Serialize;

use crate::error::PlanError;
use crate::inputs::{Method, Model, Request};
use crate::planner::{Plan, Planner};
use crate::quantity::{self, Unit, show};

/// Points of a range `FROM..TO`.
const POINTS: u32 = 9;

/// Which input is varied, and over what.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// The input.
    pub key: Key,
    /// Its values.
    pub values: Vec<f64>,
}

/// The inputs that can be varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// Number of machines, all of one kind.
    Nodes,
    /// Parameters of the model; tokens a parameter stay.
    Params,
    /// Steps between two synchronisations.
    #[serde(rename = "H")]
    H,
    /// Bits of a parameter on the wire.
    Bits,
    /// Uplink.
    Uplink,
    /// Latency.
    Latency,
    /// Tokens of a step on one worker.
    StepTokens,
    /// Part of the time the machines work for us.
    Duty,
    /// Mean time between failures.
    Mtbf,
}

impl Key {
    /// Every key with its name.
    pub const ALL: [(&'static str, Key); 9] = [
        ("nodes", Key::Nodes),
        ("params", Key::Params),
        ("H", Key::H),
        ("bits", Key::Bits),
        ("uplink", Key::Uplink),
        ("latency", Key::Latency),
        ("step-tokens", Key::StepTokens),
        ("duty", Key::Duty),
        ("mtbf", Key::Mtbf),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, key)| *key == self).map_or("", |(name, _)| name)
    }

    /// The unit its values are shown in.
    pub fn unit(self) -> Unit {
        match self {
            Key::Nodes | Key::H | Key::Bits => Unit::Number,
            Key::Params => Unit::Count,
            Key::Uplink => Unit::Rate,
            Key::Latency | Key::Mtbf => Unit::Seconds,
            Key::StepTokens => Unit::Tokens,
            Key::Duty => Unit::Ratio,
        }
    }

    fn value(self, text: &str) -> Result<f64, PlanError> {
        match self {
            Key::Nodes | Key::H | Key::Bits | Key::Params | Key::StepTokens => quantity::count(text),
            Key::Uplink => quantity::rate(text),
            Key::Latency | Key::Mtbf => quantity::seconds(text),
            Key::Duty => quantity::ratio(text),
        }
    }

    /// Whether only whole numbers make sense.
    fn is_whole(self) -> bool {
        matches!(self, Key::Nodes | Key::H | Key::Bits)
    }
}

impl Sweep {
    /// Reads `nodes=1,2,4` or `uplink=1Mbit..1Gbit`: nine values, each as many times the one before.
    ///
    /// # Errors
    /// [`PlanError`] naming the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let example = "nodes=1,2,4,8 or uplink=1Mbit..1Gbit";
        let (name, values) = text.split_once('=').ok_or_else(|| PlanError::text(text, "a sweep", example))?;
        let Some((_, key)) = Key::ALL.into_iter().find(|(n, _)| *n == name) else {
            return Err(PlanError::unknown("input to sweep", name, Key::ALL.into_iter().map(|(n, _)| n)));
        };
        let mut values = match values.split_once("..") {
            Some((from, to)) => between(key.value(from)?, key.value(to)?).ok_or_else(|| {
                PlanError::text(values, "a range", "1Mbit..1Gbit: two values above 0, the smaller first")
            })?,
            None => values.split(',').map(|value| key.value(value)).collect::<Result<_, _>>()?,
        };
        if key.is_whole() {
            values.iter_mut().for_each(|value| *value = value.round());
            values.dedup();
        }
        Ok(Self { key, values })
    }

    /// One plan for each value.
    ///
    /// # Errors
    /// [`PlanError`] for the first value that cannot be.
    pub fn plans(&self, planner: &Planner, request: &Request) -> Result<Vec<(f64, Plan)>, PlanError> {
        self.values.iter().map(|&value| Ok((value, planner.plan(&self.with(request, value)?)?))).collect()
    }

    fn with(&self, request: &Request, value: f64) -> Result<Request, PlanError> {
        let mut request = request.clone();
        let whole = || whole(self.key, value);
        match self.key {
            Key::Nodes => match request.machines.as_mut_slice() {
                [only] => only.count = whole()?,
                several => {
                    let kinds =
                        several.iter().map(|group| group.chip.as_str()).collect::<Vec<_>>().join(", ");
                    return Err(PlanError::value(
                        "the kind of machine",
                        kinds,
                        "give machines of one kind to vary their number",
                    ));
                }
            },
            Key::Params => {
                request.tokens *= value / request.model.parameters;
                request.model = Model::of(value);
            }
            Key::H if request.sync.method == Method::Ddp => {
                return Err(PlanError::value(
                    "H",
                    1,
                    "ddp synchronises every step; vary it with diloco or streaming",
                ));
            }
            Key::H => request.sync.every = whole()?,
            Key::Bits => request.sync.bits = whole()?,
            Key::Uplink => request.uplink = value,
            Key::Latency => request.latency = value,
            Key::StepTokens => request.step_tokens = value,
            Key::Duty => request.duty = value,
            Key::Mtbf => request.mtbf = value,
        }
        Ok(request)
    }
}

fn whole(key: Key, value: f64) -> Result<u32, PlanError> {
    if (1.0..=f64::from(u32::MAX)).contains(&value) {
        Ok(value as u32)
    } else {
        Err(PlanError::value(key.name(), show(value, key.unit()), "it must be at least 1"))
    }
}

fn between(from: f64, to: f64) -> Option<Vec<f64>> {
    let ratio = (to / from).powf(1.0 / f64::from(POINTS - 1));
    let usable = from > 0.0 && to > from && ratio.is_finite();
    usable.then(|| (0..POINTS).map(|i| from * ratio.powi(i as i32)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_read() {
        assert_eq!(Sweep::parse("nodes=1,2,4").unwrap().values, [1.0, 2.0, 4.0]);
        let range = Sweep::parse("uplink=1Mbit..256Mbit").unwrap().values;
        assert_eq!(range.len(), 9);
        assert!(range.windows(2).all(|pair| (pair[1] / pair[0] - 2.0).abs() < 1e-9), "{range:?}");
        assert_eq!(
            Sweep::parse("nodes=1..4").unwrap().values,
            [1.0, 2.0, 3.0, 4.0],
            "whole and no value twice"
        );
    }

    #[test]
    fn what_cannot_be_swept_is_said() {
        let message = |text| Sweep::parse(text).unwrap_err().to_string();
        assert!(message("nodes").contains("write nodes=1,2,4,8"));
        assert!(
            message("colour=1,2").contains("there is no input to sweep `colour`; there are nodes, params")
        );
        assert!(message("uplink=1,2").contains("is not a rate"));
        assert!(message("nodes=8..1").contains("is not a range"));
    }
}
