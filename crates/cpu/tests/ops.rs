//! Every op against the reference interpreter, over random shapes.

mod common;

use common::{Random, builder, check, fp16, ints, op};
use ferrane_cpu::{CompileError, Executable, Numerics};
use ferrane_mil::{Arg, Constant, DType, Opcode, Operand, TensorType};

fn shapes(seed: u64, rank: usize) -> Vec<Vec<usize>> {
    let mut random = Random(seed);
    (0..6).map(|_| (0..rank).map(|_| random.extent()).collect()).collect()
}

#[test]
fn unary_ops() {
    use Opcode::*;
    let anywhere = [Abs, Cos, Erf, Exp, Exp2, Identity, Sin, Square, Tanh, Gelu, Relu, Sigmoid, Silu];
    let positive = [Inverse, Log, Rsqrt, Sqrt];
    for (code, positive) in anywhere.iter().map(|c| (*c, false)).chain(positive.iter().map(|c| (*c, true))) {
        for (i, shape) in shapes(code as u64, 3).iter().enumerate() {
            let mut b = builder();
            let x = b.input("x", fp16(shape));
            let y = b.unary(code, x).unwrap();
            check(&b.finish(&[y]), i as u64, positive);
        }
    }
}

#[test]
fn gelu_modes_and_casts() {
    for mode in ["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"] {
        let mut b = builder();
        let x = b.input("x", fp16(&[3, 50]));
        let y = op(&mut b, Opcode::Gelu, vec![("mode", Constant::string(mode).into()), ("x", x.into())]);
        check(&b.finish(&[y]), 1, false);
    }
    for dtype in ["fp32", "fp16", "int32"] {
        let mut b = builder();
        let x = b.input("x", fp16(&[3, 50]));
        let y = op(&mut b, Opcode::Cast, vec![("dtype", Constant::string(dtype).into()), ("x", x.into())]);
        check(&b.finish(&[y]), 2, false);
    }
}

#[test]
fn binary_ops_broadcast() {
    use Opcode::*;
    for (seed, code) in [Add, Sub, Mul, RealDiv, Maximum, Minimum, Pow].into_iter().enumerate() {
        let mut random = Random(seed as u64);
        for round in 0..12 {
            let shape: Vec<usize> = (0..4).map(|_| random.extent()).collect();
            let mut part = |keep: usize| -> Vec<usize> {
                let kept = shape.iter().map(|&d| if random.below(3) == 0 { 1 } else { d });
                kept.collect::<Vec<_>>()[keep..].to_vec()
            };
            let (left, right) = (part(0), part(round % 4));
            let mut b = builder();
            let (x, y) = (b.input("x", fp16(&left)), b.input("y", fp16(&right)));
            let z = b.binary(code, x, y).unwrap();
            check(&b.finish(&[z]), round as u64, matches!(code, RealDiv | Pow));
        }
        for scalar in [-0.5, 0.5, 2.0, -1.0, 1.0, 3.0] {
            let mut b = builder();
            let x = b.input("x", fp16(&[7, 33]));
            let z = b.with_scalar(code, x, scalar).unwrap();
            check(&b.finish(&[z]), 3, true);
        }
    }
}

#[test]
fn reductions_over_any_axes() {
    use Opcode::*;
    let codes = [
        ReduceL1Norm,
        ReduceL2Norm,
        ReduceLogSumExp,
        ReduceMax,
        ReduceMean,
        ReduceMin,
        ReduceSum,
        ReduceSumSquare,
    ];
    for (seed, code) in codes.into_iter().enumerate() {
        let mut random = Random(seed as u64);
        for round in 0..16u8 {
            let shape: Vec<usize> = (0..4).map(|_| random.extent().min(17)).collect();
            let axes: Vec<i32> = (0..4).filter(|a| round >> a & 1 == 1).collect();
            let mut b = builder();
            let x = b.input("x", fp16(&shape));
            let mut args = vec![("x", x.into()), ("keep_dims", Constant::bool(round % 3 == 0).into())];
            if round > 0 {
                args.push(("axes", ints(&axes)));
            }
            let y = op(&mut b, code, args);
            check(&b.finish(&[y]), u64::from(round), false);
        }
        // Rows longer than are taken whole, and columns wider than a tile.
        for (shape, axis) in [(vec![2, 5000], 1), (vec![3, 1, 1500], 0), (vec![70, 1, 1100], 0)] {
            let mut b = builder();
            let x = b.input("x", fp16(&shape));
            let y = b.reduce(code, x, &[axis]).unwrap();
            let positive = code == ReduceLogSumExp;
            check(&b.finish(&[y]), 5, positive);
        }
    }
}

