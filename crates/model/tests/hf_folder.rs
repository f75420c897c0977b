//! Model folders written, read back, converted, sharded and damaged.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use ferrane_model::hf::{self, ModelFiles};
use ferrane_model::{LayerRole, ModelConfig, ModelError, Parameters, Preset, SpecialTokens};
use half::{bf16, f16};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView};

fn small(tied: bool) -> ModelConfig {
    ModelConfig {
        dim: 8,
        hidden: 12,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 4,
        vocab: 11,
        max_seq: 16,
        tied,
        ..Preset::Nano.config()
    }
}

fn files() -> ModelFiles {
    ModelFiles { special: SpecialTokens { bos: Some(0), eos: vec![0] }, extra: Vec::new() }
}

/// name → (dtype, shape, bytes), in the crate's own serialiser: independent of ours.
type Tensors = HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn tensors(parameters: &Parameters, dtype: Dtype) -> Tensors {
    let encode = |&value: &f32| match dtype {
        Dtype::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
        Dtype::BF16 => bf16::from_f32(value).to_le_bytes().to_vec(),
        _ => value.to_le_bytes().to_vec(),
    };
    let tensor = |param: &ferrane_model::Param| {
        let bytes = parameters.values(param).iter().flat_map(encode).collect();
        (param.name.clone(), (dtype, param.shape.clone(), bytes))
    };
    parameters.table().params().iter().map(tensor).collect()
}

fn write_tensors(path: &Path, tensors: &Tensors) {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// A folder whose weights were changed by the test before loading.
fn load_changed(tied: bool, change: impl FnOnce(&mut Tensors)) -> Result<hf::LoadedModel, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    let parameters = Parameters::init(&small(tied), 1).unwrap();
    hf::save(folder.path(), &parameters, &files()).unwrap();
    let mut tensors = tensors(&parameters, Dtype::F32);
    change(&mut tensors);
    write_tensors(&folder.path().join(hf::WEIGHTS_FILE), &tensors);
    hf::load(folder.path())
}

#[test]
fn a_saved_folder_loads_as_it_was_and_in_the_safetensors_crate() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("run/model");
    let parameters = Parameters::init(&small(false), 5).unwrap();
    let mut files = files();
    files.extra.push(("tokenizer.json".to_owned(), "{}".to_owned()));
    hf::save(&model, &parameters, &files).unwrap();

    let loaded = hf::load(&model).unwrap();
    assert_eq!(loaded.parameters, parameters);
    assert_eq!(loaded.config.special, files.special);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);

    let bytes = fs::read(model.join(hf::WEIGHTS_FILE)).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
    let view = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let down = view.tensor("model.layers.1.mlp.down_proj.weight").unwrap();
    assert_eq!(down.shape(), [8, 12]);
    let first = f32::from_le_bytes(down.data()[..4].try_into().unwrap());
    assert_eq!(first, parameters.layer(1, LayerRole::Down)[0]);

    let mut names: Vec<_> = fs::read_dir(&model)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(fs::read_dir(folder.path().join("run")).unwrap().count(), 1, "leftovers");
}

#[test]
fn saving_again_replaces_the_model_and_leaves_other_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("README.md"), "mine").unwrap();
    for seed in [1, 2] {
        let parameters = Parameters::init(&small(true), seed).unwrap();
        hf::save(folder.path(), &parameters, &files()).unwrap();
        assert_eq!(hf::load(folder.path()).unwrap().parameters, parameters);
    }
    assert_eq!(fs::read_to_string(folder.path().join("README.md")).unwrap(), "mine");
}

#[test]
fn half_precision_weights_become_fp32() {
    for dtype in [Dtype::F16, Dtype::BF16] {
        let original = Parameters::init(&small(true), 1).unwrap();
        let loaded = load_changed(true, |all| *all = tensors(&original, dtype)).unwrap();
        for (&stored, &value) in loaded.parameters.data().iter().zip(original.data()) {
            let rounded = match dtype {
                Dtype::F16 => f16::from_f32(value).to_f32(),
                _ => bf16::from_f32(value).to_f32(),
            };
            assert_eq!(stored, rounded);
        }
    }
}

