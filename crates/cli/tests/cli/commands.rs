//! What the commands leave behind and print when all goes well.

use std::fs;

use crate::support::Bench;
use serde_json::Value;

#[test]
fn a_run_folder_has_everything_and_generates_text() {
    let bench = Bench::new();
    let trained = bench.ok("train tiny.toml --eval-every 5");
    assert_eq!(
        bench.names("runs/tiny-1"),
        [".lock", "checkpoints", "config.toml", "data", "metrics.jsonl", "model", "report.json"]
    );
    let report: Value = serde_json::from_str(&bench.text("runs/tiny-1/report.json")).unwrap();
    assert_eq!((report["step"].as_u64(), report["tokens"].as_u64()), (Some(12), Some(12 * 2 * 2 * 32)));
    let part = |key: &str| report["shares"][key].as_f64().unwrap();
    let shares = ["prepare", "compile", "train", "evaluate", "save", "sample"].map(part);
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9 && part("train") > 0.0, "{report}");
    assert!(report["neural_engine"].is_null() && report["restarts"] == 0, "{report}");
    let energy = &report["measured_energy"];
    assert!(energy["joules"].is_null() && energy["watts"].is_null(), "{report}");
    assert!(energy["how"].as_str().unwrap().starts_with("not measured: the engine is cpu"), "{report}");
    let model = bench.names("runs/tiny-1/model");
    for file in [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        assert!(model.contains(&file.to_owned()), "{file} of {model:?}");
    }
    assert!(trained.stdout.contains("held-out loss after step 12"), "{}", trained.stdout);
    assert!(trained.stdout.contains("sample after step 12"), "{}", trained.stdout);
    assert!(trained.stdout.contains("generate --model runs/tiny-1 --prompt"), "{}", trained.stdout);
    assert!(trained.stdout.contains("train --resume runs/tiny-1 --steps 24"), "{}", trained.stdout);

    for line in bench.text("runs/tiny-1/metrics.jsonl").lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        for key in ["step", "loss", "lr", "grad_norm", "tokens", "step_ms", "tokens_per_second", "loss_scale"]
        {
            assert!(line[key].is_number(), "{key} in {line}");
        }
        let step = line["step"].as_u64().unwrap();
        assert_eq!(line["tokens"].as_u64(), Some(step * 2 * 2 * 32));
        assert_eq!(line["eval_loss"].is_number(), [5, 10, 12].contains(&step), "{line}");
    }

    let generate = "generate --model runs/tiny-1 --prompt The --max-tokens 20 --engine cpu";
    let text = bench.ok(generate).stdout;
    assert!(text.starts_with("The") && text.ends_with('\n') && text.len() > 4, "{text}");
    assert_eq!(bench.ok(generate).stdout, text, "the same seed gives the same text");
    assert_ne!(bench.ok(&format!("{generate} --seed 2 --temperature 2")).stdout, text);
    let greedy = bench.ok(&format!("{generate} --temperature 0 --seed 3")).stdout;
    assert_eq!(bench.ok(&format!("{generate} --temperature 0 --seed 4")).stdout, greedy);
    assert_eq!(
        bench.ok(&generate.replace("tiny-1", "tiny-1/model")).stdout,
        text,
        "a model folder works as a run does"
    );
    // Beyond the model's 64 positions.
    bench.ok(&generate.replace("--max-tokens 20", "--max-tokens 90"));
}

#[test]
fn the_resolved_settings_repeat_the_run() {
    let bench = Bench::new();
    bench.ok("train tiny.toml --out first --steps 3 --quiet");
    bench.ok("train first/config.toml --out second --quiet");
    assert!(bench.read("first/model/model.safetensors") == bench.read("second/model/model.safetensors"));
    bench.ok("train first/config.toml --out third --seed 2 --quiet");
    assert!(bench.read("first/model/model.safetensors") != bench.read("third/model/model.safetensors"));
}

#[test]
fn a_token_file_needs_no_tokenizer() {
    let bench = Bench::new();
    let tokens: Vec<u32> = (0..600).map(|i| i * i % 300).collect();
    bench.write("narrow.bin", &tokens.iter().flat_map(|&t| (t as u16).to_le_bytes()).collect::<Vec<u8>>());
    bench.write("wide.bin", &tokens.iter().flat_map(|t| t.to_le_bytes()).collect::<Vec<u8>>());
    bench.ok("train tiny.toml --data narrow.bin --out narrow --order sequential --quiet");
    bench.ok("train tiny.toml --data wide.bin --token-bytes 4 --out wide --order sequential --quiet");
    assert!(bench.read("narrow/model/model.safetensors") == bench.read("wide/model/model.safetensors"));
    assert_eq!(bench.names("narrow/model"), ["config.json", "generation_config.json", "model.safetensors"]);
    let generated =
        bench.ok("generate --model narrow --prompt-tokens 1,2,3 --max-tokens 4 --engine cpu").stdout;
    assert_eq!(generated.trim().split(',').count(), 4, "{generated}");

    bench.start("train tiny.toml --data narrow.bin --out changed").kill_after("step", 5);
    bench.write("narrow.bin", &[7, 0].repeat(600));
    let refused = bench.run("train --resume changed");
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("narrow.bin changed"), "{}", refused.stderr);
}

