//! Result types of ops, from the types and constants of their arguments.

mod elementwise;
pub mod linear;
pub mod movement;

use crate::{
    Opcode, TensorType, Type,
    call::{Call, CallError},
};

/// The types of the results of `call`.
///
/// # Errors
/// A [`CallError`] that names the op, the argument and what is wrong with it.
pub fn result_types(call: Call<'_>) -> Result<Vec<Type>, CallError> {
    use Opcode::*;
    let one = |t: TensorType| Ok(vec![Type::Tensor(t)]);
    match call.code() {
        Abs | Acos | Asin | Atan | Atanh | Ceil | Cos | Cosh | Erf | Exp | Exp2 | Floor | Identity
        | Inverse | Log | LogicalNot | Round | Rsqrt | Sign | Sin | Sinh | Sqrt | Square | Tan | Tanh
        | Gelu | Relu | Relu6 | Sigmoid | Silu | Softplus | Softsign => one(call.tensor("x")?.clone()),
        Elu | LeakyRelu | Threshold | ThresholdedRelu | LinearActivation => {
            one(elementwise::with_numbers(call, &["alpha"])?)
        }
        ClampedRelu | Clip | ScaledTanh | SigmoidHard => {
            one(elementwise::with_numbers(call, &["alpha", "beta"])?)
        }
        Prelu => one(elementwise::per_channel(call, &["alpha"])?),
        SoftplusParametric => one(elementwise::per_channel(call, &["alpha", "beta"])?),
        Softmax => {
            let x = call.tensor("x")?;
            call.axis(call.int("axis")?.unwrap_or(-1), x.rank())?;
            one(x.clone())
        }
        Cast => one(TensorType::new(call.dtype("dtype")?, call.tensor("x")?.shape.clone())),
        Add | FloorDiv | LogicalAnd | LogicalOr | LogicalXor | Maximum | Minimum | Mod | Mul | Pow
        | RealDiv | Sub => one(elementwise::binary(call)?),
        Equal | Greater | GreaterEqual | Less | LessEqual | NotEqual => {
            one(TensorType::new(crate::DType::Bool, elementwise::binary(call)?.shape))
        }
        Select => one(elementwise::select(call)?),
        Conv => one(linear::conv(call)?),
        Matmul => one(linear::matmul(call)?),
        ReduceL1Norm | ReduceL2Norm | ReduceLogSum | ReduceLogSumExp | ReduceMax | ReduceMean | ReduceMin
        | ReduceProd | ReduceSum | ReduceSumSquare => one(reduce(call)?),
        Reshape => one(movement::reshape(call)?),
        Transpose => one(movement::transpose(call)?),
        ExpandDims => one(movement::expand_dims(call)?),
        Squeeze => one(movement::squeeze(call)?),
        Concat => one(movement::concat(call)?),
        SliceBySize => one(movement::slice_by_size(call)?),
        Pad => one(movement::pad(call)?),
        Tile => one(movement::tile(call)?),
        Split => Ok(movement::split(call)?.into_iter().map(Type::Tensor).collect()),
        Const => match call.op.results.first().and_then(|r| call.function.value(*r).constant.as_ref()) {
            Some(c) => one(c.ty.clone()),
            None => Err(call.invalid("has no value")),
        },
        other => Err(CallError::UnknownOp(other)),
    }
}

/// The shape two shapes broadcast to (NumPy's rule), or `None` when they do not.
pub fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| if i + s.len() < rank { 1 } else { s[i + s.len() - rank] };
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (m, n) if m == n => Some(m),
            (1, n) => Some(n),
            (m, 1) => Some(m),
            _ => None,
        })
        .collect()
}

fn reduce(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    let axes = call.reduced_axes(x.rank())?;
    let keep = call.bool("keep_dims")?;
    let shape = x.shape.iter().enumerate().filter_map(|(i, &d)| match axes.contains(&i) {
        false => Some(d),
        true => keep.then_some(1),
    });
    Ok(TensorType::new(x.dtype, shape.collect::<Vec<_>>()))
}
