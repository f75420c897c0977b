//! Weight files: the same bytes as coremltools writes, every damage named, nothing believed.

use std::io::Cursor;

use ferrane_mil::blob::{BlobError, BlobFile, BlobWarning, BlobWriter, type_code, type_of_code};
use ferrane_mil::{DType, Data, TensorType};
use half::f16;
use proptest::prelude::*;

/// Written by coremltools; see `tools/mil/make_blob_fixtures.py`.
const COREMLTOOLS: &[u8] = include_bytes!("fixtures/blob/coremltools.bin");

/// The chunks of the fixture.
fn chunks() -> Vec<(DType, Data)> {
    let fp16 = [0x3C00, 0xB800, 0x7BFF, 0x0001, 0x8000].map(f16::from_bits);
    vec![
        (DType::Fp16, Data::Fp16(fp16.to_vec())),
        (DType::Fp32, Data::Fp32(vec![1.0, -0.5, f32::MAX, f32::from_bits(1)])),
        (DType::Uint8, Data::Uint((0..70).collect())),
        (DType::Int8, Data::Int(vec![-128, -1, 0, 127])),
        (DType::Int16, Data::Int(vec![-32768, 0, 32767])),
        (DType::Uint16, Data::Uint(vec![0, 1, 65535])),
        (DType::Int32, Data::Int(vec![i64::from(i32::MIN), 0, i64::from(i32::MAX)])),
        (DType::Uint32, Data::Uint(vec![0, u64::from(u32::MAX)])),
        (DType::Int4, Data::Int(vec![-8, -1, 7])),
        (DType::Uint1, Data::Uint(vec![1, 0, 1, 1, 1, 0, 0, 0, 1])),
        (DType::Uint2, Data::Uint(vec![0, 1, 2, 3, 3])),
        (DType::Uint3, Data::Uint(vec![0, 1, 2, 3, 4, 5, 6, 7, 5, 3, 1])),
        (DType::Uint4, Data::Uint(vec![15, 0, 9])),
        (DType::Uint6, Data::Uint(vec![1, 63, 33, 5, 6])),
    ]
}

fn write(chunks: &[(DType, Data)]) -> (Vec<u8>, Vec<u64>) {
    let mut writer = BlobWriter::new(Cursor::new(Vec::new())).unwrap();
    let offsets = chunks.iter().map(|(dtype, data)| writer.chunk_data(*dtype, data).unwrap()).collect();
    (writer.finish().unwrap().into_inner(), offsets)
}

/// A file with one chunk of two fp16 numbers.
fn small() -> Vec<u8> {
    write(&[(DType::Fp16, Data::Fp16(vec![f16::ONE; 2]))]).0
}

