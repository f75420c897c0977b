//! Preparing data, training on it, and evaluating models.

use serde_json::Value;

use crate::support::Bench;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Documents of the built-in stories as lines of JSON.
fn stories(bench: &Bench, name: &str, seed: u32) {
    bench.ok(&format!("data stories --out stories.txt --bytes 60000 --seed {seed}"));
    let text = bench.text("stories.txt");
    let lines = text.split("<|endoftext|>").filter(|story| !story.trim().is_empty());
    let lines: Vec<String> = lines.map(|story| serde_json::json!({"text": story}).to_string()).collect();
    bench.write(name, lines.join("\n").as_bytes());
}

#[test]
fn prepared_data_trains_evaluates_and_links_the_best_checkpoint() {
    let bench = Bench::new();
    stories(&bench, "a.jsonl", 3);
    bench.ok("train tiny.toml --steps 1 --out words --quiet");
    let prepare =
        "data prepare a.jsonl --tokenizer words/model --validation 0.2 --shard-tokens 5000 --out made";
    let said = bench.ok(prepare).stdout;
    assert!(said.starts_with("made: ") && said.contains("held out"), "{said}");
    let names = bench.names("made");
    for name in ["data.json", "tokenizer.json", "train-00000.bin", "train-00001.bin", "validation-00000.bin"]
    {
        assert!(names.contains(&name.to_owned()), "{name} of {names:?}");
    }

    bench.ok("train tiny.toml --data made --eval-every 3 --keep 1 --out run --quiet");
    let losses: Vec<(u64, f64)> = bench
        .text("run/metrics.jsonl")
        .lines()
        .map(json)
        .filter_map(|line| Some((line["step"].as_u64()?, line["eval_loss"].as_f64()?)))
        .collect();
    let best = losses.iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
    let link = std::fs::read_link(bench.path("run/checkpoints/best")).unwrap();
    assert_eq!(link.to_str(), Some(format!("step-{best}").as_str()), "{losses:?}");
    assert!(bench.path("run/checkpoints/best/params.bin").exists());

    let eval = "eval --model run --data made --seq 32 --batch-size 2 --engine cpu";
    let found = json(&bench.ok(&format!("{eval} --json")).stdout);
    let number = |key: &str| found[key].as_f64().unwrap();
    assert!((number("perplexity").ln() - number("loss")).abs() < 1e-9);
    let bits = number("loss") * number("tokens") / std::f64::consts::LN_2 / number("bytes");
    assert!((number("bits_per_byte") - bits).abs() < 1e-9);
    let people = bench.ok(eval).stdout;
    assert!(people.contains("perplexity") && people.contains("bits per byte"), "{people}");
    // The same model on the text that the held-out tokens came from, told apart by nothing but the framing.
    let simulated = json(&bench.ok(&eval.replace("--engine cpu", "--engine sim --json")).stdout);
    assert!((simulated["loss"].as_f64().unwrap() - number("loss")).abs() < 2e-2);
}

#[test]
fn a_run_is_evaluated_on_what_it_held_out() {
    let bench = Bench::new();
    stories(&bench, "a.jsonl", 3);
    bench.ok("train tiny.toml --data stories.txt --out run --quiet");
    let own = json(&bench.ok("eval --model run --seq 32 --engine cpu --json").stdout);
    let told = bench.text("run/metrics.jsonl");
    let told = json(told.lines().last().unwrap())["eval_loss"].as_f64().unwrap();
    // The run evaluates whole windows alone.
    assert!((own["loss"].as_f64().unwrap() - told).abs() < 0.05, "{own} and {told}");
    bench.ok("eval --model run --data text.txt --engine cpu --tokens 100");
}

#[test]
fn what_cannot_be_prepared_or_evaluated_says_what_to_do() {
    let bench = Bench::new();
    bench.ok("train tiny.toml --steps 1 --out run --quiet");
    let refused = |line: &str, code: i32, words: &[&str]| {
        let finished = bench.run(line);
        assert_eq!(finished.code, Some(code), "{line}: {}", finished.stderr);
        for word in words {
            assert!(finished.stderr.contains(word), "{line}: no `{word}` in {}", finished.stderr);
        }
    };
    refused("data prepare text.txt --out made", 2, &["--tokenizer"]);
    refused("data prepare text.txt --tokenizer nothing --out made", 1, &["nothing"]);
    refused("data prepare absent.txt --tokenizer run/model --out made", 1, &["absent.txt"]);
    refused("data prepare text.txt --tokenizer run/model --out run", 2, &["run", "give another --out"]);
    refused("data prepare text.txt --tokenizer run/model --out made --validation 1", 2, &["held out"]);
    assert!(!bench.path("made").exists());
    refused("data fetch tinystories --out data", 1, &["curl", "data/TinyStoriesV2-GPT4-train.txt"]);
    refused("eval --model run --data absent.txt", 2, &["absent.txt"]);
    refused("eval --model run --data text.txt --seq 1000", 2, &["64"]);
    refused("eval --model run/model", 2, &["--data"]);
    refused("train tiny.toml --data run", 1, &["no token files"]);
}

#[test]
fn every_optimiser_resumes_to_the_same_bits() {
    let bench = Bench::new();
    for optimizer in ["lion --lr 0.001", "sgd --lr 0.5 --schedule wsd"] {
        let name = &optimizer[..4].trim();
        let train = format!("train tiny.toml --optimizer {optimizer} --quiet");
        bench.ok(&format!("{train} --out {name}-whole --steps 8"));
        bench.ok(&format!("{train} --out {name}-part --steps 8 --checkpoint-every 3"));
        // As a kill after step 6 leaves it.
        std::fs::remove_dir_all(bench.path(&format!("{name}-part/checkpoints/step-8"))).unwrap();
        bench.ok(&format!("train --resume {name}-part --quiet"));
        let model = |run: &str| bench.read(&format!("{name}-{run}/model/model.safetensors"));
        assert!(model("whole") == model("part"), "{optimizer}");
    }
}