#[test]
fn softmax_over_any_axis() {
    for (i, shape) in shapes(9, 4).iter().enumerate() {
        for axis in -4..4 {
            let mut b = builder();
            let x = b.input("x", fp16(shape));
            let y = b.softmax(x, axis).unwrap();
            check(&b.finish(&[y]), i as u64, false);
        }
    }
    let mut b = builder();
    let x = b.input("x", fp16(&[2, 4100]));
    let y = b.softmax(x, -1).unwrap();
    check(&b.finish(&[y]), 1, false);
}

/// Products in which one operand is a vector, in every layout, some large enough for several threads.
#[test]
fn matrix_times_vector() {
    for (batch, rows, depth) in [(1, 1, 1), (3, 5, 7), (2, 33, 40), (1, 300, 260), (4, 64, 300)] {
        for (tm, tv) in [(false, false), (true, false), (false, true), (true, true)] {
            let turned = |turn: bool, [a, b]: [usize; 2]| if turn { [b, a] } else { [a, b] };
            let mut b = builder();
            let [r, d] = turned(tm, [rows, depth]);
            let m = b.input("m", fp16(&[1, batch, r, d]));
            let [d, one] = turned(tv, [depth, 1]);
            let v = b.input("v", fp16(&[1, batch, d, one]));
            // A column of a wider value: its elements are apart.
            let wide = b.input("wide", fp16(&[1, batch, depth, 3]));
            let column = b.slice_axis(wide, 3, 1, 1).unwrap();
            let on_the_right = b.matmul(m, v, tm, tv).unwrap();
            let on_the_left = b.matmul(v, m, !tv, !tm).unwrap();
            let apart = b.matmul(m, column, tm, false).unwrap();
            check(&b.finish(&[on_the_right, on_the_left, apart]), 5, false);
        }
    }
}

#[test]
fn matmul_with_transposes_and_broadcast_batches() {
    let mut random = Random(4);
    for round in 0..32 {
        let (m, n, k) = (random.extent(), random.extent(), random.extent());
        let (tx, ty) = (round & 1 == 1, round & 2 == 2);
        let batch: &[(&[usize], &[usize])] =
            &[(&[], &[]), (&[3], &[3]), (&[2, 3], &[3]), (&[1, 3], &[2, 1]), (&[4], &[1])];
        let (bx, by) = batch[random.below(batch.len())];
        let matrix = |batch: &[usize], rows: usize, columns: usize, transposed: bool| {
            let tail = if transposed { [columns, rows] } else { [rows, columns] };
            [batch, &tail].concat()
        };
        let mut b = builder();
        let x = b.input("x", fp16(&matrix(bx, m, k, tx)));
        let y = b.input("y", fp16(&matrix(by, k, n, ty)));
        let z = b.matmul(x, y, tx, ty).unwrap();
        check(&b.finish(&[z]), round, false);
    }
    // Large enough to be cut for threads.
    for (m, n, k) in [(96, 200, 64), (300, 40, 50), (64, 64, 700), (5, 3, 40000)] {
        let mut b = builder();
        let (x, y) = (b.input("x", fp16(&[m, k])), b.input("y", fp16(&[k, n])));
        let z = b.matmul(x, y, false, false).unwrap();
        check(&b.finish(&[z]), 3, false);
    }
}

#[test]
fn convolutions() {
    let conv = |x: &[usize], w: &[usize], bias: bool, extra: Vec<(&'static str, Arg)>| {
        let mut b = builder();
        let v = b.input("x", fp16(x));
        let weight = b.input("w", fp16(w));
        let mut args = vec![("x", v.into()), ("weight", weight.into())];
        if bias {
            let bias = b.input("bias", fp16(&w[..1]));
            args.push(("bias", bias.into()));
        }
        args.extend(extra);
        let y = op(&mut b, Opcode::Conv, args);
        check(&b.finish(&[y]), 7, false);
    };
    let groups = |n: i32| ("groups", Constant::int(n).into());
    let pad_type = |t: &str| ("pad_type", Constant::string(t).into());
    conv(&[1, 8, 1, 33], &[5, 8, 1, 1], false, vec![]);
    conv(&[1, 64, 1, 130], &[96, 64, 1, 1], true, vec![]);
    conv(&[2, 8, 3, 5], &[6, 4, 1, 1], true, vec![groups(2)]);
    conv(&[2, 4, 7, 9], &[6, 4, 3, 2], false, vec![]);
    conv(&[2, 4, 7, 9], &[6, 2, 3, 3], true, vec![groups(2), pad_type("same")]);
    conv(&[1, 3, 8, 8], &[2, 3, 3, 3], false, vec![pad_type("same_lower"), ("strides", ints(&[2, 2]))]);
    conv(
        &[1, 3, 9, 10],
        &[2, 3, 2, 3],
        true,
        vec![
            pad_type("custom"),
            ("pad", ints(&[1, 0, 2, 3])),
            ("dilations", ints(&[2, 1])),
            ("strides", ints(&[1, 3])),
        ],
    );
    conv(&[1, 3, 20], &[4, 3, 5], false, vec![]);
    conv(&[1, 2, 4, 5, 6], &[3, 2, 2, 2, 2], false, vec![]);
}

