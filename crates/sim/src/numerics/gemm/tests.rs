//! The fast products against the unit's definition, bit for bit.

use super::tile::{Kernel, MAX_ROWS};
use super::*;
use half::f16;

/// A small generator: tests need the same numbers everywhere.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// An fp16 value with an exponent in a range, sometimes zero.
    fn value(&mut self, exponents: std::ops::RangeInclusive<i32>) -> f32 {
        let r = self.next();
        let span = (exponents.end() - exponents.start() + 1) as u64;
        let exponent = exponents.start() + ((r >> 20) % span) as i32;
        let significand = 1.0 + (r & 1023) as f64 / 1024.0;
        let sign = if r & 1 << 40 == 0 { 1.0 } else { -1.0 };
        if r >> 44 & 31 == 0 { 0.0 } else { f16::from_f64(sign * significand * 2f64.powi(exponent)).to_f32() }
    }

    fn values(&mut self, n: usize, exponents: std::ops::RangeInclusive<i32>) -> Vec<f32> {
        (0..n).map(|_| self.value(exponents.clone())).collect()
    }
}

fn by_definition(a: &Matrix<'_>, b: &Matrix<'_>, bias: Option<&[f32]>, ties: Ties) -> Vec<u32> {
    let at = |row: usize, column: usize| {
        let mut accumulator = mac::Accumulator::new(bias.map_or(0.0, |bias| bias[row]));
        (0..a.columns).for_each(|k| accumulator.mac(b.at(k, column), a.at(row, k)));
        accumulator.result(ties).to_bits()
    };
    (0..a.rows).flat_map(|row| (0..b.columns).map(move |column| at(row, column))).collect()
}

fn fast(a: Matrix<'_>, b: Matrix<'_>, bias: Option<&[f32]>, ties: Ties) -> (Vec<u32>, Saturation) {
    let mut out = vec![f32::NAN; a.rows * b.columns];
    let saturation = Prepared::new(a, bias, 1).unwrap().times(b, &mut out, ties, 1).unwrap();
    (out.iter().map(|y| y.to_bits()).collect(), saturation)
}

#[test]
fn products_are_those_of_the_unit() {
    let mut numbers = Numbers(7);
    // Ranges that meet the gate, plain sums, products over 64 and overflow.
    let ranges =
        [(-14..=-2, -8..=1), (-24..=4, -24..=4), (-3..=6, -3..=5), (0..=9, 2..=9), (-24..=15, -24..=15)];
    for (m, n, k) in [(1, 1, 1), (5, 33, 17), (16, 64, 288), (9, 31, 100), (3, 70, 600)] {
        for (xs, ws) in ranges.clone() {
            for ties in [Ties::Away, Ties::Even] {
                let (a, b) = (numbers.values(m * k, ws.clone()), numbers.values(k * n, xs.clone()));
                let bias = numbers.values(m, -18..=3);
                let a = Matrix::new(&a, (m, k), (k, 1)).unwrap();
                let b = Matrix::new(&b, (k, n), (n, 1)).unwrap();
                for bias in [None, Some(&bias[..])] {
                    let (y, saturation) = fast(a, b, bias, ties);
                    let expected = by_definition(&a, &b, bias, ties);
                    assert!(y == expected, "{m}x{n}x{k} {xs:?} {ws:?}");
                    let infinite =
                        expected.iter().filter(|y| f32::from_bits(**y).is_infinite()).count() as u64;
                    assert_eq!(saturation, Saturation { results: (m * n) as u64, saturated: infinite });
                }
            }
        }
    }
}

#[test]
fn half_way_products_go_away_from_zero() {
    // Few significant bits make ties frequent.
    let mut numbers = Numbers(11);
    let mut coarse = |n: usize, low: i32| -> Vec<f32> {
        (0..n)
            .map(|_| {
                (numbers.next() % 16) as f32
                    * if numbers.next() & 1 == 0 { 1.0 } else { -1.0 }
                    * 2f32.powi(low)
            })
            .collect()
    };
    let (a, b) = (coarse(16 * 64, -7), coarse(64 * 64, -10));
    let a = Matrix::new(&a, (16, 64), (64, 1)).unwrap();
    let b = Matrix::new(&b, (64, 64), (64, 1)).unwrap();
    assert_eq!(fast(a, b, None, Ties::Away).0, by_definition(&a, &b, None, Ties::Away));
}

#[test]
fn every_kernel_agrees() {
    let mut numbers = Numbers(3);
    let (m, n, k) = (8, 32, 300);
    for (xs, ws) in [(-14..=0, -14..=0), (-24..=1, -10..=1)] {
        let (a, b) = (numbers.values(m * k, ws), numbers.values(k * n, xs));
        let a = Matrix::new(&a, (m, k), (k, 1)).unwrap();
        let b = Matrix::new(&b, (k, n), (n, 1)).unwrap();
        let panel = Panel::new(&b, 0);
        let expected = by_definition(&a, &b, None, Ties::Away);
        for kernel in Kernel::all() {
            let mut y = Vec::new();
            for first in (0..m).step_by(kernel.rows) {
                let rows = Rows::new(&a, None, first..first + kernel.rows, kernel.rows);
                assert!(rows.run_length(&panel).is_some(), "the case must reach the fast kernels");
                let mut results = [[0.0; PANEL]; MAX_ROWS];
                kernel.run(&rows, &panel, Ties::Away, &mut results);
                y.extend(results[..kernel.rows].iter().flatten().map(|y| y.to_bits()));
            }
            assert!(y == expected);
        }
    }
}

