//! The executor against NumPy and PyTorch, in fp32 and fp16.

mod common;
#[path = "../../mil/tests/common/op_cases.rs"]
mod op_cases;

use ferrane_cpu::{Executable, Numerics};
use ferrane_mil::{DType, Opcode};

/// Steps where binary16 and the fixtures' doubles may fall on different sides: a quotient that is nearly whole.
const STEPS: [Opcode; 2] = [Opcode::FloorDiv, Opcode::Mod];

#[test]
fn the_executor_computes_what_independent_libraries_do() {
    let mut wrong = Vec::new();
    for (float, tolerance) in [(DType::Fp32, 1e-5), (DType::Fp16, 2e-3)] {
        for case in op_cases::all(float) {
            if float == DType::Fp16 && STEPS.contains(&case.code) {
                continue;
            }
            let inputs: Vec<Vec<f32>> =
                case.inputs.iter().map(|t| t.data.iter().map(|&x| x as f32).collect()).collect();
            let f = &case.function;
            let options = common::options(Numerics::Declared, 2);
            let mut executable = match Executable::compile(f, &common::NoWeights, options) {
                Ok(executable) => executable,
                Err(e) => {
                    wrong.push(format!("{} in {float}: {e}", case.name));
                    continue;
                }
            };
            let results = common::run_compiled(f, &mut executable, &inputs);
            for (given, expected) in results.iter().zip(&case.expected) {
                let given: Vec<f64> = given.iter().map(|&x| f64::from(x)).collect();
                let error = op_cases::error(&given, &expected.data);
                if error > tolerance {
                    wrong.push(format!(
                        "{} in {float}: {error:e}\n  {given:?}\n  {:?}",
                        case.name, expected.data
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
