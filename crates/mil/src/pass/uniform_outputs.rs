//! Outputs of one size.

use super::{PassError, define, reopen};
use crate::{Constant, Function, Opcode, TensorType};

/// `f` with every output `[1, C, 1, W]` padded behind its last channel until all have the most channels of any, for
/// compilers that take outputs of one size only (facts A-52). Outputs keep their names; the value inside is called
/// `NAME_inner`. Outputs of other shapes or widths than the first are left alone.
///
/// # Errors
/// When an extent is too large for MIL's `int32` shapes.
pub fn uniform_outputs(f: &Function) -> Result<Function, PassError> {
    let surface = |ty: &TensorType| match ty.shape[..] {
        [1, channels, 1, width] => Some((channels, width, ty.dtype)),
        _ => None,
    };
    let shape = |v| f.tensor_type(v).and_then(surface);
    let Some((_, width, dtype)) = f.outputs.first().and_then(|&v| shape(v)) else { return Ok(f.clone()) };
    let alike = |v| shape(v).filter(|&(_, w, d)| (w, d) == (width, dtype)).map(|(channels, ..)| channels);
    let most = f.outputs.iter().filter_map(|&v| alike(v)).max().unwrap_or(0);

    let (mut b, ops) = reopen(f);
    for op in ops {
        b.append(op);
    }
    let mut outputs = f.outputs.clone();
    for output in &mut outputs {
        let v = *output;
        let Some(channels) = alike(v).filter(|&c| c < most) else { continue };
        let name = f.name_of(v).to_owned();
        b.rename(v, &format!("{name}_inner"));
        let port = b.function_mut().add_value(String::new(), TensorType::new(dtype, [1, most, 1, width]));
        b.rename(port, &name);
        let more = i32::try_from(most - channels).unwrap_or(i32::MAX);
        let zero = b.scalar_like(v, 0.0);
        b.op(
            Opcode::Pad,
            vec![
                ("constant_val", zero.into()),
                ("mode", Constant::string("constant").into()),
                ("pad", Constant::ints(&[0, 0, 0, more, 0, 0, 0, 0]).into()),
                ("x", v.into()),
            ],
        )?;
        define(&mut b, port);
        *output = port;
    }
    Ok(b.finish(&outputs))
}
