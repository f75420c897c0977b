//! Functions the engine looks up: 33 points, straight lines between them, fp16 throughout.
//!
//! Grids and reductions are those read from compiled programs by the 751K study (M6, and M4 agrees on the 33 points).
//! What is not published is inferred so that the largest errors are the published ones; `docs/simulator.md` says
//! which is which.

use std::sync::OnceLock;

use super::fp16::{self, Ties};
use half::f16;

/// The generation whose tables are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Generation {
    /// M4 to M6, measured.
    #[default]
    M4,
    /// M1: ties to even and two known values; the rest is that of the M4.
    M1,
}

impl Generation {
    /// How it rounds.
    #[must_use]
    pub fn ties(self) -> Ties {
        match self {
            Generation::M4 => Ties::Away,
            Generation::M1 => Ties::Even,
        }
    }
}

/// Functions of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "MIL's names")]
pub enum Unary {
    Abs,
    Ceil,
    Cos,
    Erf,
    Exp,
    Exp2,
    Floor,
    /// Both modes: the engine has one table.
    Gelu,
    Inverse,
    Log,
    Relu,
    Round,
    Rsqrt,
    Sigmoid,
    Sign,
    Silu,
    Sin,
    Softplus,
    Softsign,
    Sqrt,
    Square,
    Tanh,
}

impl Unary {
    /// All of them.
    pub const ALL: [Unary; 22] = [
        Unary::Abs,
        Unary::Ceil,
        Unary::Cos,
        Unary::Erf,
        Unary::Exp,
        Unary::Exp2,
        Unary::Floor,
        Unary::Gelu,
        Unary::Inverse,
        Unary::Log,
        Unary::Relu,
        Unary::Round,
        Unary::Rsqrt,
        Unary::Sigmoid,
        Unary::Sign,
        Unary::Silu,
        Unary::Sin,
        Unary::Softplus,
        Unary::Softsign,
        Unary::Sqrt,
        Unary::Square,
        Unary::Tanh,
    ];

    /// The result for each of the 65536 fp16 values, by their bits.
    pub(super) fn image(self, generation: Generation) -> &'static [f32] {
        static IMAGES: [[OnceLock<Box<[f32]>>; 2]; Unary::ALL.len()] =
            [const { [const { OnceLock::new() }; 2] }; Unary::ALL.len()];
        IMAGES[self as usize][generation as usize].get_or_init(|| {
            let tables = Tables::new(generation);
            (0..=u16::MAX).map(|bits| tables.evaluate(self, f16::from_bits(bits).to_f64()) as f32).collect()
        })
    }
}

/// Points on an even grid.
struct Points {
    first: f64,
    step: f64,
    values: Vec<f64>,
}

struct Tables {
    generation: Generation,
    sigmoid: Points,
    tanh: Points,
    erf: Points,
    sine: Points,
    exp2: Points,
    log2: Points,
    sqrt: Points,
    rsqrt: Points,
    inverse: Points,
    gelu: Points,
    silu: Points,
}

impl Tables {
    fn new(generation: Generation) -> Self {
        let r = move |x: f64| f64::from(fp16::round(x, generation.ties()));
        let points = |first: f64, last: f64, step: f64, f: &dyn Fn(f64) -> f64| {
            let count = ((last - first) / step).round() as usize;
            Points { first, step, values: (0..=count).map(|i| r(f(first + i as f64 * step))).collect() }
        };
        let half_pi = std::f64::consts::FRAC_PI_2;
        // Values of fitted tables that are published: at zero, and one step to the right.
        let (gelu_low, silu_low) = match generation {
            Generation::M4 => ((-0.000_753, 0.1436), (-0.001_704, 0.2963)),
            Generation::M1 => ((-0.000_543, 0.1436), (-0.001_259, 0.2963)),
        };
        Tables {
            generation,
            sigmoid: points(-8.0, 8.0, 0.5, &sigmoid),
            tanh: points(0.0, 4.0, 0.125, &f64::tanh),
            erf: points(0.0, 2.0, 1.0 / 16.0, &erf),
            sine: points(0.0, half_pi, half_pi / 32.0, &f64::sin),
            exp2: points(0.0, 1.0, 1.0 / 32.0, &f64::exp2),
            log2: points(0.5, 1.0, 1.0 / 64.0, &f64::log2),
            sqrt: points(0.5, 2.0, 1.0 / 16.0, &f64::sqrt),
            rsqrt: points(0.5, 2.0, 1.0 / 16.0, &|x| 1.0 / x.sqrt()),
            inverse: points(0.5, 1.0, 1.0 / 64.0, &|x| 1.0 / x),
            gelu: points(-4.0, 4.0, 0.25, &|x| fitted(gelu, 0.25, gelu_low, x)),
            silu: points(-8.0, 8.0, 0.5, &|x| fitted(|x| x * sigmoid(x), 0.5, silu_low, x)),
        }
    }

