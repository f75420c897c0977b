//! Weights in fewer bits.

use crate::{BlobRef, Function, Opcode, TensorType, compress::Compressed};

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
    for op in f.ops.iter_mut().filter(|op| op.code == Opcode::Const) {
        let result = op.result();
        let value = &mut f.values[result.index()];
        let Some(weight) = &value.constant else { continue };
        let Some(blob) = weight.blob_ref() else { continue };
        if let Some(compressed) = encode(&value.name, blob, &weight.ty)? {
            value.constant = None;
            *op = compressed.op(result);
        }
    }
    Ok(f)
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
    fn weights_that_are_not_encoded_stay() {
        let f = product();
        assert_eq!(compress_weights(&f, |_, _, _| Ok::<_, CompressError>(None)).unwrap(), f);
    }
}
