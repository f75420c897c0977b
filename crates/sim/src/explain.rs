//! What the engine's arithmetic does to a program, op by op.

use std::collections::HashMap;

use ferrane_cpu::{CompileError, Executable, Numerics, Options, RunError, Weights};
use ferrane_engine::Profile;
use ferrane_mil::{
    DType, Function, Op, Opcode, TensorType, ValueId,
    pass::{PassError, decompose_attention},
};

use crate::{
    numerics::{Faithful, Rule},
    silent,
};

/// Why a program cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// An attention does not fit its arguments.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// An op cannot be computed.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The inputs do not fit the program.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// What happened to the results of one op.
#[derive(Clone, Debug, PartialEq)]
pub struct OpErrors {
    /// The op's first result.
    pub value: String,
    /// The op.
    pub op: Opcode,
    /// By which rule it was computed.
    pub rule: Rule,
    /// Results.
    pub results: u64,
    /// Results that became infinite though their operands were finite.
    pub saturated: u64,
    /// Against fp32 arithmetic on the same operands.
    pub local: Errors,
    /// Against the whole program in fp32; none for a value that the program does not have.
    pub accumulated: Option<Errors>,
}

/// The largest differences, over results that are finite on both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Errors {
    /// Magnitude.
    pub absolute: f64,
    /// Over the magnitude of the exact value; where that is 0 it does not count.
    pub relative: f64,
    /// In units of the last place that fp16 has at the exact value.
    pub ulps: f64,
    /// Results that are infinite on our side alone.
    pub lost: u64,
}

/// Runs `function` as the chip of `profile` computes it and tells of each op what that does to its results. Inputs are in
/// declared order.
///
/// # Errors
/// When an op cannot be computed or the inputs do not fit.
pub fn explain(
    function: &Function,
    weights: &dyn Weights,
    inputs: &[&[f32]],
    profile: &Profile,
    threads: usize,
) -> Result<Vec<OpErrors>, ExplainError> {
    let written = every_value(&decompose_attention(function)?);
    let executed = every_value(&decompose_attention(&silent::rewrite(function, profile))?);
    let numerics = Numerics::Arithmetic(std::sync::Arc::new(Faithful::of(profile)));
    let exact = run(&written, weights, inputs, Options::new(Numerics::F32, threads))?;
    let exact: HashMap<&str, &Vec<f32>> =
        written.outputs.iter().zip(&exact.values).map(|(&v, values)| (written.name_of(v), values)).collect();
    let found = run(&executed, weights, inputs, Options::new(numerics, threads))?;
    let mut values: HashMap<ValueId, &[f32]> =
        executed.outputs.iter().copied().zip(found.values.iter().map(Vec::as_slice)).collect();
    values.extend(executed.inputs.iter().copied().zip(inputs.iter().copied()));

    let mut rows = Vec::new();
    for op in executed.ops.iter().filter(|op| is_told(&executed, op)) {
        let result = op.results[0];
        let name = executed.name_of(result);
        let single = single(&executed, op);
        let operands: Vec<&[f32]> = single.inputs.iter().map(|v| values[v]).collect();
        let local = run(&single, weights, &operands, Options::new(Numerics::F32, threads))?;
        let ours = values[&result];
        rows.push(OpErrors {
            value: name.to_owned(),
            op: op.code,
            rule: Rule::of(op.code),
            results: ours.len() as u64,
            saturated: found.saturated.get(name).copied().unwrap_or(0),
            local: errors(ours, &local.values[0]),
            accumulated: exact.get(name).map(|exact| errors(ours, exact)),
        });
    }
    Ok(rows)
}

/// Elements of a function's outputs, and its ops that saturated.
struct Outcome {
    values: Vec<Vec<f32>>,
    saturated: HashMap<String, u64>,
}

fn run(
    f: &Function,
    weights: &dyn Weights,
    inputs: &[&[f32]],
    options: Options,
) -> Result<Outcome, ExplainError> {
    let mut executable = Executable::compile(f, weights, options)?;
    let elements = |v: &ValueId| f.tensor_type(*v).map_or(0, TensorType::elements);
    let mut values: Vec<Vec<f32>> = f.outputs.iter().map(|v| vec![0.0; elements(v)]).collect();
    let mut slices: Vec<&mut [f32]> = values.iter_mut().map(Vec::as_mut_slice).collect();
    executable.run(inputs, &mut slices)?;
    let saturated = executable.take_saturation().into_iter().map(|s| (s.value, s.saturated)).collect();
    Ok(Outcome { values, saturated })
}

