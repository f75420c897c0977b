//! Elementary functions without branches or tables, so that loops over them vectorise.
//!
//! `F` says whether the instruction set has a fused multiply-add; without one it would be a slow library call.

/// `a·b + c`
#[inline(always)]
fn fma<const F: bool>(a: f32, b: f32, c: f32) -> f32 {
    if F { a.mul_add(b, c) } else { a * b + c }
}

/// Adding and subtracting 1.5·2²³ rounds to an integer, which the low bits of the sum then hold.
const ROUNDER: f32 = 12_582_912.0;

/// `2ⁿ·y` where `shifted` is `n` + [`ROUNDER`] and `n` is in −152…128. Two factors, for `2ⁿ` itself may be out of range.
#[inline(always)]
fn scale(y: f32, shifted: f32) -> f32 {
    let n = shifted.to_bits().wrapping_sub(ROUNDER.to_bits()) as i32;
    let half = n >> 1;
    let power = |n: i32| f32::from_bits(((n + 127) as u32) << 23);
    y * power(half) * power(n - half)
}

/// `eʳ` for |r| ≤ ln(2)/2.
#[inline(always)]
fn exp_reduced<const F: bool>(r: f32) -> f32 {
    let mut p = 1.987_569_1e-4;
    p = fma::<F>(p, r, 1.398_199_9e-3);
    p = fma::<F>(p, r, 8.333_452e-3);
    p = fma::<F>(p, r, 4.166_579_6e-2);
    p = fma::<F>(p, r, 1.666_666_5e-1);
    p = fma::<F>(p, r, 0.5);
    fma::<F>(p, r * r, r) + 1.0
}

const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `x` held in `low..=high`; NaN stays.
#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// `eˣ`
#[inline(always)]
pub(crate) fn exp<const F: bool>(x: f32) -> f32 {
    // Below, the result is 0. It is not computed: multiplications that underflow are a hundred times slower, and masked
    // scores make half of a causal softmax such numbers.
    let vanishes = x < -103.972_08;
    let x = if vanishes { 0.0 } else { x };
    let x = if x > 88.8 { 88.8 } else { x };
    let shifted = fma::<F>(x, std::f32::consts::LOG2_E, ROUNDER);
    let n = shifted - ROUNDER;
    let r = fma::<F>(n, -LN_2_LOW, fma::<F>(n, -LN_2_HIGH, x));
    let y = scale(exp_reduced::<F>(r), shifted);
    if vanishes { 0.0 } else { y }
}

/// `2ˣ`
#[inline(always)]
pub(crate) fn exp2<const F: bool>(x: f32) -> f32 {
    let x = clamp(x, -151.0, 128.0);
    let shifted = x + ROUNDER;
    let r = (x - (shifted - ROUNDER)) * std::f32::consts::LN_2;
    scale(exp_reduced::<F>(r), shifted)
}

/// `ln x`; −∞ at 0, NaN below.
#[inline(always)]
pub(crate) fn ln<const F: bool>(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let normal = if tiny { x * 8_388_608.0 } else { x };
    // Mantissa in [√½, √2).
    let bits = normal.to_bits().wrapping_sub(0x3f35_04f3);
    let exponent = (bits as i32 >> 23) as f32 - if tiny { 23.0 } else { 0.0 };
    let f = f32::from_bits((bits & 0x007f_ffff) + 0x3f35_04f3) - 1.0;
    let mut p = 7.037_683_6e-2;
    p = fma::<F>(p, f, -1.151_461e-1);
    p = fma::<F>(p, f, 1.167_699_9e-1);
    p = fma::<F>(p, f, -1.242_014_1e-1);
    p = fma::<F>(p, f, 1.424_932_3e-1);
    p = fma::<F>(p, f, -1.666_805_7e-1);
    p = fma::<F>(p, f, 2.000_071_5e-1);
    p = fma::<F>(p, f, -2.499_999_4e-1);
    p = fma::<F>(p, f, 3.333_333e-1);
    let square = f * f;
    let mut y = p * f * square;
    y = fma::<F>(exponent, LN_2_LOW, y);
    y = fma::<F>(square, -0.5, y);
    let y = fma::<F>(exponent, LN_2_HIGH, f + y);
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x < 0.0 || x.is_nan() { f32::NAN } else { y }
}

/// `1 / (1 + e⁻ˣ)`
#[inline(always)]
pub(crate) fn sigmoid<const F: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<F>(-x))
}

/// `tanh x`
#[inline(always)]
pub(crate) fn tanh<const F: bool>(x: f32) -> f32 {
    let a = x.abs();
    let square = x * x;
    let mut p = -5.704_988_7e-3;
    p = fma::<F>(p, square, 2.063_909e-2);
    p = fma::<F>(p, square, -5.373_971_6e-2);
    p = fma::<F>(p, square, 1.333_144_2e-1);
    p = fma::<F>(p, square, -3.333_328e-1);
    let small = fma::<F>(p * square, x, x);
    let large = (1.0 - 2.0 / (exp::<F>(2.0 * a) + 1.0)).copysign(x);
    if a < 0.625 { small } else { large }
}

