//! The learning rate of each step.
//!
//! Steps are optimiser updates, never micro-batches: changing how many micro-batches make a step, or resuming in the
//! middle of a run, does not move the schedule.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How the learning rate goes after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Stays at the peak.
    Constant,
    /// Half a cosine from the peak to the minimum.
    #[default]
    Cosine,
    /// A straight line from the peak to the minimum.
    Linear,
    /// Warm-up, stable, decay: stays at the peak, then a straight line to the minimum over the last part of the run.
    Wsd,
}

/// A schedule setting that makes no sense.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ScheduleError {
    /// The learning rate is negative, infinite or not a number.
    #[error("learning rate {0} is not a finite number of at least 0; set `lr` to something like 0.001")]
    LearningRate(f64),
    /// The minimum ratio lies outside 0..=1.
    #[error("min_lr_ratio {0} is outside 0..=1; it is the last learning rate as a fraction of `lr`")]
    MinRatio(f64),
    /// The part of the run in which a WSD schedule decays lies outside 0..=1.
    #[error(
        "decay_ratio {0} is outside 0..=1; it is the last part of the run, in which the rate falls, such as 0.2"
    )]
    DecayRatio(f64),
}

/// The numbers of a schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScheduleConfig {
    /// The highest rate.
    pub peak: f64,
    /// How the rate goes after warm-up.
    pub decay: Decay,
    /// Steps that rise to the peak.
    pub warmup: u64,
    /// Steps of the run.
    pub total: u64,
    /// The last rate as a fraction of the peak.
    pub min_ratio: f64,
    /// The part of the run, at its end, in which [`Decay::Wsd`] decays.
    pub decay_ratio: f64,
}

/// Learning rate as a function of the step.
///
/// Step `s` counts from 0. During warm-up, `s < warmup`, the rate is `peak · (s + 1) / warmup`, so the first step already
/// moves and step `warmup - 1` runs at the peak. Then `progress = (s - start) / (total - start)` runs from 0 towards 1 and
/// the rate from `peak` towards `peak · min_ratio`; from step `total` on it stays there. The decay starts after warm-up, or
/// for [`Decay::Wsd`] at `total · (1 - decay_ratio)` if that is later.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule(ScheduleConfig);

impl Schedule {
    /// Checks the numbers.
    ///
    /// # Errors
    /// When the peak is not a finite number of at least 0 or a ratio lies outside 0..=1.
    pub fn new(config: ScheduleConfig) -> Result<Self, ScheduleError> {
        let ScheduleConfig { peak, min_ratio, decay_ratio, .. } = config;
        if !peak.is_finite() || peak < 0.0 {
            return Err(ScheduleError::LearningRate(peak));
        }
        if !(0.0..=1.0).contains(&min_ratio) {
            return Err(ScheduleError::MinRatio(min_ratio));
        }
        if !(0.0..=1.0).contains(&decay_ratio) {
            return Err(ScheduleError::DecayRatio(decay_ratio));
        }
        Ok(Self(config))
    }