#[test]
fn strides_threads_and_the_order_of_products_change_nothing() {
    let mut numbers = Numbers(5);
    let (m, n, k) = (37, 45, 129);
    let (a, b) = (numbers.values(m * k, -10..=1), numbers.values(k * n, -12..=2));
    let straight = Matrix::new(&a, (m, k), (k, 1)).unwrap();
    let packed = Matrix::new(&b, (k, n), (n, 1)).unwrap();
    let (expected, _) = fast(straight, packed, None, Ties::Away);

    let transposed: Vec<f32> =
        (0..n).flat_map(|c| (0..k).map(move |r| (r, c))).map(|(r, c)| b[r * n + c]).collect();
    let strided = Matrix::new(&transposed, (k, n), (1, k)).unwrap();
    assert_eq!(fast(straight, strided, None, Ties::Away).0, expected);

    let backwards_a: Vec<f32> = a.chunks(k).flat_map(|row| row.iter().rev().copied()).collect();
    let backwards_b: Vec<f32> = b.chunks(n).rev().flatten().copied().collect();
    let order = fast(
        Matrix::new(&backwards_a, (m, k), (k, 1)).unwrap(),
        Matrix::new(&backwards_b, (k, n), (n, 1)).unwrap(),
        None,
        Ties::Away,
    );
    assert_eq!(order.0, expected);

    for parts in [1, 2, 3, 5, 100] {
        let mut out = vec![0.0; m * n];
        Prepared::new(straight, None, parts).unwrap().times(packed, &mut out, Ties::Away, parts).unwrap();
        assert_eq!(out.iter().map(|y| y.to_bits()).collect::<Vec<_>>(), expected, "{parts} parts");
    }
}

#[test]
fn what_was_infinite_already_does_not_count() {
    let b = [300.0, 1.0, f32::INFINITY];
    let b = Matrix::new(&b, (1, 3), (3, 1)).unwrap();
    for (a, saturated) in [(300.0, 1), (f32::INFINITY, 0)] {
        let a = [a];
        let (y, counted) = fast(Matrix::new(&a, (1, 1), (1, 1)).unwrap(), b, None, Ties::Away);
        assert_eq!(counted.saturated, saturated);
        assert!(f32::from_bits(y[0]).is_infinite() && f32::from_bits(y[2]).is_infinite());
    }
}

#[test]
fn operands_that_do_not_fit_are_errors() {
    let data = [0.0; 6];
    let short = Matrix::new(&data, (2, 4), (4, 1)).unwrap_err();
    assert_eq!(short.to_string(), "a 2×4 matrix of strides 4 and 1 does not fit 6 numbers");
    assert!(Matrix::new(&data, (usize::MAX, 2), (usize::MAX, 1)).is_err());
    let a = Matrix::new(&data, (2, 3), (3, 1)).unwrap();
    let left = Prepared::new(a, None, 1).unwrap();
    assert!(left.times(a, &mut [0.0; 6], Ties::Away, 1).is_err());
    let b = Matrix::new(&data, (3, 2), (2, 1)).unwrap();
    assert!(left.times(b, &mut [0.0; 5], Ties::Away, 1).is_err());
    assert!(Prepared::new(a, Some(&[0.0; 3]), 1).is_err());
}

#[test]
fn int8_sums_are_integers() {
    let sum = |n: usize, a: i8, b: i8, scale: i32| {
        let mut y = [0.0];
        int8_gemm((1, 1, n), &vec![a; n], &vec![b; n], 2f64.powi(scale), &mut y, Ties::Away).unwrap();
        y[0]
    };
    assert_eq!(sum(65536, 127, 127, -16), 16128.0);
    assert_eq!(sum(65536, -128, -128, -16), 16384.0);
    assert_eq!(sum(16384, 127, 127, -12), 64512.0); // above the 32768 of the fp16 path
    assert_eq!(sum(2 * 65536, -128, -128, -18), f32::INFINITY); // 2³¹
}

#[test]
fn a_sum_that_climbs_in_small_steps_overflows_where_it_should() {
    // Products of at most 49, so that only the sums are large; some come back, some stay below.
    let k = 1600;
    for top in [660, 668, 669, 700] {
        let a: Vec<f32> = (0..k).map(|i| if i < top { 7.0 } else { -7.0 }).collect();
        let b = vec![7.0; k * 3];
        let a = Matrix::new(&a, (1, k), (k, 1)).unwrap();
        let b = Matrix::new(&b, (k, 3), (3, 1)).unwrap();
        for bias in [0.0, 16.0, -40.0, 32752.0] {
            assert_eq!(
                fast(a, b, Some(&[bias]), Ties::Away).0,
                by_definition(&a, &b, Some(&[bias]), Ties::Away)
            );
        }
    }
}
