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

/// 1.5·2²³: adding it rounds what is below 2²² to an integer and leaves that in the low bits.
const SHIFT: f32 = 12_582_912.0;

/// The kernels of this machine.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    /// Rows it takes at once.
    pub(super) rows: usize,
    /// Sums of rounded products modulo 2³², for tiles that are surely small.
    sums: Option<unsafe fn(&Rows, &Panel, &mut Sums)>,
}

type Sums = [[i32; PANEL]; MAX_ROWS];

impl Kernel {
    pub(super) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx512f") {
                return Kernel { rows: 8, sums: Some(sums_avx512) };
            }
            if has!("avx2") && has!("fma") {
                return Kernel { rows: 4, sums: Some(sums_avx2) };
            }
        }
        Kernel { rows: 4, sums: cfg!(target_arch = "aarch64").then_some(sums_portable) }
    }

    /// The kernel that goes the exact road everywhere, for comparison.
    #[cfg(test)]
    pub(super) const EXACT: Kernel = Kernel { rows: 4, sums: None };

    /// Every kernel this machine can run.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Self> {
        let mut all = vec![Kernel::EXACT, Kernel { rows: 4, sums: Some(sums_portable) }, Kernel::best()];
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            all.push(Kernel { rows: 4, sums: Some(sums_avx2) });
        }
        all
    }

    /// Computes the tile of `rows` and `panel`.
    #[inline]
    pub(super) fn run(self, rows: &Rows, panel: &Panel, ties: Ties, results: &mut Results) {
        match self.sums {
            Some(sums) if rows.surely_small(panel) => {
                let mut tile = [[0; PANEL]; MAX_ROWS];
                // SAFETY: `best` and `all` choose kernels whose instructions this processor has.
                unsafe { sums(rows, panel, &mut tile) };
                crate::numerics::dispatch(
                    #[inline(always)]
                    || finish(rows, &tile, ties, results),
                );
            }
            _ => crate::numerics::dispatch(
                #[inline(always)]
                || (0..rows.len).for_each(|row| exact(self.rows, rows, row, panel, ties, &mut results[row])),
            ),
        }
    }
}

/// Adds the bias, takes off what the shifts added, rounds to fp16.
#[inline(always)]
fn finish(rows: &Rows, sums: &Sums, ties: Ties, results: &mut Results) {
    let height = rows.bias.len();
    let depth = rows.weights.len() / (2 * height);
    let shifts = (SHIFT.to_bits() as i32).wrapping_mul(depth as i32);
    for ((result, sums), bias) in results.iter_mut().zip(sums).zip(&rows.bias) {
        let start = (*bias as i32).wrapping_sub(shifts);
        for (y, sum) in result.iter_mut().zip(sums) {
            *y = fp16::round(f64::from(sum.wrapping_add(start)) * (1.0 / UNITS), ties);
        }
    }
}

