//! Forward functions of a Llama layer with the shapes of stories15m, beside plain products of the same sizes.
//!
//! Elements a second are floating-point operations of the products, so that both sides of a pair read as FLOP/s.
#![allow(missing_docs, reason = "criterion makes public items")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ferrane_cpu::{Executable, Numerics, Options, Weights};
use ferrane_mil::{BlobRef, Builder, Constant, DType, Function, Opcode, Opset, TensorType, ValueId};

const D: usize = 288;
const H: usize = 768;
const HEADS: usize = 6;
const W: usize = 256;

struct Small;

impl Weights for Small {
    fn read(&self, _: &BlobRef, ty: &TensorType) -> Option<Vec<f32>> {
        Some((0..ty.elements()).map(|i| (i % 13) as f32 / 130.0 - 0.05).collect())
    }
}

fn ty(dtype: DType, shape: &[usize]) -> TensorType {
    TensorType::new(dtype, shape)
}

fn rms_norm(b: &mut Builder, x: ValueId, dtype: DType) -> ValueId {
    let gamma = b.weight("gamma", ty(dtype, &[1, D, 1, 1]));
    let quarter = b.scale(x, 0.25).unwrap();
    let square = b.mul(quarter, quarter).unwrap();
    let sum = b.reduce(Opcode::ReduceSum, square, &[1]).unwrap();
    let mean = b.scale(sum, 16.0 / D as f64).unwrap();
    let mean = b.with_scalar(Opcode::Add, mean, 1e-3).unwrap();
    let root = b.with_scalar(Opcode::Pow, mean, -0.5).unwrap();
    let y = b.mul(x, root).unwrap();
    b.mul(y, gamma).unwrap()
}

fn rope(b: &mut Builder, x: ValueId, dtype: DType) -> ValueId {
    let half = D / HEADS / 2;
    let cos = b.weight("cos", ty(dtype, &[1, 1, half, W]));
    let sin = b.weight("sin", ty(dtype, &[1, 1, half, W]));
    let (low, high) = (b.slice_axis(x, 2, 0, half).unwrap(), b.slice_axis(x, 2, half, half).unwrap());
    let (lc, hs) = (b.mul(low, cos).unwrap(), b.mul(high, sin).unwrap());
    let (hc, ls) = (b.mul(high, cos).unwrap(), b.mul(low, sin).unwrap());
    let (low, high) = (b.sub(lc, hs).unwrap(), b.add(hc, ls).unwrap());
    b.concat(&[low, high], 2).unwrap()
}

fn attention(dtype: DType) -> Function {
    let mut b = Builder::new("attention", Opset::Ios18);
    let x = b.input("x", ty(dtype, &[1, D, 1, W]));
    let n = rms_norm(&mut b, x, dtype);
    let mask: Vec<f32> = (0..W * W).map(|i| if i % W > i / W { -1e4 } else { 0.0 }).collect();
    let mask = match dtype {
        DType::Fp16 => Constant::fp16_tensor([1, 1, W, W], &mask),
        _ => Constant::fp32_tensor([1, 1, W, W], mask),
    };
    let mask = b.constant("mask", mask);
    let heads = |b: &mut Builder| {
        let w = b.weight("w", ty(dtype, &[D, D, 1, 1]));
        let y = b.linear(n, w).unwrap();
        b.reshape(y, &[1, HEADS, D / HEADS, W]).unwrap()
    };
    let (q, k, v) = (heads(&mut b), heads(&mut b), heads(&mut b));
    let (q, k) = (rope(&mut b, q, dtype), rope(&mut b, k, dtype));
    let scores = b.matmul(q, k, true, false).unwrap();
    let scores = b.scale(scores, 0.125).unwrap();
    let scores = b.add(scores, mask).unwrap();
    let max = b.reduce(Opcode::ReduceMax, scores, &[-1]).unwrap();
    let shifted = b.sub(scores, max).unwrap();
    let e = b.unary(Opcode::Exp, shifted).unwrap();
    let sum = b.reduce(Opcode::ReduceSum, e, &[-1]).unwrap();
    let p = b.binary(Opcode::RealDiv, e, sum).unwrap();
    let o = b.matmul(v, p, false, true).unwrap();
    let o = b.reshape(o, &[1, D, 1, W]).unwrap();
    let w = b.weight("wo", ty(dtype, &[D, D, 1, 1]));
    let y = b.linear(o, w).unwrap();
    let y = b.add(x, y).unwrap();
    b.finish(&[y, n, q, k, v, p, o])
}

