//! Ops against values worked out by hand or by another route.

use std::slice::from_ref;

use super::*;
use crate::{Arg, Builder, Opset};

fn fp64(shape: &[usize]) -> TensorType {
    TensorType::new(DType::Fp64, shape)
}

fn weightless(_: &BlobRef, _: &TensorType) -> Option<Vec<f64>> {
    None
}

/// The results of one op with tensor operands `inputs` and constant `args`.
fn run(code: Opcode, inputs: &[(&'static str, Tensor)], args: &[(&'static str, Constant)]) -> Vec<Tensor> {
    let mut b = Builder::new("main", Opset::Ios18);
    let mut all: Vec<(&'static str, Arg)> = Vec::new();
    let mut given = HashMap::new();
    for (name, tensor) in inputs {
        all.push((name, b.input(name, fp64(&tensor.shape)).into()));
        given.insert((*name).to_owned(), tensor.clone());
    }
    all.extend(args.iter().map(|(name, c)| (*name, c.clone().into())));
    let results = b.op_results(code, all).unwrap();
    let f = b.finish(&results);
    let values = interpret(&f, &given, &weightless, Options::default()).unwrap();
    values.outputs().map(|(_, t)| t.clone()).collect()
}

fn counting(shape: &[usize]) -> Tensor {
    let mut n = 0.0;
    Tensor::from_fn(shape, |_| {
        n += 1.0;
        n
    })
}

fn close(a: &Tensor, b: &Tensor) {
    assert_eq!(a.shape, b.shape);
    for (x, y) in a.data.iter().zip(&b.data) {
        assert!((x - y).abs() <= 1e-12 * y.abs().max(1.0), "{a:?} is not {b:?}");
    }
}

#[test]
fn matmul_transposes_and_broadcasts() {
    let x = Tensor::new([1, 2, 2], [1.0, 2.0, 3.0, 4.0]);
    let y = Tensor::new([2, 2, 1], [1.0, 0.0, 1.0, 1.0]);
    let inputs = [("x", x), ("y", y)];
    let plain = run(Opcode::Matmul, &inputs, &[]);
    assert_eq!(plain[0], Tensor::new([2, 2, 1], [1.0, 3.0, 3.0, 7.0]));
    let transposed = run(Opcode::Matmul, &inputs, &[("transpose_x", Constant::bool(true))]);
    assert_eq!(transposed[0], Tensor::new([2, 2, 1], [1.0, 2.0, 4.0, 6.0]));
}

#[test]
fn a_convolution_slides_its_window() {
    // Two groups of one channel, stride 2, one zero before, dilation 2: windows at −1, 1 take elements 2 apart.
    let x = Tensor::new([1, 2, 4], [1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0]);
    let weight = Tensor::new([2, 1, 2], [1.0, 10.0, 1.0, 1.0]);
    let bias = Tensor::new([2], [0.5, 0.0]);
    let y = run(
        Opcode::Conv,
        &[("x", x), ("weight", weight), ("bias", bias)],
        &[
            ("strides", Constant::ints(&[2])),
            ("dilations", Constant::ints(&[2])),
            ("pad_type", Constant::string("custom")),
            ("pad", Constant::ints(&[1, 0])),
            ("groups", Constant::int(2)),
        ],
    );
    assert_eq!(y[0], Tensor::new([1, 2, 2], [20.5, 42.5, 20.0, 60.0]));
}

#[test]
fn a_pointwise_convolution_is_a_matrix_product() {
    let (x, w) = (counting(&[2, 3, 1, 5]), counting(&[4, 3, 1, 1]));
    let y = run(Opcode::Conv, &[("x", x.clone()), ("weight", w.clone())], &[]);
    let product =
        run(Opcode::Matmul, &[("x", w.reshaped([1, 1, 4, 3])), ("y", x.reshaped([2, 1, 3, 5]))], &[]);
    close(&y[0], &product[0].reshaped([2, 4, 1, 5]));
}

#[test]
fn softmax_and_log_sum_exp_do_not_overflow() {
    let x = Tensor::new([2, 2], [1000.0, 1000.0, -1000.0, 0.0]);
    let y = run(Opcode::Softmax, &[("x", x.clone())], &[("axis", Constant::int(1))]);
    close(&y[0], &Tensor::new([2, 2], [0.5, 0.5, 0.0, 1.0]));
    let y = run(Opcode::ReduceLogSumExp, &[("x", x)], &[("axes", Constant::ints(&[-1]))]);
    close(&y[0], &Tensor::new([2], [1000.0 + 2f64.ln(), 0.0]));
}

#[test]
fn reductions_keep_or_drop_axes() {
    let x = counting(&[2, 3]);
    let axes = ("axes", Constant::ints(&[0]));
    let keep = ("keep_dims", Constant::bool(true));
    let reduce = |code, args: &[(&'static str, Constant)]| run(code, &[("x", x.clone())], args)[0].clone();
    assert_eq!(reduce(Opcode::ReduceSum, &[axes.clone(), keep]), Tensor::new([1, 3], [5.0, 7.0, 9.0]));
    assert_eq!(reduce(Opcode::ReduceMean, from_ref(&axes)), Tensor::new([3], [2.5, 3.5, 4.5]));
    assert_eq!(reduce(Opcode::ReduceMax, from_ref(&axes)), Tensor::new([3], [4.0, 5.0, 6.0]));
    assert_eq!(reduce(Opcode::ReduceMin, from_ref(&axes)), Tensor::new([3], [1.0, 2.0, 3.0]));
    assert_eq!(reduce(Opcode::ReduceSumSquare, from_ref(&axes)), Tensor::new([3], [17.0, 29.0, 45.0]));
    assert_eq!(reduce(Opcode::ReduceProd, &[axes]), Tensor::new([3], [4.0, 10.0, 18.0]));
    assert_eq!(reduce(Opcode::ReduceL1Norm, &[]), Tensor::new([], [21.0]));
    close(&reduce(Opcode::ReduceL2Norm, &[]), &Tensor::new([], [91f64.sqrt()]));
}

#[test]
fn movement_puts_elements_where_they_belong() {
    let x = counting(&[2, 3]);
    let of_x = |code, args: &[_]| run(code, &[("x", x.clone())], args);
    let t = of_x(Opcode::Transpose, &[("perm", Constant::ints(&[1, 0]))]);
    assert_eq!(t[0], Tensor::new([3, 2], [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
    let s =
        of_x(Opcode::SliceBySize, &[("begin", Constant::ints(&[1, 1])), ("size", Constant::ints(&[-1, 2]))]);
    assert_eq!(s[0], Tensor::new([1, 2], [5.0, 6.0]));
    let s = of_x(Opcode::Split, &[("axis", Constant::int(1)), ("split_sizes", Constant::ints(&[1, 2]))]);
    assert_eq!(s[0], Tensor::new([2, 1], [1.0, 4.0]));
    assert_eq!(s[1], Tensor::new([2, 2], [2.0, 3.0, 5.0, 6.0]));
    let t = of_x(Opcode::Tile, &[("reps", Constant::ints(&[1, 2]))]);
    assert_eq!(t[0].data[..6], [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
    let pad = |mode: &str| {
        let (pad, mode) = (("pad", Constant::ints(&[2, 1])), ("mode", Constant::string(mode)));
        of_x(Opcode::Pad, &[pad, mode])[0].data[..6].to_vec()
    };
    assert_eq!(pad("constant"), [0.0, 0.0, 1.0, 2.0, 3.0, 0.0]);
    assert_eq!(pad("reflect"), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    assert_eq!(pad("replicate"), [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]);
}

#[test]
fn concat_joins_or_interleaves() {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", fp64(&[1, 2]));
    let y = b.input("y", fp64(&[1, 2]));
    let joined = b.concat(&[x, y], 1).unwrap();
    let values = Arg::Many(vec![x.into(), y.into()]);
    let interleave = Constant::bool(true).into();
    let mixed = b
        .op(
            Opcode::Concat,
            vec![("values", values), ("axis", Constant::int(1).into()), ("interleave", interleave)],
        )
        .unwrap();
    let f = b.finish(&[joined, mixed]);
    let inputs = HashMap::from([
        ("x".to_owned(), Tensor::new([1, 2], [1.0, 2.0])),
        ("y".to_owned(), Tensor::new([1, 2], [3.0, 4.0])),
    ]);
    let values = interpret(&f, &inputs, &weightless, Options::default()).unwrap();
    assert_eq!(values.get(joined).unwrap().data, [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(values.get(mixed).unwrap().data, [1.0, 3.0, 2.0, 4.0]);
}

#[test]
fn activations_have_their_defining_values() {
    let x = Tensor::new([4], [-2.0, -0.5, 0.0, 3.0]);
    let of = |code, args: &[_]| run(code, &[("x", x.clone())], args)[0].data.clone();
    let alpha = |v| ("alpha", Constant::fp32(v));
    let beta = |v| ("beta", Constant::fp32(v));
    assert_eq!(of(Opcode::LeakyRelu, &[alpha(0.5)]), [-1.0, -0.25, 0.0, 3.0]);
    assert_eq!(of(Opcode::ClampedRelu, &[alpha(0.5), beta(2.0)]), [-1.0, -0.25, 0.0, 2.0]);
    assert_eq!(of(Opcode::Clip, &[alpha(-1.0), beta(2.0)]), [-1.0, -0.5, 0.0, 2.0]);
    assert_eq!(of(Opcode::SigmoidHard, &[alpha(0.25), beta(0.5)]), [0.0, 0.375, 0.5, 1.0]);
    assert_eq!(of(Opcode::ThresholdedRelu, &[alpha(-0.5)]), [0.0, -0.5, 0.0, 3.0]);
    assert_eq!(of(Opcode::Sign, &[]), [-1.0, -1.0, 0.0, 1.0]);
    assert_eq!(of(Opcode::Round, &[]), [-2.0, 0.0, 0.0, 3.0]);
    // Where all three forms of GELU must nearly agree.
    for mode in ["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"] {
        let y = of(Opcode::Gelu, &[("mode", Constant::string(mode))]);
        assert!((y[3] - 2.996).abs() < 0.03 && (y[0] + 0.0455).abs() < 0.03, "{mode}: {y:?}");
    }
}

#[test]
fn casts_to_integers_drop_the_fraction_and_stay_in_range() {
    let x = Tensor::new([4], [-1.9, 300.0, f64::NAN, 0.5]);
    let cast =
        |to: &str| run(Opcode::Cast, &[("x", x.clone())], &[("dtype", Constant::string(to))])[0].data.clone();
    assert_eq!(cast("int8"), [-1.0, 127.0, 0.0, 0.0]);
    assert_eq!(cast("uint8"), [0.0, 255.0, 0.0, 0.0]);
    assert_eq!(cast("bool"), [1.0, 1.0, 1.0, 1.0]);
}

#[test]
fn rounding_to_the_element_type_is_an_option() {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::fp16([1]));
    let y = b.add(x, x).unwrap();
    let f = b.finish(&[y]);
    let inputs = HashMap::from([("x".to_owned(), Tensor::new([1], [1.0 + 1e-4]))]);
    let y = |options| interpret(&f, &inputs, &weightless, options).unwrap().get(y).unwrap().data[0];
    assert_eq!(y(Options::default()), 2.0 + 2e-4);
    assert_eq!(y(Options { round_to_dtype: true, ..Options::default() }), 2.0);
}

#[test]
fn what_is_missing_or_too_large_is_named() {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", fp64(&[1, 2, 1, 4]));
    let w = b.weight("w", fp64(&[2, 2, 1, 1]));
    let y = b.linear(x, w).unwrap();
    let f = b.finish(&[y]);
    let error = |inputs: &[(&str, Tensor)], limit| {
        let inputs = inputs.iter().map(|(n, t)| ((*n).to_owned(), t.clone())).collect();
        let options = Options { max_elements: limit, ..Options::default() };
        interpret(&f, &inputs, &weightless, options).unwrap_err().to_string()
    };
    let x = counting(&[1, 2, 1, 4]);
    assert!(error(&[], 1000).contains("input `x`"));
    assert!(error(&[("x", counting(&[8]))], 1000).contains("[8]"));
    assert!(error(&[("x", x.clone())], 1000).contains("weight `w` at `@model_path/weights/w.bin`"));
    assert!(error(&[("x", x)], 10).contains("more than the 10 allowed"));
}

#[test]
fn programs_that_do_not_verify_are_refused() {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", fp64(&[2, 3]));
    let y = b.unary(Opcode::Exp, x).unwrap();
    let mut f = b.finish(&[y]);
    f.ops[0].results[0] = ValueId(9);
    assert!(matches!(
        interpret(&f, &HashMap::new(), &weightless, Options::default()),
        Err(InterpretError::Invalid(_))
    ));
}
