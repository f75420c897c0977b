//! The multiply-accumulate unit, one product at a time: the meaning that [`gemm`](super::gemm) must reproduce.

use super::fp16::{self, Ties};

/// Units of the accumulator in one: it holds multiples of 2⁻¹⁶.
pub(crate) const UNITS: f64 = 65536.0;

/// The accumulator's magnitude at which it becomes infinite: 32768 in units.
pub(crate) const LIMIT: i64 = 1 << 31;

/// What the unit makes of an fp16 operand: exponent 31 is an exponent like any other, so that +∞ is 65536 and the
/// NaN 0x7E00 is 98304.
#[inline(always)]
pub(crate) fn decode(x: f32) -> f32 {
    let bits = x.to_bits();
    if bits & 0x7f80_0000 == 0x7f80_0000 {
        // Keeps the sign and the ten bits of an fp16 significand under the exponent of 65536.
        f32::from_bits(bits & 0x807f_e000 | (127 + 16) << 23)
    } else {
        x
    }
}

/// The exponent that decides whether a product is kept: -14 for what is below the normal fp16 values.
fn exponent(decoded: f32) -> i32 {
    (((decoded.to_bits() >> 23) & 0xff) as i32 - 127).max(-14)
}

/// A product in units: rounded half away from zero, and lost whole if the exponents add up to less than -16.
fn product(x: f32, w: f32) -> i64 {
    let (x, w) = (decode(x), decode(w));
    if exponent(x) + exponent(w) < -16 {
        return 0;
    }
    (f64::from(x) * f64::from(w) * UNITS).round() as i64
}

/// The accumulator: signed fixed point, 15 bits before and 16 after the point, infinite for good once its magnitude
/// has reached 32768.
#[derive(Clone, Copy, Debug)]
pub struct Accumulator {
    units: i64,
    overflow: bool,
}

impl Accumulator {
    /// Starts at the bias, rounded half away from zero to a unit.
    #[must_use]
    pub fn new(bias: f32) -> Self {
        Accumulator { units: 0, overflow: false }.plus((f64::from(decode(bias)) * UNITS).round() as i64)
    }

    /// Adds one product.
    pub fn mac(&mut self, x: f32, w: f32) {
        *self = self.plus(product(x, w));
    }

    fn plus(self, units: i64) -> Self {
        if self.overflow {
            return self;
        }
        let units = self.units + units;
        Accumulator { units, overflow: units.abs() >= LIMIT }
    }

    /// The fp16 result. A zero is never negative.
    #[must_use]
    pub fn result(self, ties: Ties) -> f32 {
        if self.overflow {
            return f32::INFINITY.copysign(self.units as f32);
        }
        fp16::round(self.units as f64 / UNITS, ties)
    }
}

/// The sum of products of two sequences onto a bias, in order.
#[must_use]
pub fn dot<'a>(pairs: impl IntoIterator<Item = (&'a f32, &'a f32)>, bias: f32, ties: Ties) -> f32 {
    let mut accumulator = Accumulator::new(bias);
    pairs.into_iter().for_each(|(x, w)| accumulator.mac(*x, *w));
    accumulator.result(ties)
}

#[cfg(test)]
mod tests {
    //! The published cases of the 751K study, measured on M6 and M4.
    use super::*;

    const UNIT: f32 = 1.0 / 65536.0;
    const INF: f32 = f32::INFINITY;

    fn sum(terms: &[f32], weight: f32, bias: f32) -> f32 {
        let mut accumulator = Accumulator::new(bias);
        terms.iter().for_each(|x| accumulator.mac(*x, weight));
        accumulator.result(Ties::Away)
    }

    fn bits(x: u16) -> f32 {
        half::f16::from_bits(x).to_f32()
    }

    #[test]
    fn overflow() {
        for (x, y) in [(32736.0, 32736.0), (32752.0, 32752.0), (32768.0, INF), (40000.0, INF), (65504.0, INF)]
        {
            assert_eq!((sum(&[x], 1.0, 0.0), sum(&[-x], 1.0, 0.0)), (y, -y), "{x}");
        }
        let sums: &[(&[f32], f32)] = &[
            (&[16376.0, 16376.0], 32752.0),
            (&[16384.0, 16368.0], 32752.0),
            (&[16384.0, 16376.0], 32768.0), // a rounded 32768 is allowed
            (&[16384.0, 16384.0], INF),
            (&[30000.0, 2752.0], 32752.0),
            (&[30000.0, 2768.0], INF),
            (&[16384.0, 16384.0, -16384.0, -16384.0, 1.0], INF),
            (&[30000.0, 30000.0, -30000.0, -30000.0, 1.0], INF),
        ];
        for (terms, y) in sums {
            assert_eq!(sum(terms, 1.0, 0.0), *y, "{terms:?}");
        }
        for (x, y) in [(127.0, 32512.0), (128.0, INF), (129.0, INF), (3.0, 768.0)] {
            assert_eq!(sum(&[x], 256.0, 0.0), y, "256 x {x}");
        }
        assert_eq!(sum(&[256.0], 256.0, 0.0), INF);
        assert_eq!(sum(&[65504.0], 0.0625, 0.0), 4094.0);
    }

    #[test]
    fn the_scale_does_not_follow_the_weights() {
        for w in [1.0, 16.0, 256.0, 4096.0] {
            assert_eq!(sum(&[32752.0 / w], w, 0.0), 32752.0);
            assert_eq!(sum(&[32768.0 / w], w, 0.0), INF);
        }
    }

