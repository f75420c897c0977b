//! What the simulated engine is told to fail at: cured without a trace in the model, or an error that loses nothing.

use serde_json::Value;

use crate::support::Bench;

const LINE: &str = "train tiny.toml --engine sim";

fn weights(bench: &Bench, run: &str) -> Vec<u8> {
    bench.read(&format!("{run}/model/model.safetensors"))
}

/// Losses of a run's steps as text, so that bits are compared.
fn losses(bench: &Bench, run: &str) -> Vec<String> {
    let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["loss"].to_string();
    bench.text(&format!("{run}/metrics.jsonl")).lines().map(line).collect()
}

/// Faults and recoveries of a run by its metrics, and by its last event.
fn health(bench: &Bench, run: &str, stdout: &str) -> [u64; 4] {
    let of = |value: &Value, key: &str| value["health"][key].as_u64().unwrap_or(0);
    let metrics = bench.text(&format!("{run}/metrics.jsonl"));
    let lines: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sum = |key| lines.iter().map(|line| of(line, key)).sum();
    let last: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "finished");
    [sum("faults"), sum("recoveries"), of(&last, "faults"), of(&last, "recoveries")]
}

#[test]
fn faults_that_another_try_cures_leave_no_trace_in_the_model() {
    let bench = Bench::new();
    bench.ok(&format!("{LINE} --out whole --quiet"));
    for (run, plan, counts) in [
        ("each", "compile@2,load@3,slow-compile@1,eval@20,timeout@40,eval@61x2,daemon-restart@90", true),
        ("many", "seed=7:rate=0.01", false),
    ] {
        let done = bench.ok(&format!("{LINE} --out {run} --faults {plan} --json"));
        assert_eq!(losses(&bench, run), losses(&bench, "whole"), "{run}");
        assert!(weights(&bench, run) == weights(&bench, "whole"), "{run}");
        let [faults, recoveries, all, made_good] = health(&bench, run, &done.stdout);
        assert!(faults > 6 && recoveries > 4, "{run}: {faults} faults, {recoveries} recoveries");
        assert!(all >= faults && made_good >= recoveries, "{run}");
        let count = |event: &str| done.stdout.matches(&format!("\"event\":\"{event}\"")).count() as u64;
        assert_eq!((count("fault"), count("recovered")), (all, made_good), "{run}");
        if counts {
            // All six kernels are gone with the daemon: each fails twice and is compiled anew.
            assert_eq!((faults, recoveries), (1 + 1 + 1 + 1 + 1 + 2 + 12, 1 + 1 + 1 + 1 + 1 + 6));
        }
    }
}

#[test]
fn faults_that_no_try_cures_stop_the_run_and_lose_nothing() {
    let bench = Bench::new();
    bench.ok(&format!("{LINE} --out whole --quiet"));
    for (run, plan, needle) in [
        ("eval", "eval@50x5", "0x1d"),
        ("timeout", "timeout@75x5", "0x11"),
        ("compile", "daemon-restart@60,compile@7x2", "ANECCompile() FAILED"),
        ("slots", "daemon-restart@90,slots@7", "other processes hold all program slots"),
    ] {
        // No checkpoint but the one that the failure makes.
        let stopped = bench.run(&format!("{LINE} --out {run} --faults {plan} --checkpoint-every 0 --quiet"));
        assert_eq!(stopped.code, Some(1), "{}", stopped.stderr);
        for needle in [needle, "everything up to step", &format!("--resume {run}")] {
            assert!(stopped.stderr.contains(needle), "{run}: no `{needle}` in {}", stopped.stderr);
        }
        let done = bench.steps(run).len();
        assert!(done > 0 && done < 12, "{run}: {done}");
        assert_eq!(bench.names(&format!("{run}/checkpoints")), [format!("step-{done}")]);

        // The faults were the process's, not the run's.
        bench.ok(&format!("train --resume {run} --quiet"));
        assert_eq!(losses(&bench, run), losses(&bench, "whole"), "{run}");
        assert!(weights(&bench, run) == weights(&bench, "whole"), "{run}");
    }
}

#[test]
fn a_run_that_cannot_be_compiled_leaves_nothing_behind() {
    let bench = Bench::new();
    for (plan, needle) in [("slots@1", "0x50004"), ("compile@3x2", "ANECCompile() FAILED")] {
        let refused = bench.run(&format!("{LINE} --out run --faults {plan} --quiet"));
        assert_eq!(refused.code, Some(1), "{}", refused.stderr);
        assert!(refused.stderr.contains(needle), "{}", refused.stderr);
        assert!(!bench.path("run").exists());
    }
}

#[test]
fn generation_survives_faults_with_the_same_text() {
    let bench = Bench::new();
    bench.ok(&format!("{LINE} --out run --quiet"));
    let generate = "generate --model run --prompt The --max-tokens 20";
    let undisturbed = bench.ok(generate);
    let disturbed = bench.ok(&format!("{generate} --faults compile@1,eval@2,daemon-restart@9"));
    assert_eq!(disturbed.stdout, undisturbed.stdout);
    assert!(disturbed.stderr.contains("fault: ") && disturbed.stderr.contains("recovered: "));
    let stopped = bench.run(&format!("{generate} --faults eval@3x5"));
    assert_eq!(stopped.code, Some(1));
    assert!(stopped.stderr.contains("error: ") && stopped.stderr.contains("0x1d"), "{}", stopped.stderr);
}
