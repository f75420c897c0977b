//! The dynamic loss scale.
//!
//! fp16 gradients below 6e-8 vanish, so the gradient of the loss is multiplied by a power of two before it enters the
//! backward kernels and divided out again at the update. Too large a scale overflows instead; such a step is dropped and
//! the scale halved. Powers of two make both multiplications exact.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A loss-scale setting that makes no sense.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum LossScaleError {
    /// A scale is not a power of two.
    #[error("loss scale {name} = {value} is not a positive power of two; use one such as 1, 256 or 65536")]
    NotAPowerOfTwo {
        /// Which setting.
        name: &'static str,
        /// What it was.
        value: f32,
    },
    /// The bounds do not enclose the start.
    #[error(
        "loss scale start {start} lies outside its bounds {min}..={max}; widen the bounds or move the start"
    )]
    OutOfBounds {
        /// Scale of the first step.
        start: f32,
        /// Lowest scale.
        min: f32,
        /// Highest scale.
        max: f32,
    },
    /// A growth interval of no steps.
    #[error(
        "loss scale growth interval is 0; it is the number of good steps before the scale doubles, e.g. 200"
    )]
    NoInterval,
}

/// How the scale may move.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScaleConfig {
    /// Scale of the first step, a power of two.
    pub start: f32,
    /// The scale never falls below this.
    pub min: f32,
    /// The scale never rises above this.
    pub max: f32,
    /// Good steps in a row after which the scale doubles.
    pub growth_interval: u32,
}

impl LossScaleConfig {
    /// Scale 1 for ever: what an fp32 engine needs. A non-finite gradient is then an error at once.
    pub const FIXED: Self = Self { start: 1.0, min: 1.0, max: 1.0, growth_interval: u32::MAX };

    /// The usual setting for an fp16 engine and steps whose loss is the mean over `positions` tokens.
    ///
    /// Each token's gradient begins with a factor of 8 to 16, however many there are. A start that only some batches survive
    /// would drop the first updates, which are worth the most, and two runs of equal steps would not be of equal updates.
    pub fn dynamic(positions: usize) -> Self {
        const MAX: f32 = 16_777_216.0;
        let start = positions.saturating_mul(8).max(1).checked_next_power_of_two();
        let start = start.map_or(MAX, |start| (start as f32).min(MAX));
        Self { start, min: 1.0, max: MAX, growth_interval: 200 }
    }
}

/// The part of the scale that a checkpoint keeps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossScaleState {
    /// Scale of the next step.
    pub scale: f32,
    /// Good steps since the scale last moved.
    pub good_steps: u32,
}

/// What a step did to the scale.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleChange {
    /// The step was good and the scale stays.
    Kept,
    /// The step was good, and so were enough before it: the scale doubled.
    Doubled,
    /// The step overflowed: drop its update. The scale halved.
    Halved,
    /// The step overflowed at the lowest scale: drop its update and stop, for the scale is not what is wrong.
    Exhausted,
}

/// The loss scale of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct LossScale {
    config: LossScaleConfig,
    state: LossScaleState,
}

impl LossScale {
    /// A scale at its start.
    ///
    /// # Errors
    /// When a scale is not a power of two, the bounds do not enclose the start, or the interval is 0.
    pub fn new(config: LossScaleConfig) -> Result<Self, LossScaleError> {
        Self::resume(config, LossScaleState { scale: config.start, good_steps: 0 })
    }

    /// A scale where a checkpoint left it; a scale outside `config`'s bounds moves to the nearer bound.
    ///
    /// # Errors
    /// As [`LossScale::new`], and when the saved scale is not a power of two.
    pub fn resume(config: LossScaleConfig, saved: LossScaleState) -> Result<Self, LossScaleError> {
        let LossScaleConfig { start, min, max, growth_interval } = config;
        for (name, value) in [("start", start), ("min", min), ("max", max), ("state", saved.scale)] {
            if !is_power_of_two(value) {
                return Err(LossScaleError::NotAPowerOfTwo { name, value });
            }
        }
        if !(min..=max).contains(&start) {
            return Err(LossScaleError::OutOfBounds { start, min, max });
        }
        if growth_interval == 0 {
            return Err(LossScaleError::NoInterval);
        }
        let state = LossScaleState { scale: saved.scale.clamp(min, max), ..saved };
        Ok(Self { config, state })
    }

    /// Factor of this step's loss gradient.
    pub fn scale(&self) -> f32 {
        self.state.scale
    }

    /// What a checkpoint keeps.
    pub fn state(&self) -> LossScaleState {
        self.state
    }

