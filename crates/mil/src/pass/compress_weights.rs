//! Weights in fewer bits.

use crate::{BlobRef, Function, Op, Opcode, TensorType, compress::Compressed};

/// `f` with the weights for which `encode` gives a compressed form decoded by `constexpr_*` ops, whose operands are
/// constants in the program. `encode` sees the name, the place and the type of every weight that a `const` op defines.
///
/// # Errors
/// The first that `encode` gives.
pub fn compress_weights<E>(
    f: &Function,
    mut encode: impl FnMut(&str, &BlobRef, &TensorType) -> Result<Option<Compressed>, E>,
) -> Result<Function, E> {
    let mut f = f.clone();
    for op in std::mem::take(&mut f.ops) {
        match compressed(&f, &op, &mut encode)? {
            Some(compressed) => {
                f.values[op.result().index()].constant = None;
                let statements = compressed.define(&mut f, op.result());
                f.ops.extend(statements);
            }
            None => f.ops.push(op),
        }
    }
    Ok(f)
}

/// The compressed form of the weight that `op` defines, if it defines one and `encode` gives a form.
fn compressed<E>(
    f: &Function,
    op: &Op,
    encode: &mut impl FnMut(&str, &BlobRef, &TensorType) -> Result<Option<Compressed>, E>,
) -> Result<Option<Compressed>, E> {
    if op.code != Opcode::Const {
        return Ok(None);
    }
    let value = f.value(op.result());
    match value.constant.as_ref().and_then(|weight| Some((weight.blob_ref()?, &weight.ty))) {
        Some((blob, ty)) => encode(&value.name, blob, ty),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::testing::{codes, verified};
    use super::*;
    use crate::{
        Builder, Constant, DType, Opset,
        compress::{CompressError, Scheme, compress},
        interp::{self, Tensor},
    };

    fn product() -> Function {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", TensorType::new(DType::Fp32, [1, 2]));
        let w =
            b.constant("w", Constant::blob(TensorType::new(DType::Fp32, [2, 4]), "@model_path/w.bin", 64));
        let y = b.matmul(x, w, false, false).unwrap();
        b.finish(&[y])
    }

    #[test]
    fn compressed_weights_compute_nearly_the_same() {
        let f = product();
        let values = [0.5f32, -0.25, 1.0, 0.75, -1.0, 0.125, 0.0, 2.0];
        let scheme = Scheme::Affine { dtype: DType::Int8, axis: Some(0), symmetric: true };
        let g = compress_weights(&f, |name, blob, ty| -> Result<_, CompressError> {
            assert_eq!((name, blob.offset), ("w", 64));
            compress(&values, ty, &scheme, Opset::Ios18).map(Some)
        });
        let g = verified(g.unwrap());
        assert_eq!(codes(&g), [Opcode::ConstexprAffineDequantize, Opcode::Matmul]);
        assert_eq!(g.weights().count(), 0);

        let inputs = HashMap::from([("x".to_owned(), Tensor::new([1, 2], [1.0, 0.5]))]);
        let weights = |_: &BlobRef, _: &TensorType| Some(values.map(f64::from).to_vec());
        let run = |f: &Function| {
            let all = interp::interpret(f, &inputs, &weights, interp::Options::default()).unwrap();
            all.outputs().next().unwrap().1.data.clone()
        };
        for (exact, near) in run(&f).iter().zip(run(&g)) {
            assert!((exact - near).abs() < 0.5 / 127.0 + 0.5 * 1.0 / 127.0, "{exact} {near}");
        }
    }

    #[test]
    fn sparse_integers_take_two_ops() {
        let values = [0.5f32, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 2.0];
        let form = Scheme::Blockwise { dtype: DType::Int8, blocks: vec![2, 1], symmetric: true };
        let scheme = Scheme::Sparse(Some(Box::new(form)));
        let g =
            compress_weights(&product(), |_, _, ty| compress(&values, ty, &scheme, Opset::Ios18).map(Some));
        let g = verified(g.unwrap());
        let decoding = [Opcode::ConstexprSparseBlockwiseShiftScale, Opcode::ConstexprSparseToDense];
        assert_eq!(codes(&g), [&decoding[..], &[Opcode::Matmul]].concat());
        let named = |name: &str| g.values.iter().any(|v| v.name == name);
        assert!(named("w_mask") && named("w_nonzero"));
    }

    #[test]
    fn weights_that_are_not_encoded_stay() {
        let f = product();
        assert_eq!(compress_weights(&f, |_, _, _| Ok::<_, CompressError>(None)).unwrap(), f);
    }
}
