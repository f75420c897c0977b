//! One op on its own, for engines that have no kernel for it.

use super::{Operands, Tensor, evaluate, rounded};
use crate::{Arg, Call, CallError, Function, Name, Op, Operand, TensorType, ValueId, infer};

/// An op cut out of its function, to be computed by the interpreter.
#[derive(Clone, Debug)]
pub struct SingleOp {
    /// A function of this op alone: its operands are the first values.
    function: Function,
    op: Op,
    /// The operands as the function it came from has them.
    operands: Vec<Operand>,
    results: Vec<TensorType>,
}

impl SingleOp {
    /// The op of `call`. Constants in the program keep being arguments; all other operands must be given when it is
    /// computed.
    ///
    /// # Errors
    /// What inference says of the arguments; [`CallError::ParsedOnly`] for ops that are not executed.
    pub fn new(call: Call<'_>) -> Result<Self, CallError> {
        let code = call.code();
        if crate::ops::spec(code).is_none_or(|spec| !spec.executed) {
            return Err(CallError::ParsedOnly(code));
        }
        let mut single = Function::new(code.name(), call.function.opset);
        let mut operands: Vec<Operand> = Vec::new();
        let mut args: Vec<(Name, Arg)> = call.op.args.clone();
        for (_, arg) in &mut args {
            for operand in arg.operands_mut() {
                if let Some(c) = call.function.constant(operand).filter(|c| c.data().is_some()) {
                    *operand = Operand::Literal(c.clone());
                    continue;
                }
                let index = operands.iter().position(|o| o == operand).unwrap_or_else(|| {
                    let name = format!("operand_{}", operands.len());
                    let ty = match &*operand {
                        Operand::Value(v) => call.function.value(*v).ty.clone(),
                        Operand::Literal(c) => c.ty.clone().into(),
                    };
                    operands.push(operand.clone());
                    single.add_value(name, ty).index()
                });
                *operand = Operand::Value(ValueId(index as u32));
            }
        }
        let op = Op { code, name: String::new(), args, results: Vec::new(), attrs: Vec::new() };
        let types = infer::result_types(Call::new(&single, &op))?;
        let results = types.iter().filter_map(|t| t.as_tensor().cloned()).collect();
        Ok(Self { function: single, op, operands, results })
    }

    /// What [`SingleOp::compute`] takes, in order, each once: values, and literals whose elements are in weight files.
    pub fn operands(&self) -> &[Operand] {
        &self.operands
    }

    /// The types of the results.
    pub fn results(&self) -> &[TensorType] {
        &self.results
    }

    /// The results for the elements of the operands, row-major. With `round`, they are rounded to their element types.
    ///
    /// # Errors
    /// When the number of operands or their elements is wrong, or an index that is to be validated is outside its axis.
    pub fn compute(&self, operands: Vec<Vec<f64>>, round: bool) -> Result<Vec<Tensor>, CallError> {
        let call = Call::new(&self.function, &self.op);
        let mut values = Vec::with_capacity(operands.len());
        for (value, data) in self.function.values.iter().zip(operands) {
            let shape = value.ty.as_tensor().map(|t| t.shape.clone()).unwrap_or_default();
            let elements = shape.iter().product::<usize>();
            if elements != data.len() {
                return Err(call.invalid(format!(
                    "`{}` has {elements} elements, not {}",
                    value.name,
                    data.len()
                )));
            }
            values.push(Some(Tensor::new(shape, data)));
        }
        let mut results = evaluate(Operands { call, values: &values, weights: &|_, _| None })?;
        if round {
            for (tensor, ty) in results.iter_mut().zip(&self.results) {
                tensor.data.iter_mut().for_each(|x| *x = rounded(*x, ty.dtype));
            }
        }
        Ok(results)
    }
}
