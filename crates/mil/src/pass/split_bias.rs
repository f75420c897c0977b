//! Convolutions without bias.

use super::{PassError, define, reopen};
use crate::{Arg, Constant, Function, Opcode, Operand};

/// `f` with the `bias` of every convolution added by an op of its own, as compilers that refuse the argument want it (facts
/// the bias `[C]` is reshaped to `[1, C, 1, …]`.
///
/// # Errors
/// When an op of `f` does not fit its arguments.
pub fn split_bias(f: &Function) -> Result<Function, PassError> {
    let (mut b, ops) = reopen(f);
    for mut op in ops {
        let at = op.args.iter().position(|(name, _)| name == "bias");
        let (Opcode::Conv | Opcode::ConvTranspose, Some(at)) = (op.code, at) else {
            b.append(op);
            continue;
        };
        let Arg::One(bias) = op.args.remove(at).1 else {
            return Err(crate::CallError::Kind {
                op: op.code,
                arg: "bias".into(),
                expected: "a single value",
            }
            .into());
        };
        let result = op.result();
        let bias = match bias {
            Operand::Value(v) => v,
            Operand::Literal(c) => b.constant("bias", c),
        };
        // The channels of [C] stand before the spatial axes of the result.
        let (channels, rank) = (b.ty(bias).elements(), b.ty(result).rank());
        let mut shape = vec![1i32; rank];
        if let Some(c) = shape.get_mut(1) {
            *c = i32::try_from(channels).unwrap_or(i32::MAX);
        }
        let plain = b.function_mut().add_value(String::new(), f.value(result).ty.clone());
        b.rename(plain, &format!("{}_plain", f.name_of(result)));
        op.results = vec![plain];
        op.name.clear();
        b.append(op);
        let bias =
            b.op(Opcode::Reshape, vec![("shape", Constant::ints(&shape).into()), ("x", bias.into())])?;
        b.add(plain, bias)?;
        define(&mut b, result);
    }
    Ok(super::fold(&b.finish(&f.outputs))?)
}
