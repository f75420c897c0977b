//! Weights and tokens as llama2.c has them.

use crate::support::Bench;

const DIM: usize = 32;
const HIDDEN: usize = 48;
const LAYERS: usize = 2;
const HEADS: usize = 4;
const VOCAB: usize = 40;
const SEQ: usize = 64;

/// A version-0 model file: header, weights without pattern, and the two tables nobody needs.
fn model() -> Vec<u8> {
    let header = [DIM, HIDDEN, LAYERS, HEADS, HEADS, VOCAB, SEQ];
    let matrices = LAYERS * (4 * DIM * DIM + 3 * DIM * HIDDEN);
    let elements = VOCAB * DIM + matrices + (2 * LAYERS + 1) * DIM + SEQ * DIM / HEADS;
    let mut bytes: Vec<u8> = header.iter().flat_map(|&size| (size as i32).to_le_bytes()).collect();
    let weight = |i: usize| ((i * i % 1009) as f32 / 1009.0 - 0.5) * 0.4;
    bytes.extend((0..elements).flat_map(|i| weight(i).to_le_bytes()));
    bytes
}

/// A token file, two bytes a token.
fn tokens() -> Vec<u8> {
    (0..3000usize).flat_map(|i| ((i * i / 3 % VOCAB) as u16).to_le_bytes()).collect()
}

#[test]
fn a_llama2c_model_trains_on_a_llama2c_token_file() {
    let bench = Bench::new();
    bench.write("model.bin", &model());
    bench.write("tokens.bin", &tokens());
    let line = "--data tokens.bin --steps 2 --seq 32 --order sequential --engine cpu";
    // Nothing is learned at rate 0: the model that is saved is the one that was given.
    bench.ok(&format!("train --init model.bin --lr 0 --weight-decay 0 {line} --out copy --quiet"));
    let shown = bench.ok(&format!("train --init copy/model {line} --out again")).stdout;
    let first = |run: &str| bench.text(&format!("{run}/metrics.jsonl")).lines().next().unwrap().to_owned();
    let loss = |run: &str| serde_json::from_str::<serde_json::Value>(&first(run)).unwrap()["loss"].clone();
    assert_eq!(loss("copy"), loss("again"));
    let config = bench.text("copy/model/config.json");
    for field in ["\"vocab_size\": 40", "\"bos_token_id\": 1", "\"eos_token_id\": 2"] {
        assert!(config.contains(field), "no {field} in {config}");
    }
    let model = "dim 32, hidden 48, heads 4 (4 of keys and values), seq 32, vocab 40, layers 2";
    for needle in [model, "kernels  10 (10 with weights, streamed), plan five"] {
        assert!(shown.contains(needle), "no `{needle}` in {shown}");
    }
}

#[test]
fn a_llama2c_file_that_is_cut_short_or_has_no_words_for_a_text_is_refused() {
    let bench = Bench::new();
    bench.write("tokens.bin", &tokens());
    bench.write("short.bin", &model()[..5000]);
    let refused = bench.run("train --init short.bin --data tokens.bin --seq 32 --engine cpu --out none");
    assert!(refused.stderr.contains("short.bin") && refused.stderr.contains("5000"), "{}", refused.stderr);
    bench.write("model.bin", &model());
    let refused = bench.run("train --init model.bin --data text.txt --seq 32 --engine cpu --out none");
    assert!(refused.stderr.contains("tokenizer.json"), "{}", refused.stderr);
    assert!(!bench.path("none").exists());
}
