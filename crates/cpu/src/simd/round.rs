//! Rounding of fp32 through narrower formats, bit for bit what a conversion there and back gives.

use crate::graph::Round;

/// `x` rounded.
pub(crate) fn scalar(round: Round, x: f32) -> f32 {
    match round {
        // An arithmetic rounds itself, where it has a result to round.
        Round::Keep | Round::Foreign => x,
        Round::Fp16 => fp16(x),
        Round::Bf16 => bf16(x),
        Round::Whole => whole(x),
    }
}

/// `x`, an integer, or NaN from 2²⁴ on, where it may be the neighbour of what was meant.
pub(crate) fn whole(x: f32) -> f32 {
    const PAST: f32 = 16_777_216.0;
    if x.abs() < PAST { x } else { f32::NAN }
}

/// `x` through binary16, ties to even. Written without branches so that loops over it vectorise.
#[inline(always)]
pub(crate) fn fp16(x: f32) -> f32 {
    let bits = x.to_bits();
    let (sign, magnitude) = (bits & 0x8000_0000, bits & 0x7fff_ffff);
    // Normal results keep 10 of 23 fraction bits; the carry may reach the exponent, as it should.
    let kept = (magnitude + 0x0fff + (magnitude >> 13 & 1)) & !0x1fff;
    // From 65520 on, half an ulp past the largest finite value, results are infinite.
    let normal = if magnitude >= 0x477f_f000 { 0x7f80_0000 } else { kept };
    // Below 2⁻¹⁴ the spacing is 2⁻²⁴, that of fp32 in [0.5, 1): the addition rounds.
    let subnormal = ((f32::from_bits(magnitude) + 0.5) - 0.5).to_bits();
    let finite = if magnitude < 0x3880_0000 { subnormal } else { normal };
    let nan = (magnitude & !0x1fff) | 0x0040_0000;
    f32::from_bits(sign | if magnitude > 0x7f80_0000 { nan } else { finite })
}

/// A row through binary16.
pub(crate) fn fp16_row(row: &mut [f32]) {
    row.iter_mut().for_each(|x| *x = fp16(*x));
}

/// A row through binary16, by the processor's conversions.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "f16c")]
pub(crate) fn fp16_row_f16c(row: &mut [f32]) {
    use std::arch::x86_64::*;
    let mut groups = row.chunks_exact_mut(8);
    for group in &mut groups {
        let at = group.as_mut_ptr();
        #[allow(unsafe_code, reason = "vector loads and stores take addresses")]
        // SAFETY: a group has eight elements.
        unsafe {
            let half = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_loadu_ps(at));
            _mm256_storeu_ps(at, _mm256_cvtph_ps(half));
        }
    }
    fp16_row(groups.into_remainder());
}

/// A row through binary16, by the processor's conversions.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
pub(crate) fn fp16_row_avx512(row: &mut [f32]) {
    use std::arch::x86_64::*;
    let mut groups = row.chunks_exact_mut(16);
    for group in &mut groups {
        let at = group.as_mut_ptr();
        #[allow(unsafe_code, reason = "vector loads and stores take addresses")]
        // SAFETY: a group has sixteen elements.
        unsafe {
            let half = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm512_loadu_ps(at));
            _mm512_storeu_ps(at, _mm512_cvtph_ps(half));
        }
    }
    fp16_row(groups.into_remainder());
}

/// `x` through bfloat16, ties to even.
#[inline(always)]
pub(crate) fn bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    let kept = (bits.wrapping_add(0x7fff + (bits >> 16 & 1))) & 0xffff_0000;
    let nan = (bits & 0xffff_0000) | 0x0040_0000;
    f32::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 { nan } else { kept })
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    /// Around every binary16 value and every midpoint, and a coarse walk over all of fp32.
    fn samples() -> impl Iterator<Item = u32> {
        let near = (0..=u16::MAX).flat_map(|h| {
            let bits = f16::from_bits(h).to_f32().to_bits();
            [0u32, 0x800, 0xfff, 0x1000, 0x1001, 0x1fff]
                .into_iter()
                .flat_map(move |d| [bits.wrapping_add(d), bits.wrapping_sub(d)])
        });
        near.chain((0..=u32::MAX / 997).map(|i| i * 997))
    }

    #[test]
    fn every_neighbourhood_of_a_half_rounds_as_half_does() {
        for bits in samples() {
            let x = f32::from_bits(bits);
            assert_eq!(super::fp16(x).to_bits(), f16::from_f32(x).to_f32().to_bits(), "fp16 of {bits:#x}");
            assert_eq!(super::bf16(x).to_bits(), bf16::from_f32(x).to_f32().to_bits(), "bf16 of {bits:#x}");
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_processors_conversions_give_the_same_bits() {
        let mut rows: Vec<fn(&mut [f32])> = Vec::new();
        if std::arch::is_x86_feature_detected!("f16c") {
            #[allow(unsafe_code, reason = "calls across target features")]
            // SAFETY: the processor has the feature.
            rows.push(|row| unsafe { super::fp16_row_f16c(row) });
        }
        if std::arch::is_x86_feature_detected!("avx512f") {
            #[allow(unsafe_code, reason = "calls across target features")]
            // SAFETY: the processor has the feature.
            rows.push(|row| unsafe { super::fp16_row_avx512(row) });
        }
        // A length that no vector divides.
        let samples: Vec<f32> = samples().map(f32::from_bits).chain([0.1, -0.2, 0.3]).collect();
        let samples = &samples[samples.len() % 2..];
        for round in rows {
            let mut rounded = samples.to_vec();
            round(&mut rounded);
            let wrong = samples.iter().zip(&rounded).find(|(x, y)| super::fp16(**x).to_bits() != y.to_bits());
            assert_eq!(wrong, None);
        }
    }
}
