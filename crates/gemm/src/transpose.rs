//! Transposing eight by eight numbers in registers.

use std::arch::x86_64::{
    __m256, _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps,
    _mm256_unpacklo_ps,
};

/// Rows and columns of a square.
pub(crate) const SQUARE: usize = 8;

/// Writes the columns of a square of contiguous rows as contiguous rows.
///
/// # Safety
/// `from` must be readable and `to` writable for a square whose rows are `row` and `to_row` elements apart.
#[target_feature(enable = "avx")]
pub(crate) unsafe fn transpose(from: *const f32, row: usize, to: *mut f32, to_row: usize) {
    // SAFETY: the caller's promise.
    let rows: [__m256; SQUARE] = std::array::from_fn(|i| unsafe { _mm256_loadu_ps(from.add(i * row)) });
    let pairs = |i: usize| {
        let (a, b) = (rows[i], rows[i + 1]);
        [_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)]
    };
    let [p, q, r, s] = [pairs(0), pairs(2), pairs(4), pairs(6)];
    // Columns 0 to 3 in the low halves, 4 to 7 in the high ones.
    let fours = |a: [__m256; 2], b: [__m256; 2]| {
        [
            _mm256_shuffle_ps::<0b01_00_01_00>(a[0], b[0]),
            _mm256_shuffle_ps::<0b11_10_11_10>(a[0], b[0]),
            _mm256_shuffle_ps::<0b01_00_01_00>(a[1], b[1]),
            _mm256_shuffle_ps::<0b11_10_11_10>(a[1], b[1]),
        ]
    };
    let (upper, lower) = (fours(p, q), fours(r, s));
    for i in 0..SQUARE / 2 {
        let low = _mm256_permute2f128_ps::<0x20>(upper[i], lower[i]);
        let high = _mm256_permute2f128_ps::<0x31>(upper[i], lower[i]);
        // SAFETY: the caller's promise.
        unsafe {
            _mm256_storeu_ps(to.add(i * to_row), low);
            _mm256_storeu_ps(to.add((i + SQUARE / 2) * to_row), high);
        }
    }
}
