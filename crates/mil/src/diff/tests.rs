//! Every rule against central differences, in `f64` through the interpreter.

use std::collections::HashMap;

use super::*;
use crate::{
    Arg, BlobRef, Builder, Constant, DType, Operand, Opset, TensorType,
    interp::{Options, Tensor, interpret},
    pass::{extract, transposed_weights, weights_to_inputs},
    verify,
};

/// A small generator of repeatable numbers in −1..1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn tensor(&mut self, shape: &[usize]) -> Tensor {
        Tensor::from_fn(shape, |_| self.next())
    }
}

fn fp64(shape: &[usize]) -> TensorType {
    TensorType::new(DType::Fp64, shape)
}

type Tensors = HashMap<String, Tensor>;

/// The values called `names`; weights are looked up by the name of their file.
fn evaluate(f: &Function, given: &Tensors, names: &[&str]) -> Vec<Tensor> {
    let weights = |blob: &BlobRef, _: &TensorType| {
        let name = blob.path.trim_start_matches("@model_path/weights/").trim_end_matches(".bin");
        given.get(name).map(|t| t.data.clone())
    };
    let values = interpret(f, given, &weights, Options::default()).unwrap();
    names.iter().map(|n| values.named(n).unwrap_or_else(|| panic!("no {n}")).clone()).collect()
}

/// Σ over outputs of seed · output
fn weighed(f: &Function, given: &Tensors, seeds: &[Tensor]) -> f64 {
    let names: Vec<&str> = f.outputs.iter().map(|&v| f.name_of(v)).collect();
    let outputs = evaluate(f, given, &names);
    outputs.iter().zip(seeds).flat_map(|(y, s)| y.data.iter().zip(&s.data)).map(|(y, s)| y * s).sum()
}

/// Checks the gradients of all function inputs and weights of `f` at `given` against central differences.
fn check_at(f: &Function, mut given: Tensors) -> Joint {
    let weights = (0..f.values.len() as u32)
        .map(ValueId)
        .filter(|v| f.value(*v).constant.as_ref().is_some_and(|c| c.blob_ref().is_some()));
    let wrt: Vec<ValueId> =
        f.inputs.iter().copied().chain(weights).filter(|&v| check_float(f, v).is_ok()).collect();
    let joint = differentiate(f, &wrt).unwrap_or_else(|e| panic!("{e}\n{f:#?}"));
    let errors = verify::check(&joint.function);
    assert!(errors.is_empty(), "{errors:#?}");

    let mut random = Random(99);
    let shape = |v: ValueId| f.tensor_type(v).unwrap().shape.clone();
    let seeds: Vec<Tensor> = f.outputs.iter().map(|&v| random.tensor(&shape(v))).collect();
    for (output, seed) in f.outputs.iter().zip(&seeds) {
        let input = joint.seeds.iter().find(|(v, _)| v == output).unwrap().1;
        given.insert(joint.function.name_of(input).into(), seed.clone());
    }
    for &v in &wrt {
        let analytic = gradient(&joint, v, &given);
        let name = f.name_of(v);
        let point = given[name].clone();
        assert_eq!(analytic.shape, point.shape, "{name}");
        let numeric = Tensor::new(
            point.shape.clone(),
            (0..point.data.len())
                .map(|i| {
                    let step = 1e-5 * point.data[i].abs().max(1.0);
                    let mut at = |x: f64| {
                        given.get_mut(name).unwrap().data[i] = x;
                        weighed(f, &given, &seeds)
                    };
                    let slope = (at(point.data[i] + step) - at(point.data[i] - step)) / (2.0 * step);
                    given.get_mut(name).unwrap().data[i] = point.data[i];
                    slope
                })
                .collect::<Vec<_>>(),
        );
        let largest = numeric.data.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
        for (a, n) in analytic.data.iter().zip(&numeric.data) {
            assert!(
                (a - n).abs() <= 1e-6 * largest,
                "gradient of {name}:\n{:?}\nnumerically\n{:?}\n{f:#?}",
                analytic.data,
                numeric.data
            );
        }
    }
    joint
}