/// One row in double precision and in order; a sum stays where it first overflowed.
#[inline(always)]
fn exact(height: usize, rows: &Rows, row: usize, panel: &Panel, ties: Ties, result: &mut [f32; PANEL]) {
    /// 1.5·2⁵²: adding and taking it off rounds what is below 2⁵¹ to an integer.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    /// Carries half-way cases over and nothing else, below the 2³³ at which any product overflows every sum.
    const RAISE: f64 = 1.0 + 1.0 / (1u64 << 50) as f64;
    let limit = LIMIT as f64;
    let mut sums = [rows.bias[row] as f64; PANEL];
    for (weights, x) in rows.weights.chunks_exact(2 * height).zip(panel.values.as_chunks::<PANEL>().0) {
        let (w, least) = (f64::from(pack::lowered(weights[row])) * RAISE, weights[height + row]);
        for c in 0..PANEL {
            let product = (f64::from(x[c]) * w + SHIFT) - SHIFT;
            let adds = gate(x[c]) >= least && sums[c].abs() < limit;
            sums[c] += if adds { product } else { 0.0 };
        }
    }
    for (y, sum) in result.iter_mut().zip(&sums) {
        let fits = sum.abs() < limit;
        let rounded = fp16::round(sum * (1.0 / UNITS), ties);
        *y = if fits { rounded } else { f32::INFINITY.copysign(*sum as f32) };
        // A zero is never negative.
        *y = if *y == 0.0 { 0.0 } else { *y };
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
unsafe fn sums_portable(rows: &Rows, panel: &Panel, sums: &mut Sums) {
    for (weights, x) in rows.weights.as_chunks::<8>().0.iter().zip(panel.values.as_chunks::<PANEL>().0) {
        let mut gates = [0.0; PANEL];
        gates.iter_mut().zip(x).for_each(|(g, x)| *g = gate(*x));
        for row in 0..4 {
            for c in 0..PANEL {
                let shifted = weights[row].mul_add(x[c], SHIFT);
                let kept = if gates[c] >= weights[4 + row] { shifted } else { SHIFT };
                sums[row][c] = sums[row][c].wrapping_add(kept.to_bits() as i32);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn sums_avx512(rows: &Rows, panel: &Panel, sums: &mut Sums) {
    use std::arch::x86_64::*;
    let least = _mm512_set1_ps(1.0 / 16384.0);
    let shift = _mm512_set1_ps(SHIFT);
    let mut acc = [[_mm512_setzero_si512(); 2]; 8];
    for (weights, x) in rows.weights.as_chunks::<16>().0.iter().zip(panel.values.as_chunks::<PANEL>().0) {
        // SAFETY: `x` is 32 numbers.
        let x = unsafe { [_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x.as_ptr().add(16))] };
        let g = [_mm512_max_ps(_mm512_abs_ps(x[0]), least), _mm512_max_ps(_mm512_abs_ps(x[1]), least)];
        for row in 0..8 {
            let w = _mm512_set1_ps(weights[row]);
            let t = _mm512_set1_ps(weights[8 + row]);
            for half in 0..2 {
                let kept = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(g[half], t);
                let shifted = _mm512_mask3_fmadd_ps(w, x[half], shift, kept);
                acc[row][half] = _mm512_add_epi32(acc[row][half], _mm512_castps_si512(shifted));
            }
        }
    }
    for (sums, acc) in sums.iter_mut().zip(acc) {
        // SAFETY: a row of sums is 32 numbers.
        unsafe {
            _mm512_storeu_si512(sums.as_mut_ptr().cast(), acc[0]);
            _mm512_storeu_si512(sums.as_mut_ptr().add(16).cast(), acc[1]);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn sums_avx2(rows: &Rows, panel: &Panel, sums: &mut Sums) {
    use std::arch::x86_64::*;
    let least = _mm256_set1_ps(1.0 / 16384.0);
    let magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(i32::MAX));
    let shift = _mm256_set1_ps(SHIFT);
    for from in [0, PANEL / 2] {
        let mut acc = [[_mm256_setzero_si256(); 2]; 4];
        for (weights, x) in rows.weights.as_chunks::<8>().0.iter().zip(panel.values.as_chunks::<PANEL>().0) {
            // SAFETY: `x` is 32 numbers and `from` at most 16.
            let x =
                unsafe { [_mm256_loadu_ps(x.as_ptr().add(from)), _mm256_loadu_ps(x.as_ptr().add(from + 8))] };
            let g = [
                _mm256_max_ps(_mm256_and_ps(x[0], magnitude), least),
                _mm256_max_ps(_mm256_and_ps(x[1], magnitude), least),
            ];
            for row in 0..4 {
                let w = _mm256_set1_ps(weights[row]);
                let t = _mm256_set1_ps(weights[4 + row]);
                for half in 0..2 {
                    let kept = _mm256_and_ps(x[half], _mm256_cmp_ps::<_CMP_GE_OQ>(g[half], t));
                    let shifted = _mm256_fmadd_ps(w, kept, shift);
                    acc[row][half] = _mm256_add_epi32(acc[row][half], _mm256_castps_si256(shifted));
                }
            }
        }
        for (sums, acc) in sums.iter_mut().zip(acc) {
            // SAFETY: a row of sums is 32 numbers and `from` at most 16.
            unsafe {
                _mm256_storeu_si256(sums.as_mut_ptr().add(from).cast(), acc[0]);
                _mm256_storeu_si256(sums.as_mut_ptr().add(from + 8).cast(), acc[1]);
            }
        }
    }
}
