//! Weights in fewer bits: from numbers to the operands of a `constexpr_*` op, and back.
//!
//! [`compress`] encodes; what the operands mean is said by the reference interpreter, which [`Compressed::decode`] asks.
//!
//! ```
//! use ferrane_mil::{Opset, TensorType, compress::{Scheme, compress}};
//!
//! let weights = [0.5, -1.0, 0.5, 0.25, -1.0, 0.25];
//! let scheme = Scheme::Palette { bits: 2, groups: vec![], vector: None };
//! let compressed = compress(&weights, &TensorType::fp16([2, 3]), &scheme, Opset::Ios18)?;
//! assert_eq!(compressed.decode()?, weights, "three values fit into a table of four");
//! assert_eq!(compressed.bytes(), 2 + 4 * 2, "six indices of two bits and four numbers");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod palette;
mod quantize;
mod sparse;

use crate::{
    Arg, Call, CallError, Constant, DType, Data, Function, Op, Opcode, Operand, Opset, TensorType, ValueId,
    interp::SingleOp,
};

/// How weights are written in fewer bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `constexpr_affine_dequantize`: integers of 8 bits, with one scale for all or one a slice of an axis.
    Affine {
        /// [`DType::Int8`] or [`DType::Uint8`].
        dtype: DType,
        /// The axis whose slices have a scale each.
        axis: Option<usize>,
        /// Zero lies in the middle of the range, instead of where it best uses all of it.
        symmetric: bool,
    },
    /// `constexpr_blockwise_shift_scale`: integers of 4 or 8 bits, with one scale a block. From iOS 18.
    Blockwise {
        /// [`DType::Int4`], [`DType::Uint4`], [`DType::Int8`] or [`DType::Uint8`].
        dtype: DType,
        /// Into how many blocks each axis is divided; empty stands for one block.
        blocks: Vec<usize>,
        /// Zero lies in the middle of the range.
        symmetric: bool,
    },
    /// `constexpr_lut_to_dense`: indices into tables of values, or of vectors. Tables that cannot hold every value are
    /// those of k-means.
    Palette {
        /// Bits of an index: 1, 2, 3, 4, 6 or 8; not 3 before iOS 18.
        bits: usize,
        /// Into how many groups, with a table each, every axis of the indices is divided; empty stands for one group.
        /// More than one needs iOS 18.
        groups: Vec<usize>,
        /// Entries are vectors of this many elements that follow each other along an axis. From iOS 18.
        vector: Option<Vector>,
    },
    /// `constexpr_sparse_to_dense`: a mask of what is not zero, and that alone. It stands as it is, or from iOS 18 as
    /// [`Scheme::Blockwise`] integers (`constexpr_sparse_blockwise_shift_scale`) or a [`Scheme::Palette`]
    /// (`constexpr_lut_to_sparse`).
    Sparse(Option<Box<Scheme>>),
}

/// The vectors of a palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector {
    /// Elements of an entry.
    pub size: usize,
    /// The axis along which they lie.
    pub axis: usize,
}

/// Why weights cannot be written so.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// Values that are not as many as the shape says.
    #[error("{given} values are given for a {ty}, which has {}", ty.elements())]
    Elements {
        /// Values given.
        given: usize,
        /// The type of the weights.
        ty: TensorType,
    },
    /// The weights are not floating-point numbers of 16 or 32 bits.
    #[error("the weights are {0}; only fp16 and fp32 are compressed")]
    NotFloat(DType),
    /// A value that is no number of the type.
    #[error("value {index} is {value}, which is no finite number in {dtype}")]
    NotFinite {
        /// Its index, row-major.
        index: usize,
        /// The value.
        value: f32,
        /// The type of the weights.
        dtype: DType,
    },
    /// Integers the op does not take.
    #[error("`{op}` does not take {dtype}; give it {expected}")]
    Integer {
        /// The op.
        op: Opcode,
        /// The type asked for.
        dtype: DType,
        /// The types it takes.
        expected: &'static str,
    },
    /// Indices of a width that there is not.
    #[error("indices of {0} bits do not exist; take 1, 2, 3, 4, 6 or 8")]
    Bits(usize),
    /// An axis the weights do not have.
    #[error("axis {axis} is outside weights of shape {shape:?}")]
    Axis {
        /// The axis.
        axis: usize,
        /// The shape of the weights.
        shape: Vec<usize>,
    },
    /// Blocks, groups or vectors that do not divide the axes.
    #[error("{blocks:?} {what} do not divide axes of {shape:?}; give a divisor for each")]
    Division {
        /// What divides.
        what: &'static str,
        /// Into how many.
        blocks: Vec<usize>,
        /// The extents to be divided.
        shape: Vec<usize>,
    },
    /// A form that what is not zero cannot have.
    #[error("what is left of sparse weights stands as it is, in blocks of integers, or in a palette")]
    SparseForm,
    /// A form that came later than the op set.
    #[error("{what} is not in {}; it came with ios18", opset.name())]
    Opset {
        /// The form.
        what: &'static str,
        /// The op set.
        opset: Opset,
    },
}

