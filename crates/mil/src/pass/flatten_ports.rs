//! Ports in the shape of surfaces.

use super::{PassError, define, reopen};
use crate::{Builder, Constant, Function, Opcode, TensorType, ValueId};

/// `f` with every input and output shaped `[1, C, 1, W]`: a port of another shape becomes `[1, product of the rest, 1,
/// W]` and is reshaped at the boundary. W is the last extent, or, where that is below `least_width`, the product of as
/// many of the last extents as reach it. Ports keep their names; the value inside is called `NAME_inner`.
///
/// # Errors
/// When a port is not a tensor, or too large for MIL's `int32` shapes.
pub fn flatten_ports(f: &Function, least_width: usize) -> Result<Function, PassError> {
    let (mut b, ops) = reopen(f);
    let inputs = std::mem::take(&mut b.function_mut().inputs);
    let mut outputs = f.outputs.clone();
    for v in inputs {
        let Some(ty) = f.tensor_type(v).filter(|t| !is_surface(t)).cloned() else {
            b.function_mut().inputs.push(v);
            continue;
        };
        let name = f.name_of(v).to_owned();
        b.rename(v, &format!("{name}_inner"));
        let port = b.input(&name, flat(&ty, least_width));
        reshape_into(&mut b, port, &ty.shape, v)?;
    }
    for op in ops {
        b.append(op);
    }
    for output in &mut outputs {
        let v = *output;
        if let Some(ty) = f.tensor_type(v).filter(|t| !is_surface(t)).cloned() {
            let name = b.function().name_of(v).to_owned();
            b.rename(v, &format!("{name}_inner"));
            let flat = flat(&ty, least_width);
            let port = b.function_mut().add_value(String::new(), flat.clone());
            b.rename(port, &name);
            reshape_into(&mut b, v, &flat.shape, port)?;
            *output = port;
        }
    }
    let f = b.finish(&outputs);
    Ok(super::dce(&f))
}

fn is_surface(ty: &TensorType) -> bool {
    matches!(ty.shape[..], [1, _, 1, _])
}

/// `[1, product of the rest, 1, W]`
fn flat(ty: &TensorType, least_width: usize) -> TensorType {
    let (mut channels, mut width) = (1usize, 1usize);
    for (i, &extent) in ty.shape.iter().rev().enumerate() {
        let part = if i == 0 || width < least_width { &mut width } else { &mut channels };
        *part = part.saturating_mul(extent);
    }
    TensorType::new(ty.dtype, [1, channels, 1, width])
}

/// Defines `result` as `x` under another shape.
fn reshape_into(b: &mut Builder, x: ValueId, shape: &[usize], result: ValueId) -> Result<(), PassError> {
    let shape: Vec<i32> = shape.iter().map(|&d| i32::try_from(d).unwrap_or(i32::MAX)).collect();
    b.op(Opcode::Reshape, vec![("shape", Constant::ints(&shape).into()), ("x", x.into())])?;
    define(b, result);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::Opset;

    #[test]
    fn odd_ports_are_reshaped_at_the_boundary() {
        let mut b = Builder::new("main", Opset::Ios18);
        let p = b.input("p", TensorType::fp16([1, 2, 3, 4]));
        let g = b.input("g", TensorType::fp16([4]));
        let x = b.input("x", TensorType::fp16([1, 6, 1, 4]));
        let y = b.add(p, g).unwrap();
        b.rename(y, "y");
        let z = b.unary(Opcode::Exp, x).unwrap();
        let f = verified(flatten_ports(&b.finish(&[y, z]), 1).unwrap());
        assert_eq!(ports(&f), [("p", &[1, 6, 1, 4][..]), ("g", &[1, 1, 1, 4]), ("x", &[1, 6, 1, 4])]);
        let outputs: Vec<_> =
            f.outputs.iter().map(|&v| (f.name_of(v), f.tensor_type(v).unwrap().rank())).collect();
        assert_eq!(outputs, [("y", 4), ("exp", 4)]);
        assert_eq!(codes(&f), [Opcode::Reshape, Opcode::Reshape, Opcode::Add, Opcode::Exp, Opcode::Reshape]);
    }

    #[test]
    fn an_output_that_is_used_inside_keeps_its_shape_there() {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", TensorType::fp16([1, 6, 1, 4]));
        let y = b.reshape(x, &[1, 2, 3, 4]).unwrap();
        b.rename(y, "y");
        let z = b.softmax(y, 1).unwrap();
        b.rename(z, "z");
        let f = verified(flatten_ports(&b.finish(&[y, z]), 1).unwrap());
        assert_eq!(codes(&f), [Opcode::Reshape, Opcode::Softmax, Opcode::Reshape, Opcode::Reshape]);
    }

    #[test]
    fn a_port_narrower_than_the_least_takes_more_axes_into_its_width() {
        let mut b = Builder::new("main", Opset::Ios18);
        let p = b.input("p", TensorType::fp16([2, 4, 8, 8]));
        let y = b.unary(Opcode::Exp, p).unwrap();
        let f = verified(flatten_ports(&b.finish(&[y]), 64).unwrap());
        assert_eq!(ports(&f), [("p", &[1, 8, 1, 64][..])]);
    }
}
