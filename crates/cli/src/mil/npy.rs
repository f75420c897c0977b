//! NumPy's array files, versions 1 to 3.

use std::fs;
use std::path::Path;

use ferrane_mil::DType;
use half::f16;

/// An array of numbers, row-major.
#[derive(Debug, PartialEq)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads a file.
///
/// Numbers are exact in `f64` for every type but 64-bit integers beyond 2^53, which are refused.
pub(crate) fn read(path: &Path) -> Result<Array, String> {
    let bytes = fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    parse(&bytes).map_err(|why| format!("{} is not an array file this can read: {why}", path.display()))
}

fn parse(bytes: &[u8]) -> Result<Array, String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin as .npy files do")?;
    let (header, data) = match rest {
        [1, _, a, b, rest @ ..] => split(rest, usize::from(u16::from_le_bytes([*a, *b])))?,
        [2 | 3, _, a, b, c, d, rest @ ..] => split(rest, u32::from_le_bytes([*a, *b, *c, *d]) as usize)?,
        _ => return Err("its version is not 1, 2 or 3".into()),
    };
    let header = std::str::from_utf8(header).map_err(|_| "its header is not text")?;
    let field = |name: &str| {
        let at = header.find(&format!("'{name}':")).ok_or(format!("its header has no `{name}`"))?;
        Ok::<&str, String>(header[at + name.len() + 3..].trim_start())
    };
    if field("fortran_order")?.starts_with("True") {
        return Err("it is in Fortran order; save numpy.ascontiguousarray(a)".into());
    }
    let descr = field("descr")?.strip_prefix('\'').and_then(|d| d.split('\'').next());
    let descr = descr.ok_or("its elements are records, not numbers")?;
    let shape = field("shape")?.strip_prefix('(').and_then(|s| s.split(')').next()).ok_or("no shape")?;
    let shape = shape
        .split(',')
        .map(str::trim)
        .filter(|extent| !extent.is_empty())
        .map(|extent| extent.parse::<usize>().map_err(|_| format!("`{extent}` is not an extent")))
        .collect::<Result<Vec<_>, _>>()?;
    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or("its shape overflows")?;
    Ok(Array { values: decode(descr, elements, data)?, shape })
}

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), String> {
    bytes.split_at_checked(at).ok_or_else(|| "its header is cut off".into())
}

fn decode(descr: &str, elements: usize, data: &[u8]) -> Result<Vec<f64>, String> {
    macro_rules! numbers {
        ($read:expr, $width:literal) => {{
            if elements.checked_mul($width) != Some(data.len()) {
                return Err(format!(
                    "its shape needs {elements} elements of {} bytes, it has {} bytes",
                    $width,
                    data.len()
                ));
            }
            let (chunks, _) = data.as_chunks::<$width>();
            chunks.iter().map(|&bytes| $read(bytes)).collect::<Vec<f64>>()
        }};
    }
    let exact = |values: Vec<f64>| match values.iter().any(|v| v.abs() > 9_007_199_254_740_992.0) {
        true => Err("it has integers beyond 2^53".to_owned()),
        false => Ok(values),
    };
    Ok(match descr {
        "<f2" => numbers!(|b| f16::from_le_bytes(b).to_f64(), 2),
        "<f4" => numbers!(|b| f64::from(f32::from_le_bytes(b)), 4),
        "<f8" => numbers!(f64::from_le_bytes, 8),
        "|b1" => numbers!(|b: [u8; 1]| f64::from(u8::from(b[0] != 0)), 1),
        "|i1" => numbers!(|b| f64::from(i8::from_le_bytes(b)), 1),
        "|u1" => numbers!(|b| f64::from(u8::from_le_bytes(b)), 1),
        "<i2" => numbers!(|b| f64::from(i16::from_le_bytes(b)), 2),
        "<u2" => numbers!(|b| f64::from(u16::from_le_bytes(b)), 2),
        "<i4" => numbers!(|b| f64::from(i32::from_le_bytes(b)), 4),
        "<u4" => numbers!(|b| f64::from(u32::from_le_bytes(b)), 4),
        "<i8" => exact(numbers!(|b| i64::from_le_bytes(b) as f64, 8))?,
        "<u8" => exact(numbers!(|b| u64::from_le_bytes(b) as f64, 8))?,
        other => return Err(format!("its elements are `{other}`; save little-endian numbers")),
    })
}

