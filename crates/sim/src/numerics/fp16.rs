//! Rounding to fp16 by the engine's rules.
//!
//! Values travel as `f32` that hold exactly an fp16 value. Half-way cases go away from zero on M4 to M6; the M1 rounds
//! them to even.

use super::dispatch;

/// Where a result goes that lies half-way between two fp16 values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ties {
    /// To the larger magnitude: M4, M5, M6.
    #[default]
    Away,
    /// To the even significand: M1.
    Even,
}

/// The largest finite fp16 value.
pub const MAX: f32 = 65504.0;

/// Rounds to fp16. Magnitudes that round above [`MAX`] become infinite, and what is not a number becomes +∞, as the
/// engine's decoder makes of it.
#[inline(always)]
#[must_use]
pub fn round(x: f64, ties: Ties) -> f32 {
    let magnitude = f64::from_bits(x.to_bits() & !SIGN_64);
    // The exponent that sets the spacing: that of the value, and -14 below the normal fp16 values.
    let exponent = (magnitude.to_bits() >> 52).clamp(1023 - 14, 1023 + 16);
    let spacing = f64::from_bits((exponent - 10) << 52);
    let steps = magnitude * f64::from_bits((2046 - (exponent - 10)) << 52);
    let rounded = nearest(steps, ties) * spacing;
    let kept = if rounded <= f64::from(MAX) { rounded } else { f64::INFINITY };
    let sign = if x.is_nan() { 0 } else { x.to_bits() & SIGN_64 };
    f64::from_bits(kept.to_bits() | sign) as f32
}

const SIGN_64: u64 = 1 << 63;

/// The nearest integer to a value in `0.0..2^51`.
#[inline(always)]
fn nearest(steps: f64, ties: Ties) -> f64 {
    const SHIFT: f64 = (1u64 << 52) as f64;
    let even = (steps + SHIFT) - SHIFT;
    match ties {
        Ties::Even => even,
        Ties::Away => even + if steps - even == 0.5 { 1.0 } else { 0.0 },
    }
}

/// The bits of an fp16 value held as `f32`; what is not a number counts as +∞.
#[inline(always)]
#[must_use]
pub fn bits(x: f32) -> u16 {
    /// Takes the exponent's bias from that of `f32` to that of fp16.
    const REBIAS: f32 = f32::from_bits((127 - 112) << 23);
    let magnitude = ((x.abs() * REBIAS).to_bits() >> 13).min(0x7c00);
    let sign = if x.is_nan() { 0 } else { x.to_bits() >> 16 & 0x8000 };
    (magnitude | sign) as u16
}

/// Rounds every value to fp16: the same as [`round`] on each.
pub fn round_slice(values: &mut [f32], ties: Ties) {
    dispatch(
        #[inline(always)]
        || values.iter_mut().for_each(|v| *v = round_f32(*v, ties)),
    );
}

/// [`round`] in single precision: exact there too, for every step is.
#[inline(always)]
fn round_f32(x: f32, ties: Ties) -> f32 {
    const SIGN: u32 = 1 << 31;
    const SHIFT: f32 = (1u32 << 23) as f32;
    let magnitude = f32::from_bits(x.to_bits() & !SIGN);
    let exponent = (magnitude.to_bits() >> 23).clamp(127 - 14, 127 + 16);
    let spacing = f32::from_bits((exponent - 10) << 23);
    let steps = magnitude * f32::from_bits((254 - (exponent - 10)) << 23);
    let even = (steps + SHIFT) - SHIFT;
    let away = if steps - even == 0.5 { 1.0 } else { 0.0 };
    let rounded = (even + if ties == Ties::Away { away } else { 0.0 }) * spacing;
    let kept = if rounded <= MAX { rounded } else { f32::INFINITY };
    let sign = if x.is_nan() { 0 } else { x.to_bits() & SIGN };
    f32::from_bits(kept.to_bits() | sign)
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    /// Every fp16 value, its neighbours half-way up and just beside.
    fn probes() -> impl Iterator<Item = f64> {
        (0..0x7c00u16).flat_map(|bits| {
            let low = f16::from_bits(bits).to_f64();
            let high = if bits == 0x7bff { 65536.0 } else { f16::from_bits(bits + 1).to_f64() };
            let half = (low + high) / 2.0;
            let beside = (high - low) / 1024.0;
            [low, half, half - beside, half + beside].into_iter().flat_map(|v| [v, -v])
        })
    }

    /// The rule in words: the nearest value, the farther from zero of two equally near.
    fn in_words(x: f64) -> f64 {
        let towards_zero = {
            let near = f16::from_f64(x);
            if near.to_f64().abs() > x.abs() { f16::from_bits(near.to_bits() - 1) } else { near }
        };
        let low = towards_zero.to_f64().abs();
        let high = if low == 65504.0 {
            65536.0
        } else {
            f16::from_bits((towards_zero.to_bits() & 0x7fff) + 1).to_f64()
        };
        let rounded = if x.abs() - low < high - x.abs() { low } else { high };
        (if rounded > 65504.0 { f64::INFINITY } else { rounded }).copysign(x)
    }

    #[test]
    fn ties_go_away_from_zero_and_nothing_else_changes() {
        for x in probes() {
            assert_eq!(f64::from(round(x, Ties::Away)), in_words(x), "{x:e}");
        }
    }

    #[test]
    fn ties_to_even_is_what_ieee_says() {
        for x in probes() {
            assert_eq!(round(x, Ties::Even), f16::from_f64(x).to_f32(), "{x:e}");
        }
    }

    #[test]
    fn a_slice_is_rounded_as_its_values_are() {
        for ties in [Ties::Away, Ties::Even] {
            let values: Vec<f32> =
                probes().map(|x| x as f32).chain([f32::INFINITY, f32::NEG_INFINITY, 1e30]).collect();
            let mut rounded = values.clone();
            round_slice(&mut rounded, ties);
            for (v, r) in values.iter().zip(&rounded) {
                assert_eq!(r.to_bits(), round(f64::from(*v), ties).to_bits(), "{v:e}");
            }
        }
    }

    #[test]
    fn bits_are_those_of_the_value() {
        for bits in 0..=u16::MAX {
            let value = f16::from_bits(bits);
            let expected = if value.is_nan() { 0x7c00 } else { bits };
            assert_eq!(super::bits(value.to_f32()), expected, "{bits:#x}");
        }
    }

    #[test]
    fn published_cases() {
        for (x, rounded) in
            [(2049.0, 2050.0), (-2049.0, -2050.0), (4098.0, 4100.0), (4102.0, 4104.0), (2051.0, 2052.0)]
        {
            assert_eq!(round(x, Ties::Away), rounded);
        }
        assert_eq!(round(2049.0, Ties::Even), 2048.0);
        assert_eq!(round(f64::NAN, Ties::Away), f32::INFINITY);
    }
}
