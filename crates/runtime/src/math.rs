//! Elementary functions that compilers turn into vector code.

/// eˣ in fp32, relative error at most 1e-7 for arguments in −87.33..=88.72.
///
/// Arguments below give 0 (their power is below the smallest normal number), above +∞, NaN gives NaN. No branches and no
/// table, so a loop over it vectorises when inlined into one.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const MIN: f32 = -87.33;
    const MAX: f32 = 88.72;
    /// Adding this to a small number leaves its nearest integer in the low bits of the sum's significand.
    const ROUNDER: f32 = 12_582_912.0;
    /// ln 2 as the sum of a number with trailing zeros, whose multiples are exact, and the rest.
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;

    // x = n·ln 2 + r with |r| ≤ ln 2 / 2
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUNDER);
    let n = rounded - ROUNDER;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));

    // eʳ = 1 + r + r²·p(r), p the minimax polynomial of Cephes' expf.
    let mut p = 1.987_569_1e-4f32;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.mul_add(r, coefficient);
    }
    let power = p.mul_add(r * r, r) + 1.0;

    // Times 2ⁿ, as two factors so that n = 128 stays in range.
    let n = rounded.to_bits() as i32 - ROUNDER.to_bits() as i32;
    let half = n >> 1;
    let scaled = power * exp2_of(half) * exp2_of(n.wrapping_sub(half));
    let scaled = if x < MIN { 0.0 } else { scaled };
    if x > MAX { f32::INFINITY } else { scaled }
}

/// 2ⁿ for −126 ≤ n ≤ 127.
#[inline(always)]
fn exp2_of(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_its_bound() {
        let mut worst = 0.0f64;
        let steps = 2_000_000;
        for i in 0..=steps {
            let x = -87.33 + (87.33 + 88.72) * f64::from(i) / f64::from(steps);
            let x = x as f32;
            let exact = f64::from(x).exp();
            worst = worst.max(((f64::from(exp(x)) - exact) / exact).abs());
        }
        assert!(worst <= 1e-7, "relative error {worst:e}");
    }

    #[test]
    fn exp_at_its_edges() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert_eq!(exp(-87.34), 0.0);
        assert_eq!(exp(-1e30), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(88.73), f32::INFINITY);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }
}
