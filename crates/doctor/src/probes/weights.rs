//! Weight files.

use ferrane_engine::WeightFiles;
use ferrane_mil::blob::BlobWriter;
use ferrane_mil::{DType, Opset};

use super::values::up_to;
use crate::finding::{Found, Trouble};
use crate::mil::{Mil, SAFE, blob, constant, conv, diagonal, op, path, port, weight, weight_bytes};
use crate::rig::{Answer, Rig};

/// `y = W · x` by the constant at `offset` of a weight file.
fn by_file(offset: u64) -> Mil {
    let w = blob("w", "fp16", &[256, 256, 1, 1], "w").replace("uint64(64)", &format!("uint64({offset})"));
    Mil::new(SAFE, w + &conv("y", SAFE, "w", "x"))
}

pub(super) fn header(rig: &Rig) -> Result<Found, Trouble> {
    let mut files = WeightFiles::none();
    weight(&mut files, "w", &diagonal(256, 2.0))?;
    let x = vec![3.0; SAFE[0] * SAFE[1]];
    let told = |what: &str, mil: &Mil, files: &WeightFiles| -> Result<String, Trouble> {
        Ok(match rig.ask(mil, files, &[&x])? {
            Answer::Refused(error) => format!("{what}: refused ({error})"),
            Answer::Values(y) if y[0].iter().all(|y| *y == 6.0) => format!("{what}: taken, results right"),
            Answer::Values(y) => format!("{what}: taken, results WRONG (2 · 3 is {})", y[0][0]),
        })
    };
    let good = told("a true header, the offset that of the metadata", &by_file(64), &files)?;
    let whole = files.file(&path("w")).map_err(|error| Trouble::Program(error.to_string()))?.to_vec();
    let lying = |at: usize, field: u64| {
        let (mut bytes, mut files) = (whole.clone(), WeightFiles::none());
        bytes[at..at + 8].copy_from_slice(&field.to_le_bytes());
        files.insert(path("w"), bytes);
        files
    };
    Ok(Found::default()
        .note(good)
        .note(told(
            "the size of 512 channels in the header, as published benchmarks wrote",
            &by_file(64),
            &lying(72, 512 * 512 * 2),
        )?)
        .note(told("a place of the data that is 0", &by_file(64), &lying(80, 0))?)
        .note(told("the offset that of the data", &by_file(128), &files)?))
}

pub(super) fn combined(rig: &Rig) -> Result<Found, Trouble> {
    let mut writer = BlobWriter::new(std::io::Cursor::new(Vec::new()))?;
    let mut offsets = Vec::new();
    for gain in [2.0, 4.0] {
        offsets.push(writer.chunk_f32(DType::Fp16, &diagonal(256, gain))?);
    }
    let mut files = WeightFiles::none();
    files.insert(path("w"), writer.finish()?.into_inner());
    let at = |name: &str, offset: u64| {
        blob(name, "fp16", &[256, 256, 1, 1], "w").replace("uint64(64)", &format!("uint64({offset})"))
    };
    let body =
        at("w", offsets[0]) + &at("v", offsets[1]) + &conv("t", SAFE, "w", "x") + &conv("y", SAFE, "v", "t");
    let x = vec![3.0; SAFE[0] * SAFE[1]];
    match rig.ask(&Mil::new(SAFE, body), &files, &[&x])? {
        Answer::Refused(error) => {
            Ok(Found::default().quirk("combined-weight-file", true).note(error.to_string()))
        }
        Answer::Values(y) if y[0][0] == 24.0 => Ok(Found::default().quirk("combined-weight-file", false)),
        Answer::Values(y) => Err(Trouble::Unclear(format!("4 · 2 · 3 is {}", y[0][0]))),
    }
}

pub(super) fn alignment(rig: &Rig) -> Result<Found, Trouble> {
    let mut found = Found::default();
    // 64 bytes a row or not, 128 bytes a surface or not.
    for shape in [[256, 64], [256, 72], [255, 72], [255, 67]] {
        let mil = Mil::new(shape, port("y", shape, "relu(x = x)"));
        let x: Vec<f32> = (0..shape[0] * shape[1]).map(|i| i as f32 % 9.0 + 1.0).collect();
        let bytes = 2 * x.len();
        let what =
            format!("{}x{} ({bytes} bytes, {} over a multiple of 128)", shape[0], shape[1], bytes % 128);
        found = found.note(match rig.ask(&mil, &WeightFiles::none(), &[&x])? {
            Answer::Refused(error) => format!("{what}: refused ({error})"),
            Answer::Values(y) if y[0] == x => format!("{what}: right"),
            Answer::Values(_) => format!("{what}: WRONG, without an error"),
        });
    }
    Ok(found)
}

/// Values of a table that byte indices can tell apart.
const ENTRIES: usize = 256;

