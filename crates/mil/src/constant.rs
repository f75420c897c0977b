//! Constant values: literals in the text and references to weight blobs.

use std::sync::Arc;

use half::{bf16, f16};

use crate::{DType, TensorType, fp8};

/// Elements of a constant, row-major, one Rust type per group of MIL types.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// `bool`
    Bool(Vec<bool>),
    /// `string`
    String(Vec<String>),
    /// `fp16`
    Fp16(Vec<f16>),
    /// `bf16`
    Bf16(Vec<bf16>),
    /// `fp32`
    Fp32(Vec<f32>),
    /// `fp64`
    Fp64(Vec<f64>),
    /// Signed integers of any width; the tensor's element type says which.
    Int(Vec<i64>),
    /// Unsigned integers of any width, and fp8 bit patterns; the tensor's element type says which.
    Uint(Vec<u64>),
}

impl Data {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Data::Bool(v) => v.len(),
            Data::String(v) => v.len(),
            Data::Fp16(v) => v.len(),
            Data::Bf16(v) => v.len(),
            Data::Fp32(v) => v.len(),
            Data::Fp64(v) => v.len(),
            Data::Int(v) => v.len(),
            Data::Uint(v) => v.len(),
        }
    }

    /// True when there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when these elements can be stored under `dtype`.
    pub fn matches(&self, dtype: DType) -> bool {
        match self {
            Data::Bool(_) => dtype == DType::Bool,
            Data::String(_) => dtype == DType::String,
            Data::Fp16(_) => dtype == DType::Fp16,
            Data::Bf16(_) => dtype == DType::Bf16,
            Data::Fp32(_) => dtype == DType::Fp32,
            Data::Fp64(_) => dtype == DType::Fp64,
            Data::Int(_) => {
                matches!(dtype, DType::Int4 | DType::Int8 | DType::Int16 | DType::Int32 | DType::Int64)
            }
            Data::Uint(_) => {
                matches!(dtype, DType::Fp8E4M3 | DType::Fp8E5M2) || (dtype.is_int() && dtype >= DType::Uint1)
            }
        }
    }

    /// The numeric elements as `f64`, or `None` for strings. Booleans are 0 and 1, and bit patterns are whole numbers:
    /// [`Constant::to_f64`] knows what they stand for.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        Some(match self {
            Data::Bool(v) => v.iter().map(|&b| f64::from(u8::from(b))).collect(),
            Data::String(_) => return None,
            Data::Fp16(v) => v.iter().map(|x| x.to_f64()).collect(),
            Data::Bf16(v) => v.iter().map(|x| x.to_f64()).collect(),
            Data::Fp32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::Fp64(v) => v.clone(),
            Data::Int(v) => v.iter().map(|&x| x as f64).collect(),
            Data::Uint(v) => v.iter().map(|&x| x as f64).collect(),
        })
    }
}

/// A place in a weight file: `BLOBFILE(path = string("@model_path/weights/wq.bin"), offset = uint64(64))`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BlobRef {
    /// Path as written, usually beginning with `@model_path/`.
    pub path: String,
    /// Byte offset of the chunk's 64-byte *metadata* in the file (64 for the first chunk), not of its data.
    pub offset: u64,
}

/// Where a constant's elements are.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// In the program.
    Inline(Arc<Data>),
    /// In a weight file. A program's *weights* are exactly its constants of this kind.
    Blob(BlobRef),
}

/// A constant: its type and its elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// Type; rank 0 for a scalar.
    pub ty: TensorType,
    /// Elements.
    pub payload: Payload,
}

impl Constant {
    /// A constant with its elements in the program. `data` must match `ty` in kind and number; the verifier checks it.
    pub fn inline(ty: TensorType, data: Data) -> Self {
        Self { ty, payload: Payload::Inline(Arc::new(data)) }
    }

    /// A constant whose elements are in a weight file.
    pub fn blob(ty: TensorType, path: impl Into<String>, offset: u64) -> Self {
        Self { ty, payload: Payload::Blob(BlobRef { path: path.into(), offset }) }
    }

    /// An `int32` scalar.
    pub fn int(v: i32) -> Self {
        Self::inline(TensorType::scalar(DType::Int32), Data::Int(vec![v.into()]))
    }

    /// An `int32` vector, as axes and shapes are given.
    pub fn ints(v: &[i32]) -> Self {
        let data = v.iter().map(|&x| x.into()).collect();
        Self::inline(TensorType::new(DType::Int32, [v.len()]), Data::Int(data))
    }

    /// A `bool` scalar.
    pub fn bool(v: bool) -> Self {
        Self::inline(TensorType::scalar(DType::Bool), Data::Bool(vec![v]))
    }

    /// A `string` scalar.
    pub fn string(v: impl Into<String>) -> Self {
        Self::inline(TensorType::scalar(DType::String), Data::String(vec![v.into()]))
    }

