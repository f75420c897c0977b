//! Whole functions: view chains, shared outputs, fusion, constants, errors.

mod common;

use common::{NoWeights, Random, builder, check, fp16, inputs, options, run_compiled};
use ferrane_cpu::{CompileError, Executable, Numerics, RunError, Weights};
use ferrane_mil::{BlobRef, Constant, Function, Opcode, TensorType, ValueId};

/// RMSNorm over channels, as stages build it.
fn rms_norm(b: &mut ferrane_mil::Builder, x: ValueId, gamma: ValueId) -> ValueId {
    let channels = b.shape(x)[1] as f64;
    let quarter = b.scale(x, 0.25).unwrap();
    let square = b.mul(quarter, quarter).unwrap();
    let sum = b.reduce(Opcode::ReduceSum, square, &[1]).unwrap();
    let mean = b.scale(sum, 16.0 / channels).unwrap();
    let mean = b.with_scalar(Opcode::Add, mean, 1e-3).unwrap();
    let root = b.with_scalar(Opcode::Pow, mean, -0.5).unwrap();
    let y = b.mul(x, root).unwrap();
    b.mul(y, gamma).unwrap()
}

fn rope(b: &mut ferrane_mil::Builder, x: ValueId, cos: ValueId, sin: ValueId) -> ValueId {
    let half = b.shape(x)[2] / 2;
    let (low, high) = (b.slice_axis(x, 2, 0, half).unwrap(), b.slice_axis(x, 2, half, half).unwrap());
    let (lc, hs) = (b.mul(low, cos).unwrap(), b.mul(high, sin).unwrap());
    let (hc, ls) = (b.mul(high, cos).unwrap(), b.mul(low, sin).unwrap());
    let (low, high) = (b.sub(lc, hs).unwrap(), b.add(hc, ls).unwrap());
    b.concat(&[low, high], 2).unwrap()
}

/// What is added to scores, so that no position sees a later one.
fn causal_mask(positions: usize) -> Vec<f32> {
    (0..positions * positions).map(|i| if i % positions > i / positions { -1e4 } else { 0.0 }).collect()
}

/// Attention of `heads` heads of `size` over `positions`, with decomposed softmax when asked.
fn attention(heads: usize, size: usize, positions: usize, decomposed: bool) -> Function {
    let mut b = builder();
    let d = heads * size;
    let mut random = Random(11);
    let mut weight = |b: &mut ferrane_mil::Builder, name: &str, shape: &[usize]| {
        let n = shape.iter().product();
        let data: Vec<f32> = random.numbers(n).iter().map(|x| x / 8.0).collect();
        b.constant(name, Constant::fp16_tensor(shape, &data))
    };
    let x = b.input("x", fp16(&[1, d, 1, positions]));
    let gamma = weight(&mut b, "gamma", &[1, d, 1, 1]);
    let (cos, sin) = (
        weight(&mut b, "cos", &[1, 1, size / 2, positions]),
        weight(&mut b, "sin", &[1, 1, size / 2, positions]),
    );
    let mask = causal_mask(positions);
    let mask = b.constant("mask", Constant::fp16_tensor([1, 1, positions, positions], &mask));
    let n = rms_norm(&mut b, x, gamma);
    let mut heads_of = |b: &mut ferrane_mil::Builder, name: &str| {
        let w = weight(b, name, &[d, d, 1, 1]);
        let y = b.linear(n, w).unwrap();
        b.reshape(y, &[1, heads, size, positions]).unwrap()
    };
    let (q, k, v) = (heads_of(&mut b, "wq"), heads_of(&mut b, "wk"), heads_of(&mut b, "wv"));
    let (q, k) = (rope(&mut b, q, cos, sin), rope(&mut b, k, cos, sin));
    let scores = b.matmul(q, k, true, false).unwrap();
    let scores = b.scale(scores, 1.0 / (size as f64).sqrt()).unwrap();
    let scores = b.add(scores, mask).unwrap();
    let p = if decomposed {
        let max = b.reduce(Opcode::ReduceMax, scores, &[-1]).unwrap();
        let shifted = b.sub(scores, max).unwrap();
        let e = b.unary(Opcode::Exp, shifted).unwrap();
        let sum = b.reduce(Opcode::ReduceSum, e, &[-1]).unwrap();
        b.binary(Opcode::RealDiv, e, sum).unwrap()
    } else {
        b.softmax(scores, -1).unwrap()
    };
    let o = b.matmul(v, p, false, true).unwrap();
    let o = b.reshape(o, &[1, d, 1, positions]).unwrap();
    let w = weight(&mut b, "wo", &[d, d, 1, 1]);
    let y = b.linear(o, w).unwrap();
    let y = b.add(x, y).unwrap();
    b.finish(&[y, n, q, p, o])
}

