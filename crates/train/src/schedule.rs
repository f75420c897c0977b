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
}

/// Learning rate as a function of the step.
///
/// Step `s` counts from 0. During warm-up, `s < warmup`, the rate is `peak · (s + 1) / warmup`, so the first step already
/// moves and step `warmup - 1` runs at the peak. Then `progress = (s - warmup) / (total - warmup)` runs from 0 towards 1
/// and the rate from `peak` towards `peak · min_ratio`; from step `total` on it stays there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    peak: f64,
    decay: Decay,
    warmup: u64,
    total: u64,
    min_ratio: f64,
}

impl Schedule {
    /// A schedule over `total` steps, the first `warmup` of which rise to `peak`.
    ///
    /// # Errors
    /// When `peak` is not a finite number of at least 0 or `min_ratio` lies outside 0..=1.
    pub fn new(
        peak: f64,
        decay: Decay,
        warmup: u64,
        total: u64,
        min_ratio: f64,
    ) -> Result<Self, ScheduleError> {
        if !peak.is_finite() || peak < 0.0 {
            return Err(ScheduleError::LearningRate(peak));
        }
        if !(0.0..=1.0).contains(&min_ratio) {
            return Err(ScheduleError::MinRatio(min_ratio));
        }
        Ok(Self { peak, decay, warmup, total, min_ratio })
    }

    /// The learning rate of step `step`, counted from 0.
    pub fn lr(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let floor = self.peak * self.min_ratio;
        let remaining = match self.decay {
            Decay::Constant => 1.0,
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * self.progress(step)).cos()),
            Decay::Linear => 1.0 - self.progress(step),
        };
        floor + (self.peak - floor) * remaining
    }

    /// How much of the decay lies behind `step`, 0..=1. `step` is past warm-up.
    fn progress(&self, step: u64) -> f64 {
        if step >= self.total {
            return 1.0;
        }
        (step - self.warmup) as f64 / (self.total - self.warmup) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(decay: Decay) -> Schedule {
        Schedule::new(2.0, decay, 4, 14, 0.1).unwrap()
    }

    fn assert_close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} != {b}");
    }

    #[test]
    fn warmup_rises_in_equal_parts_and_ends_at_the_peak() {
        for decay in [Decay::Constant, Decay::Cosine, Decay::Linear] {
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
    fn no_warmup_and_no_steps_are_fine() {
        assert_close(Schedule::new(1.0, Decay::Linear, 0, 4, 0.0).unwrap().lr(0), 1.0);
        assert_close(Schedule::new(1.0, Decay::Cosine, 0, 0, 0.5).unwrap().lr(0), 0.5);
        // Warm-up longer than the run: the run is all warm-up.
        assert_close(Schedule::new(1.0, Decay::Cosine, 10, 5, 0.5).unwrap().lr(4), 0.5);
    }

    #[test]
    fn senseless_settings_are_named() {
        let schedule = |peak, ratio| Schedule::new(peak, Decay::Cosine, 0, 1, ratio);
        assert!(matches!(schedule(f64::NAN, 0.1), Err(ScheduleError::LearningRate(_))));
        assert_eq!(schedule(-1.0, 0.1), Err(ScheduleError::LearningRate(-1.0)));
        assert_eq!(schedule(1.0, 1.5), Err(ScheduleError::MinRatio(1.5)));
        assert!(matches!(schedule(1.0, f64::NAN), Err(ScheduleError::MinRatio(_))));
    }
}