    fn round(&self, x: f64) -> f64 {
        f64::from(fp16::round(x, self.generation.ties()))
    }

    /// The line through the two points around `x`, computed exactly and rounded once.
    fn line(&self, points: &Points, x: f64) -> f64 {
        let last = points.values.len() - 1;
        let at = ((x - points.first) / points.step).clamp(0.0, last as f64);
        let i = (at as usize).min(last - 1);
        let (low, high) = (points.values[i], points.values[i + 1]);
        self.round(low + (at - i as f64) * (high - low))
    }

    /// The engine's result for an fp16 value; what is not a number counts as +∞.
    fn evaluate(&self, op: Unary, x: f64) -> f64 {
        let x = if x.is_nan() { f64::INFINITY } else { x };
        let odd = |points: &Points, x: f64| self.line(points, x.abs()).copysign(x);
        match op {
            Unary::Abs => x.abs(),
            Unary::Relu => x.max(0.0),
            Unary::Sign => {
                if x == 0.0 {
                    0.0
                } else {
                    1f64.copysign(x)
                }
            }
            Unary::Square => self.round(x * x),
            Unary::Floor => x.floor(),
            Unary::Ceil => x.ceil(),
            // A half is added in fp16 and the rest cut off: wrong from 1024.
            Unary::Round => self.round(x.abs() + 0.5).floor().copysign(x),
            Unary::Sigmoid => self.sigmoid(x),
            Unary::Tanh if x.abs() > 4.0 => 1f64.copysign(x),
            Unary::Tanh => odd(&self.tanh, x),
            Unary::Erf if x.abs() > 2.0 => self.round(erf(x)),
            Unary::Erf => odd(&self.erf, x),
            Unary::Sin => self.sine(x),
            Unary::Cos => self.sine(self.round(x + std::f64::consts::FRAC_PI_2)),
            Unary::Exp => self.exp2(self.round(x * self.round(std::f64::consts::LOG2_E))),
            Unary::Exp2 => self.exp2(x),
            Unary::Log => self.log(x),
            Unary::Sqrt => self.root(&self.sqrt, 0.5, x),
            Unary::Rsqrt if x == 0.0 => f64::INFINITY,
            Unary::Rsqrt => self.root(&self.rsqrt, -0.5, x),
            Unary::Inverse => self.inverse(x),
            Unary::Gelu => self.between(&self.gelu, 4.0, x),
            Unary::Silu => self.between(&self.silu, 8.0, x),
            Unary::Softplus => self.softplus(x),
            Unary::Softsign if x.is_infinite() => 0.0,
            Unary::Softsign => self.round(x * self.inverse(self.round(1.0 + x.abs()))),
        }
    }

    /// Falls from the first point to 0 at -9.938, the largest argument that gives 0, and is 1 from 8.32.
    fn sigmoid(&self, x: f64) -> f64 {
        const ZERO: f64 = -9.938;
        const ONE: f64 = 8.32;
        if x >= ONE {
            1.0
        } else if x < -8.0 {
            let share = ((x - ZERO) / (-8.0 - ZERO)).max(0.0);
            self.round(self.sigmoid.values[0] * share)
        } else {
            self.line(&self.sigmoid, x)
        }
    }

    /// A quarter wave, the rest by symmetry.
    fn sine(&self, x: f64) -> f64 {
        use std::f64::consts::{FRAC_PI_2, PI, TAU};
        if x.is_infinite() {
            return 0.0;
        }
        let turn = x.abs() % TAU;
        let (turn, sign) = if turn >= PI { (turn - PI, -1.0) } else { (turn, 1.0) };
        let quarter = self.round(if turn > FRAC_PI_2 { PI - turn } else { turn });
        sign * x.signum() * self.line(&self.sine, quarter)
    }

    /// The whole part goes into the exponent, the fraction through the table.
    fn exp2(&self, x: f64) -> f64 {
        let whole = x.clamp(-64.0, 64.0).floor();
        self.round(self.line(&self.exp2, x.clamp(-64.0, 64.0) - whole) * whole.exp2())
    }

    fn log(&self, x: f64) -> f64 {
        if x == 0.0 {
            return -45440.0;
        }
        if x < 0.0 {
            return 0.0;
        }
        if x.is_infinite() {
            return f64::INFINITY;
        }
        let (significand, exponent) = split(x);
        let log2 = self.round(self.line(&self.log2, significand) + f64::from(exponent));
        self.round(log2 * self.round(std::f64::consts::LN_2))
    }

