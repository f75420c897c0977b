//! Timing programs: by the clock, or by the cost model of an engine whose time is not real.

use std::time::Instant;

use ferrane_engine::{Kernel, Surface, WeightFiles, cost, legalise};
use ferrane_mil::{DType, Function, Verified};

use super::programs::{self, Chain};
use super::{Bench, Metric};

/// The time of one evaluation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Timing {
    /// Median, in seconds.
    pub(super) seconds: f64,
    /// Interquartile range as part of the median; none of a model or a single run.
    pub(super) spread: Option<f64>,
    /// Energy in joules, where it is known.
    pub(super) joules: Option<f64>,
    /// Share of the chip's best published rate, where there is one.
    pub(super) of_peak: Option<f64>,
}

impl Timing {
    /// Of runs that took so many seconds each, of which there is at least one.
    pub(super) fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let at = |part: f64| seconds[((seconds.len() - 1) as f64 * part).round() as usize];
        let median = at(0.5);
        let spread = (seconds.len() > 1).then(|| (at(0.75) - at(0.25)) / median);
        Self { seconds: median, spread, joules: None, of_peak: None }
    }

    pub(super) fn values(self) -> Vec<(Metric, f64)> {
        let mut values = vec![(Metric::Ms, self.seconds * 1e3)];
        values.extend(self.spread.map(|spread| (Metric::Spread, spread)));
        values.extend(self.joules.map(|joules| (Metric::Mj, joules * 1e3)));
        values.extend(self.of_peak.map(|part| (Metric::OfPeak, part)));
        values
    }
}

impl Bench {
    /// The element type that programs for this engine compute in.
    pub(crate) fn compute(&self) -> DType {
        self.engine.profile().compute.value
    }

    pub(super) fn time(&self, chain: &Chain) -> Result<Timing, String> {
        self.time_function(chain.function(self.compute()).map_err(text)?)
    }

    pub(super) fn time_function(&self, function: Function) -> Result<Timing, String> {
        let (program, weights) = self.prepared(function)?;
        let mut kernel = self.engine.compile(&program, &weights).map_err(text)?;
        if self.engine.clock().is_some() {
            let cost = cost::estimate(program.main(), self.engine.profile()).map_err(text)?;
            let of_peak = (cost.flops > 0.0).then_some(cost.of_peak);
            return Ok(Timing { seconds: cost.seconds, spread: None, joules: Some(cost.joules), of_peak });
        }
        let (inputs, outputs) = self.surfaces(kernel.as_ref())?;
        let inputs: Vec<&Surface> = inputs.iter().collect();
        let outputs: Vec<&Surface> = outputs.iter().collect();
        let timing = self.repeat(|| kernel.evaluate(&inputs, &outputs).map_err(text))?;
        outputs.iter().try_for_each(|surface| check(surface))?;
        Ok(timing)
    }

    /// Seconds to compile and load a chain.
    pub(super) fn time_compile(&self, chain: &Chain) -> Result<f64, String> {
        let (program, weights) = self.prepared(chain.function(self.compute()).map_err(text)?)?;
        if self.engine.clock().is_some() {
            self.engine.compile(&program, &weights).map_err(text)?;
            return Ok(cost::estimate(program.main(), self.engine.profile()).map_err(text)?.compile_seconds);
        }
        let compile = || self.engine.compile(&program, &weights).map(drop).map_err(text);
        Ok(self.repeat(compile)?.seconds)
    }

    fn prepared(&self, function: Function) -> Result<(Verified, WeightFiles), String> {
        let program = legalise(function, self.engine.profile()).map_err(text)?;
        let weights = programs::weights(program.main()).map_err(text)?;
        Ok((program, weights))
    }

    /// Surfaces of a kernel, those of a side claiming equal sizes; inputs are filled.
    fn surfaces(&self, kernel: &dyn Kernel) -> Result<(Vec<Surface>, Vec<Surface>), String> {
        let side = |ports: &[ferrane_engine::Port]| -> Result<Vec<Surface>, String> {
            let most = ports.iter().map(ferrane_engine::Port::bytes).max().unwrap_or(0);
            ports.iter().map(|port| self.engine.surface(port, most).map_err(text)).collect()
        };
        let (inputs, outputs) = (side(kernel.inputs())?, side(kernel.outputs())?);
        inputs.iter().try_for_each(|surface| surface.write(programs::fill).map_err(text))?;
        Ok((inputs, outputs))
    }

    /// Runs often enough, or until the budget is used.
    pub(super) fn repeat(&self, mut run: impl FnMut() -> Result<(), String>) -> Result<Timing, String> {
        let begun = Instant::now();
        let mut timed = || {
            let start = Instant::now();
            run().map(|()| start.elapsed().as_secs_f64())
        };
        let first = timed()?;
        for _ in 1..self.effort.warmup {
            if begun.elapsed() >= self.effort.budget / 4 {
                break;
            }
            timed()?;
        }
        let mut seconds = Vec::new();
        while seconds.len() < self.effort.runs as usize && begun.elapsed() < self.effort.budget {
            seconds.push(timed()?);
        }
        if seconds.is_empty() {
            seconds.push(first);
        }
        Ok(Timing::of(seconds))
    }
}

/// A benchmark whose results are not numbers, or nothing, timed something else.
fn check(surface: &Surface) -> Result<(), String> {
    let sound = |values: &[f32]| {
        let finite = values.iter().all(|value| value.is_finite());
        (finite && values.iter().any(|value| *value != 0.0)).then_some(())
    };
    surface.read(sound).map_err(text)?.ok_or_else(|| "the result is not finite, or all zero".to_owned())
}

pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timing_is_the_median_with_its_interquartile_range() {
        let timing = Timing::of(vec![5.0, 1.0, 2.0, 4.0, 3.0]);
        assert_eq!((timing.seconds, timing.spread), (3.0, Some(2.0 / 3.0)));
        assert_eq!(Timing::of(vec![1.0]).spread, None);
    }
}
