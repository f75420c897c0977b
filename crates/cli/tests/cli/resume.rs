//! A run that is killed, damaged or stopped at any moment goes on as if nothing had happened.

use std::fs;

use crate::support::Bench;

const WEIGHTS: &str = "model/model.safetensors";

/// A run that nothing disturbed, to compare with.
fn undisturbed(bench: &Bench) -> Vec<u8> {
    bench.ok("train tiny.toml --out whole --quiet");
    assert_eq!(bench.steps("whole"), (1..=12).collect::<Vec<_>>());
    bench.read(&format!("whole/{WEIGHTS}"))
}

fn assert_same_as_whole(bench: &Bench, whole: &[u8], run: &str) {
    assert!(
        bench.read(&format!("{run}/{WEIGHTS}")) == whole,
        "{run}: another model than the undisturbed run's"
    );
    assert_eq!(bench.steps(run), (1..=12).collect::<Vec<_>>(), "{run}: every step once");
    assert_eq!(bench.names(&format!("{run}/checkpoints")), ["best", "step-12", "step-8"]);
    let losses = |run: &str| -> Vec<f64> {
        let value =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].as_f64().unwrap();
        bench.text(&format!("{run}/metrics.jsonl")).lines().map(value).collect()
    };
    assert_eq!(losses(run), losses("whole"));
}

#[test]
fn a_kill_at_any_step_leaves_the_model_of_an_undisturbed_run() {
    let bench = Bench::new();
    let whole = undisturbed(&bench);
    // Before, at and after checkpoints (every 4 steps), and while the model is written.
    for (kind, step) in
        [("step", 1), ("step", 3), ("step", 4), ("saved", 4), ("step", 7), ("step", 12), ("saved", 12)]
    {
        let run = format!("killed-{kind}-{step}");
        bench.start(&format!("train tiny.toml --out {run}")).kill_after(kind, step);
        bench.ok(&format!("train --resume {run} --quiet"));
        assert_same_as_whole(&bench, &whole, &run);
    }
}

/// In every plan and weights mode, on the simulated engine; losses of all are those of the published plan but for fp16.
#[test]
fn a_killed_run_of_any_plan_and_weights_mode_ends_with_the_bits_of_an_undisturbed_one() {
    let bench = Bench::new();
    let last_loss = |run: &str| {
        let text = bench.text(&format!("{run}/metrics.jsonl"));
        let line: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        line["loss"].as_f64().unwrap()
    };
    let mut published = None;
    for plan in ["six", "extras", "five", "fused", "fused-recompute", "auto"] {
        for weights in ["streamed", "baked"] {
            let (whole, killed) = (format!("{plan}-{weights}"), format!("{plan}-{weights}-killed"));
            let line = format!(
                "train tiny.toml --engine sim --plan {plan} --weights {weights} --micro-batches 2 --steps 8"
            );
            bench.ok(&format!("{line} --out {whole} --quiet"));
            bench.start(&format!("{line} --out {killed}")).kill_after("step", 6);
            bench.ok(&format!("train --resume {killed} --quiet"));
            let model = |run: &str| bench.read(&format!("{run}/{WEIGHTS}"));
            assert!(model(&whole) == model(&killed), "{plan}, {weights}: another model");
            let (loss, published) = (last_loss(&whole), *published.get_or_insert(last_loss(&whole)));
            assert!((loss - published).abs() < 2e-2, "{plan}, {weights}: loss {loss}, not {published}");
        }
    }
}

#[test]
fn a_run_killed_again_and_again_still_ends() {
    let bench = Bench::new();
    let whole = undisturbed(&bench);
    bench.start("train tiny.toml --out often").kill_after("step", 1);
    for step in [1, 5, 6, 9, 11] {
        bench.start("train --resume often").kill_after("step", step);
    }
    bench.ok("train --resume often --quiet");
    assert_same_as_whole(&bench, &whole, "often");
}

