//! `ferrane doctor --probe` and `ferrane selftest`.

use crate::support::Bench;
use serde_json::Value;

#[test]
fn probes_make_a_profile_and_a_report() {
    let bench = Bench::new();
    let probed =
        bench.ok("doctor --probe=port-order,width,concat --chip m3-pro --out mine.toml --report r.md");
    assert!(probed.stdout.contains("limits.min_input_width = 32"), "{}", probed.stdout);
    let report = bench.text("r.md");
    for part in [
        "a simulation, no hardware",
        "not a Mac",
        "profile m3-pro",
        "Nothing contradicts the profile.\n",
        "## concat",
        "contradicts mechramc/Orion",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
    let shown = bench.ok("doctor --profile mine.toml --json").stdout;
    let figure = &serde_json::from_str::<Value>(&shown).unwrap()["figures"]["limits.min_input_width"];
    assert_eq!((figure["value"].as_u64(), figure["confidence"].as_str()), (Some(32), Some("measured")));
    // The size of the M5's published product is not known, and another is measured.
    bench.ok("doctor --probe=peak --chip m5 --report m5.md");
    assert!(bench.text("m5.md").contains("These contradict the profile: `speed.matmul_tflops`\n"));
    // Before anything is asked.
    let refused = bench.run("doctor --probe=width --out .");
    assert!(refused.code == Some(1) && !refused.stdout.contains("width"), "{}", refused.stdout);
    // A profile of one's own is probed and extended, too.
    bench.ok("doctor --probe=width --profile mine.toml --out again.toml");
    bench.ok("doctor --profile again.toml");
}

#[test]
fn a_probe_that_hangs_or_crashes_is_told_of_and_the_others_go_on() {
    let bench = Bench::new();
    let said = bench.ok("doctor --probe=hang,crash,width --timeout 1 --json").stdout;
    let said: Value = serde_json::from_str(&said).unwrap();
    let verdict = |i: usize| &said["probes"][i]["verdict"];
    assert_eq!(said["probes"][0]["probe"], "dialect");
    assert_eq!(verdict(1)["timed-out"]["seconds"], 1, "{said}");
    assert!(verdict(2)["died"].as_str().unwrap().contains("signal"), "{said}");
    assert_eq!(verdict(3)["found"]["findings"][0]["value"]["count"], 64, "{said}");
}

#[test]
fn wrong_command_lines_say_what_to_do() {
    let bench = Bench::new();
    let told = |line: &str| {
        let refused = bench.run(line);
        assert_eq!(refused.code, Some(2), "{line}\n{}", refused.stderr);
        refused.stderr
    };
    assert!(told("doctor --probe=wdith").contains("no probe `wdith`; there are dialect"));
    assert!(told("doctor --out mine.toml").contains("--probe"));
    if cfg!(not(target_os = "macos")) {
        assert!(told("doctor --probe --engine ane").contains("a Neural Engine is part of a Mac"));
    }
    assert!(told("doctor --probe --timeout 0").contains("--timeout"));
}

#[test]
fn a_self_test_passes_on_what_is_right_and_fails_on_what_is_not() {
    let bench = Bench::new();
    let passed = bench.ok("selftest --plan fused-recompute --chip m5 --numerics faithful");
    assert!(passed.stdout.contains("kernels pass") && !passed.stdout.contains("FAIL"), "{}", passed.stdout);
    // The simulated chips go on with the weights they were compiled with.
    let failed = bench.run("selftest --plan fused-recompute --mode reload --json");
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    let said: Value = serde_json::from_str(&failed.stdout).unwrap();
    let kernel = &said["plans"][0]["kernels"][0];
    assert_eq!(
        (said["plans"][0]["mode"].as_str(), kernel["passes"].as_bool()),
        (Some("reload"), Some(false))
    );
    let ulps = kernel["outputs"][0]["difference"]["ulps"].as_array().unwrap();
    assert_eq!(ulps.len(), said["ulps_up_to"].as_array().unwrap().len());
    for (line, needle) in [
        ("selftest --plan seven", "fused-recompute, all"),
        ("selftest --seq 0", "`seq` 0"),
        ("selftest --layer 99", "`layer` 99: the model has"),
        ("selftest --layer first", "write a layer's number or all"),
    ] {
        let refused = bench.run(line);
        assert!(refused.code == Some(2) && refused.stderr.contains(needle), "{line}: {}", refused.stderr);
    }
}
