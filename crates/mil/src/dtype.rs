//! Element types of MIL tensors.

/// The element type of a tensor.
///
/// MIL has more types than the Neural Engine computes with: only [`DType::Fp16`] runs there, [`DType::Fp32`] appears at
/// function boundaries, the integer types as indices and compressed weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// `bool`
    Bool,
    /// `string` (constants only)
    String,
    /// `fp16`, IEEE binary16
    Fp16,
    /// `bf16`
    Bf16,
    /// `fp32`
    Fp32,
    /// `fp64`
    Fp64,
    /// `fp8e4m3fn`
    Fp8E4M3,
    /// `fp8e5m2`
    Fp8E5M2,
    /// `int4`
    Int4,
    /// `int8`
    Int8,
    /// `int16`
    Int16,
    /// `int32`
    Int32,
    /// `int64`
    Int64,
    /// `uint1`
    Uint1,
    /// `uint2`
    Uint2,
    /// `uint3`
    Uint3,
    /// `uint4`
    Uint4,
    /// `uint6`
    Uint6,
    /// `uint8`
    Uint8,
    /// `uint16`
    Uint16,
    /// `uint32`
    Uint32,
    /// `uint64`
    Uint64,
}

/// Every element type with its name in MIL text and its width in bits (0: no fixed width).
const TABLE: &[(DType, &str, usize)] = &[
    (DType::Bool, "bool", 8),
    (DType::String, "string", 0),
    (DType::Fp16, "fp16", 16),
    (DType::Bf16, "bf16", 16),
    (DType::Fp32, "fp32", 32),
    (DType::Fp64, "fp64", 64),
    (DType::Fp8E4M3, "fp8e4m3fn", 8),
    (DType::Fp8E5M2, "fp8e5m2", 8),
    (DType::Int4, "int4", 4),
    (DType::Int8, "int8", 8),
    (DType::Int16, "int16", 16),
    (DType::Int32, "int32", 32),
    (DType::Int64, "int64", 64),
    (DType::Uint1, "uint1", 1),
    (DType::Uint2, "uint2", 2),
    (DType::Uint3, "uint3", 3),
    (DType::Uint4, "uint4", 4),
    (DType::Uint6, "uint6", 6),
    (DType::Uint8, "uint8", 8),
    (DType::Uint16, "uint16", 16),
    (DType::Uint32, "uint32", 32),
    (DType::Uint64, "uint64", 64),
];

impl DType {
    /// Every element type, in declaration order.
    pub fn all() -> impl Iterator<Item = DType> {
        TABLE.iter().map(|row| row.0)
    }

    /// The name in MIL text, e.g. `fp16`.
    pub fn name(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// The type with this name in MIL text.
    pub fn from_name(name: &str) -> Option<DType> {
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// Width of one element in bits; 0 for strings.
    pub fn bits(self) -> usize {
        TABLE[self as usize].2
    }

    /// Bytes that `elements` elements take when packed; sub-byte types share bytes.
    pub fn packed_bytes(self, elements: usize) -> usize {
        (elements * self.bits()).div_ceil(8)
    }

    /// True for the floating-point types.
    pub fn is_float(self) -> bool {
        use DType::*;
        matches!(self, Fp16 | Bf16 | Fp32 | Fp64 | Fp8E4M3 | Fp8E5M2)
    }

    /// True for the integer types, signed or not. `bool` is not one.
    pub fn is_int(self) -> bool {
        !self.is_float() && !matches!(self, DType::Bool | DType::String)
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_declaration_order_and_names_round_trip() {
        for (i, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, i, "{} is out of order", row.1);
            assert_eq!(DType::from_name(row.1), Some(row.0));
        }
    }

    #[test]
    fn sub_byte_types_share_bytes() {
        assert_eq!(DType::Uint4.packed_bytes(3), 2);
        assert_eq!(DType::Fp16.packed_bytes(3), 6);
    }
}