#[test]
fn a_run_killed_while_it_prepares_begins_with_its_own_settings() {
    let bench = Bench::new();
    let whole = undisturbed(&bench);
    bench.start("train tiny.toml --out early").kill_after("preparing", 0);
    bench.ok("train --resume early --quiet");
    assert_same_as_whole(&bench, &whole, "early");
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_used() {
    let bench = Bench::new();
    let whole = undisturbed(&bench);
    bench.start("train tiny.toml --out damaged").kill_after("saved", 8);
    // The process may have come further than the event that was waited for.
    let latest = if bench.path("damaged/checkpoints/step-12").exists() { 12 } else { 8 };
    let params = bench.path(&format!("damaged/checkpoints/step-{latest}/params.bin"));
    let mut bytes = fs::read(&params).unwrap();
    bytes[100] ^= 1;
    fs::write(&params, bytes).unwrap();
    let resumed = bench.ok("train --resume damaged --quiet");
    for needle in [format!("step-{latest} is damaged"), format!("step-{}", latest - 4)] {
        assert!(resumed.stderr.contains(&needle), "no `{needle}` in {}", resumed.stderr);
    }
    assert_same_as_whole(&bench, &whole, "damaged");
}

#[test]
fn no_whole_checkpoint_is_an_error_that_deletes_nothing() {
    let bench = Bench::new();
    undisturbed(&bench);
    for step in [8, 12] {
        fs::remove_file(bench.path(&format!("whole/checkpoints/step-{step}/adam_m.bin"))).unwrap();
    }
    let before = (bench.names("whole"), bench.names("whole/checkpoints"), bench.read("whole/metrics.jsonl"));
    let refused = bench.run("train --resume whole");
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("step-8") && refused.stderr.contains("adam_m.bin"), "{}", refused.stderr);
    let after = (bench.names("whole"), bench.names("whole/checkpoints"), bench.read("whole/metrics.jsonl"));
    assert!(before == after);
}

#[test]
fn ctrl_c_finishes_the_step_saves_and_exits_130() {
    let bench = Bench::new();
    // Long enough that the signal always comes before the end.
    let mut running =
        bench.start("train tiny.toml --out stopped --steps 100000 --schedule constant --checkpoint-every 0");
    assert!(running.wait_for("step", 3));
    running.interrupt();
    assert_eq!(running.end().code(), Some(130));
    let done = *bench.steps("stopped").last().unwrap();
    assert_eq!(bench.names("stopped/checkpoints"), [format!("step-{done}")]);
    assert!(bench.path("stopped/model/config.json").exists());

    let steps = done + 2;
    bench.ok(&format!("train --resume stopped --steps {steps} --quiet"));
    bench.ok(&format!(
        "train tiny.toml --out straight --steps {steps} --schedule constant --checkpoint-every 0 --quiet"
    ));
    assert!(bench.read(&format!("stopped/{WEIGHTS}")) == bench.read(&format!("straight/{WEIGHTS}")));
    assert_eq!(bench.steps("stopped"), (1..=steps).collect::<Vec<_>>());
}

#[test]
fn a_second_ctrl_c_ends_a_step_that_takes_too_long() {
    let bench = Bench::new();
    // The first step would take hours.
    let mut running = bench.start("train tiny.toml --out slow --micro-batches 100000000");
    assert!(running.wait_for("started", 0));
    running.interrupt();
    assert!(running.wait_for_words("Ctrl-C again ends at once"));
    running.interrupt();
    assert_eq!(running.end().code(), Some(130));
    assert!(!bench.path("slow/model").exists() && bench.steps("slow").is_empty());
    assert!(bench.path("slow/config.toml").exists(), "and it can be resumed");
}

#[test]
fn more_steps_extend_a_finished_run_and_fewer_are_refused() {
    let bench = Bench::new();
    undisturbed(&bench);
    bench.ok("train --resume whole --quiet");
    assert_eq!(bench.steps("whole").len(), 12, "a finished run stays as it is");
    bench.ok("train --resume whole --steps 15 --quiet");
    assert_eq!(bench.steps("whole"), (1..=15).collect::<Vec<_>>());
    assert!(bench.text("whole/config.toml").contains("steps = 15"));
    let refused = bench.run("train --resume whole --steps 14");
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("already has 15 steps"), "{}", refused.stderr);
}

#[test]
fn a_run_does_not_depend_on_where_it_is_resumed_from() {
    let bench = Bench::new();
    let whole = undisturbed(&bench);
    bench.start("train tiny.toml --out elsewhere").kill_after("step", 6);
    fs::create_dir(bench.path("sub")).unwrap();
    let resumed =
        bench.command("train --resume ../elsewhere --quiet").current_dir(bench.path("sub")).status();
    assert!(resumed.unwrap().success());
    assert_same_as_whole(&bench, &whole, "elsewhere");
}