/// `f`, putting out every tensor of numbers that an op of it makes.
fn every_value(f: &Function) -> Function {
    let results =
        f.ops.iter().filter(|op| op.code != Opcode::Const).flat_map(|op| op.results.iter().copied());
    let numeric = |v: &ValueId| f.tensor_type(*v).is_some_and(|ty| ty.dtype != DType::String);
    Function { outputs: results.filter(numeric).collect(), ..f.clone() }
}

/// Errors are told of ops whose results are floats.
fn is_told(f: &Function, op: &Op) -> bool {
    let float = |v: &ValueId| f.tensor_type(*v).is_some_and(|ty| ty.dtype.is_float());
    op.code != Opcode::Const && op.results.first().is_some_and(float)
}

/// One op as a function of its operands that are not constant.
fn single(f: &Function, op: &Op) -> Function {
    let mut inputs: Vec<ValueId> = Vec::new();
    for operand in op.args.iter().flat_map(|(_, arg)| arg.operands()) {
        if let ferrane_mil::Operand::Value(v) = operand
            && f.value(*v).constant.is_none()
            && !inputs.contains(v)
        {
            inputs.push(*v);
        }
    }
    Function { inputs, outputs: vec![op.results[0]], ops: vec![op.clone()], ..f.clone() }
}

fn errors(ours: &[f32], exact: &[f32]) -> Errors {
    let mut most = Errors::default();
    for (&y, &exact) in ours.iter().zip(exact) {
        if !exact.is_finite() || !y.is_finite() {
            most.lost += u64::from(exact.is_finite());
            continue;
        }
        let (absolute, exact) = ((f64::from(y) - f64::from(exact)).abs(), f64::from(exact).abs());
        most.absolute = most.absolute.max(absolute);
        most.ulps = most.ulps.max(absolute / last_place(exact));
        if exact > 0.0 {
            most.relative = most.relative.max(absolute / exact);
        }
    }
    most
}

/// The distance of fp16 values at a magnitude.
fn last_place(magnitude: f64) -> f64 {
    // Cut off, not rounded: a place is that of the binade below.
    let exponent = ((magnitude.min(65504.0).to_bits() >> 52) as i32 - 1023).max(-14);
    2f64.powi(exponent - 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrane_mil::{Builder, Opset, TensorType};

    struct None;

    impl Weights for None {
        fn read(&self, _: &ferrane_mil::BlobRef, _: &TensorType) -> Option<Vec<f32>> {
            Option::None
        }
    }

    #[test]
    fn places_are_those_of_fp16() {
        for (magnitude, place) in
            [(1.0, 2f64.powi(-10)), (2047.9, 1.0), (1024.0, 1.0), (0.0, 2f64.powi(-24)), (65504.0, 32.0)]
        {
            assert_eq!(last_place(magnitude), place, "{magnitude}");
        }
    }

    #[test]
    fn an_error_is_told_where_it_is_made_and_where_it_goes() {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", TensorType::fp16([1, 1, 1, 3]));
        let gate = b.unary(Opcode::Sigmoid, x).unwrap();
        b.rename(gate, "gate");
        let twice = b.add(gate, gate).unwrap();
        b.rename(twice, "twice");
        let big = b.mul(x, x).unwrap();
        b.rename(big, "big");
        let f = b.finish(&[twice, big]);
        let m4 = Profile::built_in("m4").unwrap();
        let rows = explain(&f, &None, &[&[0.25, 1.25, 300.0]], &m4, 1).unwrap();
        let row = |name: &str| rows.iter().find(|row| row.value == name).unwrap();
        let (gate, twice, big) = (row("gate"), row("twice"), row("big"));
        assert_eq!(gate.rule, Rule::Table);
        assert!(gate.local.absolute > 1e-4 && gate.accumulated == Some(gate.local));
        // Doubling is exact, and doubles what came.
        assert_eq!(twice.local, Errors::default());
        assert_eq!(twice.accumulated.unwrap().absolute, 2.0 * gate.local.absolute);
        assert_eq!((big.saturated, big.local.lost, big.results), (1, 1, 3));
    }
}
