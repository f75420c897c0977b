//! Weight files: version 2 of the blob storage format that `BLOBFILE(…)` refers to.
//!
//! A file is a 64-byte header (number of chunks, version 2), then for each chunk 64 bytes of metadata and the data, each
//! beginning at a multiple of 64, though readers take chunks anywhere. All numbers are little-endian. The offset in MIL text is that of a chunk's *metadata*.
//!
//! | metadata at | type | meaning |
//! |---|---|---|
//! | 0 | u32 | `0xDEADBEEF` |
//! | 4 | u32 | code of the element type |
//! | 8 | u64 | bytes of data |
//! | 16 | u64 | offset of the data in the file |
//! | 24 | u64 | unused bits in the last byte, for elements of less than a byte |
//!
//! [`BlobWriter`] writes such files, [`BlobFile`] reads them without copying and believes nothing they say.

mod error;
mod path;
mod read;
mod write;

pub use error::{BlobError, BlobWarning};
pub use path::resolve;
pub use read::{BlobFile, ChunkRef};
pub use write::{BlobWriter, pack};

use crate::DType;

/// Header, metadata and data begin at multiples of this.
pub const ALIGNMENT: u64 = 64;

/// The first four bytes of a chunk's metadata.
pub const SENTINEL: u32 = 0xDEAD_BEEF;

/// The format version written and read.
pub const VERSION: u32 = 2;

/// Element types with their codes in files. `bool` and the 64-bit types have none.
const CODES: [(DType, u32); 17] = [
    (DType::Fp16, 1),
    (DType::Fp32, 2),
    (DType::Uint8, 3),
    (DType::Int8, 4),
    (DType::Bf16, 5),
    (DType::Int16, 6),
    (DType::Uint16, 7),
    (DType::Int4, 8),
    (DType::Uint1, 9),
    (DType::Uint2, 10),
    (DType::Uint4, 11),
    (DType::Uint3, 12),
    (DType::Uint6, 13),
    (DType::Int32, 14),
    (DType::Uint32, 15),
    (DType::Fp8E4M3, 16),
    (DType::Fp8E5M2, 17),
];

/// The code of an element type in weight files, or `None` for types that cannot be stored.
pub fn type_code(dtype: DType) -> Option<u32> {
    CODES.iter().find(|(d, _)| *d == dtype).map(|(_, code)| *code)
}

/// The element type with this code.
pub fn type_of_code(code: u32) -> Option<DType> {
    CODES.iter().find(|(_, c)| *c == code).map(|(d, _)| *d)
}