/// The gradient of `v`: what the joint function computes plus the jobs.
fn gradient(joint: &Joint, v: ValueId, given: &Tensors) -> Tensor {
    let f = &joint.function;
    let shape = f.tensor_type(v).unwrap().shape.clone();
    let mut sum = Tensor::from_fn(shape.clone(), |_| 0.0);
    if let Some((_, gradient)) = joint.gradients.iter().find(|(of, _)| *of == v) {
        sum = evaluate(f, given, &[f.name_of(*gradient)])[0].clone();
    }
    for job in joint.jobs.iter().filter(|job| job.weight == v) {
        let values = evaluate(f, given, &[f.name_of(job.dy), f.name_of(job.x)]);
        let (dy, x) = (&values[0], &values[1]);
        let product = Tensor::from_fn(shape.clone(), |i| {
            let mut sum = 0.0;
            for n in 0..x.shape[0] {
                for h in 0..x.shape[2] {
                    for w in 0..x.shape[3] {
                        sum += dy.at(&[n, i[0], h, w]) * x.at(&[n, i[1], h, w]);
                    }
                }
            }
            sum
        });
        sum = Tensor::new(
            shape.clone(),
            sum.data.iter().zip(&product.data).map(|(a, b)| a + b).collect::<Vec<_>>(),
        );
    }
    sum
}

/// Random values for the inputs and weights of `f`, each made fit by `domain`.
fn random_point(f: &Function, seed: u64, domain: fn(f64) -> f64) -> Tensors {
    let mut random = Random(seed);
    let is_leaf = |v: ValueId| {
        f.inputs.contains(&v) || f.value(v).constant.as_ref().is_some_and(|c| c.blob_ref().is_some())
    };
    (0..f.values.len() as u32)
        .map(ValueId)
        .filter(|&v| is_leaf(v))
        .map(|v| {
            let tensor = random.tensor(&f.tensor_type(v).unwrap().shape);
            let bool = f.tensor_type(v).unwrap().dtype == DType::Bool;
            let tensor = if bool { tensor.map(|x| f64::from(u8::from(x > 0.0))) } else { tensor.map(domain) };
            (f.name_of(v).to_owned(), tensor)
        })
        .collect()
}

fn check(f: &Function) -> Joint {
    check_at(f, random_point(f, 7, |x| x))
}