fn ffn(dtype: DType) -> Function {
    let mut b = Builder::new("ffn", Opset::Ios18);
    let x = b.input("x", ty(dtype, &[1, D, 1, W]));
    let n = rms_norm(&mut b, x, dtype);
    let (w1, w3) = (b.weight("w1", ty(dtype, &[H, D, 1, 1])), b.weight("w3", ty(dtype, &[H, D, 1, 1])));
    let w2 = b.weight("w2", ty(dtype, &[D, H, 1, 1]));
    let (h1, h3) = (b.linear(n, w1).unwrap(), b.linear(n, w3).unwrap());
    let sigmoid = b.unary(Opcode::Sigmoid, h1).unwrap();
    let silu = b.mul(h1, sigmoid).unwrap();
    let gate = b.mul(silu, h3).unwrap();
    let y = b.linear(gate, w2).unwrap();
    let y = b.add(x, y).unwrap();
    b.finish(&[y, n, h1, h3, gate])
}

/// A function of nothing but products: batches of `m×k` by `k×n`, transposed as attention has them.
fn products(shapes: &[(usize, usize, usize, usize, bool, bool)]) -> Function {
    let mut b = Builder::new("products", Opset::Ios18);
    let mut outputs = Vec::new();
    for (i, &(batch, m, n, k, tx, ty_)) in shapes.iter().enumerate() {
        let x = if tx { [batch, k, m] } else { [batch, m, k] };
        let y = if ty_ { [batch, n, k] } else { [batch, k, n] };
        let x = b.input(&format!("x{i}"), ty(DType::Fp32, &x));
        let y = b.input(&format!("y{i}"), ty(DType::Fp32, &y));
        outputs.push(b.matmul(x, y, tx, ty_).unwrap());
    }
    b.finish(&outputs)
}

fn run(c: &mut Criterion, group: &str, name: &str, f: &Function, flops: usize, threads: usize, n: Numerics) {
    let mut executable = Executable::compile(f, &Small, Options::new(n, threads)).unwrap();
    let elements = |v: &ValueId| f.tensor_type(*v).unwrap().elements();
    let inputs: Vec<Vec<f32>> = f.inputs.iter().map(|v| vec![0.25; elements(v)]).collect();
    let mut outputs: Vec<Vec<f32>> = f.outputs.iter().map(|v| vec![0.0; elements(v)]).collect();
    let slices: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut group = c.benchmark_group(group);
    group.sample_size(40).throughput(Throughput::Elements(flops as u64));
    group.bench_function(BenchmarkId::new(name, threads), |bench| {
        bench.iter(|| {
            let mut out: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
            executable.run(black_box(&slices), &mut out).unwrap();
        });
    });
}

fn stages(c: &mut Criterion) {
    let head = D / HEADS;
    let linear = |o, i| (1, o, W, i, false, false);
    let in_attention = [
        linear(D, D),
        linear(D, D),
        linear(D, D),
        (HEADS, W, W, head, true, false),
        (HEADS, head, W, W, false, true),
        linear(D, D),
    ];
    let in_ffn = [linear(H, D), linear(H, D), linear(D, H)];
    let flops = |shapes: &[(usize, usize, usize, usize, bool, bool)]| -> usize {
        shapes.iter().map(|(b, m, n, k, ..)| 2 * b * m * n * k).sum()
    };
    for threads in [1, 2] {
        for (group, stage, shapes) in [
            ("attention", attention as fn(DType) -> Function, &in_attention[..]),
            ("ffn", ffn as fn(DType) -> Function, &in_ffn[..]),
        ] {
            let flops = flops(shapes);
            run(c, group, "products", &products(shapes), flops, threads, Numerics::F32);
            run(c, group, "stage fp32", &stage(DType::Fp32), flops, threads, Numerics::F32);
            run(c, group, "stage fp16", &stage(DType::Fp16), flops, threads, Numerics::Declared);
        }
    }
}

criterion_group!(benches, stages);
criterion_main!(benches);
