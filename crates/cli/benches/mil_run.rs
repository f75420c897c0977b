//! `ferrane mil run` of the kernels of a stories110m layer against the executor on the same functions, in alternation.
//!
//! Prints for each kernel the fastest run of either and the median of the ratios of a round; `cargo bench -p ferrane`.
#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use ferrane_cpu::{Executable, Numerics, Options, Weights};
use ferrane_mil::{BlobRef, Function, TensorType, text};

const ROUNDS: usize = 7;
const RUNS: usize = 20;

/// Weights of no meaning: the time does not depend on them.
struct Small;

impl Weights for Small {
    fn read(&self, _: &BlobRef, ty: &TensorType) -> Option<Vec<f32>> {
        Some((0..ty.elements()).map(|i| (i % 13) as f32 / 130.0 - 0.05).collect())
    }
}

fn ferrane(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ferrane")).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// An array of 0.25 as NumPy stores it.
fn write_array(path: &Path, shape: &[usize]) {
    let extents: String = shape.iter().map(|d| format!("{d}, ")).collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({extents}), }}");
    let header = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend((0..shape.iter().product()).flat_map(|_| 0.25f32.to_le_bytes()));
    fs::write(path, bytes).unwrap();
}

/// The fastest of a number of runs in a process of its own, in milliseconds.
fn by_command(folder: &Path, f: &Function, out: &Path) -> f64 {
    let folder = folder.to_str().unwrap();
    let mut args: Vec<String> =
        ["mil", "run", folder, "--numerics", "fast", "--repeat"].map(str::to_owned).into();
    args.push(RUNS.to_string());
    args.extend(["--out".into(), out.to_str().unwrap().into()]);
    for &v in &f.inputs {
        let file = out.join(format!("{}.npy", f.name_of(v)));
        args.extend(["--input".into(), format!("{}={}", f.name_of(v), file.display())]);
    }
    let printed = ferrane(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let timing = printed.lines().last().unwrap();
    let run = timing.rsplit("runs ").next().unwrap();
    run.trim_end_matches(" ms").parse().unwrap_or_else(|_| panic!("{timing}"))
}

/// The same by the executor in this process.
fn by_executor(executable: &mut Executable, f: &Function) -> f64 {
    let elements = |v: &_| f.tensor_type(*v).unwrap().elements();
    let inputs: Vec<Vec<f32>> = f.inputs.iter().map(|v| vec![0.25; elements(v)]).collect();
    let mut outputs: Vec<Vec<f32>> = f.outputs.iter().map(|v| vec![0.0; elements(v)]).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut fastest = f64::INFINITY;
    for _ in 0..RUNS {
        let mut outputs: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let start = Instant::now();
        executable.run(&inputs, &mut outputs).unwrap();
        fastest = fastest.min(start.elapsed().as_secs_f64() * 1e3);
    }
    fastest
}

fn main() {
    let temporary = tempfile::tempdir().unwrap();
    let kernels = temporary.path().join("kernels");
    ferrane(&["mil", "dump", "--model", "stories110m", "--out", kernels.to_str().unwrap()]);
    let mut folders: Vec<_> = fs::read_dir(&kernels).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders {
        let parsed = text::parse(&fs::read_to_string(folder.join("model.mil")).unwrap()).unwrap();
        let f = &parsed.program.functions[0];
        let out = temporary.path().join("arrays");
        fs::create_dir_all(&out).unwrap();
        for &v in &f.inputs {
            let shape = &f.tensor_type(v).unwrap().shape;
            write_array(&out.join(format!("{}.npy", f.name_of(v))), shape);
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let options = Options::new(Numerics::Declared, threads);
        let mut executable = Executable::compile(f, &Small, options).unwrap();
        let rounds: Vec<[f64; 2]> =
            (0..ROUNDS).map(|_| [by_command(&folder, f, &out), by_executor(&mut executable, f)]).collect();
        let mut ratios: Vec<f64> = rounds.iter().map(|[command, executor]| command / executor).collect();
        ratios.sort_by(f64::total_cmp);
        let fastest = |i: usize| rounds.iter().map(|round| round[i]).fold(f64::INFINITY, f64::min);
        println!(
            "{:10} mil run {:8.3} ms, executor {:8.3} ms, ratio {:.3} (median of {ROUNDS} rounds)",
            folder.file_name().unwrap().to_string_lossy(),
            fastest(0),
            fastest(1),
            ratios[ROUNDS / 2],
        );
    }
}