/// A function of one op: tensor operands of the shapes given, then constants.
fn single(code: Opcode, shapes: &[(&'static str, &[usize])], args: &[(&'static str, Constant)]) -> Function {
    let mut b = Builder::new("f", Opset::Ios18);
    let mut all: Vec<(&'static str, Arg)> = Vec::new();
    for (name, shape) in shapes {
        // A first op, so that the gradient arrives at a value that is not an input.
        let input = b.input(name, fp64(shape));
        all.push((name, b.scale(input, 1.5).unwrap().into()));
    }
    all.extend(args.iter().map(|(name, c)| (*name, c.clone().into())));
    let results = b.op_results(code, all).unwrap();
    b.finish(&results)
}

fn away_from_zero(x: f64) -> f64 {
    x + 0.1f64.copysign(x)
}

fn positive(x: f64) -> f64 {
    x.abs() + 0.3
}

#[test]
fn unary_ops() {
    use Opcode::*;
    for code in [Abs, Atan, Cos, Cosh, Erf, Exp, Exp2, Identity, Sin, Sinh, Square, Tan, Tanh] {
        let f = single(code, &[("x", &[2, 3])], &[]);
        check_at(&f, random_point(&f, 1, away_from_zero));
    }
    for code in [Inverse, Log, Rsqrt, Sqrt] {
        let f = single(code, &[("x", &[2, 3])], &[]);
        check_at(&f, random_point(&f, 2, positive));
    }
    for code in [Acos, Asin, Atanh] {
        let f = single(code, &[("x", &[2, 3])], &[]);
        check_at(&f, random_point(&f, 3, |x| 0.5 * x));
    }
    let f = single(Log, &[("x", &[4])], &[("epsilon", Constant::fp32(0.5))]);
    check_at(&f, random_point(&f, 4, positive));
}

#[test]
fn activations() {
    use Opcode::*;
    let (alpha, beta) = (("alpha", Constant::fp32(0.4)), ("beta", Constant::fp32(0.7)));
    for code in [Gelu, Relu, Relu6, Sigmoid, Silu, Softplus, Softsign] {
        let f = single(code, &[("x", &[3, 5])], &[]);
        check_at(&f, random_point(&f, 5, |x| 5.0 * away_from_zero(x)));
    }
    for mode in ["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"] {
        check(&single(Gelu, &[("x", &[3, 5])], &[("mode", Constant::string(mode))]));
    }
    for code in [Elu, LeakyRelu, Threshold, ThresholdedRelu] {
        check(&single(code, &[("x", &[4, 5])], std::slice::from_ref(&alpha)));
    }
    for code in [ClampedRelu, Clip, LinearActivation, ScaledTanh, SigmoidHard] {
        check(&single(code, &[("x", &[4, 5])], &[alpha.clone(), beta.clone()]));
    }
    check(&single(Prelu, &[("x", &[2, 3, 2]), ("alpha", &[3])], &[]));
    check(&single(SoftplusParametric, &[("x", &[2, 3, 2]), ("alpha", &[3]), ("beta", &[3])], &[]));
    for axis in [0, 1, -1] {
        check(&single(Softmax, &[("x", &[2, 3, 4])], &[("axis", Constant::int(axis))]));
    }
}

/// Pairs of shapes that broadcast in every way.
const PAIRS: [(&[usize], &[usize]); 6] = [
    (&[2, 3], &[2, 3]),
    (&[2, 3], &[1, 3]),
    (&[2, 1], &[1, 3]),
    (&[4, 2, 3], &[3]),
    (&[], &[2, 2]),
    (&[2, 1, 3], &[5, 1]),
];

#[test]
fn binary_ops_sum_over_what_was_broadcast() {
    use Opcode::*;
    for (x, y) in PAIRS {
        for code in [Add, Sub, Mul, Maximum, Minimum] {
            check(&single(code, &[("x", x), ("y", y)], &[]));
            check(&single(code, &[("x", y), ("y", x)], &[]));
        }
        for code in [RealDiv, Pow] {
            let f = single(code, &[("x", x), ("y", y)], &[]);
            check_at(&f, random_point(&f, 8, positive));
        }
    }
    for exponent in [-2.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0] {
        let mut b = Builder::new("f", Opset::Ios18);
        let x = b.input("x", fp64(&[2, 3]));
        let y = b.with_scalar(Pow, x, exponent).unwrap();
        let f = b.finish(&[y]);
        check_at(&f, random_point(&f, 9, positive));
    }
}

#[test]
fn a_value_multiplied_with_itself() {
    let mut b = Builder::new("f", Opset::Ios18);
    let x = b.input("x", fp64(&[2, 3]));
    let y = b.mul(x, x).unwrap();
    let z = b.mul(y, x).unwrap();
    check(&b.finish(&[z]));
}

#[test]
fn ties_share_a_gradient_evenly() {
    let f = {
        let mut b = Builder::new("f", Opset::Ios18);
        let x = b.input("x", fp64(&[3]));
        let m = b.reduce(Opcode::ReduceMax, x, &[0]).unwrap();
        b.finish(&[m])
    };
    let joint = differentiate(&f, &f.inputs).unwrap();
    let given = Tensors::from([
        ("x".into(), Tensor::new([3], [2.0, 2.0, 1.0])),
        ("d_reduce_max".into(), Tensor::new([1], [1.0])),
    ]);
    assert_eq!(gradient(&joint, f.inputs[0], &given).data, [0.5, 0.5, 0.0]);
}

#[test]
fn select_follows_its_condition() {
    for (cond, a, other) in
        [(&[2, 3][..], &[2, 3][..], &[2, 3][..]), (&[3], &[2, 1], &[]), (&[2, 1], &[3], &[2, 3])]
    {
        let mut b = Builder::new("f", Opset::Ios18);
        let cond = b.input("cond", TensorType::new(DType::Bool, cond));
        let (a, other) = (b.input("a", fp64(a)), b.input("b", fp64(other)));
        let y =
            b.op(Opcode::Select, vec![("cond", cond.into()), ("a", a.into()), ("b", other.into())]).unwrap();
        check(&b.finish(&[y]));
    }
}

#[test]
fn casts_go_back() {
    let mut b = Builder::new("f", Opset::Ios18);
    let x = b.input("x", fp64(&[2, 3]));
    let y = b.op(Opcode::Cast, vec![("x", x.into()), ("dtype", Constant::string("fp32").into())]).unwrap();
    let z = b.unary(Opcode::Square, y).unwrap();
    check(&b.finish(&[z]));
}

#[test]
fn matrix_products_with_every_transposition_and_broadcast() {
    let batches: [(&[usize], &[usize]); 5] =
        [(&[], &[]), (&[2], &[2]), (&[2, 1], &[3]), (&[], &[2]), (&[1, 2], &[1, 1])];
    for (batch_x, batch_y) in batches {
        for (tx, ty) in [(false, false), (false, true), (true, false), (true, true)] {
            // m = 1 too: an extent of the product's own is not a broadcast.
            for m in [1, 4] {
                let with = |batch: &[usize], matrix: [usize; 2], transposed: bool| {
                    let [r, c] = matrix;
                    [batch, &if transposed { [c, r] } else { [r, c] }].concat()
                };
                let (x, y) = (with(batch_x, [m, 3], tx), with(batch_y, [3, 2], ty));
                let args = [("transpose_x", Constant::bool(tx)), ("transpose_y", Constant::bool(ty))];
                check(&single(Opcode::Matmul, &[("x", &x), ("y", &y)], &args));
            }
        }
    }
}

#[test]
fn pointwise_convolutions_with_weights_that_are_values() {
    for batch in [1, 2] {
        check(&single(
            Opcode::Conv,
            &[("x", &[batch, 3, 2, 4]), ("weight", &[5, 3, 1, 1]), ("bias", &[5])],
            &[],
        ));
    }
}

#[test]
fn the_weight_of_a_linear_layer_is_a_job() {
    let mut b = Builder::new("f", Opset::Ios18);
    let x = b.input("x", fp64(&[1, 3, 1, 4]));
    let w = b.weight("w", fp64(&[5, 3, 1, 1]));
    let y = b.linear(x, w).unwrap();
    b.rename(y, "y");
    // Used a second time, transposed, by an op whose gradient for it is not a job.
    let matrix = b.reshape(w, &[1, 5, 1, 3]).unwrap();
    let s = b.reduce(Opcode::ReduceSumSquare, matrix, &[3]).unwrap();
    let z = b.mul(y, s).unwrap();
    let f = b.finish(&[z]);
    let joint = check(&f);
    assert_eq!(joint.jobs, [WeightGradient { weight: w, dy: joint.function.find("d_y").unwrap(), x }]);
    assert_eq!(joint.gradients.len(), 2);
}

#[test]
fn reductions() {
    use Opcode::*;
    for code in [
        ReduceL1Norm,
        ReduceL2Norm,
        ReduceLogSum,
        ReduceLogSumExp,
        ReduceMax,
        ReduceMean,
        ReduceMin,
        ReduceProd,
        ReduceSum,
        ReduceSumSquare,
    ] {
        for axes in [&[0][..], &[1], &[-1, 0], &[0, 1, 2]] {
            for keep in [false, true] {
                let args = [("axes", Constant::ints(axes)), ("keep_dims", Constant::bool(keep))];
                let f = single(code, &[("x", &[2, 3, 4])], &args);
                check_at(&f, random_point(&f, 11, positive));
            }
        }
    }
}

#[test]
fn a_gradient_that_is_the_same_along_an_axis_meets_every_rule() {
    // The gradient of a sum stays [1, 1, 1, W] until it meets a tensor; here it meets each kind of consumer first.
    let after_sum = |make: &dyn Fn(&mut Builder, ValueId) -> ValueId| {
        let mut b = Builder::new("f", Opset::Ios18);
        let x = b.input("x", fp64(&[1, 4, 1, 3]));
        let y = make(&mut b, x);
        let axes: Vec<i32> = if b.shape(y).len() == 4 { vec![1] } else { vec![0] };
        let sum = b.reduce(Opcode::ReduceSum, y, &axes).unwrap();
        let squared = b.unary(Opcode::Square, sum).unwrap();
        check(&b.finish(&[squared]));
    };
    after_sum(&|_, x| x);
    after_sum(&|b, x| b.unary(Opcode::Tanh, x).unwrap());
    after_sum(&|b, x| b.softmax(x, 3).unwrap());
    after_sum(&|b, x| b.reshape(x, &[2, 6]).unwrap());
    after_sum(&|b, x| b.transpose(x, &[0, 3, 2, 1]).unwrap());
    after_sum(&|b, x| b.slice_axis(x, 3, 1, 2).unwrap());
    after_sum(&|b, x| b.concat(&[x, x], 3).unwrap());
    after_sum(&|b, x| b.matmul(x, x, false, true).unwrap());
    after_sum(&|b, x| b.add(x, x).unwrap());
    after_sum(&|b, x| b.with_scalar(Opcode::Maximum, x, 0.1).unwrap());
    let row = |b: &mut Builder| b.input("row", fp64(&[3]));
    let column = |b: &mut Builder| b.input("column", fp64(&[1, 4, 1, 1]));
    after_sum(&|b, x| {
        let row = row(b);
        b.mul(row, x).unwrap()
    });
    after_sum(&|b, x| {
        let column = column(b);
        b.sub(x, column).unwrap()
    });
    after_sum(&|b, x| {
        let (row, column) = (row(b), column(b));
        let outer = b.mul(row, column).unwrap();
        b.mul(outer, x).unwrap()
    });
}

#[test]
fn movement() {
    use Opcode::*;
    let ints = |name, v: &[i32]| (name, Constant::ints(v));
    let x: (&'static str, &[usize]) = ("x", &[2, 3, 4]);
    check(&single(Reshape, &[x], &[ints("shape", &[4, -1])]));
    check(&single(ExpandDims, &[x], &[ints("axes", &[0, -1])]));
    check(&single(Squeeze, &[("x", &[2, 1, 3, 1])], &[ints("axes", &[1])]));
    check(&single(Transpose, &[x], &[ints("perm", &[1, 2, 0])]));
    check(&single(SliceBySize, &[x], &[ints("begin", &[0, 1, 0]), ints("size", &[2, 1, -1])]));
    check(&single(SliceBySize, &[x], &[ints("begin", &[1, 1, 1]), ints("size", &[1, 2, 2])]));
    check(&single(Split, &[x], &[("axis", Constant::int(2)), ints("split_sizes", &[1, 3])]));
    check(&single(Split, &[x], &[("axis", Constant::int(-2)), ("num_splits", Constant::int(3))]));
    check(&single(Tile, &[x], &[ints("reps", &[2, 1, 3])]));
    check(&single(Pad, &[x], &[ints("pad", &[1, 0, 2, 3]), ("constant_val", Constant::fp32(2.0))]));
}

#[test]
fn concatenation() {
    for (interleave, second) in [(false, 5), (true, 3)] {
        let mut b = Builder::new("f", Opset::Ios18);
        let (x, y) = (b.input("x", fp64(&[2, 3, 2])), b.input("y", fp64(&[2, second, 2])));
        let squared = b.unary(Opcode::Square, x).unwrap();
        let values = Arg::Many([squared, y, squared].map(Operand::Value).to_vec());
        let z = b
            .op(
                Opcode::Concat,
                vec![
                    ("axis", Constant::int(1).into()),
                    ("interleave", Constant::bool(interleave).into()),
                    ("values", values),
                ],
            )
            .unwrap();
        check(&b.finish(&[z]));
    }
}

fn codes(f: &Function) -> Vec<Opcode> {
    f.ops.iter().map(|op| op.code).collect()
}

#[test]
fn slices_that_cover_an_axis_are_joined_and_others_padded() {
    let sliced = |ranges: &[(usize, usize)]| {
        let mut b = Builder::new("f", Opset::Ios18);
        let x = b.input("x", fp64(&[2, 6]));
        let parts: Vec<ValueId> = ranges
            .iter()
            .map(|&(begin, size)| {
                let part = b.slice_axis(x, 1, begin, size).unwrap();
                b.unary(Opcode::Square, part).unwrap()
            })
            .collect();
        let f = b.finish(&parts);
        codes(&check(&f).function)
    };
    let joined = sliced(&[(3, 3), (0, 2), (2, 1), (0, 2)]);
    assert!(joined.contains(&Opcode::Concat) && !joined.contains(&Opcode::Pad));
    let padded = sliced(&[(0, 2), (3, 3)]);
    assert!(padded.contains(&Opcode::Pad) && !padded.contains(&Opcode::Concat));
    let overlapping = sliced(&[(0, 4), (2, 4)]);
    assert!(overlapping.contains(&Opcode::Pad));
}

/// Two layers with norms, rotations, grouped attention, a gated unit and residual adds.
fn two_layers() -> Function {
    let mut b = Builder::new("two_layers", Opset::Ios18);
    let mut x = b.input("x", fp64(&[1, 4, 1, 3]));
    for layer in 0..2 {
        let name = |part: &str| format!("{part}{layer}");
        let gain = b.weight(&name("gain"), fp64(&[1, 4, 1, 1]));
        let scaled = b.scale(x, 0.25).unwrap();
        let squares = b.mul(scaled, scaled).unwrap();
        let sum = b.reduce(Opcode::ReduceSum, squares, &[1]).unwrap();
        let mean = b.scale(sum, 4.0).unwrap();
        let shifted = b.with_scalar(Opcode::Add, mean, 1e-2).unwrap();
        let rrms = b.with_scalar(Opcode::Pow, shifted, -0.5).unwrap();
        let unit = b.mul(x, rrms).unwrap();
        let norm = b.mul(unit, gain).unwrap();
        b.rename(norm, &name("norm"));
        let project = |b: &mut Builder, part: &str, x, out: usize| {
            let w = b.weight(&name(&format!("w{part}")), fp64(&[out, b.shape(x)[1], 1, 1]));
            let y = b.linear(x, w).unwrap();
            b.rename(y, &name(part))
        };
        let (q, k, v) =
            (project(&mut b, "q", norm, 4), project(&mut b, "k", norm, 2), project(&mut b, "v", norm, 2));
        let q = b.reshape(q, &[1, 2, 2, 3]).unwrap();
        let (low, high) = (b.slice_axis(q, 2, 0, 1).unwrap(), b.slice_axis(q, 2, 1, 1).unwrap());
        let turned = b.sub(low, high).unwrap();
        let q = b.concat(&[turned, low], 2).unwrap();
        let repeated = |b: &mut Builder, x| {
            let x = b.reshape(x, &[1, 1, 2, 3]).unwrap();
            let head = b.slice_axis(x, 1, 0, 1).unwrap();
            b.concat(&[head, head], 1).unwrap()
        };
        let (k, v) = (repeated(&mut b, k), repeated(&mut b, v));
        let scores = b.matmul(q, k, true, false).unwrap();
        let probs = b.softmax(scores, -1).unwrap();
        b.rename(probs, &name("probs"));
        let attended = b.matmul(v, probs, false, true).unwrap();
        let attended = b.reshape(attended, &[1, 4, 1, 3]).unwrap();
        let o = project(&mut b, "o", attended, 4);
        let mid = b.add(x, o).unwrap();
        b.rename(mid, &name("mid"));
        let (h1, h3) = (project(&mut b, "h1_", mid, 5), project(&mut b, "h3_", mid, 5));
        let silu = b.unary(Opcode::Silu, h1).unwrap();
        let gate = b.mul(silu, h3).unwrap();
        let down = project(&mut b, "down", gate, 4);
        x = b.add(mid, down).unwrap();
        b.rename(x, &name("y"));
    }
    b.finish(&[x])
}

#[test]
fn a_model_of_two_layers() {
    let f = two_layers();
    let joint = check(&f);
    assert_eq!(joint.jobs.len(), 14);
    assert_eq!(joint.function.name_of(joint.gradients[0].1), "d_x");
}

#[test]
fn the_gradient_of_a_sum_of_outputs_is_the_sum_of_gradients() {
    let mut b = Builder::new("f", Opset::Ios18);
    let x = b.input("x", fp64(&[2, 3]));
    let (y, z) = (b.unary(Opcode::Tanh, x).unwrap(), b.unary(Opcode::Exp, x).unwrap());
    let both = differentiate(&b.clone().finish(&[y, z]), &[x]).unwrap();
    let sum = b.add(y, z).unwrap();
    let one = differentiate(&b.finish(&[sum]), &[x]).unwrap();
    let mut random = Random(3);
    let (point, seed) = (random.tensor(&[2, 3]), random.tensor(&[2, 3]));
    let given: Tensors = ["d_tanh", "d_exp", "d_add"].map(|n| (n.to_owned(), seed.clone())).into();
    let given = Tensors::from_iter(given.into_iter().chain([("x".to_owned(), point)]));
    let (a, b) = (gradient(&both, x, &given), gradient(&one, x, &given));
    assert!(a.data.iter().zip(&b.data).all(|(a, b)| (a - b).abs() < 1e-14));
}

/// The joint function of `two_layers` evaluated at a random point.
fn joint_at_a_point() -> (Joint, Tensors) {
    let f = two_layers();
    let wrt: Vec<ValueId> = f.inputs.clone();
    let joint = differentiate(&f, &wrt).unwrap();
    let mut given = random_point(&f, 21, |x| x);
    given.insert("d_y1".into(), Random(5).tensor(&[1, 4, 1, 3]));
    (joint, given)
}

#[test]
fn kernels_cut_out_of_the_joint_function_compute_what_it_computes() {
    let (joint, given) = joint_at_a_point();
    let f = &joint.function;
    let cuts: [(&[&str], &[&str]); 3] = [
        (&["y0"], &["mid1", "probs1", "norm1"]),
        (&["d_y1", "h1_1", "h3_1"], &["d_mid1", "d_h1_1", "d_h3_1"]),
        (&["d_mid1", "q1", "k1", "v1"], &["d_q1", "d_k1", "d_v1"]),
    ];
    for (inputs, outputs) in cuts {
        let ids = |names: &[&str]| names.iter().map(|n| f.find(n).unwrap()).collect::<Vec<_>>();
        let kernel = extract(f, "kernel", &ids(inputs), &ids(outputs)).unwrap();
        let mut at = given.clone();
        at.extend(inputs.iter().map(|n| (*n).to_owned()).zip(evaluate(f, &given, inputs)));
        assert_eq!(evaluate(&kernel, &at, outputs), evaluate(f, &given, outputs));
    }
}

#[test]
fn baked_and_streamed_weights_compute_the_same() {
    let (joint, given) = joint_at_a_point();
    let outputs = ["d_x", "y1"];
    let expected = evaluate(&joint.function, &given, &outputs);
    let close = |f: &Function, given: &Tensors| {
        for (a, b) in evaluate(f, given, &outputs).iter().zip(&expected) {
            assert_eq!(a.shape, b.shape);
            assert!(a.data.iter().zip(&b.data).all(|(a, b)| (a - b).abs() < 1e-12), "{a:?} is not {b:?}");
        }
    };

    let (baked, transposed) = transposed_weights(&joint.function).unwrap();
    let mut at = given.clone();
    for weight in &transposed {
        let w = &given[&weight.of];
        let t = Tensor::from_fn(weight.shape.clone(), |i| w.at(&[i[1], i[0], 0, 0]));
        at.insert(weight.name.clone(), t);
    }
    assert_eq!(transposed.len(), 14);
    close(&baked, &at);

    let streamed = weights_to_inputs(&joint.function).unwrap();
    assert!(!codes(&streamed.function).contains(&Opcode::Conv));
    let mut at = given.clone();
    for weight in &streamed.weights {
        let w = given[&weight.name].reshaped(weight.surface.clone());
        at.insert(weight.name.clone(), w);
    }
    close(&streamed.function, &at);
}

#[test]
fn only_what_is_needed_is_computed() {
    let mut b = Builder::new("f", Opset::Ios18);
    let (x, other) = (b.input("x", fp64(&[2])), b.input("other", fp64(&[2])));
    let y = b.mul(x, other).unwrap();
    let unrelated = b.unary(Opcode::Exp, other).unwrap();
    let f = b.finish(&[y, unrelated]);
    let joint = differentiate(&f, &[x]).unwrap();
    assert_eq!(joint.seeds.len(), 1);
    assert_eq!(joint.function.ops.len(), f.ops.len() + 1);
    assert!(joint.gradient_of(other).is_none() && joint.gradient_of(x).is_some());
}

#[test]
fn an_output_that_is_used_further_has_another_seed() {
    let mut b = Builder::new("f", Opset::Ios18);
    let x = b.input("x", fp64(&[2]));
    let y = b.unary(Opcode::Tanh, x).unwrap();
    let z = b.unary(Opcode::Exp, y).unwrap();
    let joint = check(&b.finish(&[y, z]));
    let names: Vec<&str> = joint.seeds.iter().map(|(_, s)| joint.function.name_of(*s)).collect();
    assert_eq!(names, ["seed_tanh", "d_exp"]);
    assert_eq!(joint.function.name_of(joint.gradient_of(y).unwrap()), "d_tanh");
}

#[test]
fn what_cannot_be_differentiated_is_named() {
    let error = |f: &Function, wrt: &[ValueId]| differentiate(f, wrt).unwrap_err().to_string();
    let f = single(Opcode::Floor, &[("x", &[2])], &[]);
    assert_eq!(error(&f, &f.inputs), "`floor`: `floor` has no derivative rule");
    let mut b = Builder::new("f", Opset::Ios18);
    let (data, updates) = (b.input("data", fp64(&[3])), b.input("updates", fp64(&[2])));
    let indices = Constant::ints(&[0, 2]);
    let args = vec![
        ("axis", Constant::int(0).into()),
        ("data", data.into()),
        ("indices", indices.into()),
        ("mode", Constant::string("max").into()),
        ("updates", updates.into()),
    ];
    let y = b.op(Opcode::Scatter, args).unwrap();
    let scattered = error(&b.finish(&[y]), &[data]);
    assert!(
        scattered.starts_with("`scatter`: no derivative rule: `scatter`: is differentiated in"),
        "{scattered}"
    );
    let f = single(Opcode::Exp, &[("x", &[2])], &[]);
    assert!(error(&f, &[ValueId(77)]).contains("no value 77"));
    let mut b = Builder::new("f", Opset::Ios18);
    let (x, y) = (b.input("x", fp64(&[2])), b.input("y", fp64(&[2])));
    let cast =
        b.op(Opcode::Cast, vec![("x", x.into()), ("dtype", Constant::string("int32").into())]).unwrap();
    let f = b.finish(&[y, cast]);
    assert_eq!(error(&f, &[x]), "no output of `f` depends on `x`");
    assert!(error(&f, &[cast]).contains("only floating-point"));
}
