//! Reading and writing `.safetensors` in pieces: the header through the `safetensors` crate, the
//! data streamed, so that no file is ever held whole.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::atomic::write_atomically;
use crate::error::{ModelError, Result};
use crate::params::Parameters;

const FORMAT: &str = "safetensors";
/// The limit of the format's own reader.
const LARGEST_HEADER: u64 = 100_000_000;
/// Bytes converted at a time; a multiple of every element size.
const CHUNK: usize = 1 << 20;

/// Reads and checks the header of an open file.
///
/// Returns the tensors and the position of their data. The sizes are checked against the length of
/// the file, so a truncated or overlong file is refused before any data is read.
///
/// # Errors
/// [`ModelError::Corrupt`] saying what is wrong, or the system's refusal to read.
pub fn read_header(file: &mut File, path: &Path) -> Result<(Metadata, u64)> {
    let length = file.metadata().map_err(ModelError::io("read", path))?.len();
    let corrupt = |problem: String| ModelError::corrupt(FORMAT, path, problem);
    if length < 8 {
        return Err(corrupt(format!("it has {length} bytes, too few for a header")));
    }
    let mut size = [0; 8];
    file.read_exact(&mut size).map_err(ModelError::io("read", path))?;
    let size = u64::from_le_bytes(size);
    if size > LARGEST_HEADER || size > length - 8 {
        return Err(corrupt(format!(
            "the header claims {size} bytes and the file has {length}; it is truncated or not safetensors"
        )));
    }
    let mut header = vec![0; size as usize];
    file.read_exact(&mut header).map_err(ModelError::io("read", path))?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| corrupt(format!("header: {error}")))?;
    let data = 8 + size;
    let expected = data + metadata.data_len() as u64;
    if expected != length {
        return Err(corrupt(format!(
            "the header describes {expected} bytes and the file has {length}; it is truncated or damaged"
        )));
    }
    Ok((metadata, data))
}

/// Streams one tensor, converted to fp32, to `consume` in consecutive pieces.
pub(super) fn read_tensor(
    file: &mut File,
    path: &Path,
    data: u64,
    name: &str,
    info: &TensorInfo,
    mut consume: impl FnMut(&[f32]),
) -> Result<()> {
    let decode: fn(&[u8], &mut Vec<f32>) = match info.dtype {
        Dtype::F32 => |bytes, out| {
            out.extend(bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)));
        },
        Dtype::F16 => |bytes, out| {
            out.extend(bytes.as_chunks::<2>().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()));
        },
        Dtype::BF16 => |bytes, out| {
            out.extend(bytes.as_chunks::<2>().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()));
        },
        other => {
            return Err(ModelError::Dtype {
                path: path.to_path_buf(),
                name: name.to_owned(),
                found: other.to_string(),
            });
        }
    };
    let (start, end) = info.data_offsets;
    file.seek(SeekFrom::Start(data + start as u64)).map_err(ModelError::io("read", path))?;
    let mut left = end - start;
    let mut bytes = vec![0; left.min(CHUNK)];
    let mut values = Vec::with_capacity(bytes.len() / 2);
    while left > 0 {
        let piece = &mut bytes[..left.min(CHUNK)];
        file.read_exact(piece).map_err(ModelError::io("read", path))?;
        values.clear();
        decode(piece, &mut values);
        consume(&values);
        left -= piece.len();
    }
    Ok(())
}

/// Writes all parameters as one fp32 `.safetensors` file, atomically.
///
/// # Errors
/// The system's refusal, naming the file.
pub fn write(path: &Path, parameters: &Parameters) -> Result<()> {
    let header = header(path, parameters)?;
    write_atomically(path, |writer| {
        writer.write_all(&(header.len() as u64).to_le_bytes())?;
        writer.write_all(&header)?;
        // The arena is gap-free and the header lists the tensors in its order.
        write_values(writer, parameters.data())
    })
}

fn header(path: &Path, parameters: &Parameters) -> Result<Vec<u8>> {
    let bytes = size_of::<f32>();
    let tensors = parameters.table().params().iter().map(|param| {
        let data_offsets = (param.offset * bytes, (param.offset + param.len) * bytes);
        let info = TensorInfo { dtype: Dtype::F32, shape: param.shape.clone(), data_offsets };
        (param.name.clone(), info)
    });
    // `transformers` refuses a file that does not say which framework wrote it.
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let refused = |problem: String| ModelError::corrupt(FORMAT, path, problem);
    let metadata =
        Metadata::new(Some(format), tensors.collect()).map_err(|error| refused(error.to_string()))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|error| refused(error.to_string()))?;
    // The format asks for data aligned to 8 bytes, padded with spaces.
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

fn write_values(writer: &mut impl Write, values: &[f32]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(CHUNK);
    for piece in values.chunks(CHUNK / size_of::<f32>()) {
        bytes.clear();
        bytes.extend(piece.iter().flat_map(|value| value.to_le_bytes()));
        writer.write_all(&bytes)?;
    }
    Ok(())
}
