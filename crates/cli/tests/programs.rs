//! Whole programs that other tools made, run as they are: networks converted by coremltools and folders written by ANEForge,
//! held to what torch computes.
//!
//! `tools/mil/make_network_fixtures.py` and `tools/mil/make_aneforge_fixtures.py` make them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ferrane_mil::blob::BlobFile;
use ferrane_mil::interp::{self, Tensor, interpret};
use ferrane_mil::{BlobRef, TensorType, text};
use half::f16;

/// Most that a network may be off, of the largest element expected.
const NETWORK: f64 = 1e-2;

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder)
}

/// Shape and elements of an array file of fp32, fp16 or int32.
fn read(path: &Path) -> Tensor {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let (header, data) = (str::from_utf8(&bytes[10..start]).unwrap(), &bytes[start..]);
    let inside = header.split_once('(').and_then(|(_, rest)| rest.split_once(')')).unwrap().0;
    let shape: Vec<usize> = inside.split(',').filter_map(|d| d.trim().parse().ok()).collect();
    let elements: Vec<f64> = if header.contains("'<f4'") {
        data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect()
    } else if header.contains("'<f2'") {
        data.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).into()).collect()
    } else {
        assert!(header.contains("'<i4'"), "{header}");
        data.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b).into()).collect()
    };
    Tensor::new(shape, elements)
}

/// The largest difference, of the largest element expected.
fn error(given: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(given.shape, expected.shape);
    let largest = expected.data.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    let differences = given.data.iter().zip(&expected.data).map(|(x, y)| (x - y).abs() / largest);
    differences.fold(0.0, |m, d| if d <= m { m } else { d })
}

fn mil(args: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_ferrane")).arg("mil").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What `mil run` writes for `output`.
fn run(path: &Path, inputs: &[(String, PathBuf)], output: &str, numerics: &str) -> Tensor {
    let out = tempfile::tempdir().unwrap();
    let mut args: Vec<String> =
        ["run", path.to_str().unwrap(), "--numerics", numerics, "--out"].map(String::from).into();
    args.push(out.path().display().to_string());
    for (name, file) in inputs {
        args.extend(["--input".into(), format!("{name}={}", file.display())]);
    }
    mil(&args.iter().map(String::as_str).collect::<Vec<_>>());
    read(&out.path().join(format!("{output}.npy")))
}

/// What the reference interpreter computes of a folder's program.
fn meaning(folder: &Path, inputs: &[(String, PathBuf)], output: &str) -> Tensor {
    let source = fs::read_to_string(folder.join("model.mil")).unwrap();
    let program = text::parse(&source).unwrap().program;
    let f = program.main().unwrap();
    let inputs: HashMap<String, Tensor> =
        inputs.iter().map(|(name, file)| (name.clone(), read(file))).collect();
    let weights = |blob: &BlobRef, ty: &TensorType| {
        let bytes = fs::read(folder.join(blob.path.strip_prefix("@model_path/")?)).ok()?;
        let elements = BlobFile::parse(&bytes).ok()?.chunk(blob.offset, ty).ok()?.to_f32();
        Some(elements.into_iter().map(f64::from).collect())
    };
    let values = interpret(f, &inputs, &weights, interp::Options::default()).unwrap();
    values.named(output).unwrap().clone()
}

fn network(name: &str) {
    let folder = fixtures("networks");
    let x = vec![("x".to_owned(), folder.join(format!("{name}.x.npy")))];
    let expected = read(&folder.join(format!("{name}.y.npy")));
    for (precision, numerics, tolerance) in
        [("fp32", "f32", 1e-5), ("fp16", "f32", NETWORK), ("fp16", "fast", NETWORK)]
    {
        let package = folder.join(format!("{name}_{precision}.mlpackage"));
        let off = error(&run(&package, &x, "y", numerics), &expected);
        assert!(off <= tolerance, "{name} in {precision}, {numerics}: {off:e}");
        let imported = tempfile::tempdir().unwrap();
        let path = imported.path().join("program");
        mil(&["import", package.to_str().unwrap(), "--out", path.to_str().unwrap()]);
        let off = error(&meaning(&path, &x, "y"), &expected);
        assert!(off <= tolerance, "{name} in {precision}, interpreted: {off:e}");
    }
}

#[test]
fn a_llama_of_transformers() {
    network("llama");
}

#[test]
fn a_resnet() {
    network("resnet");
}

#[test]
fn a_mobilenet() {
    network("mobilenet");
}

#[test]
fn a_vision_transformer() {
    network("vit");
}

#[test]
fn folders_of_aneforge_run_unmodified() {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(fixtures("aneforge")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 9, "fixtures are missing");
    let arrays = |folder: &Path| -> Vec<(String, PathBuf)> {
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let npy = paths.filter(|p| p.extension().is_some_and(|e| e == "npy"));
        npy.map(|p| (p.file_stem().unwrap().to_str().unwrap().to_owned(), p)).collect()
    };
    for folder in folders {
        let inputs = arrays(&folder);
        for (output, file) in arrays(&folder.join("expected")) {
            let expected = read(&file);
            for numerics in ["f32", "fast"] {
                let off = error(&run(&folder, &inputs, &output, numerics), &expected);
                assert!(off <= NETWORK, "{}, {numerics}: {off:e}", folder.display());
            }
            let off = error(&meaning(&folder, &inputs, &output), &expected);
            assert!(off <= NETWORK, "{}, interpreted: {off:e}", folder.display());
        }
    }
}
