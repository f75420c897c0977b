//! Elements of immediate tensors.
//!
//! Which field holds the elements depends on the element type: numbers Apple's reader has no field for are packed
//! little-endian into `bytes`, those of less than eight bits from the least significant bit upwards. We write what
//! coremltools writes, and read `bytes` for every type that has a width.

use ferrane_mil::{DType, Data, TensorType};
use half::{bf16, f16};

use super::{Fault, invalid};
use crate::proto::mil::{self as proto, tensor_value::Value as P};

pub(super) fn read_tensor(value: proto::TensorValue, ty: &TensorType) -> Result<Data, Fault> {
    let data = match (value.value, ty.dtype) {
        (None, _) if ty.elements() == 0 => read_bytes(&[], ty)?,
        (None, _) => return invalid(format!("a {ty} has no elements")),
        (Some(P::Bytes(b)), _) => read_bytes(&b.values, ty)?,
        (Some(P::Bools(v)), DType::Bool) => Data::Bool(v.values),
        (Some(P::Strings(v)), DType::String) => Data::String(v.values),
        (Some(P::Floats(v)), DType::Fp32) => Data::Fp32(v.values),
        (Some(P::Doubles(v)), DType::Fp64) => Data::Fp64(v.values),
        (Some(P::Ints(v)), dtype) if dtype.is_int() => read_ints(v.values.into_iter().map(i64::from), dtype)?,
        // An unsigned 64-bit number is stored under the signed one with its bits.
        (Some(P::LongInts(v)), DType::Uint64) => Data::Uint(v.values.into_iter().map(|x| x as u64).collect()),
        (Some(P::LongInts(v)), dtype) if dtype.is_int() => read_ints(v.values.into_iter(), dtype)?,
        (Some(_), _) => return invalid(format!("the elements of a {ty} are in the field of another type")),
    };
    if data.len() != ty.elements() {
        return invalid(format!("a {ty} has {} elements", data.len()));
    }
    Ok(data)
}

fn read_ints(values: impl Iterator<Item = i64>, dtype: DType) -> Result<Data, Fault> {
    let bits = dtype.bits() as u32;
    let signed = Data::Int(Vec::new()).matches(dtype);
    let (low, high) = match (signed, bits) {
        (true, 64) => (i64::MIN, i64::MAX),
        (true, _) => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        (false, 64) => (0, i64::MAX),
        (false, _) => (0, (1 << bits) - 1),
    };
    let checked = values.map(|x| {
        if (low..=high).contains(&x) { Ok(x) } else { invalid(format!("{x} is out of the range of {dtype}")) }
    });
    if signed {
        Ok(Data::Int(checked.collect::<Result<_, _>>()?))
    } else {
        Ok(Data::Uint(checked.map(|x| x.map(|x| x as u64)).collect::<Result<_, _>>()?))
    }
}

fn read_bytes(bytes: &[u8], ty: &TensorType) -> Result<Data, Fault> {
    let dtype = ty.dtype;
    let elements = ty.elements();
    if dtype == DType::String {
        return if elements == 0 {
            Ok(Data::String(Vec::new()))
        } else {
            invalid("strings are given as bytes")
        };
    }
    let needed = dtype.packed_bytes(elements);
    if bytes.len() != needed {
        return invalid(format!("a {ty} has {} bytes, not {needed}", bytes.len()));
    }
    Ok(match dtype {
        DType::Bool => match bytes.iter().find(|&&b| b > 1) {
            Some(b) => return invalid(format!("{b} is no truth value")),
            None => Data::Bool(bytes.iter().map(|&b| b == 1).collect()),
        },
        DType::Fp16 => Data::Fp16(words(bytes, f16::from_le_bytes)),
        DType::Bf16 => Data::Bf16(words(bytes, bf16::from_le_bytes)),
        DType::Fp32 => Data::Fp32(words(bytes, f32::from_le_bytes)),
        DType::Fp64 => Data::Fp64(words(bytes, f64::from_le_bytes)),
        dtype => {
            let raw = unpack(bytes, dtype.bits(), elements);
            if Data::Int(Vec::new()).matches(dtype) {
                let unused = 64 - dtype.bits();
                Data::Int(raw.map(|x| (x << unused) as i64 >> unused).collect())
            } else {
                Data::Uint(raw.collect())
            }
        }
    })
}

fn words<const N: usize, T>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&word| from(word)).collect()
}

/// `elements` unsigned numbers of `bits` bits each, packed from the least significant bit upwards.
fn unpack(bytes: &[u8], bits: usize, elements: usize) -> impl Iterator<Item = u64> + '_ {
    (0..elements).map(move |i| {
        let first = i * bits;
        let last = (first + bits - 1) / 8;
        // At most nine bytes hold the bits of one element; with widths of 1–4, 6 and multiples of 8 it is at most eight.
        let word = bytes[first / 8..=last].iter().rev().fold(0, |word, &b| word << 8 | u64::from(b));
        let word = word >> (first % 8);
        if bits == 64 { word } else { word & ((1 << bits) - 1) }
    })
}