    /// The learning rate of step `step`, counted from 0.
    pub fn lr(&self, step: u64) -> f64 {
        let ScheduleConfig { peak, decay, warmup, total, min_ratio, decay_ratio } = self.0;
        if step < warmup {
            return peak * (step + 1) as f64 / warmup as f64;
        }
        let decay_steps = (total as f64 * decay_ratio).round() as u64;
        let remaining = match decay {
            Decay::Constant => 1.0,
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * self.progress(step, warmup)).cos()),
            Decay::Linear => 1.0 - self.progress(step, warmup),
            Decay::Wsd => 1.0 - self.progress(step, warmup.max(total.saturating_sub(decay_steps))),
        };
        let floor = peak * min_ratio;
        floor + (peak - floor) * remaining
    }

    /// How much of a decay that begins at step `start` lies behind `step`, 0..=1.
    fn progress(&self, step: u64, start: u64) -> f64 {
        match step {
            step if step >= self.0.total => 1.0,
            step if step <= start => 0.0,
            step => (step - start) as f64 / (self.0.total - start) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        peak: f64,
        decay: Decay,
        warmup: u64,
        total: u64,
        min_ratio: f64,
    ) -> Result<Schedule, ScheduleError> {
        Schedule::new(ScheduleConfig { peak, decay, warmup, total, min_ratio, decay_ratio: 0.2 })
    }

    fn schedule(decay: Decay) -> Schedule {
        of(2.0, decay, 4, 14, 0.1).unwrap()
    }

    fn assert_close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} != {b}");
    }

    #[test]
    fn warmup_rises_in_equal_parts_and_ends_at_the_peak() {
        for decay in [Decay::Constant, Decay::Cosine, Decay::Linear, Decay::Wsd] {
            let rates: Vec<f64> = (0..5).map(|s| schedule(decay).lr(s)).collect();
            assert_eq!(rates, [0.5, 1.0, 1.5, 2.0, 2.0], "{decay:?}");
        }
    }

    #[test]
    fn decay_follows_its_curve_to_the_minimum() {
        // Half way (step 4 + 5) both curves stand at the mean of peak and minimum.
        assert_close(schedule(Decay::Cosine).lr(9), 1.1);
        assert_close(schedule(Decay::Linear).lr(9), 1.1);
        // A tenth of the way: 0.2 + 1.8·½(1 + cos(0.1π)) and 0.2 + 1.8·0.9.
        assert_close(schedule(Decay::Cosine).lr(5), 1.955_950_864_665_638);
        assert_close(schedule(Decay::Linear).lr(5), 1.82);
        for past_the_end in [14, 15, u64::MAX] {
            assert_close(schedule(Decay::Cosine).lr(past_the_end), 0.2);
            assert_close(schedule(Decay::Linear).lr(past_the_end), 0.2);
            assert_close(schedule(Decay::Constant).lr(past_the_end), 2.0);
        }
    }

    #[test]
    fn wsd_stays_at_the_peak_and_falls_over_the_last_part() {
        // The last fifth of 20 steps: 16 to 19, and the minimum from step 20 on.
        let wsd = of(1.0, Decay::Wsd, 3, 20, 0.2).unwrap();
        (3..=16).for_each(|step| assert_eq!(wsd.lr(step), 1.0, "step {step}"));
        for (step, rate) in [(17, 0.8), (18, 0.6), (19, 0.4), (20, 0.2), (100, 0.2)] {
            assert_close(wsd.lr(step), rate);
        }
        // A decay longer than what warm-up leaves begins after it.
        let short = ScheduleConfig {
            peak: 1.0,
            decay: Decay::Wsd,
            warmup: 6,
            total: 10,
            min_ratio: 0.0,
            decay_ratio: 1.0,
        };
        let short = Schedule::new(short).unwrap();
        assert_eq!(short.lr(5), 1.0);
        assert_close(short.lr(7), 0.75);
        let never = ScheduleConfig { decay_ratio: 0.0, ..short.0 };
        assert_eq!(Schedule::new(never).unwrap().lr(9), 1.0);
    }

    #[test]
    fn no_warmup_and_no_steps_are_fine() {
        assert_close(of(1.0, Decay::Linear, 0, 4, 0.0).unwrap().lr(0), 1.0);
        assert_close(of(1.0, Decay::Cosine, 0, 0, 0.5).unwrap().lr(0), 0.5);
        // Warm-up longer than the run: the run is all warm-up.
        assert_close(of(1.0, Decay::Cosine, 10, 5, 0.5).unwrap().lr(4), 0.5);
    }

    #[test]
    fn senseless_settings_are_named() {
        let schedule = |peak, ratio| of(peak, Decay::Cosine, 0, 1, ratio);
        assert!(matches!(schedule(f64::NAN, 0.1), Err(ScheduleError::LearningRate(_))));
        assert_eq!(schedule(-1.0, 0.1), Err(ScheduleError::LearningRate(-1.0)));
        assert_eq!(schedule(1.0, 1.5), Err(ScheduleError::MinRatio(1.5)));
        assert!(matches!(schedule(1.0, f64::NAN), Err(ScheduleError::MinRatio(_))));
        let config = ScheduleConfig { decay_ratio: 1.5, ..schedule(1.0, 0.0).unwrap().0 };
        assert_eq!(Schedule::new(config), Err(ScheduleError::DecayRatio(1.5)));
    }
}
