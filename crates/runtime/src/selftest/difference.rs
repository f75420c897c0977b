//! How far an engine's results are from those they should be.

use half::f16;
use serde::Serialize;

/// The most units in the last place that each bucket of a histogram takes; the last takes what is more.
pub const ULP_BUCKETS: [u32; 7] = [0, 1, 2, 4, 16, 256, u32::MAX];

/// How far results are from those they should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Elements compared.
    pub elements: usize,
    /// The largest difference.
    pub largest: f64,
    /// The largest difference, as part of the root mean square of what the results should be.
    pub worst: f64,
    /// ‖found − expected‖ / ‖expected‖
    pub relative: f64,
    /// Elements that differ by so many units of fp16's last place, by [`ULP_BUCKETS`].
    pub ulps: [usize; 7],
    /// Elements that are finite in one and not in the other, or missing.
    pub lost: usize,
}

/// The most that fp16 arithmetic, the chips' own tables among it, was seen to make of the kernels of all plans, and room.
const MOST_RELATIVE: f64 = 0.03;
const MOST_WORST: f64 = 0.5;

impl Difference {
    pub(super) fn of(expected: &[f32], found: &[f32]) -> Self {
        let (mut squares, mut norm, mut largest) = (0.0, 0.0, 0.0f64);
        let mut ulps = [0; 7];
        let mut lost = expected.len().abs_diff(found.len());
        for (&expected, &found) in expected.iter().zip(found) {
            if expected.is_finite() != found.is_finite() {
                lost += 1;
                continue;
            }
            let distance = place(expected).abs_diff(place(found));
            let bucket = ULP_BUCKETS.iter().position(|most| distance <= *most).unwrap_or(6);
            ulps[bucket] += 1;
            if expected.is_finite() {
                let difference = f64::from(found) - f64::from(expected);
                squares += difference * difference;
                norm += f64::from(expected).powi(2);
                largest = largest.max(difference.abs());
            }
        }
        let elements = expected.len();
        let part = |of: f64, whole: f64| if of == 0.0 { 0.0 } else { of / whole.max(f64::MIN_POSITIVE) };
        let worst = part(largest, (norm / elements.max(1) as f64).sqrt());
        Self { elements, largest, worst, relative: part(squares, norm).sqrt(), ulps, lost }
    }

    /// True when that is what fp16 makes of it, and no more.
    pub fn passes(&self) -> bool {
        self.lost == 0 && self.relative <= MOST_RELATIVE && self.worst <= MOST_WORST
    }
}

/// The place of a number among all that fp16 has.
fn place(value: f32) -> i32 {
    let bits = f16::from_f32(value).to_bits();
    let magnitude = i32::from(bits & 0x7fff);
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_counted_by_what_they_are() {
        let ulp = 2f32.powi(-10);
        let same = Difference::of(&[1.0, -2.0, 0.0], &[1.0, -2.0, -0.0]);
        assert_eq!((same.ulps, same.largest, same.passes()), ([3, 0, 0, 0, 0, 0, 0], 0.0, true));
        let near =
            Difference::of(&[1.0, -1.0, 1.0, 1.0], &[1.0 + ulp, -1.0 - 2.0 * ulp, 1.0 + 3.0 * ulp, 1.0]);
        assert_eq!((near.ulps, near.passes()), ([1, 1, 1, 1, 0, 0, 0], true));
        // From the smallest below zero to the smallest above it are two steps.
        let tiny = 2f32.powi(-24);
        assert_eq!(Difference::of(&[tiny], &[-tiny]).ulps, [0, 0, 1, 0, 0, 0, 0]);
        // One wrong element among many, an infinity, and a missing one.
        let mut wrong = [1.0; 1000];
        wrong[7] = 2.0;
        let one = Difference::of(&[1.0; 1000], &wrong);
        assert_eq!((one.worst, one.passes()), (1.0, false));
        assert_eq!(Difference::of(&[1.0, 1.0], &[1.0, f32::NAN]).lost, 1);
        assert_eq!(Difference::of(&[1.0, 1.0], &[1.0]).lost, 1);
    }
}
