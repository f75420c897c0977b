//! Where axes begin, end and are ticked.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

use super::{Axis, AxisKind};

/// An axis fitted to its values. Places are what is drawn: the values themselves, or their logarithms.
pub(super) struct Scale {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) ticks: Vec<f64>,
}

/// Ticks an axis has about.
const TICKS: f64 = 6.0;

impl Scale {
    /// Fits an axis to values of which there is at least one.
    pub(super) fn fit(axis: &Axis, values: impl Iterator<Item = f64>) -> Self {
        let places: Vec<f64> = values.map(|value| place(axis, value)).collect();
        let least = places.iter().copied().fold(f64::INFINITY, f64::min);
        let most = places.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        match &axis.kind {
            AxisKind::Linear { from_zero: true } => Self::linear(least.min(0.0), most.max(0.0)),
            AxisKind::Linear { from_zero: false } => Self::linear(least, most),
            AxisKind::Log => Self::log(least, most),
            AxisKind::Names(names) => Self {
                from: -0.5,
                to: names.len() as f64 - 0.5,
                ticks: (0..names.len()).map(|i| i as f64).collect(),
            },
        }
    }

    fn linear(least: f64, most: f64) -> Self {
        let (least, most) = if most > least { (least, most) } else { (least - 0.5, most + 0.5) };
        let step = round_step((most - least) / TICKS);
        let from = (least / step).floor() * step;
        let to = (most / step).ceil() * step;
        let count = ((to - from) / step).round() as usize;
        Self { from, to, ticks: (0..=count).map(|i| from + i as f64 * step).collect() }
    }

    /// Ticks at powers of ten, or at 1, 2 and 5 times them where there would be few.
    fn log(least: f64, most: f64) -> Self {
        let (from, to) = if most > least { (least, most) } else { (least - 0.5, most + 0.5) };
        let margin = (to - from) * 0.02;
        let decades = (to - from).max(1e-9);
        let factors: &[f64] = if decades < 3.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let skip = (decades / (2.0 * TICKS)).ceil().max(1.0) as i32;
        let (first, last) = (from.floor() as i32, to.ceil() as i32);
        let ticks: Vec<f64> = (first..=last)
            .filter(|power| power.rem_euclid(skip) == 0)
            .flat_map(|power| factors.iter().map(move |f| f64::from(power) + f.log10()))
            .filter(|tick| (from - margin..=to + margin).contains(tick))
            .collect();
        Self { from: from - margin, to: to + margin, ticks }
    }
}

/// As plotters wants it: the ticks are ours, whatever it hints at.
impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, (left, right): (i32, i32)) -> i32 {
        let part = (place - self.from) / (self.to - self.from);
        left + (part * f64::from(right - left)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

/// Where a value is drawn.
pub(super) fn place(axis: &Axis, value: f64) -> f64 {
    if matches!(axis.kind, AxisKind::Log) { value.log10() } else { value }
}

/// What is written at a place.
pub(super) fn label(axis: &Axis, place: f64) -> String {
    match &axis.kind {
        AxisKind::Log => (axis.write)(10f64.powf(place)),
        AxisKind::Linear { .. } => (axis.write)(place),
        AxisKind::Names(names) => {
            let index = place.round();
            let name = if index >= 0.0 { names.get(index as usize) } else { None };
            name.cloned().unwrap_or_default()
        }
    }
}

/// 1, 2 or 5 times a power of ten, at least this.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// A number without the noise of its last digits.
pub(super) fn plain(value: f64) -> String {
    let rounded = (value * 1e9).round() / 1e9;
    let size = rounded.abs();
    if size != 0.0 && !(1e-4..1e6).contains(&size) {
        format!("{value:.0e}")
    } else {
        format!("{}", rounded + 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: &Axis, values: &[f64]) -> Vec<String> {
        Scale::fit(axis, values.iter().copied()).ticks.iter().map(|&tick| label(axis, tick)).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(ticks(&Axis::linear(""), &[0.0, 1.0]), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(ticks(&Axis::linear(""), &[3.0, 97.0]), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(ticks(&Axis::linear("").from_zero(), &[40.0, 48.0])[0], "0");
        assert_eq!(ticks(&Axis::log(""), &[1.0, 1e5]), ["1", "10", "100", "1000", "10000", "100000"]);
        assert_eq!(ticks(&Axis::log(""), &[1.0, 10.0]), ["1", "2", "5", "10"]);
        assert_eq!(ticks(&Axis::names("", ["a", "b"]), &[0.0, 1.0]), ["a", "b"]);
    }

    #[test]
    fn values_lie_within_the_axis() {
        for values in [[5.0, 5.0], [-3.0, 12.5], [0.013, 0.0131]] {
            let scale = Scale::fit(&Axis::linear(""), values.into_iter());
            assert!(values.iter().all(|v| (scale.from..=scale.to).contains(v)), "{values:?}");
            assert!(scale.to > scale.from && (2..20).contains(&scale.ticks.len()), "{values:?}");
        }
    }
}
