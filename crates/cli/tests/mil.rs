//! The `ferrane mil` commands as a user runs them: exit codes and what they print.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// What a command did.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn mil(args: &[&str]) -> Ran {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_ferrane"))
        .arg("mil")
        .args(args)
        .output()
        .expect("the command starts");
    Ran {
        code: output.status.code().expect("it exits"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

#[track_caller]
fn ok(args: &[&str]) -> String {
    let ran = mil(args);
    assert_eq!(ran.code, 0, "{args:?}\n{}{}", ran.out, ran.err);
    ran.out
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

fn write(folder: &Path, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).unwrap();
    fs::write(&path, contents).unwrap();
    path
}

const DOUBLE: &str = r#"program(1.3)
{
    func main<ios18>(tensor<fp16, [1, 64, 1, 64]> x) {
        fp16 two = const()[name = string("two"), val = fp16(2)];
        tensor<fp16, [1, 64, 1, 64]> y = mul(x = x, y = two)[name = string("y")];
    } -> (y);
}
"#;

/// An array file of fp32 elements.
fn npy(shape: &str, values: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    npy_of("<f4", shape, &bytes)
}

/// An array file.
fn npy_of(descr: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.push_str(&" ".repeat(length - header.len() - 1));
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(elements);
    file
}

/// The header's shape and type, and the fp16 elements of an array file.
fn read_fp16(path: &Path) -> (String, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8(bytes[10..10 + length].to_vec()).unwrap();
    let elements = bytes[10 + length..].chunks(2);
    (header, elements.map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect())
}

#[test]
fn check_accepts_a_good_program() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "double.mil", DOUBLE);
    assert!(ok(&["check", text(&file)]).contains("2 ops in 1 function"));
    assert!(ok(&["check", text(&file), "--chip", "m4"]).contains("legal on m4"));
}

#[test]
fn check_shows_every_error_in_the_text() {
    let dir = tempfile::tempdir().unwrap();
    let bad = DOUBLE.replace("mul(x = x", "mull(x = x").replace("fp16(2)", "int8(300)");
    let file = write(dir.path(), "bad.mil", &bad);
    let ran = mil(&["check", text(&file)]);
    assert_eq!(ran.code, 1);
    for part in [
        "error[MIL0100]",
        "there is no op `mull`",
        "did you mean `mul`",
        "error[MIL0106]",
        "bad.mil:5:",
        "^^^^",
    ] {
        assert!(ran.err.contains(part), "no {part:?} in\n{}", ran.err);
    }
}

#[test]
fn check_verifies_types_and_points_at_them() {
    let dir = tempfile::tempdir().unwrap();
    let bad = DOUBLE.replace("[1, 64, 1, 64]> y", "[1, 64, 1, 63]> y");
    let file = write(dir.path(), "bad.mil", &bad);
    let ran = mil(&["check", text(&file)]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("error[MIL0204]"), "{}", ran.err);
    assert!(ran.err.contains("declare it `tensor<fp16, [1, 64, 1, 64]>`"), "{}", ran.err);
}

#[test]
fn check_prints_json_for_editors() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "bad.mil", DOUBLE.replace("mul(x = x", "mul(x = q"));
    let ran = mil(&["check", "--json", text(&file)]);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["errors"], 1);
    let d = &report["diagnostics"][0];
    assert_eq!((&d["code"], &d["severity"]), (&"MIL0101".into(), &"error".into()));
    assert_eq!(d["labels"][0]["start"]["line"], 5);
}

