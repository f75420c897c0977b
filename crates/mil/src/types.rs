//! Types of MIL values.

use crate::DType;

/// Shape and element type of a tensor. Rank 0 is a scalar: `fp16` and `tensor<fp16, []>` are one type in two spellings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorType {
    /// A tensor of `dtype` with `shape`.
    pub fn new(dtype: DType, shape: impl Into<Vec<usize>>) -> Self {
        Self { dtype, shape: shape.into() }
    }

    /// An fp16 tensor, the type the Neural Engine computes with.
    pub fn fp16(shape: impl Into<Vec<usize>>) -> Self {
        Self::new(DType::Fp16, shape)
    }

    /// A scalar of `dtype`.
    pub fn scalar(dtype: DType) -> Self {
        Self::new(dtype, [])
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements, or `None` when the product overflows.
    pub fn checked_elements(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
    }

    /// Number of elements. Verified programs never overflow; saturates otherwise.
    pub fn elements(&self) -> usize {
        self.checked_elements().unwrap_or(usize::MAX)
    }

    /// Bytes of the packed tensor.
    pub fn bytes(&self) -> usize {
        self.dtype.packed_bytes(self.elements())
    }
}

impl std::fmt::Display for TensorType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.shape.is_empty() {
            return f.write_str(self.dtype.name());
        }
        write!(f, "tensor<{}, {:?}>", self.dtype, self.shape)
    }
}

/// The type of a MIL value. Everything that is computed is a tensor; the rest appears in attributes and in programs with
/// lists or states, which are parsed but not executed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// A tensor or scalar.
    Tensor(TensorType),
    /// `list<T, n>`; `None` for a list of unknown length.
    List(Box<Type>, Option<usize>),
    /// `tuple<A, B, …>`
    Tuple(Vec<Type>),
    /// `dict<K, V>`
    Dict(Box<Type>, Box<Type>),
    /// `state<T>`
    State(Box<Type>),
}

impl Type {
    /// The tensor type, if this is one.
    pub fn as_tensor(&self) -> Option<&TensorType> {
        match self {
            Type::Tensor(t) => Some(t),
            _ => None,
        }
    }
}

impl From<TensorType> for Type {
    fn from(t: TensorType) -> Self {
        Type::Tensor(t)
    }
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Type::Tensor(t) => t.fmt(f),
            Type::List(t, Some(n)) => write!(f, "list<{t}, {n}>"),
            Type::List(t, None) => write!(f, "list<{t}, ?>"),
            Type::Tuple(ts) => {
                f.write_str("tuple<")?;
                for (i, t) in ts.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{t}")?;
                }
                f.write_str(">")
            }
            Type::Dict(k, v) => write!(f, "dict<{k}, {v}>"),
            Type::State(t) => write!(f, "state<{t}>"),
        }
    }
}