#[test]
fn attention_with_taps() {
    for (heads, size, positions) in [(2, 8, 16), (3, 4, 33), (4, 16, 64)] {
        for decomposed in [false, true] {
            check(&attention(heads, size, positions, decomposed), 5, false);
        }
    }
}

/// Causal attention of q, k and v `[1, heads, size, positions]` and its backward pass, as derived. Squares put out, if any,
/// are wanted whole.
fn causal_attention(heads: usize, size: usize, positions: usize, taps: bool) -> Function {
    let mut b = builder();
    let input = |b: &mut ferrane_mil::Builder, name: &str| {
        b.input(name, TensorType::new(ferrane_mil::DType::Fp32, [1, heads, size, positions]))
    };
    let (q, k, v, d_o) = (input(&mut b, "q"), input(&mut b, "k"), input(&mut b, "v"), input(&mut b, "d_o"));
    let mask = causal_mask(positions);
    let mask = b.constant("mask", Constant::fp32_tensor([1, 1, positions, positions], mask));
    let scores = b.matmul(q, k, true, false).unwrap();
    let masked = b.add(scores, mask).unwrap();
    let p = b.softmax(masked, -1).unwrap();
    let o = b.matmul(v, p, false, true).unwrap();
    let d_v = b.matmul(d_o, p, false, false).unwrap();
    let d_p = b.matmul(d_o, v, true, false).unwrap();
    let product = b.mul(p, d_p).unwrap();
    let sum = b.reduce(Opcode::ReduceSum, product, &[-1]).unwrap();
    let apart = b.sub(d_p, sum).unwrap();
    let d_s = b.mul(p, apart).unwrap();
    let d_q = b.matmul(k, d_s, false, true).unwrap();
    let d_k = b.matmul(q, d_s, false, false).unwrap();
    let mut outputs = vec![o, d_q, d_k, d_v];
    if taps {
        outputs.extend([p, d_p]);
    }
    b.finish(&outputs)
}

#[test]
fn what_a_causal_mask_excludes_changes_nothing() {
    for (heads, size, positions) in [(2, 4, 64), (2, 4, 65), (3, 8, 128), (1, 6, 150)] {
        for taps in [false, true] {
            check(&causal_attention(heads, size, positions, taps), 7, false);
        }
    }
}

/// Rows of shares times values with their channels as rows: few rows, many columns, and blocks of rows that end early.
#[test]
fn blocks_of_a_product_that_is_computed_turned_stay_in_their_rows() {
    let (positions, channels) = (100, 210);
    let mut b = builder();
    let input = |b: &mut ferrane_mil::Builder, name: &str, rows: usize| {
        b.input(name, TensorType::new(ferrane_mil::DType::Fp32, [1, 1, rows, positions]))
    };
    let (scores, v) = (input(&mut b, "scores", positions), input(&mut b, "v", channels));
    let mask = causal_mask(positions);
    let mask = b.constant("mask", Constant::fp32_tensor([1, 1, positions, positions], mask));
    let masked = b.add(scores, mask).unwrap();
    let p = b.softmax(masked, -1).unwrap();
    let o = b.matmul(p, v, false, true).unwrap();
    let after = b.unary(Opcode::Square, v).unwrap();
    check(&b.finish(&[o, after]), 9, false);
}

#[test]
fn what_lies_where_a_causal_mask_excludes_is_not_read() {
    let (heads, size, positions) = (2, 4, 150);
    let function = causal_attention(heads, size, positions, false);
    let mut used = Executable::compile(&function, &NoWeights, options(Numerics::F32, 2)).unwrap();
    let mut fresh = Executable::compile(&function, &NoWeights, options(Numerics::F32, 2)).unwrap();
    // What is left of it is everywhere in memory.
    let len = heads * size * positions;
    run_compiled(&function, &mut used, &vec![vec![f32::NAN; len]; 4]);
    let inputs = inputs(&function, &mut Random(3), false);
    assert_eq!(run_compiled(&function, &mut used, &inputs), run_compiled(&function, &mut fresh, &inputs));
}

