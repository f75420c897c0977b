//! The interpreter against NumPy and PyTorch.

#[path = "common/op_cases.rs"]
mod op_cases;

use std::collections::{BTreeSet, HashMap};

use ferrane_mil::{
    DType, Opcode,
    interp::{Options, interpret},
    ops,
};

#[test]
fn the_interpreter_computes_what_independent_libraries_do() {
    let mut wrong = Vec::new();
    for case in op_cases::all(DType::Fp64) {
        let f = &case.function;
        let names = f.inputs.iter().map(|&v| f.name_of(v).to_owned());
        let inputs: HashMap<_, _> = names.zip(case.inputs).collect();
        let values = match interpret(f, &inputs, &|_, _| None, Options::default()) {
            Ok(values) => values,
            Err(e) => {
                wrong.push(format!("{}: {e}", case.name));
                continue;
            }
        };
        for ((_, given), expected) in values.outputs().zip(&case.expected) {
            let shape = &expected.shape;
            if given.shape != *shape {
                wrong.push(format!("{}: shape {:?}, not {shape:?}", case.name, given.shape));
            } else if op_cases::error(&given.data, &expected.data) > 1e-9 {
                wrong.push(format!("{}:\n  {:?}\n  {:?}", case.name, given.data, expected.data));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_op_that_is_executed_has_a_case() {
    let covered: BTreeSet<Opcode> = op_cases::all(DType::Fp64).iter().map(|c| c.code).collect();
    let missing: Vec<&str> = ops::all()
        .filter(|row| row.executed && row.code != Opcode::Const && !covered.contains(&row.code))
        .map(|row| row.code.name())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
