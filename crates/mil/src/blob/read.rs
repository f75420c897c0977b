//! Reading weight files.

use half::{bf16, f16};

use super::{ALIGNMENT, BlobError, BlobWarning, SENTINEL, VERSION, type_of_code};
use crate::{DType, Data, TensorType, fp8};

/// A weight file in memory or mapped into it.
#[derive(Clone, Copy, Debug)]
pub struct BlobFile<'a> {
    bytes: &'a [u8],
    count: u32,
}

impl<'a> BlobFile<'a> {
    /// Looks at the header. Chunks are looked at when asked for; [`BlobFile::check`] looks at all.
    ///
    /// # Errors
    /// A header that is missing, cut off or of another version.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BlobError> {
        let length = bytes.len() as u64;
        let (Some(count), Some(version)) = (word(bytes, 0), word(bytes, 4)) else {
            return Err(BlobError::TooShort { length });
        };
        if count == SENTINEL {
            return Err(BlobError::MissingHeader);
        }
        if length < ALIGNMENT {
            return Err(BlobError::TooShort { length });
        }
        if version != VERSION {
            return Err(BlobError::Version { version });
        }
        Ok(Self { bytes, count })
    }

    /// The number of chunks the header claims. Writers exist that always say 1.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The chunk at `offset` as the elements of a constant of type `ty`.
    ///
    /// A file whose element type code is another one of the same width is refused; files of published trainers that label
    /// int8 data as fp16 can be read by [`BlobFile::raw`].
    ///
    /// # Errors
    /// No such chunk, damaged metadata, or another type or size than `ty` has.
    pub fn chunk(&self, offset: u64, ty: &TensorType) -> Result<ChunkRef<'a>, BlobError> {
        let chunk = self.raw(offset)?;
        if chunk.dtype != ty.dtype {
            return Err(BlobError::Type { offset, found: chunk.dtype, ty: ty.clone() });
        }
        let elements = ty.checked_elements();
        if elements != Some(chunk.elements) {
            let bits = elements.and_then(|n| n.checked_mul(ty.dtype.bits()));
            let needed = bits.map_or(u64::MAX, |b| b.div_ceil(8) as u64);
            let size = chunk.bytes.len() as u64;
            return Err(BlobError::Size { offset, size, ty: ty.clone(), needed });
        }
        Ok(chunk)
    }

    /// The chunk at `offset`, whatever its type and size.
    ///
    /// # Errors
    /// No such chunk, or damaged metadata.
    pub fn raw(&self, offset: u64) -> Result<ChunkRef<'a>, BlobError> {
        let length = self.bytes.len() as u64;
        if offset < ALIGNMENT || offset.checked_add(ALIGNMENT).is_none_or(|end| end > length) {
            return Err(BlobError::OutOfFile { offset, length });
        }
        // Fits: it is below the length of a slice.
        let at = offset as usize;
        let fields = (word(self.bytes, at), word(self.bytes, at + 4), long(self.bytes, at + 8));
        let more = (long(self.bytes, at + 16), long(self.bytes, at + 24));
        let ((Some(sentinel), Some(code), Some(size)), (Some(data), Some(unused))) = (fields, more) else {
            return Err(BlobError::OutOfFile { offset, length });
        };
        if sentinel != SENTINEL {
            return Err(self.no_chunk(offset, sentinel));
        }
        // One byte at 10 and nothing else.
        if data == 0 && size & !0xff_0000 == 0 {
            return Err(BlobError::UnfilledMetadata { offset, size });
        }
        let dtype = type_of_code(code).ok_or(BlobError::TypeCode { offset, code })?;
        if data < 2 * ALIGNMENT || (data < offset + ALIGNMENT && data + ALIGNMENT > offset) {
            return Err(BlobError::DataInMetadata { offset, data });
        }
        let end = data.checked_add(size).filter(|&end| end <= length);
        let Some(end) = end else {
            return Err(BlobError::DataOutOfFile { offset, data, size, length });
        };
        let bytes = &self.bytes[data as usize..end as usize];
        let elements =
            elements(dtype, size, unused).ok_or(BlobError::Padding { offset, bits: unused, dtype, size })?;
        Ok(ChunkRef { dtype, elements, bytes, offset, data_offset: data })
    }

    /// Offset and contents of every chunk, one behind the other from the first. Stops where there is none.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkRef<'a>> + use<'a> {
        let file = *self;
        let mut next = Some(ALIGNMENT);
        std::iter::from_fn(move || {
            let chunk = file.raw(next?).ok()?;
            // Past the metadata at least, so that the walk ends.
            next = file.behind(chunk.end().max(chunk.offset + ALIGNMENT));
            Some(chunk)
        })
    }

    /// Looks at the whole file: all chunks, their number, whether any share bytes.
    ///
    /// # Errors
    /// The first chunk that is damaged or overlaps another, or fewer chunks than the header counts.
    pub fn check(&self) -> Result<Vec<BlobWarning>, BlobError> {
        let mut warnings = Vec::new();
        let (mut found, mut next, mut last) = (0u32, ALIGNMENT, 0);
        let mut ranges: Vec<(u64, u64, u64)> = Vec::new();
        while next.checked_add(ALIGNMENT).is_some_and(|end| end <= self.bytes.len() as u64) {
            let chunk = match self.raw(next) {
                Ok(chunk) => chunk,
                // Behind the last chunk anything may follow.
                Err(BlobError::Sentinel { .. }) if found >= self.count => break,
                Err(error) => return Err(error),
            };
            if !next.is_multiple_of(ALIGNMENT) {
                warnings.push(BlobWarning::Misaligned { offset: next });
            }
            if chunk.data_offset != next + ALIGNMENT {
                warnings.push(BlobWarning::DataElsewhere { offset: next, data: chunk.data_offset });
            }
            ranges.push((next, next + ALIGNMENT, next));
            ranges.push((chunk.data_offset, chunk.end(), next));
            found += 1;
            last = next;
            let Some(behind) = self.behind(chunk.end().max(next + ALIGNMENT)) else { break };
            next = behind;
        }
        ranges.retain(|(start, end, _)| start < end);
        ranges.sort_unstable();
        if let Some(pair) = ranges.windows(2).find(|w| w[0].1 > w[1].0) {
            return Err(BlobError::Overlap { first: pair[0].2, second: pair[1].2 });
        }
        if found < self.count {
            return Err(BlobError::Count { count: self.count, last });
        }
        if found > self.count {
            warnings.push(BlobWarning::Count { count: self.count, found });
        }
        Ok(warnings)
    }

    /// Where the chunk behind one that ends at `end` is: some writers do not align chunks.
    fn behind(&self, end: u64) -> Option<u64> {
        let there = usize::try_from(end).is_ok_and(|at| word(self.bytes, at) == Some(SENTINEL));
        if there { Some(end) } else { end.checked_next_multiple_of(ALIGNMENT) }
    }

    /// Why there is no metadata at `offset`: perhaps it is the data of a chunk that is meant.
    fn no_chunk(&self, offset: u64, found: u32) -> BlobError {
        if let Some(chunk) = offset.checked_sub(ALIGNMENT)
            && let Ok(before) = self.raw_without_guess(chunk)
            && before == offset
        {
            return BlobError::OffsetOfData { offset, chunk };
        }
        BlobError::Sentinel { offset, found }
    }

    /// The data offset in the metadata at `offset`, if there is any.
    fn raw_without_guess(&self, offset: u64) -> Result<u64, ()> {
        let at = usize::try_from(offset).map_err(drop)?;
        match (word(self.bytes, at), long(self.bytes, at.saturating_add(16))) {
            (Some(SENTINEL), Some(data)) if offset >= ALIGNMENT => Ok(data),
            _ => Err(()),
        }
    }
}