/// Weights as an op that decodes them, and its operands. The two ops that decode to sparse weights are followed by
/// `constexpr_sparse_to_dense`.
#[derive(Clone, Debug, PartialEq)]
pub struct Compressed {
    /// The op.
    pub code: Opcode,
    /// Its arguments, by name, all constants in the program.
    pub args: Vec<(&'static str, Constant)>,
    /// The type of the weights.
    pub ty: TensorType,
}

impl Compressed {
    /// The statements that define `result`, a value of `f`, as the weights. Values between are added to `f`, called as the
    /// result with an ending.
    pub fn define(&self, f: &mut Function, result: ValueId) -> Vec<Op> {
        let statement =
            |code, args, results| Op { code, name: String::new(), args, results, attrs: Vec::new() };
        let args = self.args.iter().map(|(name, c)| ((*name).into(), Arg::from(c.clone()))).collect();
        let Some(elements) = self.sparse_elements() else {
            return vec![statement(self.code, args, vec![result])];
        };
        let name = f.name_of(result).to_owned();
        let mask = TensorType::new(DType::Uint1, self.ty.shape.clone());
        let mask = f.add_value(f.unused_name(&format!("{name}_mask")), mask);
        let nonzero = TensorType::new(self.ty.dtype, [elements]);
        let nonzero = f.add_value(f.unused_name(&format!("{name}_nonzero")), nonzero);
        let dense = vec![("mask".into(), mask.into()), ("nonzero_data".into(), nonzero.into())];
        vec![
            statement(self.code, args, vec![mask, nonzero]),
            statement(Opcode::ConstexprSparseToDense, dense, vec![result]),
        ]
    }

    /// How many elements the op decodes, if that is to sparse weights.
    fn sparse_elements(&self) -> Option<usize> {
        let shape = |name| Some(self.args.iter().find(|(n, _)| *n == name)?.1.ty.shape.as_slice());
        match self.code {
            Opcode::ConstexprSparseBlockwiseShiftScale => Some(shape("nonzero_data")?[0]),
            Opcode::ConstexprLutToSparse => Some(shape("indices_nonzero_data")?[0] * shape("lut")?.last()?),
            _ => None,
        }
    }

    /// The weights, row-major, each rounded to its type.
    ///
    /// # Errors
    /// Never for what [`compress`] made; for operands put together by hand, whatever inference says of them.
    pub fn decode(&self) -> Result<Vec<f32>, CallError> {
        let mut f = Function::new("decode", Opset::Ios18);
        let result = f.add_value("weights", self.ty.clone());
        let mut known: Vec<(Operand, Vec<f64>)> = Vec::new();
        for op in self.define(&mut f, result) {
            let single = SingleOp::new(Call::new(&f, &op))?;
            let given = |operand: &Operand| known.iter().find(|(o, _)| o == operand);
            let operands = single.operands().iter().filter_map(given).map(|(_, data)| data.clone());
            let tensors = single.compute(operands.collect(), true)?;
            known.extend(op.results.into_iter().map(Operand::Value).zip(tensors.into_iter().map(|t| t.data)));
        }
        let weights = known.pop().map_or_else(Vec::new, |(_, data)| data);
        Ok(weights.into_iter().map(|x| x as f32).collect())
    }