#[test]
fn rules_are_turned_off_or_reported_alike_when_checking_and_running() {
    let dir = tempfile::tempdir().unwrap();
    let gelu = DOUBLE.replace("mul(x = x, y = two)", "gelu(x = x)");
    let file = write(dir.path(), "gelu.mil", &gelu);
    let array = dir.path().join("x.npy");
    fs::write(&array, npy("(1, 64, 1, 64)", &[1.0; 64 * 64])).unwrap();
    let input = format!("x={}", text(&array));
    let out = dir.path().join("out");
    let run = |more: &[&str]| {
        let line = ["run", text(&file), "--engine", "sim", "--input", &input, "--out", text(&out)];
        mil(&[&line, more].concat())
    };
    let check = |more: &[&str]| mil(&[&["check", text(&file), "--chip", "m4"], more].concat());

    for ran in [check(&[]), run(&[])] {
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("gelu-mode-missing"), "{}", ran.err);
    }
    assert!(run(&[]).err.contains("ANECCompile() FAILED"));
    for ran in [check(&["--lenient"]), run(&["--lenient"])] {
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.err.contains("warning") && ran.err.contains("gelu-mode-missing"), "{}", ran.err);
    }
    for rule in ["gelu-mode-missing-ok", "gelu-mode-missing", "gelu-without-mode"] {
        for ran in [check(&["--assume", rule]), run(&["--assume", rule])] {
            assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{rule}");
        }
    }
    for ran in [check(&["--assume", "gelu-mood-missing-ok"]), run(&["--assume", "gelu-mood-missing-ok"])] {
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains("no rule `gelu-mood-missing`; near it: gelu-mode-missing"), "{}", ran.err);
    }
    assert_eq!(mil(&["check", text(&file), "--lenient"]).code, 2, "there is no chip");
    let cpu = ["run", text(&file), "--lenient", "--input", &input, "--out", text(&out)];
    assert_eq!(mil(&cpu).code, 2, "the CPU has no rules");
}

#[test]
fn check_knows_the_rules_of_chips() {
    let dir = tempfile::tempdir().unwrap();
    let wide = DOUBLE.replace("64]>", "70000]>");
    let file = write(dir.path(), "wide.mil", &wide);
    ok(&["check", text(&file)]);
    let ran = mil(&["check", text(&file), "--chip", "m4"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("over 65536") && ran.err.contains("(extent)"), "{}", ran.err);

    let narrow = write(dir.path(), "narrow.mil", DOUBLE.replace("1, 64]>", "1, 32]>"));
    let ran = mil(&["check", text(&narrow), "--chip", "m4"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("sources say 16 to 64") && ran.err.contains("(input-width)"), "{}", ran.err);
    assert!(ok(&["check", text(&narrow), "--chip", "m3-pro"]).contains("legal on m3-pro"));
    assert_eq!(mil(&["check", text(&file), "--chip", "m99"]).code, 2);
}

#[test]
fn check_goes_through_folders_and_tells_missing_ones() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a/model.mil", DOUBLE);
    write(dir.path(), "b/model.mil", DOUBLE);
    assert_eq!(ok(&["check", text(dir.path())]).lines().count(), 2);
    assert_eq!(mil(&["check", text(&dir.path().join("c"))]).code, 2);
    assert_eq!(mil(&["check"]).code, 2);
}

#[test]
fn check_looks_at_weight_files() {
    let dir = tempfile::tempdir().unwrap();
    let weight = r#"program(1.3) { func main<ios18>(tensor<fp16, [1, 4, 1, 64]> x) {
        tensor<fp16, [4, 4, 1, 1]> w = const()[val = tensor<fp16, [4, 4, 1, 1]>(BLOBFILE(path = string("PATH"), offset = uint64(64)))];
        tensor<fp16, [1, 4, 1, 64]> y = conv(x = x, weight = w); } -> (y); }"#;
    // A header of version 1; a chunk where the header should be.
    write(dir.path(), "old.bin", [[1u8, 0, 0, 0, 1, 0, 0, 0].as_slice(), &[0; 200]].concat());
    write(dir.path(), "headless.bin", [[0xef, 0xbe, 0xad, 0xde].as_slice(), &[0; 200]].concat());
    for (path, code, why) in [
        ("@model_path/weights/w.bin", "MIL0500", "cannot read"),
        ("@model_path/../secret.bin", "MIL0509", "leaves the folder"),
        ("/etc/passwd", "MIL0509", "absolute"),
        ("@model_path/old.bin", "MIL0501", "version 1"),
        ("@model_path/headless.bin", "MIL0501", "0xDEADBEEF"),
    ] {
        let file = write(dir.path(), "model.mil", weight.replace("PATH", path));
        let ran = mil(&["check", text(&file)]);
        assert_eq!(ran.code, 1, "{path}");
        assert!(ran.err.contains(code) && ran.err.contains(why), "{path}: {}", ran.err);
        let ran = mil(&["run", text(&file), "--input", "x=x.npy", "--out", text(&dir.path().join("out"))]);
        assert_ne!(ran.code, 0, "{path}");
    }
}

