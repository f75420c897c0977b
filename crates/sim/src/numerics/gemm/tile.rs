//! The kernels: a few rows against one panel.
#![allow(
    unsafe_code,
    reason = "vector instructions chosen at run time: their functions may only be called where the processor has them, \
              and their loads take pointers"
)]

use super::pack::{self, PANEL, Panel, Rows};
use crate::numerics::fp16::{self, Ties};
use crate::numerics::mac::{LIMIT, UNITS};

/// The most rows a kernel takes at once.
pub(super) const MAX_ROWS: usize = 8;

/// Results of one tile.
pub(super) type Results = [[f32; PANEL]; MAX_ROWS];

/// Sums of one tile in units, modulo 2³².
type Sums = [[i32; PANEL]; MAX_ROWS];

/// 1.5·2²³: what is added to it is rounded to an integer, and while that is below 2²² it can be read from the bits.
const SHIFT: f32 = 12_582_912.0;

/// A run of products: from which k, and how many.
type Run = std::ops::Range<usize>;

/// The kernels of this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel {
    /// Rows it takes at once.
    pub(super) rows: usize,
    /// Adds the rounded products of a run to the sums.
    add: Option<unsafe fn(&Rows, &Panel, Run, &mut Sums)>,
}

impl Kernel {
    pub(super) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx512f") {
                return Kernel { rows: 8, add: Some(add_avx512) };
            }
            if has!("avx2") && has!("fma") {
                return Kernel { rows: 4, add: Some(add_avx2) };
            }
        }
        // Elsewhere a fused multiply-add is one instruction or a slow call.
        Kernel { rows: 4, add: cfg!(target_arch = "aarch64").then_some(add_portable) }
    }

    /// Every kernel this machine can run.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Self> {
        let mut all =
            vec![Kernel { rows: 4, add: None }, Kernel { rows: 4, add: Some(add_portable) }, Kernel::best()];
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            all.push(Kernel { rows: 4, add: Some(add_avx2) });
        }
        all
    }

    /// Computes the tile of `rows` and `panel`.
    #[inline]
    pub(super) fn run(self, rows: &Rows, panel: &Panel, ties: Ties, results: &mut Results) {
        let mut sums = [[0; PANEL]; MAX_ROWS];
        if self.add_up(rows, panel, &mut sums) {
            crate::numerics::dispatch(
                #[inline(always)]
                || finish(&sums, ties, results),
            );
        } else {
            crate::numerics::dispatch(
                #[inline(always)]
                || (0..rows.len).for_each(|row| exact(self.rows, rows, row, panel, ties, &mut results[row])),
            );
        }
    }

    /// Adds up a tile in runs. False if a sum may have reached the limit on the way.
    #[inline]
    fn add_up(self, rows: &Rows, panel: &Panel, sums: &mut Sums) -> bool {
        let Some((add, (length, sure))) = self.add.zip(rows.run_length(panel)) else { return false };
        for (sums, bias) in sums.iter_mut().zip(&rows.bias) {
            sums.fill(*bias as i32);
        }
        let depth = panel.least.len();
        let mut from = 0;
        while from < depth {
            let run = from..depth.min(from.saturating_add(length));
            from = run.end;
            // SAFETY: `best` and `all` choose kernels whose instructions this processor has.
            unsafe { add(rows, panel, run, sums) };
            if !sure && sums.iter().flatten().any(|sum| i64::from(sum.unsigned_abs()) >= pack::SAFE) {
                return false;
            }
        }
        true
    }
}

/// Rounds to fp16.
#[inline(always)]
fn finish(sums: &Sums, ties: Ties, results: &mut Results) {
    for (result, sums) in results.iter_mut().zip(sums) {
        for (y, sum) in result.iter_mut().zip(sums) {
            *y = rounded(*sum, ties);
        }
    }
}