#[test]
fn shards_are_read_through_their_index() {
    let folder = tempfile::tempdir().unwrap();
    let parameters = Parameters::init(&small(false), 9).unwrap();
    hf::save(folder.path(), &parameters, &files()).unwrap();
    fs::remove_file(folder.path().join(hf::WEIGHTS_FILE)).unwrap();
    let all = tensors(&parameters, Dtype::F32);
    let shard_of = |name: &str| {
        if name.contains("layers.0") {
            "model-00001-of-00002.safetensors"
        } else {
            "model-00002-of-00002.safetensors"
        }
    };
    for shard in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] {
        let part = all.iter().filter(|(name, _)| shard_of(name) == shard);
        let part: Tensors = part.map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        write_tensors(&folder.path().join(shard), &part);
    }
    let write_index = |map: serde_json::Value| {
        let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map});
        fs::write(folder.path().join(hf::INDEX_FILE), index.to_string()).unwrap();
    };
    let map: serde_json::Map<String, serde_json::Value> =
        all.keys().map(|name| (name.clone(), shard_of(name).into())).collect();
    write_index(map.into());
    assert_eq!(hf::load(folder.path()).unwrap().parameters, parameters);

    write_index(serde_json::json!({"x": "model-00003-of-00003.safetensors"}));
    let error = hf::load(folder.path()).unwrap_err();
    assert!(error.to_string().contains("model-00003-of-00003"), "{error}");
    for outside in ["../secret.safetensors", "/etc/passwd", "..", ""] {
        write_index(serde_json::json!({ "x": outside }));
        let error = hf::load(folder.path()).unwrap_err();
        assert!(matches!(error, ModelError::Corrupt { .. }), "{outside}: {error}");
    }
    fs::write(folder.path().join(hf::INDEX_FILE), "{}").unwrap();
    assert!(matches!(hf::load(folder.path()), Err(ModelError::Corrupt { .. })));
}

#[test]
fn absent_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = hf::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("config.json is missing"), "{error}");
    let parameters = Parameters::init(&small(true), 1).unwrap();
    hf::save(folder.path(), &parameters, &files()).unwrap();
    fs::remove_file(folder.path().join(hf::WEIGHTS_FILE)).unwrap();
    let error = hf::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("model.safetensors is missing"), "{error}");
}

#[test]
fn a_missing_tensor_is_named_with_its_shape() {
    let name = "model.layers.1.self_attn.k_proj.weight";
    let error = load_changed(true, |all| drop(all.remove(name))).unwrap_err().to_string();
    assert!(error.contains(name) && error.contains("[8, 8]"), "{error}");
    let error = load_changed(false, |all| drop(all.remove("lm_head.weight"))).unwrap_err();
    assert!(error.to_string().contains("tie_word_embeddings"), "{error}");
}

#[test]
fn another_shape_is_an_error_that_names_both() {
    let error = load_changed(true, |all| {
        let tensor = all.get_mut("model.layers.0.mlp.down_proj.weight").unwrap();
        tensor.1 = vec![12, 8];
    })
    .unwrap_err()
    .to_string();
    assert!(error.contains("[12, 8]") && error.contains("[8, 12]"), "{error}");
}

#[test]
fn another_type_is_an_error_that_names_it() {
    let error = load_changed(true, |all| {
        let tensor = all.get_mut("model.norm.weight").unwrap();
        *tensor = (Dtype::I32, tensor.1.clone(), tensor.2.clone());
    })
    .unwrap_err()
    .to_string();
    assert!(error.contains("I32") && error.contains("model.norm.weight"), "{error}");
}

