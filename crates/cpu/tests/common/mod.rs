//! Comparing the executor with the reference interpreter.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::HashMap;

use ferrane_cpu::{Executable, Numerics, Options, Weights};
use ferrane_mil::{
    Arg, BlobRef, Builder, Constant, DType, Function, Opcode, Opset, TensorType, ValueId,
    interp::{self, Tensor},
};

/// A small deterministic generator.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % n.max(1)
    }

    /// In −2…2, in steps that binary16 holds.
    pub(crate) fn number(&mut self) -> f32 {
        self.below(2049) as f32 / 512.0 - 2.0
    }

    pub(crate) fn numbers(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.number()).collect()
    }

    pub(crate) fn extent(&mut self) -> usize {
        [1, 2, 3, 5, 8, 17, 33, 64][self.below(8)]
    }
}

/// No weight files.
pub(crate) struct NoWeights;

impl Weights for NoWeights {
    fn read(&self, _: &BlobRef, _: &TensorType) -> Option<Vec<f32>> {
        None
    }
}

pub(crate) fn options(numerics: Numerics, threads: usize) -> Options {
    Options::new(numerics, threads)
}

/// Inputs for a function. Magnitudes stay away from zero and numbers positive where `positive`.
pub(crate) fn inputs(f: &Function, random: &mut Random, positive: bool) -> Vec<Vec<f32>> {
    let element = |random: &mut Random| {
        let x = random.number();
        if positive { x.abs() + 0.125 } else { x }
    };
    f.inputs
        .iter()
        .map(|&v| (0..f.tensor_type(v).unwrap().elements()).map(|_| element(random)).collect())
        .collect()
}

pub(crate) fn run(f: &Function, inputs: &[Vec<f32>], options: Options) -> Vec<Vec<f32>> {
    let mut executable = Executable::compile(f, &NoWeights, options).unwrap();
    run_compiled(f, &mut executable, inputs)
}

pub(crate) fn run_compiled(f: &Function, executable: &mut Executable, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let elements = |v: &ValueId| f.tensor_type(*v).unwrap().elements();
    let mut outputs: Vec<Vec<f32>> = f.outputs.iter().map(|v| vec![f32::NAN; elements(v)]).collect();
    let slices: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut out: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    executable.run(&slices, &mut out).unwrap();
    outputs
}

pub(crate) fn expect(f: &Function, inputs: &[Vec<f32>], declared: bool) -> Vec<Vec<f64>> {
    let named: HashMap<String, Tensor> = f
        .inputs
        .iter()
        .zip(inputs)
        .map(|(&v, x)| {
            let data: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
            (f.name_of(v).to_owned(), Tensor::new(f.tensor_type(v).unwrap().shape.clone(), data))
        })
        .collect();
    let options = interp::Options { round_to_dtype: declared, ..Default::default() };
    let values = interp::interpret(f, &named, &|_, _| None, options).unwrap();
    f.outputs.iter().map(|&v| values.get(v).unwrap().data.clone()).collect()
}

/// Holds the executor against the interpreter, in both numerics, on one and two threads, twice.
pub(crate) fn check(f: &Function, seed: u64, positive: bool) {
    hold(f, &inputs(f, &mut Random(seed), positive));
}

/// As [`check`], with elements that `element` chooses by the input's name.
pub(crate) fn check_with(f: &Function, seed: u64, element: impl Fn(&str, &mut Random) -> f32) {
    let mut random = Random(seed);
    let inputs: Vec<Vec<f32>> = f
        .inputs
        .iter()
        .map(|&v| {
            let count = f.tensor_type(v).unwrap().elements();
            (0..count).map(|_| element(f.name_of(v), &mut random)).collect()
        })
        .collect();
    hold(f, &inputs);
}

fn hold(f: &Function, inputs: &[Vec<f32>]) {
    for (numerics, tolerance) in [(Numerics::F32, 1e-5), (Numerics::Declared, 2e-3)] {
        let expected = expect(f, inputs, matches!(numerics, Numerics::Declared));
        let mut executable = Executable::compile(f, &NoWeights, options(numerics.clone(), 1)).unwrap();
        let one = run_compiled(f, &mut executable, inputs);
        for ((given, expected), &v) in one.iter().zip(&expected).zip(&f.outputs) {
            let name = f.name_of(v);
            let largest = expected.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
            assert_eq!(given.len(), expected.len(), "{name}");
            for (i, (&x, &y)) in given.iter().zip(expected).enumerate() {
                let error = (f64::from(x) - y).abs() / largest;
                assert!(error <= tolerance, "{name}[{i}] = {x}, not {y} ({numerics:?}, {error:e})");
            }
        }
        assert_eq!(run_compiled(f, &mut executable, inputs), one, "a second run differs ({numerics:?})");
        assert_eq!(run(f, inputs, options(numerics.clone(), 2)), one, "two threads differ ({numerics:?})");
        assert_eq!(run(f, inputs, options(numerics.clone(), 5)), one, "five threads differ ({numerics:?})");
    }
}

pub(crate) fn builder() -> Builder {
    Builder::new("main", Opset::Ios18)
}

pub(crate) fn fp16(shape: &[usize]) -> TensorType {
    TensorType::new(DType::Fp16, shape)
}

/// An op with these arguments.
pub(crate) fn op(b: &mut Builder, code: Opcode, args: Vec<(&'static str, Arg)>) -> ValueId {
    b.op(code, args).unwrap()
}

pub(crate) fn ints(v: &[i32]) -> Arg {
    Constant::ints(v).into()
}