#[test]
fn fmt_makes_the_canonical_form_and_keeps_comments() {
    let dir = tempfile::tempdir().unwrap();
    let ragged = "// head\nprogram(1.3) { func main<ios18>(fp16 x) {\n// before\n fp16 y=relu(x=x)[name=string(\"y\")]; /* behind */ } -> (y); }\n// end\n";
    let file = write(dir.path(), "m.mil", ragged);
    let ran = mil(&["fmt", "--check", text(&file)]);
    assert_eq!((ran.code, fs::read_to_string(&file).unwrap().as_str()), (1, ragged));
    ok(&["fmt", text(&file)]);
    let formatted = fs::read_to_string(&file).unwrap();
    assert!(formatted.starts_with("// head\nprogram(1.3)\n"), "{formatted}");
    assert!(formatted.contains("        // before\n        fp16 y = relu(x = x)"), "{formatted}");
    assert!(formatted.contains("; /* behind */\n"), "{formatted}");
    assert!(formatted.ends_with("// end\n"), "{formatted}");
    assert_eq!(mil(&["fmt", "--check", text(&file)]).code, 0, "formatting is idempotent");
}

#[test]
fn fmt_translates_between_dialects() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "m.mil", DOUBLE);
    let verbose = ok(&["fmt", "--stdout", "--dialect", "verbose", text(&file)]);
    assert!(
        verbose.contains("program(1.0)") && verbose.contains("tensor<fp16, []>(0x1p+1)")
            || verbose.contains("tensor<fp16, []>(2"),
        "{verbose}"
    );
    let file = write(dir.path(), "v.mil", verbose);
    ok(&["check", text(&file)]);
    let modern = ok(&["fmt", "--stdout", "--dialect", "modern", text(&file)]);
    assert!(modern.contains("program(1.3)") && !modern.contains("tensor<fp16, []>"), "{modern}");
}

#[test]
fn explain_tells_of_codes_and_rules() {
    assert!(ok(&["explain", "MIL0101"]).starts_with("MIL0101: undefined name"));
    assert!(ok(&["explain", "conv-bias"]).contains("mechramc/Orion"));
    assert!(ok(&["explain"]).lines().count() > 40);
    assert_eq!(mil(&["explain", "MIL9999"]).code, 2);
}

#[test]
fn ops_lists_the_catalogue() {
    assert!(ok(&["ops"]).contains("matmul(x: tensor, y: tensor"));
    let rows: Value = serde_json::from_str(&ok(&["ops", "--json", "softmax"])).unwrap();
    assert_eq!(rows[0]["op"], "softmax");
    assert_eq!(rows[0]["arguments"][1]["default"], -1);
    let ran = mil(&["ops", "sofmax"]);
    assert!(ran.code == 2 && ran.err.contains("did you mean `softmax`"), "{}", ran.err);
}

#[test]
fn diff_compares_programs_not_texts() {
    let dir = tempfile::tempdir().unwrap();
    let a = write(dir.path(), "a.mil", DOUBLE);
    let b = write(dir.path(), "b.mil", DOUBLE.replace("    ", " "));
    let c = write(dir.path(), "c.mil", DOUBLE.replace("fp16(2)", "fp16(3)"));
    assert_eq!(ok(&["diff", text(&a), text(&b)]), "");
    let ran = mil(&["diff", text(&a), text(&c)]);
    assert!(ran.code == 1 && ran.out.contains("differ"), "{}", ran.out);
    assert_eq!(mil(&["diff", text(&a), "none.mil"]).code, 2);
}

#[test]
fn run_computes_on_both_engines() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "double.mil", DOUBLE);
    let values: Vec<f32> = (0..4096).map(|i| i as f32 / 16.0).collect();
    let x = write(dir.path(), "x.npy", npy("(1, 64, 1, 64)", &values));
    let input = format!("x={}", text(&x));
    for engine in [&["--engine", "cpu"][..], &["--engine", "cpu", "--numerics", "fast"], &["--engine", "sim"]]
    {
        let out = dir.path().join(engine.join("_"));
        let args = [&["run", text(&file), "--input", &input, "--out", text(&out)], engine].concat();
        ok(&args);
        let (header, y) = read_fp16(&out.join("y.npy"));
        assert!(header.contains("'<f2'") && header.contains("(1, 64, 1, 64"), "{header}");
        let expected: Vec<f32> = values.iter().map(|v| half::f16::from_f32(v * 2.0).to_f32()).collect();
        assert_eq!(y, expected, "{engine:?}");
    }
}