/// The file of an array whose elements are `values` as `dtype` has them. Types that NumPy lacks are written in the next
/// wider one it has: int4 as int8, uint1 to uint6 as uint8, bf16 and fp8 as fp32.
pub(crate) fn write(dtype: DType, shape: &[usize], values: &[f32]) -> Result<Vec<u8>, String> {
    macro_rules! bytes {
        ($convert:expr) => {
            values.iter().flat_map(|&v| $convert(v).to_le_bytes()).collect::<Vec<u8>>()
        };
    }
    let (descr, data) = match dtype {
        DType::Fp16 => ("<f2", bytes!(f16::from_f32)),
        DType::Fp32 | DType::Bf16 | DType::Fp8E4M3 | DType::Fp8E5M2 => ("<f4", bytes!(|v: f32| v)),
        DType::Fp64 => ("<f8", bytes!(f64::from)),
        DType::Bool => ("|b1", bytes!(|v: f32| u8::from(v != 0.0))),
        DType::Int4 | DType::Int8 => ("|i1", bytes!(|v: f32| v as i8)),
        DType::Int16 => ("<i2", bytes!(|v: f32| v as i16)),
        DType::Int32 => ("<i4", bytes!(|v: f32| v as i32)),
        DType::Int64 => ("<i8", bytes!(|v: f32| v as i64)),
        DType::Uint1 | DType::Uint2 | DType::Uint3 | DType::Uint4 | DType::Uint6 | DType::Uint8 => {
            ("|u1", bytes!(|v: f32| v as u8))
        }
        DType::Uint16 => ("<u2", bytes!(|v: f32| v as u16)),
        DType::Uint32 => ("<u4", bytes!(|v: f32| v as u32)),
        DType::Uint64 => ("<u8", bytes!(|v: f32| v as u64)),
        DType::String => return Err("strings are not numbers".into()),
    };
    let extents: Vec<String> = shape.iter().map(|d| format!("{d},")).collect();
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}", extents.join(" "));
    // Magic, version, length, header and a line break end at a multiple of 64.
    let unpadded = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let length = u16::try_from(header.len()).map_err(|_| "its shape has too many extents")?;
    let mut file = MAGIC.to_vec();
    file.extend([1, 0]);
    file.extend(length.to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(data);
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (dtype, values) in [
            (DType::Fp16, vec![1.0, -0.5, 65504.0]),
            (DType::Fp32, vec![0.1, -2.0, 3.0]),
            (DType::Int32, vec![-7.0, 0.0, 9.0]),
            (DType::Bool, vec![1.0, 0.0, 1.0]),
            (DType::Uint8, vec![0.0, 255.0, 1.0]),
        ] {
            let bytes = write(dtype, &[1, 3], &values).unwrap();
            let array = parse(&bytes).unwrap();
            assert_eq!(array.shape, [1, 3], "{dtype}");
            let expected: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
            assert_eq!(array.values, expected, "{dtype}");
        }
        let scalar = write(DType::Fp32, &[], &[2.0]).unwrap();
        assert_eq!(parse(&scalar).unwrap(), Array { shape: vec![], values: vec![2.0] });
    }

    /// `numpy.save` of `numpy.array([[1, 2]], numpy.float16)`, byte for byte.
    #[test]
    fn the_bytes_are_those_of_numpy() {
        let mut expected =
            b"\x93NUMPY\x01\x00v\x00{'descr': '<f2', 'fortran_order': False, 'shape': (1, 2), }".to_vec();
        expected.resize(127, b' ');
        expected.push(b'\n');
        expected.extend([0x00, 0x3c, 0x00, 0x40]);
        let array = parse(&expected).unwrap();
        assert_eq!(array, Array { shape: vec![1, 2], values: vec![1.0, 2.0] });
    }

    #[test]
    fn damaged_files_are_refused() {
        let good = write(DType::Fp32, &[2], &[1.0, 2.0]).unwrap();
        assert!(
            parse(&good[..good.len() - 1]).unwrap_err().contains("8 bytes")
                || parse(&good[..good.len() - 1]).is_err()
        );
        assert!(parse(&good[..20]).is_err());
        assert!(parse(b"PK").unwrap_err().contains("begin"));
        let text = String::from_utf8_lossy(&good[10..]).replace("False", "True ");
        let mut fortran = good[..10].to_vec();
        fortran.extend(text.as_bytes());
        assert!(parse(&fortran).unwrap_err().contains("Fortran"));
    }
}