#[test]
fn tensors_the_model_does_not_have_are_reported_and_left_out() {
    let one = (Dtype::F32, vec![1], vec![0; 4]);
    let loaded = load_changed(true, |all| {
        all.insert("model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(), one.clone());
        all.insert("model.layers.7.mlp.up_proj.weight".to_owned(), one);
    })
    .unwrap();
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert!(loaded.warnings[0].contains("model.layers.7.mlp.up_proj.weight"));
}

#[test]
fn a_spare_classifier_is_left_out_and_only_mentioned_if_it_differs() {
    let same = load_changed(true, |all| {
        let embedding = all["model.embed_tokens.weight"].clone();
        all.insert("lm_head.weight".to_owned(), embedding);
    })
    .unwrap();
    assert!(same.warnings.is_empty(), "{:?}", same.warnings);
    let differs = load_changed(true, |all| {
        let mut embedding = all["model.embed_tokens.weight"].clone();
        embedding.2[3] ^= 1;
        all.insert("lm_head.weight".to_owned(), embedding);
    })
    .unwrap();
    assert_eq!(differs.warnings.len(), 1);
    assert!(differs.warnings[0].contains("tie_word_embeddings"), "{:?}", differs.warnings);
}

/// Whole files only: every proper prefix of a weight file is refused, and no flipped header byte
/// makes the reader panic.
#[test]
fn damaged_weight_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let parameters = Parameters::init(&small(true), 1).unwrap();
    hf::save(folder.path(), &parameters, &files()).unwrap();
    let path = folder.path().join(hf::WEIGHTS_FILE);
    let whole = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for length in [0, 7, 8, 100, header, header + 1, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = hf::load(folder.path()).expect_err("a truncated file");
        assert!(matches!(error, ModelError::Corrupt { .. }), "{length}: {error}");
        assert!(error.to_string().contains("model.safetensors"), "{error}");
    }
    fs::write(&path, [whole.as_slice(), &[0]].concat()).unwrap();
    assert!(hf::load(folder.path()).is_err(), "a file with a byte too many");
    let mut huge = whole.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    fs::write(&path, huge).unwrap();
    assert!(hf::load(folder.path()).is_err(), "a header larger than the file");
    for at in (0..header).step_by(7) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x15;
        fs::write(&path, flipped).unwrap();
        // A changed name or shape may still be a valid file; what matters is that this returns.
        let _ = hf::load(folder.path());
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    fs::write(&blocked, "not a folder").unwrap();
    let parameters = Parameters::init(&small(true), 1).unwrap();
    let error = hf::save(&blocked.join("model"), &parameters, &files()).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// α·(W·x) = (α·W)·x, and no file format knows of α.
#[test]
fn a_residual_scale_is_folded_into_what_is_saved() {
    let config = ModelConfig { residual_scale: 0.25, ..small(true) };
    let scaled = Parameters::init(&config, 3).unwrap();
    let folder = tempfile::tempdir().unwrap();
    hf::save(folder.path(), &scaled, &files()).unwrap();
    let loaded = hf::load(folder.path()).unwrap().parameters;
    assert_eq!(loaded.config(), &small(true));
    for param in loaded.table().params() {
        let writes_residual = param.name.contains("o_proj") || param.name.contains("down_proj");
        let scale = if writes_residual { 0.25 } else { 1.0 };
        let expected: Vec<f32> = scaled.values(param).iter().map(|w| w * scale).collect();
        assert_eq!(loaded.values(param), expected, "{}", param.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Any shape, any bits (NaNs and infinities too): what is saved is what is loaded.
    #[test]
    fn any_model_round_trips(
        layers in 1usize..3, kv_heads in 1usize..3, group in 1usize..3, half_head in 1usize..3,
        dim in 1usize..9, hidden in 1usize..9, vocab in 1usize..9, tied: bool, qk_norm: bool, seed: u32,
    ) {
        let config = ModelConfig {
            dim, hidden, layers, heads: kv_heads * group, kv_heads, head_dim: 2 * half_head, vocab,
            max_seq: 4, tied, qk_norm, ..Preset::Nano.config()
        };
        let mut parameters = Parameters::zeros(&config).unwrap();
        let mut bits = seed;
        for value in parameters.data_mut() {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *value = f32::from_bits(bits);
        }
        let folder = tempfile::tempdir().unwrap();
        hf::save(folder.path(), &parameters, &files()).unwrap();
        let loaded = hf::load(folder.path()).unwrap();
        prop_assert_eq!(loaded.parameters.table(), parameters.table());
        let all_bits = |p: &Parameters| p.data().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(all_bits(&loaded.parameters), all_bits(&parameters));
    }
}