    /// Takes note of how a step ended and moves the scale for the next.
    pub fn observe(&mut self, overflowed: bool) -> ScaleChange {
        let LossScaleState { scale, good_steps } = &mut self.state;
        if overflowed {
            *good_steps = 0;
            if *scale <= self.config.min {
                return ScaleChange::Exhausted;
            }
            *scale *= 0.5;
            return ScaleChange::Halved;
        }
        *good_steps = good_steps.saturating_add(1);
        if *good_steps < self.config.growth_interval {
            return ScaleChange::Kept;
        }
        *good_steps = 0;
        if *scale >= self.config.max {
            return ScaleChange::Kept;
        }
        *scale *= 2.0;
        ScaleChange::Doubled
    }
}

fn is_power_of_two(value: f32) -> bool {
    const FRACTION_BITS: u32 = 0x007f_ffff;
    value.is_normal() && value > 0.0 && value.to_bits() & FRACTION_BITS == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> LossScaleConfig {
        LossScaleConfig { start: 4.0, min: 1.0, max: 8.0, growth_interval: 3 }
    }

    fn changes(scale: &mut LossScale, overflows: &[bool]) -> Vec<ScaleChange> {
        overflows.iter().map(|&overflowed| scale.observe(overflowed)).collect()
    }

    #[test]
    fn doubles_after_good_steps_up_to_the_bound() {
        use ScaleChange::{Doubled, Kept};
        let mut scale = LossScale::new(config()).unwrap();
        assert_eq!(changes(&mut scale, &[false; 7]), [Kept, Kept, Doubled, Kept, Kept, Kept, Kept]);
        assert_eq!(scale.scale(), 8.0);
    }

    #[test]
    fn an_overflow_halves_and_starts_the_count_again() {
        use ScaleChange::{Doubled, Exhausted, Halved, Kept};
        let mut scale = LossScale::new(config()).unwrap();
        assert_eq!(
            changes(&mut scale, &[false, false, true, false, false, false]),
            [Kept, Kept, Halved, Kept, Kept, Doubled]
        );
        assert_eq!(changes(&mut scale, &[true, true, true]), [Halved, Halved, Exhausted]);
        assert_eq!(scale.scale(), 1.0);
    }

    #[test]
    fn the_fixed_scale_never_moves_and_reports_an_overflow_at_once() {
        let mut scale = LossScale::new(LossScaleConfig::FIXED).unwrap();
        assert!(changes(&mut scale, &[false; 500]).iter().all(|&c| c == ScaleChange::Kept));
        assert_eq!(scale.observe(true), ScaleChange::Exhausted);
        assert_eq!(scale.scale(), 1.0);
    }

    #[test]
    fn resuming_from_saved_state_goes_on_exactly() {
        let history: Vec<bool> = (0..64).map(|i| i % 11 == 5).collect();
        let mut whole = LossScale::new(config()).unwrap();
        let expected = changes(&mut whole, &history);
        let mut first = LossScale::new(config()).unwrap();
        let mut seen = changes(&mut first, &history[..29]);
        let saved = serde_json::to_string(&first.state()).unwrap();
        let mut second = LossScale::resume(config(), serde_json::from_str(&saved).unwrap()).unwrap();
        seen.extend(changes(&mut second, &history[29..]));
        assert_eq!(seen, expected);
        assert_eq!(second, whole);
    }

    #[test]
    fn senseless_settings_are_named() {
        let with = |f: fn(&mut LossScaleConfig)| {
            let mut c = config();
            f(&mut c);
            LossScale::new(c).unwrap_err()
        };
        assert!(matches!(with(|c| c.start = 3.0), LossScaleError::NotAPowerOfTwo { name: "start", .. }));
        assert!(matches!(with(|c| c.min = 0.0), LossScaleError::NotAPowerOfTwo { name: "min", .. }));
        assert!(matches!(with(|c| c.max = f32::NAN), LossScaleError::NotAPowerOfTwo { name: "max", .. }));
        assert!(matches!(with(|c| c.max = 2.0), LossScaleError::OutOfBounds { .. }));
        assert_eq!(with(|c| c.growth_interval = 0), LossScaleError::NoInterval);
    }

    #[test]
    fn the_start_follows_the_positions_of_a_step() {
        let starts = [0, 1, 64, 512, 2560, usize::MAX].map(|positions| {
            let config = LossScaleConfig::dynamic(positions);
            LossScale::new(config).unwrap().scale()
        });
        assert_eq!(starts, [1.0, 8.0, 512.0, 4096.0, 32_768.0, 16_777_216.0]);
    }
}