#[test]
fn movement() {
    let one = |shape: &[usize], code: Opcode, args: Vec<(&'static str, Arg)>| {
        let mut b = builder();
        let x = b.input("x", fp16(shape));
        let mut all = vec![("x", x.into())];
        all.extend(args);
        let ys = b.op_results(code, all).unwrap();
        check(&b.finish(&ys), 3, false);
    };
    one(&[2, 3, 4], Opcode::Reshape, vec![("shape", ints(&[4, -1]))]);
    one(&[2, 3, 4, 5], Opcode::Transpose, vec![("perm", ints(&[3, 1, 0, 2]))]);
    one(&[70, 130], Opcode::Transpose, vec![("perm", ints(&[1, 0]))]);
    one(&[2, 3], Opcode::ExpandDims, vec![("axes", ints(&[0, -1]))]);
    one(&[1, 3, 1], Opcode::Squeeze, vec![]);
    one(&[4, 6, 5], Opcode::SliceBySize, vec![("begin", ints(&[1, 2, 3])), ("size", ints(&[2, -1, 1]))]);
    one(&[4, 6], Opcode::Split, vec![("axis", Constant::int(1).into()), ("split_sizes", ints(&[1, 3, 2]))]);
    one(
        &[4, 6],
        Opcode::Split,
        vec![("axis", Constant::int(0).into()), ("num_splits", Constant::int(2).into())],
    );
    one(&[2, 3, 1], Opcode::Tile, vec![("reps", ints(&[3, 2, 5]))]);
    one(&[1, 3, 1], Opcode::Tile, vec![("reps", ints(&[2, 1, 5]))]);
    for mode in ["constant", "reflect", "replicate"] {
        let mode = ("mode", Constant::string(mode).into());
        one(&[2, 5, 6], Opcode::Pad, vec![("pad", ints(&[1, 2, 3, 0])), mode]);
    }
    let value = ("constant_val", Constant::fp16(-2.5).into());
    one(&[2, 5], Opcode::Pad, vec![("pad", ints(&[0, 1])), value]);
    one(&[2, 5], Opcode::Pad, vec![("pad", ints(&[0, 0]))]);
}

#[test]
fn concatenations() {
    for axis in 0..3i32 {
        for interleave in [false, true] {
            let mut b = builder();
            let x = b.input("x", fp16(&[2, 3, 4]));
            let y = b.input("y", fp16(&[2, 3, 4]));
            let computed = b.unary(Opcode::Square, x).unwrap();
            let again = b.unary(Opcode::Exp, y).unwrap();
            let values = [x, computed, again, computed, y].map(Operand::Value).to_vec();
            let z = op(
                &mut b,
                Opcode::Concat,
                vec![
                    ("axis", Constant::int(axis).into()),
                    ("interleave", Constant::bool(interleave).into()),
                    ("values", Arg::Many(values)),
                ],
            );
            check(&b.finish(&[z]), 3, false);
        }
    }
}

#[test]
fn an_op_without_kernel_is_named() {
    let mut b = builder();
    let x = b.input("x", TensorType::new(DType::Fp16, [2, 3]));
    let y = b.unary(Opcode::Exp, x).unwrap();
    let mut f = b.finish(&[y]);
    f.ops.last_mut().unwrap().code = Opcode::NonZero;
    let error = Executable::compile(&f, &common::NoWeights, common::options(Numerics::F32, 1)).unwrap_err();
    assert_eq!(error, CompileError::NoKernel { op: Opcode::NonZero, value: "exp".into() });
    assert!(error.to_string().contains("parsed, but has no CPU kernel"), "{error}");
}