    /// Bytes of the operands that hold numbers, as they are packed in weight files.
    pub fn bytes(&self) -> usize {
        self.args
            .iter()
            .filter(|(name, _)| !["axis", "shape", "vector_axis"].contains(name))
            .map(|(_, c)| c.ty.bytes())
            .sum()
    }
}

/// The weights `values` of type `ty`, row-major, in the form `scheme` has in `opset`.
///
/// Quantised weights differ from the given ones by half a step at most (and the rounding of the result to its type);
/// sparse ones not at all, and neither do palettes with as many entries as there are values.
///
/// # Errors
/// Values that are not finite or too many or few, and forms that do not fit the shape or the op set.
pub fn compress(
    values: &[f32],
    ty: &TensorType,
    scheme: &Scheme,
    opset: Opset,
) -> Result<Compressed, CompressError> {
    if !matches!(ty.dtype, DType::Fp16 | DType::Fp32) {
        return Err(CompressError::NotFloat(ty.dtype));
    }
    if ty.checked_elements() != Some(values.len()) {
        return Err(CompressError::Elements { given: values.len(), ty: ty.clone() });
    }
    if let Some(index) = values.iter().position(|&x| !nearest(x.into(), ty.dtype).is_finite()) {
        return Err(CompressError::NotFinite { index, value: values[index], dtype: ty.dtype });
    }
    match scheme {
        Scheme::Affine { dtype, axis, symmetric } => quantize::affine(values, ty, *dtype, *axis, *symmetric),
        Scheme::Blockwise { dtype, blocks, symmetric } => {
            require(opset, "constexpr_blockwise_shift_scale")?;
            quantize::blockwise(values, ty, *dtype, blocks, *symmetric)
        }
        Scheme::Palette { bits, groups, vector } => {
            palette::palette(values, ty, *bits, groups, *vector, opset)
        }
        Scheme::Sparse(None) => Ok(sparse::sparse(values, ty, opset)),
        Scheme::Sparse(Some(form)) => match &**form {
            Scheme::Blockwise { dtype, blocks, symmetric } => {
                require(opset, "constexpr_sparse_blockwise_shift_scale")?;
                let dense = quantize::blockwise(values, ty, *dtype, blocks, *symmetric)?;
                Ok(sparse::blockwise(values, dense))
            }
            Scheme::Palette { bits, groups, vector } => {
                require(opset, "constexpr_lut_to_sparse")?;
                palette::sparse(values, ty, *bits, groups, *vector)
            }
            Scheme::Affine { .. } | Scheme::Sparse(_) => Err(CompressError::SparseForm),
        },
    }
}

fn require(opset: Opset, what: &'static str) -> Result<(), CompressError> {
    if opset < Opset::Ios18 { Err(CompressError::Opset { what, opset }) } else { Ok(()) }
}

/// `x` rounded to `dtype`.
fn nearest(x: f64, dtype: DType) -> f32 {
    match dtype {
        DType::Fp16 => half::f16::from_f64(x).to_f32(),
        _ => x as f32,
    }
}

/// Numbers of fp16 or fp32 as data of that type.
fn floats(values: impl Iterator<Item = f32>, dtype: DType) -> Data {
    match dtype {
        DType::Fp16 => Data::Fp16(values.map(half::f16::from_f32).collect()),
        _ => Data::Fp32(values.collect()),
    }
}

/// Integers as data of their type.
fn integers(values: impl Iterator<Item = i64>, dtype: DType) -> Data {
    match dtype >= DType::Uint1 {
        true => Data::Uint(values.map(i64::cast_unsigned).collect()),
        false => Data::Int(values.collect()),
    }
}

/// A shape as an argument of ops before iOS 18.
fn shape_argument(ty: &TensorType) -> Constant {
    let extents = ty.shape.iter().map(|&d| d as u64).collect();
    Constant::inline(TensorType::new(DType::Uint32, [ty.rank()]), Data::Uint(extents))
}

/// Axes divided into parts of equal size.
struct Blocks {
    /// Parts along each axis.
    counts: Vec<usize>,
    /// The number of the part that each element is in.
    of: Vec<usize>,
}

impl Blocks {
    /// `counts` may be empty for one part.
    fn new(shape: &[usize], counts: &[usize], what: &'static str) -> Result<Self, CompressError> {
        let counts = if counts.is_empty() { vec![1; shape.len()] } else { counts.to_vec() };
        let divides = |(&d, &n): (&usize, &usize)| n > 0 && d.is_multiple_of(n);
        if counts.len() != shape.len() || !shape.iter().zip(&counts).all(divides) {
            return Err(CompressError::Division { what, blocks: counts, shape: shape.to_vec() });
        }
        let mut of = vec![0];
        for (&d, &n) in shape.iter().zip(&counts) {
            let size = d / n.max(1);
            of = of.iter().flat_map(|&outer| (0..d).map(move |i| outer * n + i / size)).collect();
        }
        Ok(Self { counts, of })
    }