/// The elements of a constant, or what is wrong with it.
pub(super) fn write_tensor(data: &Data, ty: &TensorType) -> Result<proto::TensorValue, Fault> {
    if !data.matches(ty.dtype) || ty.checked_elements() != Some(data.len()) {
        return invalid(format!("the {} elements of a constant do not fit its type {ty}", data.len()));
    }
    let int = |x: i64| {
        i32::try_from(x).map_err(|_| Fault::Invalid(format!("{x} is out of the range of {}", ty.dtype)))
    };
    let value = match (data, ty.dtype) {
        (Data::Bool(v), _) => P::Bools(proto::Bools { values: v.clone() }),
        (Data::String(v), _) => P::Strings(proto::Strings { values: v.clone() }),
        (Data::Fp32(v), _) => P::Floats(proto::Floats { values: v.clone() }),
        (Data::Fp64(v), _) => P::Doubles(proto::Doubles { values: v.clone() }),
        (Data::Fp16(v), _) => bytes(v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        (Data::Bf16(v), _) => bytes(v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        (Data::Int(v), DType::Int64) => P::LongInts(proto::LongInts { values: v.clone() }),
        (Data::Uint(v), DType::Uint64) => {
            P::LongInts(proto::LongInts { values: v.iter().map(|&x| x as i64).collect() })
        }
        (Data::Int(v), DType::Int16 | DType::Int32) => {
            P::Ints(proto::Ints { values: v.iter().map(|&x| int(x)).collect::<Result<_, _>>()? })
        }
        (Data::Uint(v), DType::Uint16) => {
            let narrow = |&x: &u64| int(i64::try_from(x).unwrap_or(i64::MAX));
            P::Ints(proto::Ints { values: v.iter().map(narrow).collect::<Result<_, _>>()? })
        }
        (Data::Int(v), dtype) => bytes(pack(v.iter().map(|&x| x as u64), dtype.bits())),
        (Data::Uint(v), dtype) => bytes(pack(v.iter().copied(), dtype.bits())),
    };
    Ok(proto::TensorValue { value: Some(value) })
}

fn bytes(values: Vec<u8>) -> P {
    P::Bytes(proto::Bytes { values })
}

fn pack(values: impl ExactSizeIterator<Item = u64>, bits: usize) -> Vec<u8> {
    let mut packed = vec![0; (values.len() * bits).div_ceil(8)];
    for (i, value) in values.enumerate() {
        for bit in 0..bits {
            let at = i * bits + bit;
            packed[at / 8] |= u8::from(value >> bit & 1 == 1) << (at % 8);
        }
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(dtype: DType, seed: &[u64]) -> Data {
        match dtype {
            DType::Bool => Data::Bool(seed.iter().map(|x| x & 1 == 1).collect()),
            DType::String => Data::String(seed.iter().map(u64::to_string).collect()),
            DType::Fp16 => Data::Fp16(seed.iter().map(|&x| f16::from_bits(x as u16 & 0x7bff)).collect()),
            DType::Bf16 => Data::Bf16(seed.iter().map(|&x| bf16::from_bits(x as u16 & 0x7f7f)).collect()),
            DType::Fp32 => Data::Fp32(seed.iter().map(|&x| x as f32).collect()),
            DType::Fp64 => Data::Fp64(seed.iter().map(|&x| x as f64).collect()),
            _ => {
                let unused = 64 - dtype.bits();
                if Data::Int(Vec::new()).matches(dtype) {
                    Data::Int(seed.iter().map(|&x| (x << unused) as i64 >> unused).collect())
                } else {
                    Data::Uint(seed.iter().map(|&x| x << unused >> unused).collect())
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn elements_of_every_type_read_back(seed in proptest::collection::vec(proptest::num::u64::ANY, 0..20)) {
            for dtype in DType::all() {
                let ty = TensorType::new(dtype, [seed.len()]);
                let data = data(dtype, &seed);
                let written = write_tensor(&data, &ty);
                let read = written.and_then(|w| read_tensor(w, &ty));
                proptest::prop_assert_eq!(read.ok(), Some(data), "{}", dtype);
            }
        }
    }

    #[test]
    fn bits_are_packed_from_the_lowest() {
        // As `pack_elements_into_bits` of coremltools packs them.
        let int4 = TensorType::new(DType::Int4, [3]);
        let read = read_bytes(&[0xA7, 0x0F], &int4).ok();
        assert_eq!(read, Some(Data::Int(vec![7, -6, -1])));
        let uint3 = TensorType::new(DType::Uint3, [3]);
        let read = read_bytes(&[0b10_001_111, 0b1], &uint3).ok();
        assert_eq!(read, Some(Data::Uint(vec![7, 1, 6])));
    }

    #[test]
    fn wrong_numbers_and_fields_are_refused() {
        let ints =
            |v: &[i32]| proto::TensorValue { value: Some(P::Ints(proto::Ints { values: v.to_vec() })) };
        let ty = |dtype, n: usize| TensorType::new(dtype, [n]);
        assert!(read_tensor(ints(&[1, 2]), &ty(DType::Int32, 2)).is_ok());
        for (value, ty) in [
            (ints(&[1, 2]), ty(DType::Int32, 3)),
            (ints(&[1 << 20]), ty(DType::Int16, 1)),
            (ints(&[-1]), ty(DType::Uint16, 1)),
            (ints(&[1]), ty(DType::Fp32, 1)),
            (proto::TensorValue { value: Some(bytes(vec![0; 5])) }, ty(DType::Fp16, 2)),
            (proto::TensorValue { value: Some(bytes(vec![2])) }, ty(DType::Bool, 1)),
            (proto::TensorValue { value: None }, ty(DType::Fp32, 1)),
            (proto::TensorValue { value: Some(bytes(vec![])) }, ty(DType::Fp16, 1 << 40)),
        ] {
            assert!(matches!(read_tensor(value, &ty), Err(Fault::Invalid(_))), "{ty}");
        }
        assert!(write_tensor(&Data::Int(vec![70_000]), &ty(DType::Int16, 1)).is_ok());
    }
}
