//! From fp32 to the element type the Neural Engine computes with.

use std::sync::Arc;

use half::f16;

use super::PassError;
use crate::{Constant, DType, Data, Function, Operand, Payload, Type};

/// `f` with every fp32 tensor made fp16: inputs, results and constants, the target of casts with them.
///
/// Constants in the program are rounded to nearest even; infinities stay infinite, small ones may become zero. Weights
/// change their type only: whoever writes the weight file writes fp16.
///
/// # Errors
/// [`PassError::OutOfRange`] with the names of all finite constants that would become infinite.
pub fn lower_to_fp16(f: &Function) -> Result<Function, PassError> {
    let mut f = f.clone();
    let mut too_large = Vec::new();
    for value in &mut f.values {
        lower_type(&mut value.ty);
        if value.constant.as_mut().is_some_and(|c| !lower_constant(c)) {
            too_large.push(value.name.clone());
        }
    }
    let mut targets = Vec::new();
    for op in &mut f.ops {
        for (name, arg) in &mut op.args {
            for operand in arg.operands_mut() {
                match operand {
                    Operand::Literal(c) if is_type_argument(name) => retarget(c),
                    Operand::Literal(c) => {
                        if !lower_constant(c) {
                            let result = op.results.first().map_or("?", |r| &f.values[r.index()].name);
                            too_large.push(format!("{name} of {result}"));
                        }
                    }
                    Operand::Value(v) if is_type_argument(name) => targets.push(*v),
                    Operand::Value(_) => {}
                }
            }
        }
    }
    for v in targets {
        if let Some(c) = &mut f.values[v.index()].constant {
            retarget(c);
        }
    }
    if too_large.is_empty() { Ok(f) } else { Err(PassError::OutOfRange { names: too_large }) }
}

fn lower_type(ty: &mut Type) {
    match ty {
        Type::Tensor(t) if t.dtype == DType::Fp32 => t.dtype = DType::Fp16,
        _ => {}
    }
}

/// False when a finite element would become infinite.
fn lower_constant(c: &mut Constant) -> bool {
    if c.ty.dtype != DType::Fp32 {
        return true;
    }
    c.ty.dtype = DType::Fp16;
    let Payload::Inline(data) = &c.payload else { return true };
    let Data::Fp32(elements) = &**data else { return true };
    let lowered: Vec<f16> = elements.iter().map(|&x| f16::from_f32(x)).collect();
    let fits = elements.iter().zip(&lowered).all(|(x, y)| !x.is_finite() || y.is_finite());
    c.payload = Payload::Inline(Arc::new(Data::Fp16(lowered)));
    fits
}

/// Arguments that name an element type.
fn is_type_argument(name: &str) -> bool {
    matches!(name, "dtype" | "output_dtype")
}

fn retarget(c: &mut Constant) {
    if c.as_str() == Some("fp32") {
        *c = Constant::string("fp16");
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::{Arg, Builder, Opcode, Opset, TensorType};

    fn fp32(shape: &[usize]) -> TensorType {
        TensorType::new(DType::Fp32, shape)
    }

    #[test]
    fn types_constants_weights_and_casts_are_lowered() {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", fp32(&[1, 4, 1, 8]));
        let w = b.weight("w", fp32(&[4, 4, 1, 1]));
        let y = b.linear(x, w).unwrap();
        let y = b.scale(y, 0.1).unwrap();
        let y =
            b.op(Opcode::Cast, vec![("x", y.into()), ("dtype", Constant::string("fp32").into())]).unwrap();
        let mut f = b.finish(&[y]);
        let op = f.ops.last_mut().unwrap();
        op.args[1].1 = Arg::One(Operand::Literal(Constant::string("fp32")));
        let f = verified(lower_to_fp16(&f).unwrap());
        assert!(f.values.iter().all(|v| v.ty.as_tensor().unwrap().dtype != DType::Fp32));
        let scalar = f.value(f.find("scalar").unwrap()).constant.as_ref().unwrap();
        assert_eq!(scalar.as_f64(), Some(f16::from_f32(0.1).to_f64()));
        assert!(f.value(f.find("w").unwrap()).constant.as_ref().unwrap().blob_ref().is_some());
    }

    #[test]
    fn constants_that_would_overflow_are_named() {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", fp32(&[1, 4, 1, 8]));
        let big = b.constant("big", Constant::fp32(1e5));
        let infinite = b.constant("infinite", Constant::fp32(f32::NEG_INFINITY));
        let y = b.add(x, big).unwrap();
        let y = b.add(y, infinite).unwrap();
        let error = lower_to_fp16(&b.finish(&[y])).unwrap_err();
        assert_eq!(error, PassError::OutOfRange { names: vec!["big".into()] });
    }
}