/// A sum in units, rounded to eleven significant bits, as a number. All below 2⁻⁵ is exact already.
#[inline(always)]
fn rounded(sum: i32, ties: Ties) -> f32 {
    let magnitude = sum.unsigned_abs();
    // The exponent of the nearest `f32`: one too high just below a power of two, which is what rounding makes of it too.
    let exponent = (magnitude as f32).to_bits() >> 23;
    let shift = exponent.max(127 + 10) - (127 + 10);
    let half = (1u32 << shift) >> 1;
    let carry = match ties {
        Ties::Away => half,
        Ties::Even => half.wrapping_sub(u32::from(half > 0)) + (magnitude >> shift & u32::from(half > 0)),
    };
    let kept = (magnitude + carry) >> shift << shift;
    kept as f32 * (1.0 / UNITS as f32) * if sum < 0 { -1.0 } else { 1.0 }
}

/// One row in double precision and in order; a sum stays where it first overflowed.
#[inline(always)]
fn exact(height: usize, rows: &Rows, row: usize, panel: &Panel, ties: Ties, result: &mut [f32; PANEL]) {
    const WIDTH: usize = 16;
    for (part, result) in result.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
        let mut sums = [rows.bias[row] as f64; WIDTH];
        for (weights, x) in rows
            .weights
            .chunks_exact(height)
            .zip(panel.values.as_chunks::<WIDTH>().0[part..].iter().step_by(PANEL / WIDTH))
        {
            exact_step(weights[row], x, &mut sums);
        }
        for (y, sum) in result.iter_mut().zip(&sums) {
            let rounded = fp16::round(sum * (1.0 / UNITS), ties);
            let held = if sum.abs() < LIMIT as f64 { rounded } else { f32::INFINITY.copysign(*sum as f32) };
            // A zero is never negative.
            *y = if held == 0.0 { 0.0 } else { held };
        }
    }
}

#[inline(always)]
fn exact_step<const N: usize>(raised: f32, x: &[f32; N], sums: &mut [f64; N]) {
    /// 1.5·2⁵²: adding and taking it off rounds what is below 2⁵¹ to an integer.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    /// Carries half-way cases over and nothing else, below the 2³³ at which any product overflows every sum.
    const RAISE: f64 = 1.0 + 1.0 / (1u64 << 50) as f64;
    let (w, least) = (f64::from(pack::lowered(raised)) * RAISE, pack::threshold(raised));
    for c in 0..N {
        let product = (f64::from(x[c]) * w + SHIFT) - SHIFT;
        let kept = if gate(x[c]) >= least { product } else { 0.0 };
        sums[c] += if sums[c].abs() < LIMIT as f64 { kept } else { 0.0 };
    }
}

/// The magnitude whose exponent counts: at least 2⁻¹⁴.
#[inline(always)]
fn gate(x: f32) -> f32 {
    const LEAST: f32 = 1.0 / 16384.0;
    if x.abs() > LEAST { x.abs() } else { LEAST }
}

