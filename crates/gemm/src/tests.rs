//! Products against sums in double precision, for every way this machine can compute them.

use crate::{
    Left, Matrix, Product, Target, VECTORS, Write, pack::pack_strips, packed_len, strip, tile::Compute,
};

fn numbers(len: usize, seed: u32) -> Vec<f32> {
    (0..len as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 2e7 - 0.4)
        .collect()
}

/// How the operands and the result of a test lie.
#[derive(Clone, Copy, Debug)]
struct Layout {
    a_transposed: bool,
    a_in_strips: bool,
    b_transposed: bool,
    c_in_strips: bool,
    write: Write,
}

/// Computes a product with vectors of `lanes` numbers, and compares all of the memory around it.
fn check(lanes: usize, compute: &dyn Fn(Compute), [rows, columns, depth]: [usize; 3], layout: Layout) {
    let strip = VECTORS * lanes;
    let (a, b) = (numbers(rows * depth + 1, 1), numbers(depth * columns + 1, 2));
    let a_at = |i: usize, p: usize| a[if layout.a_transposed { p * rows + i } else { i * depth + p }];
    let b_at = |p: usize, j: usize| b[if layout.b_transposed { j * depth + p } else { p * columns + j }];

    let mut packed = vec![f32::NAN; columns.next_multiple_of(strip) * depth];
    let [row, column] = if layout.b_transposed { [1, depth] } else { [columns, 1] };
    let from = Matrix { at: b.as_ptr(), row, column };
    // SAFETY: both are as large as the extents say.
    unsafe { pack_strips(from, depth, columns, 0..columns.div_ceil(strip), strip, packed.as_mut_ptr()) };

    let mut strips = vec![f32::NAN; depth.next_multiple_of(strip) * rows];
    for i in 0..rows {
        for p in 0..depth {
            strips[p / strip * rows * strip + i * strip + p % strip] = a_at(i, p);
        }
    }
    let [row, column] = if layout.a_transposed { [1, rows] } else { [depth, 1] };
    let left = match layout.a_in_strips {
        true => Left::Strips { at: strips.as_ptr(), next: rows * strip },
        false => Left::Plain(Matrix { at: a.as_ptr(), row, column }),
    };
    let padded = columns.next_multiple_of(strip) + 1;
    let (row, next) = if layout.c_in_strips { (strip, strip * rows) } else { (padded, strip) };
    let mut c = numbers(rows * padded, 3);
    let before = c.clone();
    let target = Target { at: c.as_mut_ptr(), row, next };
    compute(Compute(Product {
        rows,
        columns,
        depth,
        a: left,
        b: packed.as_ptr(),
        b_next: depth * strip,
        c: target,
        write: layout.write,
    }));

    let mut expected = before.iter().map(|&c| f64::from(c)).collect::<Vec<_>>();
    for i in 0..rows {
        for j in 0..columns {
            let sum: f64 = (0..depth).map(|p| f64::from(a_at(i, p)) * f64::from(b_at(p, j))).sum();
            let to = &mut expected[i * row + j / strip * next + j % strip];
            *to = if layout.write == Write::Add { *to + sum } else { sum };
        }
    }
    let tolerance = 1e-6 * (depth as f64 + 1.0);
    for (at, (c, expected)) in c.iter().zip(expected).enumerate() {
        let difference = (f64::from(*c) - expected).abs();
        assert!(difference <= tolerance, "{rows}×{columns}×{depth} {layout:?}, element {at}: {c} {expected}");
    }
}

fn check_all(lanes: usize, compute: &dyn Fn(Compute)) {
    let strip = VECTORS * lanes;
    let layout = Layout {
        a_transposed: false,
        a_in_strips: false,
        b_transposed: false,
        c_in_strips: false,
        write: Write::Set,
    };
    let layouts = [
        layout,
        Layout { a_transposed: true, write: Write::Add, ..layout },
        Layout { b_transposed: true, write: Write::Add, ..layout },
        Layout { a_in_strips: true, c_in_strips: true, ..layout },
        Layout { a_transposed: true, b_transposed: true, c_in_strips: true, write: Write::Add, ..layout },
    ];
    for layout in layouts {
        for rows in 0..=13 {
            for columns in [0, 1, lanes, lanes + 1, strip, 2 * strip + 3] {
                for depth in [0, 1, 5, strip, strip + 1] {
                    check(lanes, compute, [rows, columns, depth], layout);
                }
            }
        }
        check(lanes, compute, [25, strip + 1, 1600], layout);
        check(lanes, compute, [12, strip, 769], layout);
    }
}

#[test]
fn products_agree_with_sums_in_double_precision() {
    check_all(strip() / VECTORS, &|product| pulp::Arch::new().dispatch(product));
}

#[test]
fn so_they_do_with_the_vectors_of_older_machines() {
    let plain = pulp::Scalar::new();
    check_all(1, &|product| pulp::Simd::vectorize(plain, product));
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = pulp::x86::V3::try_new() {
        check_all(8, &|product| pulp::Simd::vectorize(avx2, product));
    }
}

#[test]
fn an_element_does_not_depend_on_where_a_product_is_cut() {
    let [rows, columns, depth] = [37, 3 * strip() + 5, 900];
    let (a, b) = (numbers(rows * depth, 4), numbers(depth * columns, 5));
    let mut packed = vec![0.0; packed_len(depth, columns)];
    let from = Matrix { at: b.as_ptr(), row: columns, column: 1 };
    // SAFETY: both are as large as the extents say.
    unsafe { crate::pack(from, depth, columns, 0..columns.div_ceil(strip()), packed.as_mut_ptr()) };
    let part = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>, c: &mut [f32]| {
        let a = Matrix { at: a[rows.start * depth..].as_ptr(), row: depth, column: 1 };
        let product = Product {
            rows: rows.len(),
            columns: columns.len(),
            depth,
            a: Left::Plain(a),
            b: packed[columns.start * depth..].as_ptr(),
            b_next: depth * strip(),
            c: Target { at: c.as_mut_ptr(), row: columns.len(), next: strip() },
            write: Write::Set,
        };
        // SAFETY: the operands and the result are as large as the extents say.
        unsafe { product.compute() };
    };
    let mut whole = vec![0.0; rows * columns];
    part(0..rows, 0..columns, &mut whole);
    for first in [0, 1, 11, 30] {
        let cut = strip()..columns;
        let mut piece = vec![0.0; (rows - first) * cut.len()];
        part(first..rows, cut.clone(), &mut piece);
        for (i, row) in piece.chunks_exact(cut.len()).enumerate() {
            let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(row), bits(&whole[(first + i) * columns..][cut.clone()]), "row {}", first + i);
        }
    }
}
