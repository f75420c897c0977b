//! Weights of which many are zero.

use super::{Compressed, floats, shape_argument};
use crate::{Constant, DType, Data, Opcode, Opset, TensorType};

/// The mask is a tensor of bits, or before iOS 18 bytes of them, from the lowest bit up, and the shape.
pub(super) fn sparse(values: &[f32], ty: &TensorType, opset: Opset) -> Compressed {
    let kept: Vec<f32> = values.iter().copied().filter(|&x| x != 0.0).collect();
    let data_type = TensorType::new(ty.dtype, [kept.len()]);
    let mut args = vec![("nonzero_data", Constant::inline(data_type, floats(kept.into_iter(), ty.dtype)))];
    if opset < Opset::Ios18 {
        let bits: Vec<u64> = values.iter().map(|&x| u64::from(x != 0.0)).collect();
        let bytes: Vec<u64> =
            bits.chunks(8).map(|b| b.iter().rev().fold(0, |byte, bit| byte << 1 | bit)).collect();
        args.push((
            "mask",
            Constant::inline(TensorType::new(DType::Uint8, [bytes.len()]), Data::Uint(bytes)),
        ));
        args.push(("shape", shape_argument(ty)));
    } else {
        args.push(("mask", mask(&ty.shape, values.iter().map(|&x| x != 0.0))));
    }
    Compressed { code: Opcode::ConstexprSparseToDense, args, ty: ty.clone() }
}

/// A tensor of bits.
pub(super) fn mask(shape: &[usize], bits: impl Iterator<Item = bool>) -> Constant {
    Constant::inline(TensorType::new(DType::Uint1, shape), Data::Uint(bits.map(u64::from).collect()))
}

/// The integers of `blockwise` weights that stand for something other than zero, and a mask of them.
pub(super) fn blockwise(values: &[f32], dense: Compressed) -> Compressed {
    let mut args = Vec::with_capacity(dense.args.len() + 1);
    for (name, constant) in dense.args {
        match constant.data() {
            Some(data) if name == "data" => {
                let kept = only_nonzero(data, values);
                let ty = TensorType::new(constant.ty.dtype, [kept.len()]);
                args.push(("data_mask", mask(&dense.ty.shape, values.iter().map(|&x| x != 0.0))));
                args.push(("nonzero_data", Constant::inline(ty, kept)));
            }
            _ => args.push((name, constant)),
        }
    }
    Compressed { code: Opcode::ConstexprSparseBlockwiseShiftScale, args, ty: dense.ty }
}

fn only_nonzero(integers: &Data, values: &[f32]) -> Data {
    fn at<T: Copy>(all: &[T], values: &[f32]) -> Vec<T> {
        all.iter().zip(values).filter(|(_, x)| **x != 0.0).map(|(&q, _)| q).collect()
    }
    match integers {
        Data::Int(all) => Data::Int(at(all, values)),
        Data::Uint(all) => Data::Uint(at(all, values)),
        other => other.clone(),
    }
}