#[test]
fn run_takes_ports_of_any_shape() {
    let dir = tempfile::tempdir().unwrap();
    let program = "program(1.3) { func main<ios18>(tensor<fp16, [3]> b, tensor<fp16, [2, 3]> x) {
        tensor<fp16, [2, 3]> y = add(x = x, y = b); } -> (y); }";
    write(dir.path(), "m/model.mil", program);
    let x = write(dir.path(), "x.npy", npy("(2, 3)", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    let b = write(dir.path(), "b.npy", npy("(3,)", &[10.0, 20.0, 30.0]));
    let (x, b) = (format!("x={}", text(&x)), format!("b={}", text(&b)));
    let out = dir.path().join("out");
    let model = dir.path().join("m");
    ok(&["run", text(&model), "--input", &x, "--input", &b, "--out", text(&out)]);
    assert_eq!(read_fp16(&out.join("y.npy")).1, [11.0, 22.0, 33.0, 14.0, 25.0, 36.0]);

    // The simulated engine refuses what the real one refuses.
    let ran =
        mil(&["run", text(&model), "--input", &x, "--input", &b, "--out", text(&out), "--engine", "sim"]);
    assert!(ran.code == 1 && ran.err.contains("wide"), "{}", ran.err);
}

#[test]
fn run_tells_what_is_wrong_with_inputs() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "double.mil", DOUBLE);
    let small = write(dir.path(), "small.npy", npy("(2,)", &[1.0, 2.0]));
    let junk = write(dir.path(), "junk.npy", "junk");
    let out = dir.path().join("out");
    let run = |inputs: &[String]| {
        let mut args = vec!["run", text(&file), "--out", text(&out)];
        inputs.iter().for_each(|i| args.extend(["--input", i]));
        mil(&args)
    };
    let missing = run(&[]);
    assert!(missing.code == 2 && missing.err.contains("--input x=FILE.npy"), "{}", missing.err);
    let unknown = run(&[format!("z={}", text(&small))]);
    assert!(unknown.code == 2 && unknown.err.contains("no input `z`"), "{}", unknown.err);
    let shape = run(&[format!("x={}", text(&small))]);
    assert!(shape.code == 1 && shape.err.contains("[2]") && shape.err.contains("64"), "{}", shape.err);
    assert_eq!(run(&[format!("x={}", text(&junk))]).code, 1);
    assert!(!out.exists(), "nothing is written");
}

#[test]
fn a_program_of_terabytes_is_refused_before_memory_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let huge = "program(1.3) { func main<ios18>(tensor<fp16, [1]> x) {
        tensor<fp16, [2147483647]> y = tile(x = x, reps = tensor<int32, [1]>([2147483647]));
        tensor<fp16, [2147483647]> z = exp(x = y); } -> (z); }";
    let file = write(dir.path(), "huge.mil", huge);
    let x = format!("x={}", text(&write(dir.path(), "x.npy", npy("(1,)", &[1.0]))));
    let ran = mil(&["run", text(&file), "--input", &x, "--out", text(&dir.path().join("out"))]);
    assert!(ran.code == 1 && ran.err.contains("4294967295 elements"), "{}", ran.err);
}

#[test]
fn dumped_kernels_are_legal() {
    for mode in ["baked", "streamed"] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("kernels");
        ok(&["dump", "--model", "nano", "--plan", "six", "--seq", "64", "--mode", mode, "--out", text(&out)]);
        let said = ok(&["check", "--chip", "m4", text(&out)]);
        assert_eq!(said.matches("legal on m4").count(), 6, "{said}");
        assert!(ok(&["fmt", "--check", text(&out)]).is_empty());
    }
}