    /// A power of one half: an even exponent leaves a significand in `0.5..2`.
    fn root(&self, points: &Points, power: f64, x: f64) -> f64 {
        if x <= 0.0 {
            return 0.0;
        }
        if x.is_infinite() {
            return if power > 0.0 { x } else { 0.0 };
        }
        let (significand, exponent) = split(x);
        let odd = exponent.rem_euclid(2);
        let reduced = significand * f64::from(1 << odd);
        self.round(self.line(points, reduced) * (f64::from(exponent - odd) * power).exp2())
    }

    fn inverse(&self, x: f64) -> f64 {
        if x == 0.0 {
            return f64::INFINITY;
        }
        if x.is_infinite() {
            return 0.0;
        }
        let (significand, exponent) = split(x.abs());
        self.round(self.line(&self.inverse, significand) * f64::from(-exponent).exp2()).copysign(x)
    }

    /// Zero on the left of the table and the argument itself on the right.
    fn between(&self, points: &Points, edge: f64, x: f64) -> f64 {
        if x < -edge {
            0.0
        } else if x > edge {
            x
        } else {
            self.line(points, x)
        }
    }

    /// log(1 + exp(x)), of which the exponential overflows.
    fn softplus(&self, x: f64) -> f64 {
        let exp = self.evaluate(Unary::Exp, x);
        if exp.is_infinite() { 0.0 } else { self.log(self.round(1.0 + exp)) }
    }
}

/// A positive number as a significand in `0.5..1` and an exponent.
fn split(x: f64) -> (f64, i32) {
    let exponent = (x.to_bits() >> 52) as i32 - 1022;
    (x * f64::from(-exponent).exp2(), exponent)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2))
}

/// A fitted table's value: two are published, left of zero the same shortfall is taken, and elsewhere the points lie below the
/// function by half of what a line between two points of it lies above.
fn fitted(f: impl Fn(f64) -> f64, step: f64, (at_zero, at_step): (f64, f64), x: f64) -> f64 {
    if x == 0.0 {
        return at_zero;
    }
    if x.abs() == step {
        return f(x) - (f(step) - at_step);
    }
    let curvature = (f(x + step) - 2.0 * f(x) + f(x - step)) / (step * step);
    f(x) - curvature * step * step / 16.0
}

