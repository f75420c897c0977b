//! `ferrane mil cost`, `ferrane doctor`, and profiles of the user's own.

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn ferrane(folder: &TempDir, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrane"));
    command.args(line.split_whitespace()).current_dir(folder.path()).output().unwrap()
}

fn stdout(folder: &TempDir, line: &str) -> String {
    let output = ferrane(folder, line);
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(folder: &TempDir, line: &str) -> Value {
    serde_json::from_str(&stdout(folder, line)).unwrap()
}

fn refused(folder: &TempDir, line: &str) -> (Option<i32>, String) {
    let output = ferrane(folder, line);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

const PROGRAM: &str = r#"program(1.3)
[buildInfo = dict<string, string>({{"coremlc-version", "3505.4.1"}})]
{
    func main<ios18>(tensor<fp16, [1, 512, 1, 64]> x) {
        tensor<fp16, [512, 512, 1, 1]> w = const()[name = string("w"), val = tensor<fp16, [512, 512, 1, 1]>(BLOBFILE(path = string("@model_path/weights/w.bin"), offset = uint64(64)))];
        tensor<fp16, [1, 512, 1, 64]> c = conv(x = x, weight = w)[name = string("c")];
        tensor<fp16, [1, 512, 1, 64]> y = relu(x = c)[name = string("y")];
    } -> (y);
}
"#;

const MINE: &str = r#"
name = "mine"
title = "my Mac mini"
extends = "m4"
[speed]
dispatch_us = { value = 1000.0, source = "my own measurement", confidence = "single" }
"#;

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p.mil"), PROGRAM).unwrap();
    std::fs::write(folder.path().join("mine.toml"), MINE).unwrap();
    std::fs::write(folder.path().join("bad.toml"), MINE.replace("dispatch_us", "dispatch_su")).unwrap();
    folder
}

#[test]
fn a_program_is_costed_on_every_chip_asked_for() {
    let folder = folder();
    let cost = json(&folder, "mil cost p.mil --chip m4,m1 --json");
    assert_eq!(cost["modelled"], "modelled, not measured");
    let [m4, m1] = [&cost["chips"][0], &cost["chips"][1]];
    assert_eq!((m4["chip"].as_str(), m1["chip"].as_str()), (Some("m4"), Some("m1")));
    assert!(m4["ms"].as_f64() < m1["ms"].as_f64());
    assert_eq!(m4["limited_by"], "dispatch");
    assert_eq!(m4["weight_bytes"].as_f64(), Some(512.0 * 512.0 * 2.0));
    let gflop = 2.0 * 512.0 * 512.0 * 64.0 / 1e9;
    assert_eq!(m4["ops"][0]["gflop"].as_f64(), Some(gflop));
    assert_eq!(m4["ops"][0]["limited_by"], "memory");
    for key in ["mj", "tflops", "percent_of_peak", "compile_ms"] {
        assert!(m4[key].as_f64().unwrap() > 0.0, "{key} in {m4}");
    }

    let text = stdout(&folder, "mil cost p.mil --chip m4");
    for needle in ["modelled, not measured", "% of peak", "limited by", "confidence", "elementwise", "relu"] {
        assert!(text.contains(needle), "no `{needle}` in\n{text}");
    }
}

#[test]
fn a_plan_is_costed_with_the_hosts_part_apart() {
    let folder = folder();
    let cost = json(&folder, "mil cost --model stories110m --plan six --chip m4 --json");
    let m4 = &cost["plans"][0];
    assert_eq!((m4["dispatches"].as_u64(), cost["seq"].as_u64()), (Some(72), Some(256)));
    let parts = m4["ane_forward_ms"].as_f64().unwrap() + m4["ane_backward_ms"].as_f64().unwrap();
    assert!((m4["ane_ms"].as_f64().unwrap() - parts).abs() < 1e-9);
    assert!(m4["host"]["weight_gradients_gflop"].as_f64().unwrap() > 40.0);
    assert!(m4["surface_bytes"].as_f64().unwrap() > 3e8);

    let text = stdout(&folder, "mil cost --model stories110m --plan six --mode baked --chip m4");
    for needle in ["72 dispatches", "modelled", "host, modelled", "attn_fwd", "60 in "] {
        assert!(text.contains(needle), "no `{needle}` in\n{text}");
    }
    for plan in ["extras", "five", "fused", "fused-recompute"] {
        stdout(&folder, &format!("mil cost --model nano --plan {plan} --chip m1,m5"));
    }
}

/// What `auto` is for: at most 0.6 times the modelled step of the published plan.
#[test]
fn plans_are_compared_and_auto_is_the_cheapest() {
    let folder = folder();
    let cost = json(&folder, "mil cost --model stories110m --plan all --chip m4 --json");
    let plans = cost["plans"].as_array().unwrap();
    let ms = |name: &str| {
        let plan = plans.iter().find(|p| p["plan"].as_str().unwrap().split(' ').next() == Some(name));
        plan.unwrap()["step_ms"].as_f64().unwrap()
    };
    for named in ["six", "extras", "five", "fused", "fused-recompute"] {
        assert!(ms("auto") <= ms(named), "auto {} and {named} {}", ms("auto"), ms(named));
    }
    assert!(ms("auto") <= 0.6 * ms("six"), "auto {} and six {}", ms("auto"), ms("six"));

    let text = stdout(&folder, "mil cost --model nano --plan all --chip m4,m1");
    for needle in ["to six", "fused-recompute", "auto is", "M1"] {
        assert!(text.contains(needle), "no `{needle}` in\n{text}");
    }
}

#[test]
fn wrong_command_lines_say_what_would_be_right() {
    let folder = folder();
    for (line, needle) in [
        ("mil cost", "--model"),
        ("mil cost p.mil --model nano", "cannot be used with"),
        ("mil cost p.mil --chip m9", "there is no profile `m9`; there are cpu, m1"),
        ("mil cost p.mil --chip cpu", "profile `cpu` has no"),
        ("mil cost absent.mil", "cannot find absent.mil"),
        (
            "mil cost --model nano --plan seven",
            "there are six, extras, five, fused, fused-recompute, auto, all",
        ),
        ("mil cost --model nano --seq 100000", "`seq` 100000"),
        ("mil cost --model nanoo", "nanoo"),
        ("mil cost p.mil --profile bad.toml", "dispatch_su"),
        ("doctor --profile bad.toml", "bad.toml"),
        ("doctor --profile absent.toml", "cannot read absent.toml"),
        ("doctor --chip m4 --profile mine.toml", "cannot be used with"),
        ("mil check p.mil --profile bad.toml", "dispatch_su"),
        ("mil run p.mil --engine sim --out o --profile bad.toml --input x=x.npy", "x.npy"),
        ("train --profile bad.toml --out r", "dispatch_su"),
    ] {
        let (code, error) = refused(&folder, line);
        assert!(error.contains(needle), "{line}: no `{needle}` in\n{error}");
        assert_ne!(code, Some(0), "{line}");
    }
    assert!(!folder.path().join("r").exists());
}

#[test]
fn doctor_shows_a_profile_with_sources_and_confidence() {
    let folder = folder();
    let text = stdout(&folder, "doctor --chip m4");
    for needle in [
        "M4 (h16g)",
        "limits",
        "slots",
        "119",
        "dispatch_us",
        "measured",
        "maderix/ANE",
        "but ",
        "slice-scale",
        "does not hold",
        "doctor --probe",
    ] {
        assert!(text.contains(needle), "no `{needle}` in\n{text}");
    }
    let json = json(&folder, "doctor --chip m4 --json");
    assert_eq!(json["figures"]["limits.slots"]["value"], 119);
    assert_eq!(json["figures"]["power.fp16_w"]["confidence"], "measured once");
    assert_eq!(json["rules"]["slice-scale"]["holds"]["value"], false);
    for profile in [
        "m1", "m1-max", "m2-pro", "m3-pro", "m3-ultra", "m4-pro", "m4-max", "m5", "m5-pro", "m5-max", "m6",
        "cpu",
    ] {
        stdout(&folder, &format!("doctor --chip {profile}"));
    }
}

#[test]
fn doctor_alone_tells_of_this_machine() {
    let folder = folder();
    let text = stdout(&folder, "doctor");
    for needle in [std::env::consts::OS, "sim", "cpu", "ane", "not available", "m3-ultra", "doctor --probe"] {
        assert!(text.contains(needle), "no `{needle}` in\n{text}");
    }
    assert_eq!(json(&folder, "doctor --json")["engines"][2]["available"], false);
}

#[test]
fn a_profile_of_ones_own_is_followed_everywhere() {
    let folder = folder();
    assert!(stdout(&folder, "doctor --profile mine.toml").contains("my own measurement"));
    let cost = json(&folder, "mil cost p.mil --profile mine.toml --json");
    assert!(cost["chips"][0]["ms"].as_f64().unwrap() > 1.0);
    assert!(stdout(&folder, "mil dump --model nano --out d").contains("attn_fwd"));
    assert!(stdout(&folder, "mil check d/attn_fwd --profile mine.toml").contains("legal on mine"));

    let train =
        "train --data t.txt --steps 1 --seq 64 --engine sim --batch-size 1 --out run --profile mine.toml";
    let text: String = (0..3000).map(|i| format!("word{} ", i % 37)).collect();
    std::fs::write(folder.path().join("t.txt"), text).unwrap();
    assert!(stdout(&folder, train).contains("sim (mine, fast)"));
    // The run has its own copy.
    std::fs::remove_file(folder.path().join("mine.toml")).unwrap();
    assert!(stdout(&folder, "train --resume run --steps 2").contains("sim (mine, fast)"));
    let metrics = std::fs::read_to_string(folder.path().join("run/metrics.jsonl")).unwrap();
    let step: Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    // 24 dispatches of a millisecond.
    assert!(step["modelled"]["ane_ms"].as_f64().unwrap() > 24.0, "{step}");
}
