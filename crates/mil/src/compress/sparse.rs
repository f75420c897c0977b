//! Weights of which many are zero.

use super::{Compressed, floats, shape_argument};
use crate::{Constant, DType, Data, Opcode, Opset, TensorType};

/// The mask is a tensor of bits, or before iOS 18 bytes of them, from the lowest bit up, and the shape.
pub(super) fn sparse(values: &[f32], ty: &TensorType, opset: Opset) -> Compressed {
    let kept: Vec<f32> = values.iter().copied().filter(|&x| x != 0.0).collect();
    let data_type = TensorType::new(ty.dtype, [kept.len()]);
    let mut args = vec![("nonzero_data", Constant::inline(data_type, floats(kept.into_iter(), ty.dtype)))];
    let bits = values.iter().map(|&x| u64::from(x != 0.0));
    if opset < Opset::Ios18 {
        let bits: Vec<u64> = bits.collect();
        let bytes: Vec<u64> =
            bits.chunks(8).map(|b| b.iter().rev().fold(0, |byte, bit| byte << 1 | bit)).collect();
        args.push((
            "mask",
            Constant::inline(TensorType::new(DType::Uint8, [bytes.len()]), Data::Uint(bytes)),
        ));
        args.push(("shape", shape_argument(ty)));
    } else {
        let mask = Data::Uint(bits.collect());
        args.push(("mask", Constant::inline(TensorType::new(DType::Uint1, ty.shape.clone()), mask)));
    }
    Compressed { code: Opcode::ConstexprSparseToDense, args, ty: ty.clone() }
}