    /// The number of parts.
    fn len(&self) -> usize {
        self.counts.iter().product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_number_row_major() {
        let blocks = Blocks::new(&[2, 4], &[1, 2], "blocks").unwrap();
        assert_eq!(blocks.of, [0, 0, 1, 1, 0, 0, 1, 1]);
        let blocks = Blocks::new(&[4, 2], &[2, 2], "blocks").unwrap();
        assert_eq!(blocks.of, [0, 1, 0, 1, 2, 3, 2, 3]);
        assert!(Blocks::new(&[4, 3], &[2, 2], "blocks").is_err());
        assert_eq!(Blocks::new(&[], &[], "blocks").unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_compressed_is_refused() {
        let ty = TensorType::fp16([2, 2]);
        let affine = Scheme::Affine { dtype: DType::Int8, axis: None, symmetric: true };
        let error = |values: &[f32], ty: &TensorType, scheme: &Scheme, opset| {
            compress(values, ty, scheme, opset).unwrap_err().to_string()
        };
        let at = |values: &[f32], scheme: &Scheme| error(values, &ty, scheme, Opset::Ios16);
        assert!(at(&[1.0], &affine).contains("1 values are given for a tensor<fp16, [2, 2]>, which has 4"));
        assert!(at(&[1.0, 1e6, 0.0, 0.0], &affine).contains("value 1 is 1000000"));
        let ones = [1.0; 4];
        let scheme = Scheme::Affine { dtype: DType::Int8, axis: Some(2), symmetric: true };
        assert!(at(&ones, &scheme).contains("axis 2 is outside"));
        let scheme = Scheme::Affine { dtype: DType::Int4, axis: None, symmetric: true };
        assert!(at(&ones, &scheme).contains("does not take int4; give it int8 or uint8"));
        let blockwise = Scheme::Blockwise { dtype: DType::Int4, blocks: vec![3, 1], symmetric: true };
        assert!(at(&ones, &blockwise).contains("it came with ios18"));
        assert!(error(&ones, &ty, &blockwise, Opset::Ios18).contains("[3, 1] blocks do not divide"));
        let palette =
            |bits, groups: &[usize]| Scheme::Palette { bits, groups: groups.to_vec(), vector: None };
        assert!(at(&ones, &palette(5, &[])).contains("indices of 5 bits"));
        assert!(at(&ones, &palette(3, &[])).contains("it came with ios18"));
        assert!(at(&ones, &palette(4, &[2, 1])).contains("it came with ios18"));
        let vector = Some(Vector { size: 3, axis: 1 });
        let palette = Scheme::Palette { bits: 4, groups: vec![], vector };
        assert!(error(&ones, &ty, &palette, Opset::Ios18).contains("do not divide"));
        assert_eq!(
            error(&ones, &TensorType::new(DType::Int32, [4]), &Scheme::Sparse(None), Opset::Ios18),
            "the weights are int32; only fp16 and fp32 are compressed"
        );
    }
}
