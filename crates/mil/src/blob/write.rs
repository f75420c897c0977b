//! Writing weight files.

use std::io::{Seek, SeekFrom, Write};

use super::{ALIGNMENT, BlobError, SENTINEL, VERSION, type_code};
use crate::{DType, Data};

/// Writes a weight file chunk by chunk; nothing but the chunk at hand is in memory.
///
/// ```
/// use ferrane_mil::{DType, TensorType, blob::{BlobFile, BlobWriter}};
///
/// let mut writer = BlobWriter::new(std::io::Cursor::new(Vec::new()))?;
/// let offset = writer.chunk_f32(DType::Fp16, &[1.0, 0.5])?;
/// assert_eq!(offset, 64, "what BLOBFILE(…, offset = …) says");
/// let bytes = writer.finish()?.into_inner();
///
/// let chunk = BlobFile::parse(&bytes)?.chunk(offset, &TensorType::fp16([2]))?;
/// assert_eq!(chunk.to_f32(), [1.0, 0.5]);
/// # Ok::<(), ferrane_mil::blob::BlobError>(())
/// ```
#[derive(Debug)]
pub struct BlobWriter<W> {
    out: W,
    /// Bytes written.
    at: u64,
    count: u32,
}

impl<W: Write + Seek> BlobWriter<W> {
    /// Begins a file. Its header is written when it is finished.
    ///
    /// # Errors
    /// When writing fails.
    pub fn new(mut out: W) -> Result<Self, BlobError> {
        out.write_all(&header(0))?;
        Ok(Self { out, at: ALIGNMENT, count: 0 })
    }

    /// Adds a chunk of `elements` packed elements and returns its offset for MIL text.
    ///
    /// # Errors
    /// When the bytes are not as many as the elements need, the type cannot be stored, or writing fails.
    pub fn chunk(&mut self, dtype: DType, elements: usize, bytes: &[u8]) -> Result<u64, BlobError> {
        let code = type_code(dtype).ok_or(BlobError::NotStorable { dtype })?;
        let bits = elements.checked_mul(dtype.bits());
        if bits.map(|b| b.div_ceil(8)) != Some(bytes.len()) {
            return Err(BlobError::Data { length: bytes.len(), dtype });
        }
        let unused = bytes.len() as u64 * 8 - bits.unwrap_or(0) as u64;
        let offset = self.at.next_multiple_of(ALIGNMENT);
        let gap = (offset - self.at) as usize;
        self.out.write_all(&[0; ALIGNMENT as usize][..gap])?;
        let mut metadata = [0; ALIGNMENT as usize];
        metadata[0..4].copy_from_slice(&SENTINEL.to_le_bytes());
        metadata[4..8].copy_from_slice(&code.to_le_bytes());
        metadata[8..16].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        metadata[16..24].copy_from_slice(&(offset + ALIGNMENT).to_le_bytes());
        metadata[24..32].copy_from_slice(&unused.to_le_bytes());
        self.out.write_all(&metadata)?;
        self.out.write_all(bytes)?;
        self.at = offset + ALIGNMENT + bytes.len() as u64;
        self.count += 1;
        Ok(offset)
    }

    /// Adds a chunk of these elements.
    ///
    /// # Errors
    /// As [`BlobWriter::chunk`] and [`pack`].
    pub fn chunk_data(&mut self, dtype: DType, data: &Data) -> Result<u64, BlobError> {
        self.chunk(dtype, data.len(), &pack(dtype, data)?)
    }

    /// Adds a chunk of floating-point numbers, rounded to nearest even in `dtype`, which is fp16, bf16 or fp32.
    ///
    /// # Errors
    /// As [`BlobWriter::chunk`].
    pub fn chunk_f32(&mut self, dtype: DType, values: &[f32]) -> Result<u64, BlobError> {
        let bytes: Vec<u8> = match dtype {
            DType::Fp16 => values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
            DType::Bf16 => values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect(),
            DType::Fp32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            _ => return Err(BlobError::Data { length: values.len(), dtype }),
        };
        self.chunk(dtype, values.len(), &bytes)
    }

    /// Writes the header with the number of chunks and gives the file back.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(mut self) -> Result<W, BlobError> {
        let end = self.out.stream_position()?;
        self.out.seek(SeekFrom::Start(end - self.at))?;
        self.out.write_all(&header(self.count))?;
        self.out.seek(SeekFrom::Start(end))?;
        self.out.flush()?;
        Ok(self.out)
    }
}

fn header(count: u32) -> [u8; ALIGNMENT as usize] {
    let mut header = [0; ALIGNMENT as usize];
    header[0..4].copy_from_slice(&count.to_le_bytes());
    header[4..8].copy_from_slice(&VERSION.to_le_bytes());
    header
}

/// Elements as bytes: little-endian, elements of less than a byte one after another from the lowest bit up.
///
/// # Errors
/// When the elements are not of `dtype`, one is out of its range, or the type cannot be stored.
pub fn pack(dtype: DType, data: &Data) -> Result<Vec<u8>, BlobError> {
    if type_code(dtype).is_none() {
        return Err(BlobError::NotStorable { dtype });
    }
    if !data.matches(dtype) {
        return Err(BlobError::Data { length: data.len(), dtype });
    }
    Ok(match data {
        Data::Fp16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::Bf16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::Fp32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::Int(v) => {
            let limit = 1i128 << (dtype.bits() - 1);
            pack_bits(dtype, v.iter().map(|&x| i128::from(x)), -limit..limit)?
        }
        Data::Uint(v) => pack_bits(dtype, v.iter().map(|&x| i128::from(x)), 0..1 << dtype.bits())?,
        // Types that have a code are none of these.
        Data::Bool(_) | Data::String(_) | Data::Fp64(_) => {
            return Err(BlobError::NotStorable { dtype });
        }
    })
}

fn pack_bits(
    dtype: DType,
    values: impl ExactSizeIterator<Item = i128>,
    range: std::ops::Range<i128>,
) -> Result<Vec<u8>, BlobError> {
    let width = dtype.bits();
    let mut bytes = Vec::with_capacity((values.len() * width).div_ceil(8));
    let (mut pending, mut bits) = (0u64, 0);
    for (index, value) in values.enumerate() {
        if !range.contains(&value) {
            return Err(BlobError::Range { index, value, dtype });
        }
        pending |= (value as u64 & ((1 << width) - 1)) << bits;
        bits += width;
        while bits >= 8 {
            bytes.push(pending as u8);
            pending >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        bytes.push(pending as u8);
    }
    Ok(bytes)
}