#[test]
fn a_dumped_kernel_runs() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("kernels");
    ok(&["dump", "--model", "nano", "--plan", "inference", "--seq", "64", "--out", text(&out)]);
    let x: Vec<f32> = (0..128 * 64).map(|i| ((i % 37) as f32 - 18.0) / 18.0).collect();
    let x = write(dir.path(), "x.npy", npy("(1, 128, 1, 64)", &x));
    let input = format!("x={}", text(&x));
    let kernel = out.join("attn_fwd");
    let mut results = Vec::new();
    for engine in ["cpu", "sim"] {
        let to = dir.path().join(engine);
        ok(&["run", text(&kernel), "--input", &input, "--out", text(&to), "--engine", engine]);
        results.push(read_fp16(&to.join("mid.npy")).1);
    }
    let largest = results[0].iter().fold(0.0f32, |m, v| m.max(v.abs()));
    assert!(largest > 0.5 && largest.is_finite());
    for (cpu, sim) in results[0].iter().zip(&results[1]) {
        assert!((cpu - sim).abs() <= 1e-2 * largest, "{cpu} on the CPU, {sim} on the simulated engine");
    }
}

#[test]
fn every_layer_and_the_pieces_of_the_host_are_dumped() {
    let dir = tempfile::tempdir().unwrap();
    let folder = |name: &str| dir.path().join(name);
    let dump = |out: &str, more: &[&str]| {
        let to = folder(out);
        ok(&[&["dump", "--model", "nano", "--seq", "64", "--out", text(&to)], more].concat())
    };
    let said = dump("all", &["--layer", "all", "--plan", "inference"]);
    assert_eq!(said.lines().count(), 2 * fs::read_dir(folder("all")).unwrap().count(), "{said}");
    let weight = |layer: &str| fs::read(folder("all").join(layer).join("ffn_fwd/weights/w1.bin")).unwrap();
    assert_ne!(weight("layer-0"), weight("layer-1"));
    let (without, with) = (dump("engine", &[]), dump("host", &["--host"]));
    assert!(with.lines().count() > without.lines().count(), "{with}");
    assert!(fs::read_to_string(folder("host").join("ffn_norm_bwd/model.mil")).is_ok(), "{with}");
    ok(&["check", text(&folder("host"))]);
}

#[test]
fn runs_are_timed_and_integers_are_exact_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let program = r#"program(1.3) { func main<ios18>(tensor<int32, [2]> x) {
        int32 k = const()[val = int32(4096)];
        tensor<int32, [2]> y = mul(x = x, y = k);
        tensor<bool, [2]> z = greater(x = y, y = k); } -> (y, z); }"#;
    let file = write(dir.path(), "ints.mil", program);
    let run = |numbers: [i32; 2]| {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        let x = format!("x={}", text(&write(dir.path(), "x.npy", npy_of("<i4", "(2,)", &bytes))));
        mil(&["run", text(&file), "--input", &x, "--out", text(&dir.path().join("out")), "--repeat", "3"])
    };
    let ran = run([4095, -3]);
    assert!(ran.code == 0 && ran.out.contains("fastest of 3 runs"), "{}{}", ran.out, ran.err);
    let file_of = |name: &str| fs::read(dir.path().join("out").join(name)).unwrap();
    let elements = [16_773_120i32, -12_288].map(i32::to_le_bytes).concat();
    assert!(file_of("y.npy").ends_with(&elements) && file_of("z.npy").ends_with(&[1, 0]));
    let ran = run([4096, 1]);
    assert!(ran.code == 1 && ran.err.contains("an integer of 16777216 or more"), "{}", ran.err);
    let ran = run([16_777_217, 1]);
    assert!(ran.code == 1 && ran.err.contains("exact here below 16777216"), "{}", ran.err);
}

#[test]
fn dump_refuses_what_it_cannot_do() {
    let dir = tempfile::tempdir().unwrap();
    let out = text(dir.path());
    assert_eq!(mil(&["dump", "--model", "stories7b", "--out", out]).code, 2);
    assert_eq!(mil(&["dump", "--model", "nano", "--layer", "9", "--out", out]).code, 2);
    assert_eq!(mil(&["dump", "--model", "nano", "--seq", "100000", "--out", out]).code, 2);
}

#[test]
fn packages_are_exported_imported_and_run() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "double.mil", DOUBLE);
    let package = dir.path().join("double.mlpackage");
    ok(&["export", text(&file), "--out", text(&package)]);
    assert_eq!(mil(&["export", text(&file), "--out", text(&package)]).code, 1, "it is there already");
    ok(&["check", text(&package)]);
    let folder = dir.path().join("imported");
    ok(&["import", text(&package), "--out", text(&folder)]);
    ok(&["check", "--chip", "m4", text(&folder)]);
    let x = write(dir.path(), "x.npy", npy("(1, 64, 1, 64)", &[1.5; 4096]));
    let (input, out) = (format!("x={}", text(&x)), dir.path().join("out"));
    ok(&["run", text(&package), "--input", &input, "--out", text(&out)]);
    assert_eq!(read_fp16(&out.join("y.npy")).1, [3.0; 4096]);
}

