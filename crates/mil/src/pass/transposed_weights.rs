//! Baked transposed weights: the backward pass of a linear layer as a convolution.

use std::collections::HashMap;

use super::{PassError, define, reopen};
use crate::{BlobRef, Call, Constant, DType, Function, Op, Opcode, Operand, Payload, TensorType, ValueId};

/// A weight that is another weight transposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransposedWeight {
    /// Its name, `NAME_t`.
    pub name: String,
    /// The weight it is the transpose of.
    pub of: String,
    /// Its shape `[I, O, 1, 1]`; that of the other is `[O, I, 1, 1]`.
    pub shape: Vec<usize>,
    /// Its place.
    pub blob: BlobRef,
}

/// `f` with each product `Wᵀ·dy` by a weight `W [O, I, 1, 1]`, as [`differentiate`](crate::diff::differentiate) writes
/// the gradient of a 1×1 convolution, made a 1×1 convolution by a weight of its own, and the list of those weights.
/// Whoever writes the weight files writes these too. The file of `…/NAME.bin` is `…/NAME_t.bin`.
///
/// # Errors
/// When an op of `f` does not fit its arguments.
pub fn transposed_weights(f: &Function) -> Result<(Function, Vec<TransposedWeight>), PassError> {
    let products = products(f);
    let (mut b, ops) = reopen(f);
    let mut made: HashMap<ValueId, ValueId> = HashMap::new();
    let mut list = Vec::new();
    for op in ops {
        let Some(product) = op.results.first().and_then(|r| products.get(r)) else {
            b.append(op);
            continue;
        };
        let weight = match made.get(&product.weight) {
            Some(&w) => w,
            None => {
                let (inputs, outputs) = (b.shape(op.result())[1], b.shape(product.dy)[1]);
                let shape = vec![inputs, outputs, 1, 1];
                let blob = BlobRef { path: transposed_path(&product.blob.path), offset: product.blob.offset };
                let ty = TensorType::new(product.dtype, shape.clone());
                let of = f.name_of(product.weight).to_owned();
                let payload = Payload::Blob(blob.clone());
                let w = b.constant(&format!("{of}_t"), Constant { ty, payload });
                let name = b.function().name_of(w).to_owned();
                list.push(TransposedWeight { name, of, shape, blob });
                made.insert(product.weight, w);
                w
            }
        };
        b.linear(product.dy, weight)?;
        define(&mut b, op.result());
    }
    Ok((super::dce(&b.finish(&f.outputs)), list))
}

/// `reshape(matmul(reshape(weight), reshape(dy), transpose_x = true))`
struct Product<'f> {
    weight: ValueId,
    dtype: DType,
    blob: &'f BlobRef,
    dy: ValueId,
}

/// The products of `f`, by the result of the last reshape.
fn products(f: &Function) -> HashMap<ValueId, Product<'_>> {
    let definitions = f.definitions();
    let definition = |v: ValueId, code: Opcode| -> Option<&Op> {
        definitions[v.index()].map(|i| &f.ops[i]).filter(|op| op.code == code)
    };
    let source = |op: &Op, arg: &str| match op.arg(arg)?.operands() {
        [Operand::Value(v)] => Some(*v),
        _ => None,
    };
    let mut products = HashMap::new();
    for op in f.ops.iter().filter(|op| op.code == Opcode::Reshape) {
        let found = (|| {
            let matmul = definition(source(op, "x")?, Opcode::Matmul)?;
            let call = Call::new(f, matmul);
            if !call.bool("transpose_x").ok()? || call.bool("transpose_y").ok()? {
                return None;
            }
            let matrix = source(matmul, "x")?;
            let weight = source(definition(matrix, Opcode::Reshape)?, "x")?;
            let dy = source(definition(source(matmul, "y")?, Opcode::Reshape)?, "x")?;
            let constant = f.value(weight).constant.as_ref()?;
            let (dtype, blob) = (constant.ty.dtype, constant.blob_ref()?);
            let shape = |v: ValueId| f.tensor_type(v).map(|t| t.shape.as_slice());
            let ([o, i, 1, 1], [n, channels, h, w]) = (shape(weight)?, shape(dy)?) else { return None };
            let fits = channels == o
                && shape(matrix)? == [1, 1, *o, *i]
                && shape(source(matmul, "y")?)? == [*n, 1, *o, h * w]
                && shape(op.result())? == [*n, *i, *h, *w];
            fits.then_some(Product { weight, dtype, blob, dy })
        })();
        products.extend(found.map(|p| (op.result(), p)));
    }
    products
}

/// `NAME_t` for `NAME`, under the same extension.
fn transposed_path(path: &str) -> String {
    match path.strip_suffix(".bin") {
        Some(stem) => format!("{stem}_t.bin"),
        None => format!("{path}_t"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::{Builder, Opset};

    #[test]
    fn products_with_a_transposed_weight_become_convolutions() {
        let mut b = Builder::new("main", Opset::Ios18);
        let dy = b.input("dy", TensorType::fp16([2, 6, 1, 8]));
        let w = b.weight("w", TensorType::fp16([6, 4, 1, 1]));
        let m = b.reshape(w, &[1, 1, 6, 4]).unwrap();
        let dy = b.reshape(dy, &[2, 1, 6, 8]).unwrap();
        let dx = b.matmul(m, dy, true, false).unwrap();
        let dx = b.reshape(dx, &[2, 4, 1, 8]).unwrap();
        b.rename(dx, "d_x");
        let (f, weights) = transposed_weights(&b.finish(&[dx])).unwrap();
        let f = verified(f);
        assert_eq!(codes(&f), [Opcode::Conv]);
        assert_eq!(f.name_of(f.outputs[0]), "d_x");
        assert!(f.find("w").is_none());
        assert_eq!(weights[0].name, "w_t");
        assert_eq!(weights[0].of, "w");
        assert_eq!(weights[0].shape, [4, 6, 1, 1]);
        assert_eq!(weights[0].blob.path, "@model_path/weights/w_t.bin");
    }

    #[test]
    fn other_products_stay() {
        let mut b = Builder::new("main", Opset::Ios18);
        let dy = b.input("dy", TensorType::fp16([1, 1, 6, 8]));
        let w = b.weight("w", TensorType::fp16([1, 1, 6, 4]));
        let dx = b.matmul(w, dy, true, false).unwrap();
        let dx = b.reshape(dx, &[1, 4, 1, 8]).unwrap();
        let (f, weights) = transposed_weights(&b.finish(&[dx])).unwrap();
        assert_eq!(codes(&verified(f)), [Opcode::Matmul, Opcode::Reshape]);
        assert!(weights.is_empty());
    }
}
