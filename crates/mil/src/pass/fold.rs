//! Constant folding.

use super::PassError;
use crate::interp::{SingleOp, Tensor};
use crate::{Call, Constant, DType, Data, Function, Op, Opcode, TensorType, ValueId};

/// Results of more elements than this stay computed: the text would grow more than the program shrinks.
const MOST: usize = 1 << 16;

/// `f` with every op whose operands are all constants in the program replaced by the constant it computes, rounded to its
/// type as the interpreter rounds. Weights are not folded: their elements are not in the program.
///
/// Ops that the interpreter does not execute stay.
///
/// # Errors
/// Never for a function that verifies.
pub fn fold(f: &Function) -> Result<Function, PassError> {
    let mut f = f.clone();
    for op in std::mem::take(&mut f.ops) {
        match foldable(&f, &op).then(|| evaluate(&f, &op)).flatten() {
            Some(constants) => define(&mut f, &op, constants),
            None => f.ops.push(op),
        }
    }
    Ok(super::dce(&f))
}

fn foldable(f: &Function, op: &Op) -> bool {
    let in_program = |v: ValueId| f.value(v).constant.as_ref().is_some_and(|c| c.data().is_some());
    let small = |v: &ValueId| f.tensor_type(*v).is_some_and(|t| t.elements() <= MOST && has_data(t.dtype));
    op.code != Opcode::Const && op.uses().all(in_program) && op.results.iter().all(small)
}

fn has_data(dtype: DType) -> bool {
    !matches!(dtype, DType::String | DType::Fp8E4M3 | DType::Fp8E5M2)
}

/// The results of one op of constants.
fn evaluate(f: &Function, op: &Op) -> Option<Vec<Constant>> {
    let alone = SingleOp::new(Call::new(f, op)).ok()?;
    let tensors = alone.compute(Vec::new(), true).ok()?;
    tensors.iter().zip(alone.results()).map(|(tensor, ty)| constant(ty, tensor)).collect()
}

/// A tensor of the interpreter as a constant of its type.
fn constant(ty: &TensorType, tensor: &Tensor) -> Option<Constant> {
    let of = &tensor.data;
    let data = match ty.dtype {
        DType::Bool => Data::Bool(of.iter().map(|&x| x != 0.0).collect()),
        dtype if dtype.is_float() => return Some(Constant::floats(ty.clone(), of)),
        dtype if dtype.is_int() && of.iter().all(|x| x.fract() == 0.0) => {
            match Data::Int(Vec::new()).matches(dtype) {
                true => Data::Int(of.iter().map(|&x| x as i64).collect()),
                false => Data::Uint(of.iter().map(|&x| x as u64).collect()),
            }
        }
        _ => return None,
    };
    Some(Constant::inline(ty.clone(), data))
}

/// Lets `const` ops define the results of `op`.
fn define(f: &mut Function, op: &Op, constants: Vec<Constant>) {
    for (&r, c) in op.results.iter().zip(constants) {
        f.values[r.index()].constant = Some(c);
        let (args, attrs) = (Vec::new(), Vec::new());
        f.ops.push(Op { code: Opcode::Const, name: String::new(), args, results: vec![r], attrs });
    }
}