/// The weights that are baked transposed into the backward kernels are those that the forward kernels have: given as inputs
/// of the streamed kernel, the results are the same.
#[test]
fn baked_and_streamed_kernels_agree() {
    let dir = tempfile::tempdir().unwrap();
    let folder = |mode: &str| {
        let out = dir.path().join(mode);
        ok(&["dump", "--model", "nano", "--layer", "2", "--seq", "64", "--mode", mode, "--out", text(&out)]);
        out
    };
    let (baked, streamed) = (folder("baked"), folder("streamed"));
    let mut files = Vec::new();
    for (name, channels, seed) in [("d_y", 128, 7), ("h1", 344, 11), ("h3", 344, 13)] {
        let values: Vec<f32> = (0..channels * 64).map(|i| ((i * seed % 31) as f32 - 15.0) / 16.0).collect();
        files.push((name, npy(&format!("(1, {channels}, 1, 64)"), &values)));
    }
    let activations = files.len();
    for (name, rows, columns) in [("w1", 344, 128), ("w2", 128, 344), ("w3", 344, 128)] {
        let blob = fs::read(baked.join(format!("ffn_fwd/weights/{name}.bin"))).unwrap();
        files.push((name, npy_of("<f2", &format!("(1, {rows}, 1, {columns})"), &blob[128..])));
    }
    let inputs: Vec<String> = files
        .iter()
        .map(|(name, bytes)| format!("{name}={}", text(&write(dir.path(), &format!("{name}.npy"), bytes))))
        .collect();
    let run = |kernels: &Path, inputs: &[String], to: &str| {
        let (kernel, out) = (kernels.join("ffn_bwd"), dir.path().join(to));
        let mut args = vec!["run", text(&kernel), "--out", text(&out)];
        inputs.iter().for_each(|i| args.extend(["--input", i]));
        ok(&args);
        out
    };
    let (a, b) = (run(&baked, &inputs[..activations], "a"), run(&streamed, &inputs, "b"));
    for output in ["d_mid_norm.npy", "d_h1.npy", "d_h3.npy"] {
        let ((_, a), (_, b)) = (read_fp16(&a.join(output)), read_fp16(&b.join(output)));
        let largest = a.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        assert!(largest > 1e-3 && largest.is_finite(), "{output}: {largest}");
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() <= 2e-3 * largest, "{output}: {a} baked, {b} streamed");
        }
    }
}

fn package_fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../package/tests/fixtures")
}

/// The elements of an array file of fp16 or fp32.
fn elements(path: &Path) -> Vec<f64> {
    let bytes = fs::read(path).unwrap();
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let data = &bytes[start..];
    match String::from_utf8_lossy(&bytes[..start]).contains("<f2") {
        true => data.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f64()).collect(),
        false => data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect(),
    }
}

/// Runs a program of one input `x` and one output and gives that.
fn result_of(program: &Path, x: &Path, out: &Path) -> Vec<f64> {
    let input = format!("x={}", text(x));
    ok(&["run", text(program), "--input", &input, "--out", text(out)]);
    let mut files: Vec<_> = fs::read_dir(out).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    elements(&files.remove(0))
}