#[test]
fn training_starts_from_given_weights() {
    let bench = Bench::new();
    bench.ok("train tiny.toml --out first --quiet");
    bench.write(
        "more.toml",
        b"data = \"text.txt\"\nsteps = 1\nseq = 16\nbatch-size = 4\nengine = \"cpu\"\nlr = 0.0\n",
    );
    bench.ok("train more.toml --init first/model --out second --quiet");
    // A learning rate of 0 gives the weights back, decay included.
    assert!(bench.read("first/model/model.safetensors") == bench.read("second/model/model.safetensors"));
    for file in ["tokenizer.json", "config.json"] {
        let json =
            |run: &str| serde_json::from_slice::<Value>(&bench.read(&format!("{run}/model/{file}"))).unwrap();
        assert_eq!(json("first"), json("second"), "{file}");
    }
}

#[test]
fn every_engine_trains() {
    let bench = Bench::new();
    let trained = bench.ok("train tiny.toml --engine auto --out auto --steps 2");
    assert!(
        trained.stdout.contains("engine") && trained.stdout.contains("sim (m4, fast)"),
        "{}",
        trained.stdout
    );
    bench.ok("train tiny.toml --engine cpu --out cpu --steps 2 --quiet");
    assert!(bench.read("auto/model/model.safetensors") != bench.read("cpu/model/model.safetensors"));
}

#[test]
fn the_simulated_engine_reports_modelled_time_the_same_in_every_run() {
    let bench = Bench::new();
    let modelled = |run: &str| -> Vec<Value> {
        let value = |line: &str| serde_json::from_str::<Value>(line).unwrap()["modelled"].clone();
        bench.text(&format!("{run}/metrics.jsonl")).lines().map(value).collect()
    };
    let trained = bench.ok("train tiny.toml --engine sim --chip m4 --out sim --steps 3 --eval-every 2");
    let summary = trained.stdout.lines().find(|line| line.starts_with("modelled ")).unwrap();
    assert!(summary.contains("ms") && summary.contains("% of its peak"), "{summary}");
    assert!(trained.stdout.contains("ms modelled"), "{}", trained.stdout);
    let steps = modelled("sim");
    for key in ["ane_ms", "ane_joules", "ane_utilisation"] {
        assert!(steps[0][key].as_f64().unwrap() > 0.0, "{key} in {}", steps[0]);
    }
    // Two layers and two micro-batches of six kernels, none of which takes less than the dispatch.
    assert!(steps[0]["ane_ms"].as_f64().unwrap() > 24.0 * 0.09);
    assert!(steps.iter().all(|step| *step == steps[0]), "evaluations are no part of a step: {steps:?}");
    bench.ok("train tiny.toml --engine sim --chip m4 --out again --steps 1 --quiet");
    bench.ok("train --resume again --steps 3 --quiet");
    assert_eq!(modelled("again"), steps);
    bench.ok("train tiny.toml --engine cpu --out cpu --steps 1 --quiet");
    assert_eq!(modelled("cpu"), [Value::Null]);
}

#[test]
fn json_is_events_alone_and_quiet_is_silence() {
    let bench = Bench::new();
    let quiet = bench.ok("train tiny.toml --out quiet --steps 2 --quiet");
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    let events = bench.ok("train tiny.toml --out json --steps 2 --sample-every 1 --json");
    let kinds: Vec<String> = events
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].as_str().unwrap().to_owned())
        .filter(|kind| kind != "preparing")
        .collect();
    let expected = ["started", "step", "sample", "step", "evaluated", "saved", "sample", "finished"];
    assert_eq!(kinds, expected);
    assert_eq!(events.stderr, "");
}

#[test]
fn stories_are_written_the_same_every_time() {
    let bench = Bench::new();
    bench.ok("data stories --out a/one.txt --bytes 20000 --seed 5");
    bench.ok("data stories --out two.txt --bytes 20000 --seed 5");
    bench.ok("data stories --out three.txt --bytes 20000 --seed 6");
    assert_eq!(bench.text("a/one.txt"), bench.text("two.txt"));
    assert_ne!(bench.text("two.txt"), bench.text("three.txt"));
    assert!((20_000..30_000).contains(&bench.text("two.txt").len()));
    assert_eq!(fs::read_dir(bench.path("a")).unwrap().count(), 1);
}

#[test]
fn help_documents_every_flag() {
    let bench = Bench::new();
    let help = bench.ok("train --help").stdout;
    for flag in [
        "--model",
        "--init",
        "--data",
        "--token-bytes",
        "--steps",
        "--betas",
        "--resume",
        "--json",
        "CONFIG.toml",
    ] {
        assert!(help.contains(flag), "{flag}");
    }
}
