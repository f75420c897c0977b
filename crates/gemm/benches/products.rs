//! Products of a stories15m step on one thread, beside the `gemm` crate's, which packs in every call.
//!
//! Elements a second are floating-point operations, so rates read as FLOP/s.
#![allow(missing_docs, reason = "criterion makes public items")]
#![allow(unsafe_code, reason = "products work on addresses")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ferrane_gemm::{Left, Matrix, Product, Target, Write, pack, packed_len, strip};

/// A product: its name, rows, columns and depth, and whether either operand lies transposed.
const PRODUCTS: [(&str, [usize; 3], bool, bool); 8] = [
    ("linear, forward", [768, 256, 288], false, false),
    ("linear, backward", [288, 256, 768], true, false),
    ("dW", [768, 288, 256], false, true),
    ("logits of a block", [512, 256, 288], false, false),
    ("dx of a block", [288, 256, 512], true, false),
    ("dE of a block", [512, 288, 256], false, true),
    ("scores of a head", [256, 256, 48], true, false),
    ("large", [2048, 2048, 2048], false, false),
];

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 1000) as f32 / 1000.0 - 0.5).collect()
}

fn products(criterion: &mut Criterion) {
    for (name, [rows, columns, depth], a_transposed, b_transposed) in PRODUCTS {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(2 * (rows * columns * depth) as u64));
        let (a, b) = (numbers(rows * depth), numbers(depth * columns));
        let (mut c, mut packed) = (numbers(rows * columns), numbers(packed_len(depth, columns)));
        let matrix = |of: &[f32], transposed, [rows, columns]: [usize; 2]| match transposed {
            true => Matrix { at: of.as_ptr(), row: 1, column: rows },
            false => Matrix { at: of.as_ptr(), row: columns, column: 1 },
        };
        let (a, b) = (matrix(&a, a_transposed, [rows, depth]), matrix(&b, b_transposed, [depth, columns]));
        let target = Target { at: c.as_mut_ptr(), row: columns, next: strip() };
        for packs in [false, true] {
            let id = if packs { "packed in the call" } else { "packed before" };
            group.bench_function(BenchmarkId::from_parameter(id), |bencher| {
                bencher.iter(|| {
                    // SAFETY: operands and results are as large as the extents say.
                    unsafe {
                        if packs {
                            pack(b, depth, columns, 0..columns.div_ceil(strip()), packed.as_mut_ptr());
                        }
                        Product {
                            rows,
                            columns,
                            depth,
                            a: Left::Plain(a),
                            b: packed.as_ptr(),
                            b_next: depth * strip(),
                            c: target,
                            write: Write::Set,
                        }
                        .compute();
                    }
                });
            });
        }
        group.bench_function(BenchmarkId::from_parameter("gemm crate"), |bencher| {
            let stride = |s: usize| s as isize;
            bencher.iter(|| {
                // SAFETY: operands and results are as large as the extents say.
                unsafe {
                    gemm::gemm(
                        rows,
                        columns,
                        depth,
                        target.at,
                        1,
                        stride(target.row),
                        false,
                        a.at,
                        stride(a.column),
                        stride(a.row),
                        b.at,
                        stride(b.column),
                        stride(b.row),
                        0.0,
                        1.0,
                        false,
                        false,
                        false,
                        gemm::Parallelism::None,
                    );
                }
            });
        });
        group.finish();
    }
}

criterion_group!(benches, products);
criterion_main!(benches);
