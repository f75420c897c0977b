//! What cannot work is refused with what, where and what to do: exit 2 for bad usage, 1 for bad input, never a panic.

use std::fs;

use crate::support::Bench;

/// A command line, its exit code, and what the message must contain.
type Case = (&'static str, i32, &'static [&'static str]);

fn check(bench: &Bench, cases: &[Case]) {
    for (line, code, needles) in cases {
        let refused = bench.run(line);
        assert_eq!(refused.code, Some(*code), "{line}\n{}", refused.stderr);
        for needle in *needles {
            assert!(refused.stderr.contains(needle), "{line}: no `{needle}` in\n{}", refused.stderr);
        }
        assert!(!refused.stderr.contains("panicked"), "{line}\n{}", refused.stderr);
    }
}

#[test]
fn bad_usage_is_exit_2() {
    let bench = Bench::new();
    bench.write("unknown.toml", b"step = 3\n");
    bench.write("type.toml", b"steps = \"many\"\n");
    bench.write("syntax.toml", b"steps = \n");
    bench.write("heads.toml", b"[shape]\nheads = 3\n");
    check(
        &bench,
        &[
            ("", 2, &["Usage"]),
            ("trian", 2, &["train"]),
            ("train --step 3", 2, &["--steps"]),
            ("train --steps many", 2, &["many"]),
            ("train --steps 0", 2, &["`steps` is 0"]),
            ("train --seq 999", 2, &["`seq` is 999", "256"]),
            ("train --betas 0.9", 2, &["0.9,0.95"]),
            ("train --betas 0.9,1.5", 2, &["`betas`"]),
            ("train --lr -1", 2, &["`lr`"]),
            ("train --clip -1", 2, &["`clip`"]),
            ("train --token-bytes 3", 2, &["`token-bytes` is 3"]),
            ("train --schedule square", 2, &["cosine"]),
            ("train --model gpt5", 2, &["gpt5", "stories110m"]),
            ("train --engine gpu", 2, &["sim"]),
            ("train --engine ane", 2, &["ane", "sim or cpu"]),
            ("train --chip m99", 2, &["m99", "m4"]),
            ("train --assume concta-ok", 2, &["`assume`", "`concta`", "near it: concat"]),
            ("train --faults eval", 2, &["`faults`", "`eval` does not say when", "KIND@N"]),
            ("train --faults evil@3", 2, &["did you mean `eval`"]),
            ("train tiny.toml --faults eval@3", 2, &["`faults`", "`engine` is cpu"]),
            ("train tiny.toml --lenient", 2, &["`lenient`", "use sim"]),
            ("train tiny.toml --engine sim --batch-size 1", 2, &["`seq` is 32", "64"]),
            ("train absent.toml", 2, &["absent.toml"]),
            ("train unknown.toml", 2, &["unknown.toml", "`step`", "`steps`"]),
            ("train type.toml", 2, &["type.toml", "steps", "line 1"]),
            ("train syntax.toml", 2, &["syntax.toml", "line 1"]),
            ("train heads.toml", 2, &["3 heads do not divide dim 128"]),
            ("train --data absent.txt", 2, &["absent.txt"]),
            ("train --init absent", 2, &["absent"]),
            ("train --resume absent", 2, &["absent", "no run"]),
            ("train --resume .", 2, &["no run"]),
            ("train --resume a --out b", 2, &["--out"]),
            ("generate --model absent --prompt x", 2, &["absent"]),
            ("generate --model . --temperature -1", 2, &["temperature"]),
            ("generate --model . --top-p 2", 2, &["top-p"]),
            ("data stories", 2, &["--out"]),
        ],
    );
    assert_eq!(
        bench.names("").iter().filter(|name| !name.ends_with(".toml")).count(),
        1,
        "only the text is there"
    );
}

#[test]
fn bad_data_is_exit_1_and_leaves_nothing_behind() {
    let bench = Bench::new();
    bench.write("empty.txt", b"");
    bench.write("blank.txt", b" \n\n ");
    bench.write("tiny.txt", b"Too short.");
    bench.write("latin.txt", b"caf\xe9");
    bench.write("empty.bin", b"");
    bench.write("odd.bin", &[1, 0, 2]);
    bench.write("short.bin", &[1, 0, 2, 0]);
    bench.write("wide.bin", &300u16.to_le_bytes().repeat(100));
    check(
        &bench,
        &[
            ("train tiny.toml --out o --data empty.txt", 1, &["empty.txt", "no tokens"]),
            ("train tiny.toml --out o --data blank.txt", 1, &["blank.txt", "no tokens"]),
            ("train tiny.toml --out o --data tiny.txt", 1, &["tokens", "32", "more text"]),
            ("train tiny.toml --out o --data latin.txt", 1, &["latin.txt", "UTF-8", "byte 3"]),
            ("train tiny.toml --out o --data .", 1, &["odd.bin", "3 bytes"]),
            ("train tiny.toml --out o --data empty.bin", 1, &["empty.bin", "no tokens"]),
            ("train tiny.toml --out o --data odd.bin", 1, &["odd.bin", "3 bytes", "--token-bytes"]),
            ("train tiny.toml --out o --data short.bin", 1, &["short.bin", "2 tokens", "32"]),
            ("train tiny.toml --out o --data wide.bin", 1, &["wide.bin", "token 300", "vocabulary of 300"]),
        ],
    );
    assert!(!bench.path("o").exists(), "a run that could not begin takes its folder back");
}

#[test]
fn a_folder_that_cannot_be_used_is_left_as_it_was() {
    let bench = Bench::new();
    bench.write("full/thesis.txt", b"words");
    check(
        &bench,
        &[
            ("train tiny.toml --out full", 2, &["full", "not empty", "--out"]),
            ("train tiny.toml --out text.txt", 2, &["text.txt", "is a file"]),
            ("train tiny.toml --out text.txt/sub", 2, &["text.txt/sub", "is a file"]),
            ("train tiny.toml --out /proc/run", 1, &["/proc/run"]),
            ("data stories --out /proc/stories.txt --bytes 10", 1, &["/proc/stories.txt"]),
        ],
    );
    assert_eq!(bench.names("full"), ["thesis.txt"]);
    bench.ok("train tiny.toml --out run --steps 1 --quiet");
    check(&bench, &[("train tiny.toml --out run", 2, &["holds a run", "--resume"])]);
}

#[test]
fn bad_models_are_named() {
    let bench = Bench::new();
    bench.ok("train tiny.toml --out run --steps 1 --quiet");
    let model = bench.path("run/model");
    let weights = fs::read(model.join("model.safetensors")).unwrap();
    let config = fs::read_to_string(model.join("config.json")).unwrap();
    let make = |name: &str, config: &str, weights: Option<&[u8]>| {
        bench.write(&format!("{name}/config.json"), config.as_bytes());
        if let Some(weights) = weights {
            bench.write(&format!("{name}/model.safetensors"), weights);
        }
    };
    make("unweighted", &config, None);
    make("cut", &config, Some(&weights[..weights.len() - 9]));
    make("other", &config.replace("\"intermediate_size\": 48", "\"intermediate_size\": 64"), Some(&weights));
    make("strange", &config.replace("\"silu\"", "\"gelu\""), Some(&weights));
    make("mute", &config, Some(&weights));
    bench.write("init.toml", b"data = \"text.txt\"\nsteps = 1\nseq = 16\nengine = \"cpu\"\n");
    check(
        &bench,
        &[
            ("train init.toml --out o --init unweighted", 1, &["model.safetensors", "missing"]),
            ("train init.toml --out o --init cut", 1, &["cut", "truncated"]),
            ("train init.toml --out o --init other", 1, &["other", "gate_proj", "[48, 32]", "[64, 32]"]),
            ("train init.toml --out o --init strange", 1, &["hidden_act", "gelu"]),
            ("train init.toml --out o --init mute", 1, &["tokenizer.json", "text.txt"]),
            ("generate --model mute --prompt x", 2, &["tokenizer.json", "--prompt-tokens"]),
            ("generate --model mute --prompt-tokens 1,9999 --engine cpu", 1, &["9999", "vocabulary"]),
            ("generate --model cut --prompt-tokens 1", 1, &["cut", "truncated"]),
        ],
    );
    assert!(!bench.path("o").exists());
}

#[test]
fn weights_that_blow_up_stop_the_run_and_keep_the_last_good_checkpoint() {
    let bench = Bench::new();
    // A huge rate without clipping: the weights overflow within a few steps.
    let line = "train tiny.toml --out blown --lr 1e30 --warmup 0 --clip 0 --checkpoint-every 1 --schedule constant --quiet";
    let stopped = bench.run(line);
    assert_eq!(stopped.code, Some(1), "{}", stopped.stderr);
    for needle in ["step ", "not finite", "learning rate", "checkpoint"] {
        assert!(stopped.stderr.contains(needle), "no `{needle}` in {}", stopped.stderr);
    }
    assert!(!bench.path("blown/model").exists());
}
