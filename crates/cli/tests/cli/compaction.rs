//! Training over the tokens that occur: what is the same to the bit, and what stays as it was.

use serde_json::Value;

use crate::support::Bench;

/// Tokens of a vocabulary of 300, as a file.
fn write_tokens(bench: &Bench, name: &str, tokens: impl Iterator<Item = u32>) {
    bench.write(name, &tokens.flat_map(|token| (token as u16).to_le_bytes()).collect::<Vec<u8>>());
}

/// 900 tokens of which `kinds` are different.
fn pattern(kinds: u32) -> impl Iterator<Item = u32> {
    (0..900).map(move |i: u32| i * i % 611 % kinds)
}

fn losses(bench: &Bench, run: &str) -> Vec<f64> {
    let lines = bench.text(&format!("{run}/metrics.jsonl"));
    let loss = |line: &str| serde_json::from_str::<Value>(line).unwrap()["loss"].as_f64().unwrap();
    lines.lines().map(loss).collect()
}

/// The values of a tensor of a saved model, row by row.
fn rows(bench: &Bench, file: &str, name: &str, dim: usize) -> Vec<Vec<u8>> {
    let bytes = bench.read(file);
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let table: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let place = |i: usize| table[name]["data_offsets"][i].as_u64().unwrap() as usize + 8 + header;
    bytes[place(0)..place(1)].chunks(4 * dim).map(<[u8]>::to_vec).collect()
}

const EMBEDDING: &str = "model.embed_tokens.weight";

#[test]
fn where_every_token_occurs_nothing_changes() {
    let bench = Bench::new();
    write_tokens(&bench, "all.bin", (0..900).map(|i| i * 7 % 300));
    bench.ok("train tiny.toml --data all.bin --out plain --quiet");
    bench.ok("train tiny.toml --data all.bin --out compact --compact-vocab --quiet");
    assert_eq!(losses(&bench, "plain"), losses(&bench, "compact"));
    assert!(bench.read("plain/model/model.safetensors") == bench.read("compact/model/model.safetensors"));
}

/// The compact run is that of a model whose vocabulary is the tokens that occur, to the bit; the rows of all others are
/// those of the start, where training the whole vocabulary would decay and push them.
#[test]
fn it_is_the_run_of_a_smaller_model_and_leaves_other_rows_alone() {
    let bench = Bench::new();
    // Tokens 3·t; the smaller model has t.
    write_tokens(&bench, "sparse.bin", pattern(40).map(|t| 3 * t));
    write_tokens(&bench, "dense.bin", pattern(40));
    bench.ok(
        "train tiny.toml --data sparse.bin --out whole --steps 1 --lr 0 --warmup 0 --min-lr-ratio 0 --quiet",
    );
    let start = "whole/model/model.safetensors";
    bench.ok("train --init whole/model --data sparse.bin --out sparse --compact-vocab --engine cpu --seq 32 --steps 8 --quiet");
    let table = rows(&bench, start, EMBEDDING, 32);
    let trained = rows(&bench, "sparse/model/model.safetensors", EMBEDDING, 32);
    for (token, (before, after)) in table.iter().zip(&trained).enumerate() {
        let occurs = token % 3 == 0 && token < 120;
        assert_eq!(before != after, occurs, "row of token {token}");
    }

    // The smaller model, made by hand from the rows of its tokens.
    let kept: Vec<u8> = table.iter().step_by(3).take(40).flatten().copied().collect();
    smaller_model(&bench, "whole/model", "small", kept);
    bench.ok("train --init small --data dense.bin --out dense --engine cpu --seq 32 --steps 8 --quiet");
    assert_eq!(losses(&bench, "sparse"), losses(&bench, "dense"));
    let small = rows(&bench, "dense/model/model.safetensors", EMBEDDING, 32);
    assert!(small.iter().zip(trained.iter().step_by(3)).all(|(a, b)| a == b));
    let name = "model.layers.0.mlp.up_proj.weight";
    let layer = |run: &str| rows(&bench, &format!("{run}/model/model.safetensors"), name, 32);
    assert!(layer("sparse") == layer("dense"));
}

/// Copies a model folder with 40 rows of its embedding.
fn smaller_model(bench: &Bench, from: &str, to: &str, embedding: Vec<u8>) {
    let bytes = bench.read(&format!("{from}/model.safetensors"));
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let table: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let (mut new, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, entry) in table.as_object().unwrap() {
        if name == "__metadata__" {
            continue;
        }
        let place = |i: usize| entry["data_offsets"][i].as_u64().unwrap() as usize + 8 + header;
        let mut entry = entry.clone();
        let begin = data.len();
        if name == EMBEDDING {
            entry["shape"][0] = 40.into();
            data.extend_from_slice(&embedding);
        } else {
            data.extend_from_slice(&bytes[place(0)..place(1)]);
        }
        entry["data_offsets"] = serde_json::json!([begin, data.len()]);
        new.insert(name.clone(), entry);
    }
    let header = serde_json::to_vec(&new).unwrap();
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
    bench.write(&format!("{to}/model.safetensors"), &file);
    let config =
        bench.text(&format!("{from}/config.json")).replace("\"vocab_size\": 300", "\"vocab_size\": 40");
    bench.write(&format!("{to}/config.json"), config.as_bytes());
}

#[test]
fn a_killed_compact_run_resumes_to_the_same_bits_and_samples_words() {
    let bench = Bench::new();
    let train = "train tiny.toml --steps 8 --compact-vocab";
    let said = bench.ok(&format!("{train} --out whole")).stdout;
    assert!(said.contains("of them trained") && said.contains("sample after step 8"), "{said}");
    bench.ok(&format!("{train} --out part --checkpoint-every 3 --quiet"));
    std::fs::remove_dir_all(bench.path("part/checkpoints/step-8")).unwrap();
    bench.ok("train --resume part --quiet");
    assert!(bench.read("whole/model/model.safetensors") == bench.read("part/model/model.safetensors"));
    bench.ok("generate --model whole --prompt The --max-tokens 5 --engine cpu");
}
