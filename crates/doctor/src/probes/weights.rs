//! Weight files.

use ferrane_engine::WeightFiles;
use ferrane_mil::DType;
use ferrane_mil::blob::BlobWriter;

use crate::finding::{Found, Trouble};
use crate::mil::{Mil, SAFE, blob, conv, diagonal, path, port, weight};
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
