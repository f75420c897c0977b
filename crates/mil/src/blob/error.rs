//! What can be wrong with a weight file.

use crate::{DType, TensorType, diagnostic::Code};

/// Why a weight file or a chunk of it cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// Shorter than its header.
    #[error("the weight file has {length} bytes, less than its 64-byte header; it is empty or cut off")]
    TooShort {
        /// Bytes in the file.
        length: u64,
    },
    /// The storage header is missing: the file begins with a chunk.
    #[error(
        "the weight file begins with chunk metadata (0xDEADBEEF) where its 64-byte header should be; write the header first, \
         so that the first chunk is at offset 64"
    )]
    MissingHeader,
    /// Another version of the format.
    #[error("the weight file has version {version} of the format; only version 2 is known")]
    Version {
        /// The version it claims.
        version: u32,
    },
    /// A chunk offset at which no metadata fits into the file.
    #[error("there is no chunk at offset {offset}: the weight file has only {length} bytes")]
    OutOfFile {
        /// The offset asked for.
        offset: u64,
        /// Bytes in the file.
        length: u64,
    },
    /// A chunk offset that points at the data of a chunk instead of its metadata.
    #[error(
        "offset {offset} is that of the data of the chunk at {chunk}; MIL text gives the offset of the metadata: use {chunk}"
    )]
    OffsetOfData {
        /// The offset asked for.
        offset: u64,
        /// The chunk's offset.
        chunk: u64,
    },
    /// No metadata where there should be.
    #[error("there is no chunk at offset {offset}: {found:#010x} is there instead of 0xdeadbeef")]
    Sentinel {
        /// The offset asked for.
        offset: u64,
        /// The word found there.
        found: u32,
    },
    /// An element type code that is not defined.
    #[error("the chunk at offset {offset} has element type code {code}, which is not defined")]
    TypeCode {
        /// The chunk's offset.
        offset: u64,
        /// The code.
        code: u32,
    },
    /// Metadata whose size and data offset were never filled in, but for one byte at 10: the size field then says 512 KiB or
    /// 1 MiB whatever the data is, and only matrices that happen to be that large are accepted by a compiler that checks.
    #[error(
        "the chunk at offset {offset} has a data offset of 0 and a size of {size} bytes, which is byte {} at position 10 of \
         its metadata: size and offset were never filled in; write the size as u64 at 8 and the data offset as u64 at 16",
         size >> 16
    )]
    UnfilledMetadata {
        /// The chunk's offset.
        offset: u64,
        /// The size it claims.
        size: u64,
    },
    /// A data offset inside header or metadata.
    #[error("the chunk at offset {offset} has its data at {data}, inside the header or metadata; it belongs at {}", offset + 64)]
    DataInMetadata {
        /// The chunk's offset.
        offset: u64,
        /// The data offset it claims.
        data: u64,
    },
    /// Data that reaches past the end of the file.
    #[error(
        "the chunk at offset {offset} has {size} bytes of data at {data}, past the end of the {length}-byte file"
    )]
    DataOutOfFile {
        /// The chunk's offset.
        offset: u64,
        /// The data offset it claims.
        data: u64,
        /// The size it claims.
        size: u64,
        /// Bytes in the file.
        length: u64,
    },
    /// Padding that the size does not allow.
    #[error(
        "the chunk at offset {offset} has {bits} unused bits in its last byte, which {dtype} data of {size} bytes cannot have"
    )]
    Padding {
        /// The chunk's offset.
        offset: u64,
        /// Bits it claims are unused.
        bits: u64,
        /// Its element type.
        dtype: DType,
        /// Its size.
        size: u64,
    },
    /// Two chunks share bytes.
    #[error("the chunks at offsets {first} and {second} overlap")]
    Overlap {
        /// Offset of the one before.
        first: u64,
        /// Offset of the one behind.
        second: u64,
    },
    /// The header counts more chunks than there are.
    #[error("the header counts {count} chunks, but reading them fails at the one after offset {last}")]
    Count {
        /// What the header says.
        count: u32,
        /// Offset of the last chunk found.
        last: u64,
    },
    /// Another element type than the constant's.
    #[error("the chunk at offset {offset} holds {found}, the constant is {ty}")]
    Type {
        /// The chunk's offset.
        offset: u64,
        /// Its element type.
        found: DType,
        /// The constant's type.
        ty: TensorType,
    },
    /// Another size than the constant's.
    #[error("the chunk at offset {offset} has {size} bytes, the constant {ty} needs {needed}")]
    Size {
        /// The chunk's offset.
        offset: u64,
        /// Its size in bytes.
        size: u64,
        /// The constant's type.
        ty: TensorType,
        /// The constant's size in bytes; `u64::MAX` when it overflows.
        needed: u64,
    },
    /// An element type that weight files cannot hold.
    #[error(
        "weight files cannot hold {dtype} elements; put the constant into the text or give it another type"
    )]
    NotStorable {
        /// The element type.
        dtype: DType,
    },
    /// Elements that are not numbers of the chunk's type.
    #[error("element {index} is {value}, outside the range of {dtype}")]
    Range {
        /// Index of the element.
        index: usize,
        /// Its value.
        value: i128,
        /// The element type.
        dtype: DType,
    },
    /// Data of another kind or size than its type.
    #[error("{length} bytes or elements were given for {dtype} data; they do not match the type")]
    Data {
        /// Number given.
        length: usize,
        /// The element type.
        dtype: DType,
    },
    /// A path in MIL text that does not stay in the model's folder.
    #[error(
        "the weight path `{path}` {why}; weights must be in the folder of the model, as in @model_path/weights/w.bin"
    )]
    Path {
        /// The path as written.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Writing failed.
    #[error("the weight file could not be written: {0}")]
    Io(#[from] std::io::Error),
}

impl BlobError {
    /// The stable number of this kind of error.
    pub fn code(&self) -> Code {
        match self {
            BlobError::TooShort { .. } | BlobError::MissingHeader | BlobError::Version { .. } => {
                Code::BLOB_HEADER
            }
            BlobError::OutOfFile { .. } | BlobError::Sentinel { .. } => Code::BLOB_OFFSET,
            BlobError::OffsetOfData { .. } => Code::BLOB_OFFSET_OF_DATA,
            BlobError::TypeCode { .. }
            | BlobError::DataInMetadata { .. }
            | BlobError::DataOutOfFile { .. }
            | BlobError::Padding { .. }
            | BlobError::Overlap { .. }
            | BlobError::Count { .. } => Code::BLOB_METADATA,
            BlobError::UnfilledMetadata { .. } => Code::BLOB_UNFILLED,
            BlobError::Type { .. } => Code::BLOB_TYPE,
            BlobError::Size { .. } => Code::BLOB_SIZE,
            BlobError::NotStorable { .. } | BlobError::Range { .. } | BlobError::Data { .. } => {
                Code::BLOB_WRITE
            }
            BlobError::Path { .. } => Code::BLOB_PATH,
            BlobError::Io(_) => Code::WEIGHT_FILE,
        }
    }
}

/// Something in a weight file that is wrong but that readers put up with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobWarning {
    /// The header counts fewer chunks than there are. Published trainers always write 1.
    #[error("the header counts {count} chunks, the file has {found}")]
    Count {
        /// What the header says.
        count: u32,
        /// Chunks found.
        found: u32,
    },
    /// A chunk that does not begin at a multiple of 64. ANEForge writes such files.
    #[error("the chunk at offset {offset} does not begin at a multiple of 64")]
    Misaligned {
        /// The chunk's offset.
        offset: u64,
    },
    /// Chunk data that does not begin right behind its metadata.
    #[error("the data of the chunk at offset {offset} is at {data} and not right behind its metadata")]
    DataElsewhere {
        /// The chunk's offset.
        offset: u64,
        /// Where its data is.
        data: u64,
    },
}
