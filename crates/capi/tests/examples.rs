//! The examples in C and Python run, and print what they say.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The library that was built for this test.
fn library() -> PathBuf {
    let name = format!("{}ferrane_capi{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let test = std::env::current_exe().unwrap();
    // Cargo puts it beside the tests, or above them.
    let beside = test.parent().unwrap().join(&name);
    let above = test.parent().unwrap().parent().unwrap().join(&name);
    [&beside, &above].into_iter().find(|path| path.is_file()).cloned().unwrap_or_else(|| {
        panic!("cargo built no {name} beside {}: run `cargo build -p ferrane-capi` first", test.display())
    })
}

/// Runs a program that every machine with Rust, or with Python, has.
fn run(program: &str, command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("this test needs `{program}`, which cannot be run: {error}"))
}

fn says_what_it_should(engine: &str, output: &Output) {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[0], format!("{engine} takes x of 4 x 64, 512 bytes"));
    assert_eq!(lines[1], "y = 2 0 3 4");
    let heeded = if engine == "cpu" { "new" } else { "old" };
    assert_eq!(lines[2], format!("reloaded: the engine computes with the {heeded} weights"));
    assert!(lines[3].contains("did you mean `relu`?"), "{stdout}");
    assert!(lines[4].contains("`kernel` is no handle of kind kernel: it was freed"), "{stdout}");
}

#[test]
fn the_example_in_c() {
    let folder = tempfile::tempdir().unwrap();
    let (program, library) = (folder.path().join("example"), library());
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"]).arg(root().join("include"));
    cc.arg(root().join("examples/capi/example.c")).arg(&library).arg("-o").arg(&program);
    cc.arg(format!("-Wl,-rpath,{}", library.parent().unwrap().display()));
    let compiled = run("cc", &mut cc);
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    for engine in ["sim", "cpu", "sim:faithful"] {
        says_what_it_should(engine, &run("the example", Command::new(&program).arg(engine)));
    }
    let refused = run("the example", Command::new(&program).arg("abacus"));
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && stderr.contains("no engine `abacus`"), "{stderr}");
}

#[test]
fn the_example_in_python() {
    for engine in ["sim", "cpu"] {
        let mut python = Command::new("python3");
        python.arg(root().join("examples/capi/example.py")).arg(library()).arg(engine);
        says_what_it_should(engine, &run("python3", &mut python));
    }
}
