//! The virtual clock of an engine that only models its time.

use std::ops::{Add, AddAssign, Sub};

use crate::cost::Cost;

/// What evaluations and compiles have taken so far, modelled. In whole nanoseconds and nanojoules, so that a sum does not
/// depend on its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Evaluations counted.
    pub evaluations: u64,
    /// Modelled time of the evaluations, in nanoseconds.
    pub nanoseconds: u64,
    /// Modelled energy of the evaluations, in nanojoules.
    pub nanojoules: u64,
    /// What their products would take at the chip's best published rate, in nanoseconds.
    pub at_peak_nanoseconds: u64,
    /// Modelled time of compiling and loading programs, in nanoseconds.
    pub compile_nanoseconds: u64,
}

impl Clock {
    /// One evaluation.
    pub fn of_evaluation(cost: &Cost) -> Self {
        Self {
            evaluations: 1,
            nanoseconds: whole(cost.seconds),
            nanojoules: whole(cost.joules),
            at_peak_nanoseconds: whole(cost.seconds * cost.of_peak),
            compile_nanoseconds: 0,
        }
    }

    /// One compile.
    pub fn of_compile(cost: &Cost) -> Self {
        Self { compile_nanoseconds: whole(cost.compile_seconds), ..Self::default() }
    }

    /// Modelled time of the evaluations, in milliseconds.
    pub fn milliseconds(&self) -> f64 {
        self.nanoseconds as f64 / 1e6
    }

    /// Modelled energy of the evaluations, in joules.
    pub fn joules(&self) -> f64 {
        self.nanojoules as f64 / 1e9
    }

    /// The share of its best published rate at which the engine multiplied while it was busy, 0 to 1.
    pub fn utilisation(&self) -> f64 {
        self.at_peak_nanoseconds as f64 / self.nanoseconds.max(1) as f64
    }
}

fn whole(billionths: f64) -> u64 {
    (billionths * 1e9).round() as u64
}

impl Add for Clock {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            evaluations: self.evaluations + other.evaluations,
            nanoseconds: self.nanoseconds + other.nanoseconds,
            nanojoules: self.nanojoules + other.nanojoules,
            at_peak_nanoseconds: self.at_peak_nanoseconds + other.at_peak_nanoseconds,
            compile_nanoseconds: self.compile_nanoseconds + other.compile_nanoseconds,
        }
    }
}

impl AddAssign for Clock {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// What has passed since an earlier reading of the same clock.
impl Sub for Clock {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            evaluations: self.evaluations.saturating_sub(earlier.evaluations),
            nanoseconds: self.nanoseconds.saturating_sub(earlier.nanoseconds),
            nanojoules: self.nanojoules.saturating_sub(earlier.nanojoules),
            at_peak_nanoseconds: self.at_peak_nanoseconds.saturating_sub(earlier.at_peak_nanoseconds),
            compile_nanoseconds: self.compile_nanoseconds.saturating_sub(earlier.compile_nanoseconds),
        }
    }
}
