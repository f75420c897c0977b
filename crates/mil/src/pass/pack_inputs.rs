//! All inputs in one.

use super::{PassError, define, reopen};
use crate::{Constant, DType, Function, Opcode, TensorType};

/// An input that shares a surface with others: `shape` elements from `row` and `column` of it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedInput {
    /// Its name.
    pub name: String,
    /// Its own shape, `[1, C, 1, W]`.
    pub shape: [usize; 4],
    /// Its first channel in the shared surface.
    pub row: usize,
    /// Its first column in the shared surface.
    pub column: usize,
}

/// `f` with one input `name [1, C, 1, W]` in place of several, and where each lies in it. They follow each other along the
/// last axis; where that would become longer than `max_width` the next begins below those before. A function of one input, or
/// none, stays as it is, with an empty list.
///
/// # Errors
/// When an input is not shaped as a surface, or of another type than the first.
pub fn pack_inputs(
    f: &Function,
    name: &str,
    max_width: usize,
) -> Result<(Function, Vec<PackedInput>), PassError> {
    if f.inputs.len() < 2 {
        return Ok((f.clone(), Vec::new()));
    }
    let (dtype, packed) = places(f, max_width)?;
    let rows = packed.iter().map(|input| input.row + input.shape[1]).max().unwrap_or(0);
    let columns = packed.iter().map(|input| input.column + input.shape[3]).max().unwrap_or(0);

    let (mut b, ops) = reopen(f);
    let inputs = std::mem::take(&mut b.function_mut().inputs);
    let shared = b.input(name, TensorType::new(dtype, [1, rows, 1, columns]));
    for (v, input) in inputs.into_iter().zip(&packed) {
        let ints =
            |extents: [usize; 4]| Constant::ints(&extents.map(|n| i32::try_from(n).unwrap_or(i32::MAX)));
        let (begin, size) = (ints([0, input.row, 0, input.column]), ints(input.shape));
        b.op(
            Opcode::SliceBySize,
            vec![("begin", begin.into()), ("size", size.into()), ("x", shared.into())],
        )?;
        define(&mut b, v);
    }
    for op in ops {
        b.append(op);
    }
    let f = b.finish(&f.outputs);
    Ok((super::dce(&f), packed))
}

/// The inputs' type, and a place for each.
fn places(f: &Function, max_width: usize) -> Result<(DType, Vec<PackedInput>), PassError> {
    let mut dtype = None;
    let mut packed = Vec::with_capacity(f.inputs.len());
    let (mut row, mut column, mut next_row) = (0, 0, 0);
    for &v in &f.inputs {
        let unpackable =
            || PassError::Unpackable { input: format!("`{}` is {}", f.name_of(v), f.value(v).ty) };
        let ty = f.tensor_type(v).ok_or_else(unpackable)?;
        let &[1, channels, 1, width] = &ty.shape[..] else { return Err(unpackable()) };
        if *dtype.get_or_insert(ty.dtype) != ty.dtype {
            return Err(unpackable());
        }
        if column > 0 && column + width > max_width {
            (row, column) = (next_row, 0);
        }
        packed.push(PackedInput { name: f.name_of(v).into(), shape: [1, channels, 1, width], row, column });
        column += width;
        next_row = next_row.max(row + channels);
    }
    Ok((dtype.unwrap_or(DType::Fp16), packed))
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::{Builder, Opset};

    fn three() -> Function {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", TensorType::fp16([1, 4, 1, 8]));
        let gain = b.input("gain", TensorType::fp16([1, 4, 1, 1]));
        let w = b.input("w", TensorType::fp16([1, 6, 1, 4]));
        let x = b.mul(x, gain).unwrap();
        let (w, x) = (b.reshape(w, &[1, 1, 6, 4]).unwrap(), b.reshape(x, &[1, 1, 4, 8]).unwrap());
        let y = b.matmul(w, x, false, false).unwrap();
        b.finish(&[y])
    }

    fn places(packed: &[PackedInput]) -> Vec<(&str, usize, usize)> {
        packed.iter().map(|input| (input.name.as_str(), input.row, input.column)).collect()
    }

    #[test]
    fn inputs_follow_each_other_along_the_last_axis() {
        let (f, packed) = pack_inputs(&three(), "inputs", 64).unwrap();
        let f = verified(f);
        assert_eq!(ports(&f), [("inputs", &[1, 6, 1, 13][..])]);
        assert_eq!(places(&packed), [("x", 0, 0), ("gain", 0, 8), ("w", 0, 9)]);
        assert_eq!(codes(&f)[..3], [Opcode::SliceBySize; 3]);
    }

    #[test]
    fn an_axis_over_the_limit_is_split() {
        let (f, packed) = pack_inputs(&three(), "inputs", 9).unwrap();
        assert_eq!(ports(&verified(f)), [("inputs", &[1, 10, 1, 9][..])]);
        assert_eq!(places(&packed), [("x", 0, 0), ("gain", 0, 8), ("w", 4, 0)]);
    }

    #[test]
    fn one_input_stays_and_what_is_no_surface_is_named() {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", TensorType::fp16([4]));
        let y = b.unary(Opcode::Exp, x).unwrap();
        let f = b.finish(&[y]);
        assert_eq!(pack_inputs(&f, "inputs", 64).unwrap(), (f.clone(), Vec::new()));

        for other in [TensorType::fp16([8]), TensorType::new(DType::Fp32, [1, 4, 1, 8])] {
            let mut b = Builder::new("main", Opset::Ios18);
            let x = b.input("x", TensorType::fp16([1, 4, 1, 8]));
            b.input("other", other);
            let y = b.unary(Opcode::Exp, x).unwrap();
            let error = pack_inputs(&b.finish(&[y]), "inputs", 64).unwrap_err().to_string();
            assert!(error.contains("`other`"), "{error}");
        }
    }
}