/// The error function.
#[inline(always)]
pub(crate) fn erf<const F: bool>(x: f32) -> f32 {
    let (a, square) = (x.abs(), x * x);
    // 1 − e^(polynomial) away from zero, an odd polynomial near it.
    let mut far = fma::<F>(-1.728_534_7e-5, a, 3.831_972e-4);
    let lower = fma::<F>(-3.883_964_4e-3, a, 2.425_462_2e-2);
    far = fma::<F>(far, square, lower);
    far = fma::<F>(far, a, -1.067_778_8e-1);
    far = fma::<F>(far, a, -6.348_468_7e-1);
    far = fma::<F>(far, a, -1.287_175_1e-1);
    far = fma::<F>(far, a, -a);
    let far = (1.0 - exp::<F>(far)).copysign(x);
    let mut near = -5.967_617e-4;
    near = fma::<F>(near, square, 4.991_194e-3);
    near = fma::<F>(near, square, -2.676_813_5e-2);
    near = fma::<F>(near, square, 1.128_199_3e-1);
    near = fma::<F>(near, square, -3.761_253_3e-1);
    near = fma::<F>(near, square, 1.283_791_7e-1);
    let near = fma::<F>(near, x, x);
    let y = if a > 0.927_734_4 { far } else { near };
    // Past 4 the function is 1 to the last bit, and the polynomial may have turned.
    if a > 4.0 { 1.0f32.copysign(x) } else { y }
}

/// `x·Φ(x)`, to a few ulp of |x|; the tail left of zero does not keep relative precision.
#[inline(always)]
pub(crate) fn gelu<const F: bool>(x: f32) -> f32 {
    0.5 * x * (1.0 + erf::<F>(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Gelu by the tanh formula.
#[inline(always)]
pub(crate) fn gelu_tanh<const F: bool>(x: f32) -> f32 {
    let inner = 0.797_884_6 * fma::<F>(0.044715 * x * x, x, x);
    0.5 * x * (1.0 + tanh::<F>(inner))
}

#[cfg(test)]
mod tests {
    /// Largest relative error of `f` against `g` over a grid, and the place.
    fn worst(f: fn(f32) -> f32, g: fn(f64) -> f64, low: f32, high: f32) -> (f64, f32) {
        let n = 200_000;
        let grid = (0..=n).map(|i| low + (high - low) * i as f32 / n as f32);
        grid.map(|x| {
            let (y, exact) = (f64::from(f(x)), g(f64::from(x)));
            ((y - exact).abs() / exact.abs().max(f64::from(f32::MIN_POSITIVE)), x)
        })
        .fold((0.0, 0.0), |worst, e| if e.0 > worst.0 { e } else { worst })
    }

    fn erf(x: f64) -> f64 {
        // Maclaurin series; enough terms for |x| ≤ 6 would lose digits, so Simpson's rule past 2.
        let n = 2000;
        let h = x / f64::from(n);
        let f = |i: i32| (-(h * f64::from(i)).powi(2)).exp();
        let sum: f64 = (1..n).map(|i| f(i) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        (f(0) + f(n) + sum) * h / 3.0 * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn relative_errors_are_below_3e_7() {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        for (name, worst) in [
            ("exp", worst(super::exp::<true>, f64::exp, -87.0, 88.7)),
            ("exp without fma", worst(super::exp::<false>, f64::exp, -87.0, 88.7)),
            ("exp2", worst(super::exp2::<true>, f64::exp2, -125.0, 127.9)),
            ("ln", worst(super::ln::<true>, f64::ln, 1e-3, 0.999)),
            ("ln near one", worst(super::ln::<true>, f64::ln, 0.5, 1.5)),
            ("ln of large", worst(super::ln::<true>, f64::ln, 1.001, 1e6)),
            ("sigmoid", worst(super::sigmoid::<true>, sigmoid, -80.0, 80.0)),
            ("tanh", worst(super::tanh::<true>, f64::tanh, -12.0, 12.0)),
            ("tanh near zero", worst(super::tanh::<true>, f64::tanh, -0.7, 0.7)),
        ] {
            assert!(worst.0 <= 3e-7, "{name}: {worst:?}");
        }
    }

    #[test]
    fn erf_is_right_to_3e_7() {
        for i in -400..=400 {
            let x = i as f32 / 80.0;
            let (y, exact) = (f64::from(super::erf::<true>(x)), erf(f64::from(x)));
            assert!((y - exact).abs() <= 3e-7 * exact.abs(), "erf({x}) = {y}, not {exact}");
        }
    }

    #[test]
    fn limits_and_exceptions() {
        assert_eq!(super::exp::<true>(f32::NEG_INFINITY), 0.0);
        assert_eq!(super::exp::<true>(-1e4), 0.0);
        // The last result above 0, and the first 0.
        assert_eq!(super::exp::<true>(-103.972), f32::from_bits(1));
        assert_eq!(super::exp::<true>(-103.973), 0.0);
        assert_eq!(super::exp::<true>(0.0), 1.0);
        assert_eq!(super::exp::<true>(f32::INFINITY), f32::INFINITY);
        assert_eq!(super::exp::<true>(89.0), f32::INFINITY);
        assert!(super::exp::<true>(f32::NAN).is_nan());
        assert_eq!(super::exp2::<true>(10.0), 1024.0);
        assert_eq!(super::ln::<true>(1.0), 0.0);
        assert_eq!(super::ln::<true>(0.0), f32::NEG_INFINITY);
        assert_eq!(super::ln::<true>(f32::INFINITY), f32::INFINITY);
        assert!(super::ln::<true>(-1.0).is_nan() && super::ln::<true>(f32::NAN).is_nan());
        let tiny = f64::from(super::ln::<true>(1e-45));
        assert!((tiny - f64::from(1e-45f32).ln()).abs() < 1e-5, "{tiny}");
        assert_eq!(super::sigmoid::<true>(-1e4), 0.0);
        assert_eq!(super::tanh::<true>(1e4), 1.0);
        assert_eq!(super::tanh::<true>(-1e4), -1.0);
        assert!(super::tanh::<true>(f32::NAN).is_nan() && super::erf::<true>(f32::NAN).is_nan());
    }
}