/// The weight `2 · x` by a table of vectors of so many elements, and its files.
fn by_table(vector: usize, is_modern: bool) -> Result<(Mil, WeightFiles), Trouble> {
    let [c, _] = SAFE;
    let rows = c / vector;
    // Entry 0 is nothing, and each of those after it has a 2 at another of its elements.
    let mut table = vec![0.0; ENTRIES * vector];
    (0..vector).for_each(|i| table[(i + 1) * vector + i] = 2.0);
    let code = |i: usize| if i % c / vector == i / c { (i % c % vector + 1) as u64 } else { 0 };
    let mut files = WeightFiles::none();
    weight_bytes(&mut files, "i", DType::Uint8, (0..rows * c).map(code).collect())?;
    weight(&mut files, "l", &table)?;
    let square = [c, c, 1, 1];
    let looked_up = match is_modern {
        true => {
            blob("i", "uint8", &[rows, c, 1, 1], "i")
                + &blob("l", "fp16", &[1, 1, 1, 1, ENTRIES, vector], "l")
                + &constant("int32", "axis", "0")
                + &op("w", &square, "constexpr_lut_to_dense(indices = i, lut = l, vector_axis = axis)")
        }
        false => {
            blob("i", "uint8", &[c * c], "i")
                + &blob("l", "fp16", &[ENTRIES], "l")
                + &constant("tensor<uint32, [4]>", "shape", &format!("{square:?}"))
                + &op("w", &square, "constexpr_lut_to_dense(indices = i, lut = l, shape = shape)")
        }
    };
    Ok((Mil::new(SAFE, looked_up + &conv("y", SAFE, "w", "x")), files))
}

pub(super) fn tables(rig: &Rig) -> Result<Found, Trouble> {
    const QUIRK: &str = "lut-size";
    let is_modern = rig.dialect.opset >= Opset::Ios18;
    let x = vec![3.0; SAFE[0] * SAFE[1]];
    let ask = |vector: usize| {
        let (mil, files) = by_table(vector, is_modern)?;
        Ok::<_, Trouble>(match rig.ask(&mil, &files, &[&x])? {
            Answer::Refused(error) => Err(error.to_string()),
            Answer::Values(y) if y[0].iter().all(|y| *y == 6.0) => Ok("taken, results right".to_owned()),
            Answer::Values(y) => Ok(format!("taken, results WRONG (2 · 3 is {})", y[0][0])),
        })
    };
    let plain = match ask(1)? {
        Ok(taken) => taken,
        Err(refusal) => {
            let note = format!("a table of {ENTRIES} values: refused ({refusal})");
            return Ok(Found::default().note(note));
        }
    };
    let found = Found::default().note(format!("a table of {ENTRIES} values: {plain}"));
    if !is_modern {
        return Ok(found.note("its op set has no vectors in tables"));
    }
    Ok(match ask(2)? {
        Ok(taken) => found.quirk(QUIRK, false).note(format!("one of {} values: {taken}", 2 * ENTRIES)),
        Err(refusal) => found.quirk(QUIRK, true).note(refusal),
    })
}

/// The number that a code of FP8 stands for, of those that are not negative: four bits of exponent, three of fraction.
fn number(code: usize) -> f32 {
    let (exponent, eighths) = (code >> 3, (code & 7) as f32);
    match exponent {
        0 => eighths / 8.0 * 2f32.powi(-6),
        _ => (1.0 + eighths / 8.0) * 2f32.powi(exponent as i32 - 7),
    }
}

pub(super) fn fp8(rig: &Rig) -> Result<Found, Trouble> {
    if rig.dialect.opset < Opset::Ios18 {
        return Ok(Found::default().note("its op set has no FP8"));
    }
    let [c, w] = SAFE;
    // On the diagonal each number there is, but not a number.
    let code = |channel: usize| channel % 0x7f;
    let codes = (0..c * c).map(|i| if i % (c + 1) == 0 { code(i / c) as u64 } else { 0 });
    let (mut files, dtype) = (WeightFiles::none(), DType::Fp8E4M3);
    weight_bytes(&mut files, "q", dtype, codes.collect())?;
    let body = blob("q", dtype.name(), &[c, c, 1, 1], "q")
        + &constant("tensor<fp16, [1, 1, 1, 1]>", "unit", "[1.0]")
        + &op("w", &[c, c, 1, 1], "constexpr_blockwise_shift_scale(data = q, scale = unit)")
        + &conv("y", SAFE, "w", "x");
    match rig.ask(&Mil::new(SAFE, body), &files, &[&vec![1.0; c * w]])? {
        Answer::Refused(error) => Ok(Found::default().note(format!("refused ({error})"))),
        Answer::Values(y) => {
            let numbers: Vec<f32> = (0..0x7f).map(number).collect();
            Ok(up_to("fp8-codes", &numbers, |code| y[0][code * w] == numbers[code]))
        }
    }
}