fn set(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

#[test]
fn our_bytes_are_coremltools_bytes() {
    let (bytes, offsets) = write(&chunks());
    assert_eq!(bytes, COREMLTOOLS);
    assert_eq!(offsets[..3], [64, 192, 320]);
}

#[test]
fn chunks_of_coremltools_are_read() {
    let file = BlobFile::parse(COREMLTOOLS).unwrap();
    assert_eq!(file.check().unwrap(), []);
    let expected = chunks();
    assert_eq!(file.count() as usize, expected.len());
    let found: Vec<_> = file.chunks().map(|c| (c.dtype, c.to_data())).collect();
    assert_eq!(found, expected);
    for (chunk, (dtype, data)) in file.chunks().zip(&expected) {
        let ty = TensorType::new(*dtype, [data.len()]);
        assert_eq!(file.chunk(chunk.offset, &ty).unwrap(), chunk);
        let as_f64: Vec<f64> = chunk.to_f32().into_iter().map(f64::from).collect();
        let rounded: Vec<f64> = data.to_f64().unwrap().into_iter().map(|v| f64::from(v as f32)).collect();
        assert_eq!(as_f64, rounded, "{dtype}");
    }
}

#[test]
fn every_code_names_one_type() {
    let codes: Vec<u32> = DType::all().filter_map(type_code).collect();
    assert_eq!(codes.len(), 17);
    for dtype in DType::all() {
        if let Some(code) = type_code(dtype) {
            assert_eq!(type_of_code(code), Some(dtype));
        }
    }
    assert_eq!(type_of_code(0), None);
    assert_eq!(type_of_code(18), None);
}

#[test]
fn fp8_and_bf16_are_converted() {
    let mut writer = BlobWriter::new(Cursor::new(Vec::new())).unwrap();
    let fp8 = writer.chunk(DType::Fp8E4M3, 2, &[0x7e, 0xb8]).unwrap();
    let bf16 = writer.chunk_f32(DType::Bf16, &[1.0, -2.5]).unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    let file = BlobFile::parse(&bytes).unwrap();
    assert_eq!(file.raw(fp8).unwrap().to_f32(), [448.0, -1.0]);
    assert_eq!(file.raw(bf16).unwrap().to_f32(), [1.0, -2.5]);
}

#[test]
fn a_file_that_does_not_begin_at_the_start_of_its_stream_is_finished_in_place() {
    let mut out = Cursor::new(vec![7u8; 3]);
    out.set_position(3);
    let mut writer = BlobWriter::new(out).unwrap();
    writer.chunk_f32(DType::Fp16, &[1.0, 1.0]).unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    assert_eq!(bytes[..3], [7; 3]);
    assert_eq!(bytes[3..], small());
}

#[test]
fn damage_is_named() {
    let ty = TensorType::fp16([2]);
    let error = |damage: &dyn Fn(&mut Vec<u8>), offset: u64| {
        let mut bytes = small();
        damage(&mut bytes);
        match BlobFile::parse(&bytes).and_then(|f| f.chunk(offset, &ty).map(drop)) {
            Ok(()) => panic!("accepted"),
            Err(error) => error,
        }
    };
    let none = |_: &mut Vec<u8>| {};
    assert!(matches!(error(&|b| b.truncate(63), 64), BlobError::TooShort { length: 63 }));
    assert!(matches!(error(&|b| drop(b.drain(..64)), 64), BlobError::MissingHeader));
    assert!(matches!(error(&|b| b[4] = 1, 64), BlobError::Version { version: 1 }));
    assert!(matches!(error(&none, 0), BlobError::OutOfFile { offset: 0, .. }));
    assert!(matches!(error(&none, u64::MAX), BlobError::OutOfFile { .. }));
    assert!(matches!(error(&|b| b.resize(200, 0), 128), BlobError::OffsetOfData { offset: 128, chunk: 64 }));
    assert!(matches!(error(&|b| b[64] = 0, 64), BlobError::Sentinel { found: 0xDEAD_BE00, .. }));
    assert!(matches!(error(&|b| b[68] = 99, 64), BlobError::TypeCode { code: 99, .. }));
    assert!(matches!(error(&|b| b[80] = 100, 64), BlobError::DataInMetadata { data: 100, .. }));
    assert!(matches!(error(&|b| b[72] = 5, 64), BlobError::DataOutOfFile { size: 5, .. }));
    assert!(matches!(error(&|b| set(b, 80, &[0xff; 8]), 64), BlobError::DataOutOfFile { .. }));
    assert!(matches!(error(&|b| set(b, 72, &[0xff; 8]), 64), BlobError::DataOutOfFile { .. }));
    assert!(matches!(error(&|b| b[72] = 3, 64), BlobError::Padding { .. }));
    assert!(matches!(error(&|b| b[68] = 4, 64), BlobError::Type { found: DType::Int8, .. }));
    assert!(matches!(error(&|b| b[72] = 2, 64), BlobError::Size { size: 2, needed: 4, .. }));
    // One byte at position 10 and nothing else, as the published benchmarks write it.
    let unfilled = error(&|b| set(b, 72, &[0, 0, 8, 0, 0, 0, 0, 0, 0]), 64);
    assert!(matches!(unfilled, BlobError::UnfilledMetadata { size: 524_288, .. }));
    assert!(unfilled.to_string().contains("is byte 8 at position 10 of its metadata"), "{unfilled}");
}

#[test]
fn whole_files_are_checked() {
    let two = || write(&[(DType::Int8, Data::Int(vec![1; 64])), (DType::Int8, Data::Int(vec![2; 64]))]).0;
    let check = |bytes: &[u8]| BlobFile::parse(bytes).unwrap().check();
    let mut bytes = two();
    bytes[0] = 1;
    assert_eq!(check(&bytes).unwrap(), [BlobWarning::Count { count: 1, found: 2 }]);
    bytes[0] = 3;
    assert!(matches!(check(&bytes), Err(BlobError::Count { count: 3, last: 192 })));
    let mut bytes = two();
    // The second chunk's data on top of the first's.
    set(&mut bytes, 192 + 16, &128u64.to_le_bytes());
    assert!(matches!(check(&bytes), Err(BlobError::Overlap { first: 64, second: 192 })));
}

#[test]
fn chunks_that_are_not_aligned_are_read() {
    // As ANEForge writes them: one right behind the other.
    let (mut bytes, _) =
        write(&[(DType::Int8, Data::Int(vec![1; 3])), (DType::Int8, Data::Int(vec![2; 64]))]);
    bytes.drain(131..192);
    set(&mut bytes, 131 + 16, &195u64.to_le_bytes());
    let file = BlobFile::parse(&bytes).unwrap();
    let chunk = file.chunk(131, &TensorType::new(DType::Int8, [64])).unwrap();
    assert_eq!(chunk.to_f32(), vec![2.0; 64]);
    assert_eq!(file.check().unwrap(), [BlobWarning::Misaligned { offset: 131 }]);
    assert_eq!(file.chunks().count(), 2);
}

#[test]
fn what_cannot_be_stored_is_refused() {
    let mut writer = BlobWriter::new(Cursor::new(Vec::new())).unwrap();
    let error = writer.chunk_data(DType::Bool, &Data::Bool(vec![true])).unwrap_err();
    assert!(matches!(error, BlobError::NotStorable { dtype: DType::Bool }));
    let error = writer.chunk_data(DType::Int4, &Data::Int(vec![0, 8])).unwrap_err();
    assert!(matches!(error, BlobError::Range { index: 1, value: 8, .. }));
    let error = writer.chunk_data(DType::Int8, &Data::Uint(vec![0])).unwrap_err();
    assert!(matches!(error, BlobError::Data { .. }));
    let error = writer.chunk(DType::Fp16, usize::MAX, &[0; 4]).unwrap_err();
    assert!(matches!(error, BlobError::Data { .. }));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        mut bytes in prop::collection::vec(any::<u8>(), 0..400),
        header in any::<bool>(),
        offset in prop_oneof![any::<u64>(), (0u64..6).prop_map(|i| i * 64)],
        shape in prop::collection::vec(any::<usize>(), 0..3),
    ) {
        if header && bytes.len() >= 96 {
            set(&mut bytes, 4, &2u32.to_le_bytes());
            set(&mut bytes, 64, &0xDEAD_BEEFu32.to_le_bytes());
            set(&mut bytes, 69, &[0; 3]);
        }
        if let Ok(file) = BlobFile::parse(&bytes) {
            let _ = file.check();
            for dtype in DType::all() {
                let _ = file.chunk(offset, &TensorType::new(dtype, shape.clone()));
            }
            for chunk in file.chunks() {
                prop_assert_eq!(chunk.to_f32().len(), chunk.elements);
                prop_assert_eq!(chunk.to_data().len(), chunk.elements);
            }
        }
    }

    #[test]
    fn any_metadata_is_read_or_refused(
        code in 0u32..20,
        size in prop_oneof![0u64..200, any::<u64>()],
        data in prop_oneof![0u64..400, any::<u64>()],
        unused in prop_oneof![0u64..9, any::<u64>()],
    ) {
        let mut bytes = vec![0xa5; 320];
        set(&mut bytes, 0, &1u32.to_le_bytes());
        set(&mut bytes, 4, &2u32.to_le_bytes());
        set(&mut bytes, 64, &0xDEAD_BEEFu32.to_le_bytes());
        set(&mut bytes, 68, &code.to_le_bytes());
        set(&mut bytes, 72, &size.to_le_bytes());
        set(&mut bytes, 80, &data.to_le_bytes());
        set(&mut bytes, 88, &unused.to_le_bytes());
        let file = BlobFile::parse(&bytes).unwrap();
        let _ = file.check();
        if let Ok(chunk) = file.raw(64) {
            prop_assert_eq!(chunk.bytes.len() as u64, size);
            prop_assert_eq!(chunk.to_data().len(), chunk.elements);
            prop_assert_eq!(chunk.to_f32().len(), chunk.elements);
        }
    }

    #[test]
    fn packed_integers_come_back(
        dtype in prop::sample::select(vec![
            DType::Uint1, DType::Uint2, DType::Uint3, DType::Uint4, DType::Uint6, DType::Uint8, DType::Int4,
        ]),
        values in prop::collection::vec(any::<u8>(), 0..70),
    ) {
        let mask = (1u64 << dtype.bits()) - 1;
        let data = match dtype {
            DType::Int4 => Data::Int(values.iter().map(|&v| i64::from(v & 15) - 8).collect()),
            _ => Data::Uint(values.iter().map(|&v| u64::from(v) & mask).collect()),
        };
        let (bytes, offsets) = write(&[(dtype, data.clone())]);
        let file = BlobFile::parse(&bytes).unwrap();
        let chunk = file.chunk(offsets[0], &TensorType::new(dtype, [data.len()])).unwrap();
        prop_assert_eq!(chunk.to_data(), data);
    }
}
