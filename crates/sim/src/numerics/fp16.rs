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
pub(super) fn round_f32(x: f32, ties: Ties) -> f32 {
    const SIGN: u32 = 1 << 31;
    let magnitude = x.to_bits() & !SIGN;
    // Ten bits of 23 stay; the carry may reach the exponent, as it should.
    let carry = match ties {
        Ties::Away => 0x1000,
        Ties::Even => 0x0fff + (magnitude >> 13 & 1),
    };
    let normal = magnitude.wrapping_add(carry) & !0x1fff;
    let kept = if magnitude < NORMAL { subnormal(f32::from_bits(magnitude), ties) } else { finite(normal) };
    let sign = if x.is_nan() { 0 } else { x.to_bits() & SIGN };
    f32::from_bits(kept | sign)
}

/// 2⁻¹⁴, below which the spacing of fp16 is 2⁻²⁴ throughout.
const NORMAL: u32 = (127 - 14) << 23;

/// The bits of a rounded magnitude, infinite above [`MAX`].
#[inline(always)]
fn finite(rounded: u32) -> u32 {
    if rounded <= MAX.to_bits() { rounded } else { f32::INFINITY.to_bits() }
}

/// The bits of a magnitude below 2⁻¹⁴, rounded.
#[inline(always)]
fn subnormal(magnitude: f32, ties: Ties) -> u32 {
    const SHIFT: f32 = (1u32 << 23) as f32;
    const UNITS: f32 = (1u32 << 24) as f32;
    let steps = magnitude * UNITS;
    let even = (steps + SHIFT) - SHIFT;
    let away = if ties == Ties::Away && steps - even == 0.5 { 1.0 } else { 0.0 };
    ((even + away) * (1.0 / UNITS)).to_bits()
}

/// The sum of two fp16 values, rounded once, half-way cases away from zero. What is indeterminate is +0.
#[inline(always)]
pub(super) fn add_away(a: f32, b: f32) -> f32 {
    const SIGN: u32 = 1 << 31;
    let sum = a + b;
    // What single precision lost of the sum, exactly.
    let of_b = sum - a;
    let lost = (a - (sum - of_b)) + (b - of_b);
    let bits = sum.to_bits();
    // The largest single-precision magnitude not above the exact one decides as the exact one would.
    let opposed = (lost.to_bits() ^ bits) & SIGN != 0 && lost != 0.0 && !lost.is_nan();
    let magnitude = (bits & !SIGN).wrapping_sub(u32::from(opposed));
    // Below the normal values sums are exact.
    let rounded = if magnitude < NORMAL { magnitude } else { finite((magnitude + 0x1000) & !0x1fff) };
    f32::from_bits(if sum.is_nan() { 0 } else { rounded | bits & SIGN })
}

/// The product of two fp16 values, which single precision holds, rounded. What is indeterminate is +0.
#[inline(always)]
pub(super) fn mul(a: f32, b: f32, ties: Ties) -> f32 {
    let product = a * b;
    let rounded = round_f32(product, ties);
    if product.is_nan() { 0.0 } else { rounded }
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