#[track_caller]
fn close(given: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(given.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    for (a, b) in given.iter().zip(expected) {
        assert!((a - b).abs() <= tolerance * largest, "{what}: {given:?}\n{expected:?}");
    }
}

#[test]
fn compressed_packages_compute_what_coremltools_decompresses_them_to() {
    let folder = package_fixtures();
    let expected: Value = serde_json::from_slice(&fs::read(folder.join("compressed.json")).unwrap()).unwrap();
    let numbers =
        |v: &Value| -> Vec<f64> { v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect() };
    let dir = tempfile::tempdir().unwrap();
    let x: Vec<f32> = numbers(&expected["x"]).iter().map(|&x| x as f32).collect();
    let x = write(dir.path(), "x.npy", npy("(1, 16)", &x));
    let cases: Vec<_> = expected.as_object().unwrap().iter().filter(|(name, _)| *name != "x").collect();
    assert!(cases.len() >= 12, "fixtures are missing");
    for (name, y) in cases {
        let package = folder.join(format!("{name}.mlpackage"));
        close(&result_of(&package, &x, &dir.path().join(name)), &numbers(y), 2e-3, name);
        // The same as a folder of text.
        let imported = dir.path().join(format!("{name}.mil"));
        ok(&["import", text(&package), "--out", text(&imported)]);
        ok(&["check", text(&imported)]);
        close(&result_of(&imported, &x, &dir.path().join(format!("{name}.out"))), &numbers(y), 2e-3, name);
    }
}

#[test]
fn a_mask_that_does_not_suit_its_elements_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let program = r#"program(1.3)
{
    func main<ios18>(tensor<fp16, [1, 4]> x) {
        tensor<fp16, [1, 4]> w = constexpr_sparse_to_dense(mask = tensor<uint1, [1, 4]>([1, 0, 1, 1]), nonzero_data = tensor<fp16, [2]>([1, 2]))[name = string("w")];
        tensor<fp16, [1, 4]> y = mul(x = x, y = w)[name = string("y")];
    } -> (y);
}
"#;
    let program = write(dir.path(), "m.mil", program);
    let x = write(dir.path(), "x.npy", npy("(1, 4)", &[1.0; 4]));
    let input = format!("x={}", text(&x));
    let ran = mil(&["run", text(&program), "--input", &input, "--out", text(&dir.path().join("out"))]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("`w`") && ran.err.contains("the mask has 3 places, but there are 2 elements"),
        "{}",
        ran.err
    );
}

#[test]
fn a_weight_file_missing_from_an_argument_is_seen_by_check() {
    let dir = tempfile::tempdir().unwrap();
    let imported = dir.path().join("m");
    ok(&[
        "import",
        text(&package_fixtures().join("compressed_int4_ios18.mlpackage")),
        "--out",
        text(&imported),
    ]);
    fs::remove_file(imported.join("weights/weight.bin")).unwrap();
    let ran = mil(&["check", text(&imported)]);
    assert_eq!(ran.code, 1);
    // Three operands of each of two weights (the second's are small enough to be in the text or not), and a bias.
    assert!(
        ran.err.contains("MIL0500") && ran.err.contains("the weight `op_0_weight_to_fp16_quantized`"),
        "{}",
        ran.err
    );
}

#[test]
fn compress_makes_weights_smaller_and_keeps_what_is_computed() {
    let dir = tempfile::tempdir().unwrap();
    let package = package_fixtures().join("resnet_ios18_fp16.mlpackage");
    let image: Vec<f32> = (0..3 * 32 * 32).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    let x = write(dir.path(), "x.npy", npy("(1, 3, 32, 32)", &image));
    let expected = result_of(&package, &x, &dir.path().join("plain"));
    for (form, tolerance) in
        [("int8", 0.02), ("palette8", 0.02), ("palette6", 0.1), ("int4", 0.3), ("sparse", 0.0)]
    {
        let out = dir.path().join(form);
        let said = ok(&["compress", text(&package), "--weights", form, "--least", "64", "--out", text(&out)]);
        let numbers: Vec<usize> = said.split_whitespace().filter_map(|w| w.parse().ok()).collect();
        match form {
            // No weight of this network is zero, and few are larger than a table of 256 values.
            "sparse" => assert_eq!(numbers[0], numbers[1], "{said}"),
            "palette8" => assert!(numbers[1] < numbers[0], "{said}"),
            _ => assert!(numbers[1] * 10 < numbers[0] * 9, "{form}: {said}"),
        }
        ok(&["check", text(&out)]);
        close(&result_of(&out, &x, &dir.path().join(format!("{form}.out"))), &expected, tolerance, form);
        // coremltools' format takes it too.
        let exported = dir.path().join(format!("{form}.mlpackage"));
        ok(&["export", text(&out), "--out", text(&exported)]);
        close(
            &result_of(&exported, &x, &dir.path().join(format!("{form}.again"))),
            &expected,
            tolerance,
            form,
        );
    }
    let ran = mil(&[
        "compress",
        text(&package_fixtures().join("resnet_ios16_fp32.mlpackage")),
        "--weights",
        "int4",
        "--out",
        "x",
        "--least",
        "1",
    ]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("it came with ios18"), "{}", ran.err);
}
