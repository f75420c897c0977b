//! Inputs no narrower than a compiler takes.

use super::{PassError, define, reopen};
use crate::{Constant, Function, Opcode, TensorType};

/// `f` with every input `[1, C, 1, W]` narrower than `least` made `[1, C, 1, least]`, of which the first W columns are
/// used. Inputs keep their names; the value inside is called `NAME_inner`.
///
/// # Errors
/// When an extent is too large for MIL's `int32` shapes.
pub fn widen_inputs(f: &Function, least: usize) -> Result<Function, PassError> {
    let (mut b, ops) = reopen(f);
    let inputs = std::mem::take(&mut b.function_mut().inputs);
    for v in inputs {
        let narrow = f.tensor_type(v).filter(|t| matches!(t.shape[..], [1, _, 1, w] if w < least)).cloned();
        let Some(TensorType { dtype, shape }) = narrow else {
            b.function_mut().inputs.push(v);
            continue;
        };
        let name = f.name_of(v).to_owned();
        b.rename(v, &format!("{name}_inner"));
        let port = b.input(&name, TensorType::new(dtype, [1, shape[1], 1, least]));
        let size: Vec<i32> = shape.iter().map(|&d| i32::try_from(d).unwrap_or(i32::MAX)).collect();
        let begin = Constant::ints(&[0; 4]);
        b.op(
            Opcode::SliceBySize,
            vec![("begin", begin.into()), ("size", Constant::ints(&size).into()), ("x", port.into())],
        )?;
        define(&mut b, v);
    }
    for op in ops {
        b.append(op);
    }
    let f = b.finish(&f.outputs);
    Ok(super::dce(&f))
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::{Builder, Opset};

    #[test]
    fn narrow_inputs_are_sliced_from_wider_ones() {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", TensorType::fp16([1, 8, 1, 64]));
        let w = b.input("w", TensorType::fp16([1, 8, 1, 1]));
        let y = b.mul(x, w).unwrap();
        let f = verified(widen_inputs(&b.finish(&[y]), 32).unwrap());
        assert_eq!(ports(&f), [("x", &[1, 8, 1, 64][..]), ("w", &[1, 8, 1, 32][..])]);
        assert_eq!(codes(&f), [Opcode::SliceBySize, Opcode::Mul]);
    }
}