    /// An fp16 scalar, rounded to nearest even.
    pub fn fp16(v: f32) -> Self {
        Self::inline(TensorType::scalar(DType::Fp16), Data::Fp16(vec![f16::from_f32(v)]))
    }

    /// An fp32 scalar.
    pub fn fp32(v: f32) -> Self {
        Self::inline(TensorType::scalar(DType::Fp32), Data::Fp32(vec![v]))
    }

    /// An fp16 tensor from fp32 elements, rounded to nearest even.
    pub fn fp16_tensor(shape: impl Into<Vec<usize>>, v: &[f32]) -> Self {
        let data = v.iter().map(|&x| f16::from_f32(x)).collect();
        Self::inline(TensorType::fp16(shape), Data::Fp16(data))
    }

    /// An fp32 tensor.
    pub fn fp32_tensor(shape: impl Into<Vec<usize>>, v: Vec<f32>) -> Self {
        Self::inline(TensorType::new(DType::Fp32, shape), Data::Fp32(v))
    }

    /// A tensor of a floating-point type, its elements rounded to nearest even.
    pub(crate) fn floats(ty: TensorType, v: &[f64]) -> Self {
        let data = match ty.dtype {
            DType::Fp16 => Data::Fp16(v.iter().map(|&x| f16::from_f64(x)).collect()),
            DType::Bf16 => Data::Bf16(v.iter().map(|&x| bf16::from_f64(x)).collect()),
            DType::Fp32 => Data::Fp32(v.iter().map(|&x| x as f32).collect()),
            DType::Fp64 => Data::Fp64(v.to_vec()),
            narrow => Data::Uint(v.iter().map(|&x| fp8::encode(narrow, x).into()).collect()),
        };
        Self::inline(ty, data)
    }

    /// The elements, when they are in the program.
    pub fn data(&self) -> Option<&Data> {
        match &self.payload {
            Payload::Inline(data) => Some(data),
            Payload::Blob(_) => None,
        }
    }

    /// The weight file reference, when the elements are in one.
    pub fn blob_ref(&self) -> Option<&BlobRef> {
        match &self.payload {
            Payload::Inline(_) => None,
            Payload::Blob(blob) => Some(blob),
        }
    }

    /// The integers of an inline integer constant.
    pub fn as_ints(&self) -> Option<Vec<i64>> {
        match self.data()? {
            Data::Int(v) => Some(v.clone()),
            Data::Uint(v) => v.iter().map(|&x| i64::try_from(x).ok()).collect(),
            _ => None,
        }
    }

    /// The single integer of an inline integer constant.
    pub fn as_int(&self) -> Option<i64> {
        match self.as_ints()?.as_slice() {
            [x] => Some(*x),
            _ => None,
        }
    }

    /// The single truth value of an inline `bool`.
    pub fn as_bool(&self) -> Option<bool> {
        match self.data()? {
            Data::Bool(v) if v.len() == 1 => Some(v[0]),
            _ => None,
        }
    }

    /// The single string of an inline `string`.
    pub fn as_str(&self) -> Option<&str> {
        match self.data()? {
            Data::String(v) if v.len() == 1 => Some(&v[0]),
            _ => None,
        }
    }

    /// The numbers of an inline numeric constant.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        let elements = self.data()?.to_f64()?;
        Some(match self.ty.dtype {
            narrow @ (DType::Fp8E4M3 | DType::Fp8E5M2) => {
                elements.into_iter().map(|bits| fp8::decode(narrow, bits as u8)).collect()
            }
            _ => elements,
        })
    }

    /// The single number of an inline numeric constant.
    pub fn as_f64(&self) -> Option<f64> {
        match self.to_f64()?.as_slice() {
            [x] => Some(*x),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_matches_exactly_the_types_it_can_store() {
        let int = Data::Int(vec![1]);
        let uint = Data::Uint(vec![1]);
        for dtype in DType::all() {
            let unsigned = dtype.name().starts_with("uint") || dtype.name().starts_with("fp8");
            assert_eq!(uint.matches(dtype), unsigned, "uint as {dtype}");
            assert_eq!(int.matches(dtype), dtype.name().starts_with("int"), "int as {dtype}");
        }
    }

    #[test]
    fn scalars_read_back() {
        assert_eq!(Constant::int(-3).as_int(), Some(-3));
        assert_eq!(Constant::ints(&[1, 2]).as_int(), None);
        assert_eq!(Constant::bool(true).as_bool(), Some(true));
        assert_eq!(Constant::string("valid").as_str(), Some("valid"));
        assert_eq!(Constant::fp16(0.125).as_f64(), Some(0.125));
    }

    #[test]
    fn bits_of_fp8_are_the_numbers_they_stand_for() {
        // Numbers that both formats have.
        let numbers = [224.0, -0.5, 0.0, 1.75];
        for dtype in [DType::Fp8E4M3, DType::Fp8E5M2] {
            let ty = TensorType::new(dtype, [numbers.len()]);
            assert_eq!(Constant::floats(ty, &numbers).to_f64().unwrap(), numbers);
        }
    }
}