#[test]
fn the_same_value_and_views_of_it_as_several_outputs() {
    let mut b = builder();
    let x = b.input("x", fp16(&[1, 6, 1, 8]));
    let constant = b.constant("c", Constant::fp16_tensor([2, 2], &[1.0, 2.0, 3.0, 4.0]));
    let y = b.unary(Opcode::Exp, x).unwrap();
    let heads = b.reshape(y, &[1, 2, 3, 8]).unwrap();
    let part = b.slice_axis(y, 1, 2, 3).unwrap();
    let turned = b.transpose(heads, &[3, 2, 1, 0]).unwrap();
    let used = b.unary(Opcode::Tanh, turned).unwrap();
    check(&b.finish(&[y, y, heads, part, turned, used, x, constant, constant]), 3, false);
}

#[test]
fn chains_of_views() {
    let mut b = builder();
    let x = b.input("x", fp16(&[2, 12, 1, 10]));
    let y = b.unary(Opcode::Square, x).unwrap();
    let y = b.reshape(y, &[2, 3, 4, 10]).unwrap();
    let y = b.transpose(y, &[0, 2, 1, 3]).unwrap();
    let part = b.slice_axis(y, 3, 2, 6).unwrap();
    // No strides say this reshape: it copies.
    let flat = b.reshape(part, &[2, 72]).unwrap();
    let z = b.unary(Opcode::Exp, flat).unwrap();
    let back = b.reshape(z, &[2, 4, 3, 6]).unwrap();
    let sum = b.add(back, part).unwrap();
    check(&b.finish(&[sum]), 4, false);
}

#[test]
fn a_value_is_read_as_computed_and_through_a_transpose() {
    let mut b = builder();
    let x = b.input("x", fp16(&[40, 40]));
    let y = b.unary(Opcode::Square, x).unwrap();
    let t = b.transpose(y, &[1, 0]).unwrap();
    let s = b.add(y, t).unwrap();
    let wide = b.reduce(Opcode::ReduceSum, s, &[1]).unwrap();
    let tall = b.reduce(Opcode::ReduceMax, s, &[0]).unwrap();
    let z = b.sub(s, wide).unwrap();
    let z = b.mul(z, tall).unwrap();
    check(&b.finish(&[z, wide, tall]), 6, false);
}

#[test]
fn reading_the_first_elements_of_a_value_is_not_reading_it() {
    let mut b = builder();
    let x = b.input("x", fp16(&[1, 8, 1, 4]));
    let y = b.unary(Opcode::Exp, x).unwrap();
    let m = b.reduce(Opcode::ReduceMax, y, &[3]).unwrap();
    let first = b.slice_axis(y, 3, 0, 1).unwrap();
    let d = b.sub(first, m).unwrap();
    let z = b.mul(y, d).unwrap();
    check(&b.finish(&[z]), 6, false);
}

#[test]
fn random_elementwise_graphs() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let (c, w) = (random.extent(), random.extent());
        let shapes = [[1, c, 1, w], [1, 1, 1, w], [1, c, 1, 1], [1, 1, 1, 1]];
        let mut b = builder();
        let mut values: Vec<ValueId> = (0..4).map(|i| b.input(&format!("x{i}"), fp16(&shapes[i]))).collect();
        for _ in 0..25 {
            let x = values[random.below(values.len())];
            let y = values[random.below(values.len())];
            let v = match random.below(9) {
                0 => b.add(x, y).unwrap(),
                1 => b.sub(x, y).unwrap(),
                2 => b.binary(Opcode::Maximum, x, y).unwrap(),
                3 => b.unary(Opcode::Sigmoid, x).unwrap(),
                4 => b.unary(Opcode::Tanh, x).unwrap(),
                5 => b.reduce(Opcode::ReduceMean, x, &[1]).unwrap(),
                6 => b.reduce(Opcode::ReduceMax, x, &[3]).unwrap(),
                7 => b.scale(x, 0.5).unwrap(),
                _ => {
                    let wide = b.concat(&[x, x], 1).unwrap();
                    let channels = b.shape(x)[1];
                    b.slice_axis(wide, 1, channels / 2, channels).unwrap()
                }
            };
            let half = b.scale(v, 0.5).unwrap();
            values.push(half);
        }
        let outputs: Vec<ValueId> = (0..4).map(|_| values[random.below(values.len())]).collect();
        check(&b.finish(&outputs), seed, false);
    }
}