    #[test]
    fn small_terms_beside_large_ones() {
        for base in [1024.0, 16384.0] {
            for e in [0, -2, -4, -6, -8, -10, -12, -14, -16] {
                assert_eq!(sum(&[base, 2f32.powi(e), -base], 1.0, 0.0), 2f32.powi(e), "{base} 2^{e}");
            }
            for e in [-18, -20, -22, -24] {
                assert_eq!(sum(&[base, 2f32.powi(e), -base], 1.0, 0.0), 0.0, "{base} 2^{e}");
            }
        }
        for order in [[2048.0, 1.0, -2048.0], [1.0, 2048.0, -2048.0], [2048.0, -2048.0, 1.0]] {
            assert_eq!(sum(&order, 1.0, 0.0), 1.0);
        }
    }

    #[test]
    fn below_the_normal_values() {
        for (x, units) in [(1.0, 1.0), (0.5, 1.0), (0.25, 0.0), (1.5, 2.0), (0.75, 1.0), (0.375, 0.0)] {
            assert_eq!(sum(&[x * UNIT], 1.0, 0.0), units * UNIT, "{x} units");
        }
    }

    #[test]
    fn a_product_is_kept_by_its_exponents() {
        // Weight; product in units; units that come out.
        let cases = [
            (1.0 / 4096.0, 0.5, 0.0),
            (1.0 / 4096.0, 0.75, 0.0),
            (1.0 / 4096.0, 1.0, 1.0),
            (1.0 / 4096.0, 1.5, 2.0),
            (1.0 / 4096.0, 2.5, 3.0),
            (1.0 / 4096.0, 3.5, 4.0),
            (0.125, 0.5, 0.0),
            (0.125, 1.5, 2.0),
            (0.25, 0.5, 1.0),
            (0.25, 0.75, 1.0),
            (0.25, 0.25, 0.0),
            (2.0, 0.5, 1.0),
            (2.0, 0.25, 0.0),
        ];
        for (w, product, units) in cases {
            for sign in [1.0, -1.0] {
                assert_eq!(sum(&[sign * product * UNIT / w], w, 0.0), sign * units * UNIT, "{w} {product}");
            }
        }
        // Exponents that add up to -17 lose the product, though it is worth nearly two units.
        let lost = [
            (0.234375, 0.000_114_440_92),
            (0.248_779_3, 0.000_121_474_27),
            (0.09375, 0.000_231_981_28),
            (0.060546875, 0.000_473_022_46),
            (0.199_951_17, 6.043_911e-5),
            (0.234375, 6.103_515_6e-5),
        ];
        for (w, x) in lost {
            assert_eq!(sum(&[x], w, 0.0), 0.0, "{w} {x}");
        }
    }

    #[test]
    fn exponent_31_is_a_number() {
        for w in [1.0 / 4096.0, 0.0625] {
            for (x, value) in [
                (0x7c00, 65536.0),
                (0xfc00, -65536.0),
                (0x7e00, 98304.0),
                (0x7e01, 98368.0),
                (0x7fff, 131008.0),
                (0xfe00, -98304.0),
                (0x7bff, 65504.0),
            ] {
                assert_eq!(sum(&[bits(x)], w, 0.0), value * w, "{x:#x} {w}");
            }
        }
        assert_eq!(sum(&[f32::NAN], 1.0, 0.0), INF);
        assert_eq!(sum(&[-0.0], 1.0, 0.0).to_bits(), 0);
    }

    #[test]
    fn the_bias_is_where_the_accumulator_starts() {
        let cases: &[(f32, &[f32], f32)] = &[
            (-16384.0, &[16384.0, 16384.0], 16384.0),
            (-16384.0, &[16384.0, 16384.0, 16384.0], INF),
            (-16384.0, &[32752.0], 16368.0),
            (32.0, &[32752.0], INF),
            (32.0, &[32736.0], INF),
            (32.0, &[16384.0, 16368.0], INF),
            (UNIT / 16.0, &[], 0.0),
            (UNIT / 2.0, &[], UNIT),
            (UNIT / 2.0, &[UNIT / 2.0], 2.0 * UNIT),
            (UNIT / 2.0, &[UNIT], 2.0 * UNIT),
            (1000.5, &[0.25], 1001.0),
            (-1.0, &[1.0], 0.0),
        ];
        for (bias, terms, y) in cases {
            assert_eq!(sum(terms, 1.0, *bias), *y, "{bias} + {terms:?}");
        }
    }

    #[test]
    fn output_rounding() {
        let cases: &[(&[f32], f32)] = &[
            (&[2048.0, 1.0], 2050.0),
            (&[-2048.0, -1.0], -2050.0),
            (&[2050.0, 1.0], 2052.0),
            (&[1.0, 1.0 / 2048.0], 1.0 + 1.0 / 1024.0),
            (&[1.0, 1.0 / 4096.0], 1.0),
            (&[1.0, 1.0 / 2048.0, 1.0 / 8192.0], 1.0 + 1.0 / 1024.0),
            (&[1.0, 1.0 / 2048.0, -1.0 / 8192.0], 1.0),
            (&[4096.0, 2.0], 4100.0),
            (&[4096.0, 6.0], 4104.0),
            (&[-4096.0, -2.0], -4100.0),
        ];
        for (terms, y) in cases {
            assert_eq!(sum(terms, 1.0, 0.0), *y, "{terms:?}");
        }
        let mut m1 = Accumulator::new(2048.0);
        m1.mac(1.0, 1.0);
        assert_eq!(m1.result(Ties::Even), 2048.0);
    }
}
