//! The gradient's norm and clipping.

use pulp::{Arch, Simd, WithSimd};

use super::BLOCK;

/// Euclidean norm of `grads`, summed in f64. Infinite or NaN when an element is, which is how an overflow shows.
pub fn global_norm(grads: &[f32]) -> f64 {
    let arch = Arch::new();
    let sums = ferrane_team::map(grads.chunks(BLOCK), |_, block| arch.dispatch(SumOfSquares(block)));
    sums.iter().sum::<f64>().sqrt()
}

struct SumOfSquares<'a>(&'a [f32]);

impl WithSimd for SumOfSquares<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        const LANES: usize = 16;
        let mut sums = [0.0f64; LANES];
        let mut groups = self.0.chunks_exact(LANES);
        for group in &mut groups {
            for (sum, &value) in sums.iter_mut().zip(group) {
                *sum += f64::from(value) * f64::from(value);
            }
        }
        for (sum, &value) in sums.iter_mut().zip(groups.remainder()) {
            *sum += f64::from(value) * f64::from(value);
        }
        sums.iter().sum()
    }
}

/// What to multiply the gradients by so that their norm does not exceed `max_norm` (0: no limit), by PyTorch's formula
/// `max_norm / (norm + 1e-6)`, at most 1.
pub fn clip_coefficient(norm: f64, max_norm: f64) -> f32 {
    if max_norm <= 0.0 {
        return 1.0;
    }
    (max_norm / (norm + 1e-6)).min(1.0) as f32
}