/// The error function, to double precision: its series below 3, its continued fraction above.
fn erf(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < 3.0 {
        let (mut term, mut sum) = (a, a);
        for n in 1..100 {
            term *= -a * a / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let tail = (1..60).rev().fold(0.0, |tail, n| f64::from(n) / 2.0 / (a + tail));
        1.0 - (-a * a).exp() / ((a + tail) * std::f64::consts::PI.sqrt())
    };
    value.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A function, what it should be, a range, and the published largest error there.
    type Case = (Unary, fn(f64) -> f64, (f64, f64), f64);

    fn value(op: Unary, x: f64) -> f64 {
        f64::from(op.image(Generation::M4)[f16::from_f64(x).to_bits() as usize])
    }

    /// Every fp16 value in a range.
    fn inputs(low: f64, high: f64) -> impl Iterator<Item = f64> {
        (0..=u16::MAX).map(|bits| f16::from_bits(bits).to_f64()).filter(move |x| (low..=high).contains(x))
    }

    /// Largest absolute error, and largest error in units of the exact value's last place.
    fn errors(op: Unary, exact: impl Fn(f64) -> f64, (low, high): (f64, f64)) -> (f64, f64) {
        let of = |x: f64| {
            let error = (value(op, x) - exact(x)).abs();
            let exponent = exact(x).abs().max(2f64.powi(-24)).log2().floor().max(-14.0);
            (error, error / (exponent - 10.0).exp2())
        };
        inputs(low, high).map(of).fold((0.0, 0.0), |(a, b), (c, d)| (f64::max(a, c), f64::max(b, d)))
    }

    #[test]
    fn absolute_errors_are_the_published_ones() {
        // Over the study's own ranges.
        let cases: [Case; 7] = [
            (Unary::Sigmoid, sigmoid, (-12.0, 12.0), 3.4e-3),
            (Unary::Tanh, f64::tanh, (-6.0, 6.0), 1.6e-3),
            (Unary::Gelu, gelu, (-8.0, 8.0), 6.2e-3),
            (Unary::Silu, |x| x * sigmoid(x), (-12.0, 12.0), 1.5e-2),
            (Unary::Erf, erf, (-4.0, 4.0), 8.6e-4),
            (Unary::Sin, f64::sin, (-8.0, 8.0), 6.3e-4),
            (Unary::Log, f64::ln, (1.0 / 1024.0, 1000.0), 6.6e-3),
        ];
        let mut off = Vec::new();
        for (op, exact, range, published) in cases {
            let (error, _) = errors(op, exact, range);
            if !(0.85 * published..1.05 * published).contains(&error) {
                off.push(format!("{op:?}: {error:.3e} instead of {published:.1e}"));
            }
        }
        assert!(off.is_empty(), "{off:#?}");
    }

    #[test]
    fn relative_errors_are_within_the_published_ones() {
        let cases: [Case; 5] = [
            (Unary::Exp, f64::exp, (-12.0, 10.0), 9.1),
            (Unary::Sqrt, f64::sqrt, (1.0 / 1024.0, 1000.0), 1.2),
            (Unary::Rsqrt, |x| 1.0 / x.sqrt(), (1.0 / 64.0, 1000.0), 2.1),
            (Unary::Inverse, |x| 1.0 / x, (1.0 / 64.0, 1000.0), 13.5),
            (Unary::Log, f64::ln, (1.0 / 1024.0, 1000.0), 91.0),
        ];
        let mut off = Vec::new();
        for (op, exact, range, published) in cases {
            let (_, ulps) = errors(op, exact, range);
            // The published figures have one decimal.
            let least = if op == Unary::Inverse { 0.5 } else { 0.85 * published };
            if !(least..published + 0.05).contains(&ulps) {
                off.push(format!("{op:?}: {ulps:.2} ulp instead of {published}"));
            }
        }
        assert!(off.is_empty(), "{off:#?}");
    }

    #[test]
    fn published_points() {
        let close = |op: Unary, x: f64, y: f64, by: f64| {
            let found = value(op, x);
            assert!((found - y).abs() <= by, "{op:?}({x}) = {found}, published {y}");
        };
        close(Unary::Log, 1.004, 0.00373, 1e-5);
        close(Unary::Rsqrt, 0.0332, 5.5, 5e-3);
        close(Unary::Gelu, -1.526e-5, -7.6056e-4, 1e-6);
        close(Unary::Silu, -2.289e-5, -1.7137e-3, 1e-6);
        close(Unary::Gelu, 0.25, 0.1436, 1e-4);
        close(Unary::Silu, 0.5, 0.2963, 2e-4);
        close(Unary::Sigmoid, -9.945, 0.0, 0.0);
        assert!(value(Unary::Sigmoid, -9.9) > 0.0);
        assert!((16288.0..=16304.0).contains(&value(Unary::Exp, 9.703)));
        let m1 = |op: Unary| op.image(Generation::M1)[0];
        assert!((m1(Unary::Gelu) + 0.000_543).abs() < 1e-6 && (m1(Unary::Silu) + 0.001_259).abs() < 1e-6);
    }

    #[test]
    fn special_values() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        let cases = [
            (Unary::Exp, 11.094, inf),
            (Unary::Square, 256.0, inf),
            (Unary::Log, 0.0, -45440.0),
            (Unary::Log, -1.0, 0.0),
            (Unary::Sqrt, -1.0, 0.0),
            (Unary::Rsqrt, -1.0, 0.0),
            (Unary::Rsqrt, 0.0, inf),
            (Unary::Inverse, -0.0, inf),
            (Unary::Inverse, 0.0, inf),
            (Unary::Softplus, inf, 0.0),
            (Unary::Softplus, 11.094, 0.0),
            (Unary::Softsign, inf, 0.0),
            (Unary::Round, 1024.0, 1025.0),
            (Unary::Round, 2.5, 3.0),
            (Unary::Relu, nan, inf),
        ];
        for (op, x, y) in cases {
            assert_eq!(value(op, x), y, "{op:?}({x})");
        }
        assert!(value(Unary::Exp, 11.086).is_finite() && value(Unary::Square, 255.0).is_finite());
        assert!(value(Unary::Softplus, 11.0) > 10.9);
    }

    #[test]
    fn nothing_gives_a_nan() {
        for op in Unary::ALL {
            for generation in [Generation::M4, Generation::M1] {
                assert!(op.image(generation).iter().all(|y| !y.is_nan()), "{op:?}");
            }
        }
    }

    #[test]
    fn powers_of_two_are_exact() {
        for e in -8..8 {
            let x = 2f64.powi(e);
            assert_eq!(value(Unary::Inverse, x), 1.0 / x);
            assert_eq!(value(Unary::Exp2, f64::from(e)), x);
        }
    }
}
