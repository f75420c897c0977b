//! Convolutions without bias.

use super::{PassError, define, reopen};
use crate::{Arg, Builder, CallError, Function, Opcode, Operand, ValueId};

/// `f` with the `bias` of every convolution added by an op of its own, as compilers that refuse the argument want it (facts
/// the bias `[C]` becomes `[1, C, 1, …]`, in place for constants and weights, by a reshape otherwise.
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
            return Err(
                CallError::Kind { op: op.code, arg: "bias".into(), expected: "a single value" }.into()
            );
        };
        let result = op.result();
        let rank = b.ty(result).rank();
        let bias = match bias {
            Operand::Value(v) => v,
            Operand::Literal(c) => b.constant("bias", c),
        };
        let bias = along_channels(&mut b, bias, rank)?;
        let plain = b.function_mut().add_value(String::new(), f.value(result).ty.clone());
        b.rename(plain, &format!("{}_plain", f.name_of(result)));
        op.results = vec![plain];
        op.name.clear();
        b.append(op);
        b.add(plain, bias)?;
        define(&mut b, result);
    }
    Ok(super::dce(&b.finish(&f.outputs)))
}

/// `bias [C]` as `[1, C, 1, …]`: a constant under another shape, a computed one reshaped.
fn along_channels(b: &mut Builder, bias: ValueId, rank: usize) -> Result<ValueId, CallError> {
    let mut shape = vec![1; rank];
    if let Some(channels) = shape.get_mut(1) {
        *channels = b.ty(bias).elements();
    }
    let value = b.function().value(bias);
    match value.constant.clone() {
        Some(mut constant) => {
            let name = format!("{}_channels", value.name);
            constant.ty.shape = shape;
            Ok(b.constant(&name, constant))
        }
        None => b.reshape(bias, &shape),
    }
}