/// Number of elements in `size` bytes of which the last `unused` bits are padding.
fn elements(dtype: DType, size: u64, unused: u64) -> Option<usize> {
    let bits = size.checked_mul(8)?;
    let width = dtype.bits() as u64;
    if width >= 8 {
        // Before ios18 this field was not set for whole-byte types and may hold anything.
        return bits.is_multiple_of(width).then(|| usize::try_from(bits / width).ok())?;
    }
    let used = bits.checked_sub(unused).filter(|_| unused < 8)?;
    used.is_multiple_of(width).then(|| usize::try_from(used / width).ok())?
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    let long = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(long.try_into().ok()?))
}

/// One chunk of a weight file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRef<'a> {
    /// Element type.
    pub dtype: DType,
    /// Number of elements.
    pub elements: usize,
    /// The packed elements.
    pub bytes: &'a [u8],
    /// Offset of the metadata: what MIL text says.
    pub offset: u64,
    /// Offset of the data in the file.
    pub data_offset: u64,
}

impl ChunkRef<'_> {
    /// One past the last byte of data in the file.
    fn end(&self) -> u64 {
        self.data_offset + self.bytes.len() as u64
    }

    /// The elements.
    pub fn to_data(&self) -> Data {
        let bytes = self.bytes;
        match self.dtype {
            DType::Fp16 => Data::Fp16(fixed(bytes, f16::from_le_bytes).collect()),
            DType::Bf16 => Data::Bf16(fixed(bytes, bf16::from_le_bytes).collect()),
            DType::Fp32 => Data::Fp32(fixed(bytes, f32::from_le_bytes).collect()),
            DType::Int4 | DType::Int8 | DType::Int16 | DType::Int32 => {
                // From the top of the word down again, to extend the sign.
                let shift = 64 - self.dtype.bits();
                Data::Int(self.patterns().map(|bits| ((bits << shift) as i64) >> shift).collect())
            }
            _ => Data::Uint(self.patterns().collect()),
        }
    }

    /// The elements as fp32, exact for every type but 32-bit integers, which are rounded to nearest even.
    pub fn to_f32(&self) -> Vec<f32> {
        let bytes = self.bytes;
        match self.dtype {
            DType::Fp16 => fixed(bytes, |b| f16::from_le_bytes(b).to_f32()).collect(),
            DType::Bf16 => fixed(bytes, |b| bf16::from_le_bytes(b).to_f32()).collect(),
            DType::Fp32 => fixed(bytes, f32::from_le_bytes).collect(),
            DType::Fp8E4M3 | DType::Fp8E5M2 => {
                bytes.iter().map(|&b| fp8::decode(self.dtype, b) as f32).collect()
            }
            _ => match self.to_data() {
                Data::Int(v) => v.into_iter().map(|x| x as f32).collect(),
                Data::Uint(v) => v.into_iter().map(|x| x as f32).collect(),
                // Integer types are stored as one of the two.
                _ => Vec::new(),
            },
        }
    }

    /// The bit pattern of each element.
    fn patterns(&self) -> impl Iterator<Item = u64> + '_ {
        let width = self.dtype.bits();
        (0..self.elements).map(move |i| {
            let (first, shift) = (i * width / 8, i * width % 8);
            let last = (i * width + width).div_ceil(8);
            let word = self.bytes[first..last].iter().rev().fold(0u64, |w, &b| w << 8 | u64::from(b));
            word >> shift & ((1 << width) - 1)
        })
    }
}

fn fixed<'a, const N: usize, T>(
    bytes: &'a [u8],
    read: impl Fn([u8; N]) -> T + 'a,
) -> impl Iterator<Item = T> + 'a {
    bytes.as_chunks::<N>().0.iter().map(move |chunk| read(*chunk))
}
