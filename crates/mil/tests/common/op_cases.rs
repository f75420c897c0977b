//! The cases of `fixtures/ops.json`, made by `tools/mil/make_op_fixtures.py`.

use ferrane_mil::{
    Arg, Builder, Constant, DType, Data, Function, Opcode, Operand, Opset, TensorType, interp::Tensor, ops,
};
use half::f16;
use serde_json::Value;

/// One op with inputs and what it gives for them.
pub(crate) struct Case {
    /// Its number and op.
    pub(crate) name: String,
    /// The op.
    pub(crate) code: Opcode,
    /// A function of the op alone.
    pub(crate) function: Function,
    /// Tensors for the function's inputs, in order.
    pub(crate) inputs: Vec<Tensor>,
    /// Tensors its outputs are to be, in order.
    pub(crate) expected: Vec<Tensor>,
}

/// All cases, with inputs and constants of the floating-point type `float`.
pub(crate) fn all(float: DType) -> Vec<Case> {
    let text = include_str!("../fixtures/ops.json");
    let cases: Vec<Value> = serde_json::from_str(text).unwrap();
    cases.iter().enumerate().map(|(i, case)| read(i, case, float)).collect()
}

fn read(i: usize, case: &Value, float: DType) -> Case {
    let op = case["op"].as_str().unwrap();
    let code = Opcode::from_name(op).unwrap();
    let mut b = Builder::new("main", Opset::Ios18);
    let mut inputs = Vec::new();
    let mut args: Vec<(&'static str, Arg)> = Vec::new();
    for (name, arg) in case["args"].as_object().unwrap() {
        let spec =
            ops::spec(code).unwrap().arg(name).unwrap_or_else(|| panic!("{op} has no argument {name}"));
        let arg = match arg {
            Value::Array(all) => {
                Arg::Many(all.iter().map(|a| operand(&mut b, &mut inputs, a, float)).collect())
            }
            one => Arg::One(operand(&mut b, &mut inputs, one, float)),
        };
        args.push((spec.name, arg));
    }
    let results = b.op_results(code, args).unwrap_or_else(|e| panic!("case {i}: {e}"));
    let expected = case["results"].as_array().unwrap().iter().map(|r| tensor(&r["shape"], r)).collect();
    Case { name: format!("case {i}, {op}"), code, function: b.finish(&results), inputs, expected }
}

fn operand(b: &mut Builder, inputs: &mut Vec<Tensor>, arg: &Value, float: DType) -> Operand {
    for (kind, dtype) in [("input", float), ("index", DType::Int32), ("bool", DType::Bool)] {
        if !arg[kind].is_null() {
            let tensor = tensor(&arg[kind], arg);
            let v = b.input("x", TensorType::new(dtype, tensor.shape.clone()));
            inputs.push(tensor);
            return Operand::Value(v);
        }
    }
    let dtype = match arg["const"].as_str().unwrap() {
        "string" => return Constant::string(arg["data"][0].as_str().unwrap()).into(),
        "float" => float,
        name => DType::from_name(name).unwrap(),
    };
    let Tensor { shape, data } = tensor(&arg["shape"], arg);
    let data = data.into_iter();
    let data = match dtype {
        DType::Bool => Data::Bool(data.map(|x| x != 0.0).collect()),
        DType::Fp16 => Data::Fp16(data.map(f16::from_f64).collect()),
        DType::Fp32 => Data::Fp32(data.map(|x| x as f32).collect()),
        DType::Fp64 => Data::Fp64(data.collect()),
        d if d.name().starts_with('u') => Data::Uint(data.map(|x| x as u64).collect()),
        _ => Data::Int(data.map(|x| x as i64).collect()),
    };
    Constant::inline(TensorType::new(dtype, shape), data).into()
}

fn tensor(shape: &Value, of: &Value) -> Tensor {
    let shape: Vec<usize> = shape.as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect();
    let data: Vec<f64> = of["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    Tensor::new(shape, data)
}

/// The largest difference from what is expected, relative to the largest element expected.
pub(crate) fn error(given: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(given.len(), expected.len());
    let largest = expected.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
    let differences = given.iter().zip(expected).map(|(x, y)| (x - y).abs() / largest);
    // NaN is as wrong as can be.
    differences.fold(0.0, |m, d| {
        if d <= m {
            m
        } else if d.is_nan() {
            f64::INFINITY
        } else {
            d
        }
    })
}