#[test]
fn what_depends_on_constants_alone_is_computed_once() {
    let mut b = builder();
    let x = b.input("x", fp16(&[1, 4, 1, 8]));
    let c = b.constant("c", Constant::fp16_tensor([1, 4, 1, 1], &[1.0, 2.0, 3.0, 4.0]));
    let e = b.unary(Opcode::Exp, c).unwrap();
    let twice = b.concat(&[e, c], 1).unwrap();
    let part = b.slice_axis(twice, 1, 2, 4).unwrap();
    let y = b.mul(x, part).unwrap();
    let mixed = b.concat(&[y, x], 1).unwrap();
    let f = b.finish(&[mixed, e, twice]);
    check(&f, 8, false);
    let executable = Executable::compile(&f, &NoWeights, options(Numerics::F32, 1)).unwrap();
    assert_eq!(executable.arena_bytes(), 0, "{executable:?}");
}

struct Ones(usize);

impl Weights for Ones {
    fn read(&self, _: &BlobRef, _: &TensorType) -> Option<Vec<f32>> {
        Some(vec![1.0; self.0])
    }
}

#[test]
fn weights_are_read_and_their_lack_is_named() {
    let mut b = builder();
    let x = b.input("x", fp16(&[1, 4, 1, 8]));
    let w = b.weight("wq", fp16(&[2, 4, 1, 1]));
    let y = b.linear(x, w).unwrap();
    let f = b.finish(&[y]);
    let compile = |weights: &dyn Weights| Executable::compile(&f, weights, options(Numerics::F32, 1));
    let mut executable = compile(&Ones(8)).unwrap();
    let y = common::run_compiled(&f, &mut executable, &[vec![0.5; 32]]);
    assert_eq!(y[0], vec![2.0; 16]);
    for (weights, says) in [(&NoWeights as &dyn Weights, "is missing"), (&Ones(7), "has 7 elements")] {
        let error = compile(weights).unwrap_err();
        assert!(matches!(&error, CompileError::Weight { value, .. } if value == "wq"), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(says) && message.contains("weights/wq.bin"), "{message}");
    }
}

#[test]
fn slices_of_the_wrong_number_or_length_are_refused() {
    let mut b = builder();
    let x = b.input("x", fp16(&[2, 3]));
    let y = b.unary(Opcode::Exp, x).unwrap();
    let f = b.finish(&[y]);
    let mut executable = Executable::compile(&f, &NoWeights, options(Numerics::F32, 2)).unwrap();
    let (six, five) = ([0.0; 6], [0.0; 5]);
    let (mut out, mut short) = ([0.0; 6], [0.0; 5]);
    let count = |side| RunError::Count { side, expected: 1, given: 0 };
    assert_eq!(executable.run(&[], &mut [&mut out]), Err(count("input")));
    assert_eq!(executable.run(&[&six], &mut []), Err(count("output")));
    let length = |side, name: &str| RunError::Length { side, name: name.into(), expected: 6, given: 5 };
    assert_eq!(executable.run(&[&five], &mut [&mut out]), Err(length("input", "x")));
    assert_eq!(executable.run(&[&six], &mut [&mut short]), Err(length("output", "exp")));
    assert_eq!(executable.run(&[&six], &mut [&mut out]), Ok(()));
    assert_eq!(out, [1.0; 6]);
}

#[test]
fn memory_is_used_again() {
    let mut b = builder();
    let x = b.input("x", fp16(&[64, 64]));
    let mut y = x;
    for _ in 0..20 {
        y = b.matmul(y, x, false, false).unwrap();
        y = b.scale(y, 1.0 / 64.0).unwrap();
    }
    let f = b.finish(&[y]);
    let executable = Executable::compile(&f, &NoWeights, options(Numerics::F32, 1)).unwrap();
    assert!(executable.arena_bytes() <= 2 * 64 * 64 * 4, "{}", executable.arena_bytes());
    check(&f, 2, false);
}
