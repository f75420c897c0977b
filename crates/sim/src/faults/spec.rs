//! Fault plans as text.

use std::str::FromStr;

use ferrane_mil::diagnostic::nearest;

use super::{Fault, FaultPlan, Plan, Scheduled};

/// Why a text is not a fault plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{part}` {problem}; write {}", FaultPlan::GRAMMAR)]
pub struct FaultSpecError {
    part: String,
    problem: String,
}

fn refuse<T>(part: &str, problem: impl Into<String>) -> Result<T, FaultSpecError> {
    Err(FaultSpecError { part: part.into(), problem: problem.into() })
}

/// How often a fault happens that is given no number of times.
pub(super) fn once(fault: Fault) -> u64 {
    if fault == Fault::Slots { u64::MAX } else { 1 }
}

impl FromStr for FaultPlan {
    type Err = FaultSpecError;

    fn from_str(text: &str) -> Result<Self, FaultSpecError> {
        let text = text.trim();
        if text.is_empty() {
            return refuse(text, "names no fault");
        }
        if text.starts_with("seed=") || text.starts_with("rate=") || text.starts_with("kinds=") {
            return random(text).map(Self);
        }
        let scheduled = text.split(',').map(|part| scheduled(part.trim()));
        Ok(Self(Plan::Schedule(scheduled.collect::<Result<_, _>>()?)))
    }
}

fn scheduled(part: &str) -> Result<Scheduled, FaultSpecError> {
    let Some((name, when)) = part.split_once('@') else {
        return refuse(part, "does not say when: there is no `@N`");
    };
    let fault = kind(part, name)?;
    let (at, times) = match when.split_once('x') {
        Some((at, times)) => (at, count(part, times)?),
        None => (when, once(fault)),
    };
    Ok(Scheduled { fault, at: count(part, at)?, times })
}

fn count(part: &str, text: &str) -> Result<u64, FaultSpecError> {
    match text.parse() {
        Ok(0) => refuse(part, "counts from 0, and the first is 1"),
        Ok(n) => Ok(n),
        Err(_) => refuse(part, format!("has `{text}` where a whole number from 1 belongs")),
    }
}

fn kind(part: &str, name: &str) -> Result<Fault, FaultSpecError> {
    if let Some(fault) = Fault::ALL.into_iter().find(|fault| fault.name() == name) {
        return Ok(fault);
    }
    match nearest(name, Fault::ALL.map(Fault::name)) {
        Some(near) => refuse(part, format!("is no kind of fault: did you mean `{near}`?")),
        None => refuse(part, format!("names `{name}`, which is no kind of fault")),
    }
}

fn random(text: &str) -> Result<Plan, FaultSpecError> {
    let (mut seed, mut rate) = (None, None);
    // Taken slots do not come back, so that a plan by chance would only say when the run ends.
    let mut kinds: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| *fault != Fault::Slots).collect();
    for part in text.split(':') {
        match part.split_once('=') {
            Some(("seed", value)) => match value.parse::<u64>() {
                Ok(value) => seed = Some(value),
                Err(_) => return refuse(part, "is not a whole number from 0"),
            },
            Some(("rate", value)) => match value.parse::<f64>() {
                Ok(value) if (0.0..=1.0).contains(&value) => rate = Some(value),
                _ => return refuse(part, "is not a number from 0 to 1"),
            },
            Some(("kinds", value)) => {
                kinds = value.split('+').map(|name| kind(part, name)).collect::<Result<_, _>>()?;
            }
            _ => return refuse(part, "is not seed=S, rate=R or kinds=KIND+KIND"),
        }
    }
    match (seed, rate) {
        (Some(seed), Some(rate)) => Ok(Plan::Random { seed, rate, kinds }),
        (None, _) => refuse(text, "has no seed=S"),
        (_, None) => refuse(text, "has no rate=R"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read_and_written() {
        for text in [
            "compile@3,load@1,eval@120x3,timeout@200,slow-compile@2,slots@50,daemon-restart@300",
            "slots@5x2",
            "seed=7:rate=0.01:kinds=eval+load",
        ] {
            assert_eq!(text.parse::<FaultPlan>().unwrap().to_string(), text);
        }
        let short: FaultPlan = "seed=7:rate=0.5".parse().unwrap();
        assert_eq!(short.to_string().parse::<FaultPlan>().unwrap(), short);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, needle) in [
            ("", "names no fault"),
            ("compile", "`compile` does not say when"),
            ("compile@0", "`compile@0` counts from 0"),
            ("compile@x", "where a whole number"),
            ("eval@3xmany", "`many`"),
            ("load@1,evil@3", "did you mean `eval`"),
            ("fire@3", "`fire`, which is no kind"),
            ("compile@3,", "`` does not say when"),
            ("seed=7", "no rate=R"),
            ("rate=0.1", "no seed=S"),
            ("seed=-1:rate=0.1", "`seed=-1`"),
            ("seed=1:rate=2", "`rate=2` is not a number from 0 to 1"),
            ("seed=1:rate=NaN", "`rate=NaN`"),
            ("seed=1:rate=0.1:kind=eval", "`kind=eval`"),
            ("seed=1:rate=0.1:kinds=evil", "did you mean `eval`"),
        ] {
            let error = text.parse::<FaultPlan>().unwrap_err().to_string();
            assert!(error.contains(needle) && error.contains("KIND@N"), "{text}: {error}");
        }
    }
}
