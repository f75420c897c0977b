//! What a run drew, as measured.

use serde::{Deserialize, Serialize};

/// Energy of the parts of a chip over some time: the whole machine's, for nobody can tell whose it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Drawn {
    /// Of the Neural Engine, in joules.
    pub ane: f64,
    /// Of the processors, in joules.
    pub cpu: f64,
    /// Of the graphics unit, in joules.
    pub gpu: f64,
    /// The time, in seconds.
    pub seconds: f64,
}

impl std::ops::AddAssign for Drawn {
    fn add_assign(&mut self, more: Self) {
        self.ane += more.ane;
        self.cpu += more.cpu;
        self.gpu += more.gpu;
        self.seconds += more.seconds;
    }
}

/// Measured energy as a report has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeasuredEnergy {
    /// How it was measured, or why not.
    pub how: String,
    /// Seconds of the run that were measured.
    pub seconds: f64,
    /// Joules in that time; null if nothing was measured.
    pub joules: Option<Parts>,
    /// The same by the time: mean watts.
    pub watts: Option<Parts>,
}

/// A figure for each part of a chip.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Parts {
    /// The Neural Engine.
    pub ane: f64,
    /// The processors.
    pub cpu: f64,
    /// The graphics unit.
    pub gpu: f64,
}

impl MeasuredEnergy {
    /// `why_not` is why the last samples are missing, if they are.
    pub(crate) fn new(drawn: &Drawn, why_not: Option<String>) -> Self {
        let Drawn { ane, cpu, gpu, seconds } = *drawn;
        let by =
            |time: f64| (seconds > 0.0).then(|| Parts { ane: ane / time, cpu: cpu / time, gpu: gpu / time });
        let how = match why_not {
            Some(why_not) if seconds == 0.0 => format!("not measured: {why_not}"),
            _ => "powermetrics, a sample a second, of the whole machine".to_owned(),
        };
        Self { how, seconds, joules: by(1.0), watts: by(seconds) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watts_are_joules_by_the_time_measured() {
        let mut drawn = Drawn { ane: 1.0, cpu: 5.0, gpu: 0.0, seconds: 2.0 };
        drawn += Drawn { ane: 3.0, cpu: 1.0, gpu: 0.5, seconds: 2.0 };
        // What is known stays known if the last samples are missing.
        let measured = MeasuredEnergy::new(&drawn, Some("it ended".to_owned()));
        assert!(measured.how.starts_with("powermetrics"), "{measured:?}");
        let json = serde_json::to_value(measured).unwrap();
        assert_eq!(json["joules"], serde_json::json!({"ane": 4.0, "cpu": 6.0, "gpu": 0.5}));
        assert_eq!((&json["watts"]["ane"], &json["seconds"]), (&1.0.into(), &4.0.into()));
    }

    #[test]
    fn nothing_measured_is_null_with_the_reason() {
        let json =
            serde_json::to_value(MeasuredEnergy::new(&Drawn::default(), Some("no Mac".into()))).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"how": "not measured: no Mac", "seconds": 0.0, "joules": null, "watts": null})
        );
    }
}