/// # Safety
/// None needed; it has the type of its siblings.
unsafe fn add_portable(rows: &Rows, panel: &Panel, run: Run, sums: &mut Sums) {
    let mut acc = [[SHIFT; PANEL]; 4];
    let weights = rows.weights.as_chunks::<4>().0[run.clone()].iter();
    let weights = weights.zip(&rows.thresholds.as_chunks::<4>().0[run.clone()]);
    for ((weights, thresholds), x) in weights.zip(&panel.values.as_chunks::<PANEL>().0[run]) {
        for ((acc, w), least) in acc.iter_mut().zip(weights).zip(thresholds) {
            for c in 0..PANEL {
                acc[c] = if gate(x[c]) >= *least { w.mul_add(x[c], acc[c]) } else { acc[c] };
            }
        }
    }
    for (sums, acc) in sums.iter_mut().zip(acc) {
        for (sum, acc) in sums.iter_mut().zip(acc) {
            *sum = sum.wrapping_add(acc.to_bits().wrapping_sub(SHIFT.to_bits()) as i32);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn add_avx512(rows: &Rows, panel: &Panel, run: Run, sums: &mut Sums) {
    use std::arch::x86_64::*;
    let floor = _mm512_set1_ps(1.0 / 16384.0);
    let shift = _mm512_set1_ps(SHIFT);
    let mut acc = [[shift; 2]; 8];
    let weights = rows.weights.as_chunks::<8>().0[run.clone()].iter();
    let weights = weights.zip(&rows.thresholds.as_chunks::<8>().0[run.clone()]);
    let values = panel.values.as_chunks::<PANEL>().0[run.clone()].iter();
    let ungated =
        panel.least[run.clone()].iter().zip(&rows.enough[run]).map(|(least, enough)| least >= enough);
    for (((weights, thresholds), x), ungated) in weights.zip(values).zip(ungated) {
        // SAFETY: `x` is 32 numbers.
        let x = unsafe { [_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x.as_ptr().add(16))] };
        if ungated {
            for row in 0..8 {
                let w = _mm512_set1_ps(weights[row]);
                acc[row][0] = _mm512_fmadd_ps(w, x[0], acc[row][0]);
                acc[row][1] = _mm512_fmadd_ps(w, x[1], acc[row][1]);
            }
        } else {
            let g = [_mm512_max_ps(_mm512_abs_ps(x[0]), floor), _mm512_max_ps(_mm512_abs_ps(x[1]), floor)];
            for row in 0..8 {
                let w = _mm512_set1_ps(weights[row]);
                let t = _mm512_set1_ps(thresholds[row]);
                for half in 0..2 {
                    let kept = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(g[half], t);
                    acc[row][half] = _mm512_mask3_fmadd_ps(w, x[half], acc[row][half], kept);
                }
            }
        }
    }
    let shift = _mm512_castps_si512(shift);
    for (sums, acc) in sums.iter_mut().zip(acc) {
        for (half, acc) in acc.into_iter().enumerate() {
            // SAFETY: a row of sums is 32 numbers.
            unsafe {
                let at = sums.as_mut_ptr().add(16 * half).cast();
                let units = _mm512_sub_epi32(_mm512_castps_si512(acc), shift);
                _mm512_storeu_si512(at, _mm512_add_epi32(_mm512_loadu_si512(at), units));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn add_avx2(rows: &Rows, panel: &Panel, run: Run, sums: &mut Sums) {
    use std::arch::x86_64::*;
    let floor = _mm256_set1_ps(1.0 / 16384.0);
    let magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(i32::MAX));
    let shift = _mm256_set1_ps(SHIFT);
    for from in [0, PANEL / 2] {
        let mut acc = [[shift; 2]; 4];
        let weights = rows.weights.as_chunks::<4>().0[run.clone()].iter();
        let weights = weights.zip(&rows.thresholds.as_chunks::<4>().0[run.clone()]);
        let values = panel.values.as_chunks::<PANEL>().0[run.clone()].iter();
        let ungated = panel.least[run.clone()]
            .iter()
            .zip(&rows.enough[run.clone()])
            .map(|(least, enough)| least >= enough);
        for (((weights, thresholds), x), ungated) in weights.zip(values).zip(ungated) {
            // SAFETY: `x` is 32 numbers and `from` at most 16.
            let x =
                unsafe { [_mm256_loadu_ps(x.as_ptr().add(from)), _mm256_loadu_ps(x.as_ptr().add(from + 8))] };
            if ungated {
                for row in 0..4 {
                    let w = _mm256_set1_ps(weights[row]);
                    acc[row][0] = _mm256_fmadd_ps(w, x[0], acc[row][0]);
                    acc[row][1] = _mm256_fmadd_ps(w, x[1], acc[row][1]);
                }
            } else {
                for half in 0..2 {
                    let g = _mm256_max_ps(_mm256_and_ps(x[half], magnitude), floor);
                    for row in 0..4 {
                        let t = _mm256_set1_ps(thresholds[row]);
                        let kept = _mm256_and_ps(x[half], _mm256_cmp_ps::<_CMP_GE_OQ>(g, t));
                        acc[row][half] = _mm256_fmadd_ps(_mm256_set1_ps(weights[row]), kept, acc[row][half]);
                    }
                }
            }
        }
        let shift = _mm256_castps_si256(shift);
        for (sums, acc) in sums.iter_mut().zip(acc) {
            for (half, acc) in acc.into_iter().enumerate() {
                // SAFETY: a row of sums is 32 numbers and `from` at most 16.
                unsafe {
                    let at = sums.as_mut_ptr().add(from + 8 * half).cast();
                    let units = _mm256_sub_epi32(_mm256_castps_si256(acc), shift);
                    _mm256_storeu_si256(at, _mm256_add_epi32(_mm256_loadu_si256(at), units));
                }
            }
        }
    }
}
