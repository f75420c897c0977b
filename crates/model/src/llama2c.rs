//! llama2.c's legacy `.bin` files (version 0, the format of `stories15M.bin`).
//!
//! A header of seven little-endian `i32` (dim, hidden, layers, heads, kv_heads, vocab, max_seq), then
//! fp32 tensors: embedding; per kind over all layers: attention norm, wq, wk, wv, wo, feed-forward
//! norm, w1, w2, w3; final norm; two RoPE tables `[max_seq, head_dim/2]` that nobody needs; and, if
//! `vocab` is negative, an untied classifier.
//!
//! llama2.c rotates neighbouring channels (2i, 2i+1); Hugging Face rotates channel i with
//! i + head_dim/2. Reordering the rows of wq and wk inside every head turns one into the other and
//! leaves all scores as they were.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::config::ModelConfig;
use crate::error::{ModelError, Result};
use crate::params::{LayerRole, Param, Parameters};

const FORMAT: &str = "llama2.c (version 0)";
const HEADER_BYTES: u64 = 28;

/// Reads a legacy llama2.c model.
///
/// # Errors
/// A header that describes no valid model, or a file whose length is not exactly what the header
/// requires: nothing is guessed from a file that is truncated or of a later version.
pub fn load(path: &Path) -> Result<Parameters> {
    let (config, mut reader) = open(path)?;
    let mut parameters = Parameters::zeros(&config)?;
    read_tensors(&mut reader, &mut parameters).map_err(ModelError::io("read", path))?;
    for layer in 0..config.layers {
        for role in [LayerRole::Q, LayerRole::K] {
            interleaved_to_half_split(parameters.layer_mut(layer, role), &config);
        }
    }
    Ok(parameters)
}

/// Reads the shape of a legacy llama2.c model.
///
/// # Errors
/// As [`load`].
pub fn load_config(path: &Path) -> Result<ModelConfig> {
    Ok(open(path)?.0)
}

/// The file after its header.
fn open(path: &Path) -> Result<(ModelConfig, BufReader<File>)> {
    let file = File::open(path).map_err(ModelError::io("open", path))?;
    let length = file.metadata().map_err(ModelError::io("read", path))?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let config = read_header(&mut reader, path, length)?;
    check_length(&config, path, length)?;
    Ok((config, reader))
}

fn read_header(reader: &mut impl Read, path: &Path, length: u64) -> Result<ModelConfig> {
    if length < HEADER_BYTES {
        let problem = format!("it has {length} bytes, fewer than the header's {HEADER_BYTES}");
        return Err(ModelError::corrupt(FORMAT, path, problem));
    }
    let mut fields = [0i32; 7];
    for field in &mut fields {
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).map_err(ModelError::io("read", path))?;
        *field = i32::from_le_bytes(bytes);
    }
    if fields[0] == 0x616b_3432 {
        let problem = "it begins with the mark of versions 1 and 2; export it as version 0";
        return Err(ModelError::corrupt(FORMAT, path, problem));
    }
    let [dim, hidden, layers, heads, kv_heads, vocab, max_seq] = fields;
    let bad = |problem: String| ModelError::corrupt(FORMAT, path, problem);
    if [dim, hidden, layers, heads, kv_heads, max_seq].iter().any(|&size| size <= 0) || vocab == 0 {
        return Err(bad(format!("the header's sizes {fields:?} are not those of a model")));
    }
    if dim % heads != 0 {
        return Err(bad(format!("dim {dim} is not a multiple of heads {heads}")));
    }
    let config = ModelConfig {
        dim: dim as usize,
        hidden: hidden as usize,
        layers: layers as usize,
        heads: heads as usize,
        kv_heads: kv_heads as usize,
        head_dim: (dim / heads) as usize,
        vocab: vocab.unsigned_abs() as usize,
        max_seq: max_seq as usize,
        rms_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        qk_norm: false,
        residual_scale: 1.0,
        tied: vocab > 0,
    };
    config.validate().map_err(|error| bad(error.to_string()))?;
    Ok(config)
}

fn check_length(config: &ModelConfig, path: &Path, length: u64) -> Result<()> {
    let values = config.parameters() + rope_values(config);
    let expected = HEADER_BYTES + 4 * values;
    if length == expected {
        return Ok(());
    }
    let shape = format!(
        "dim {}, hidden {}, layers {}, heads {}, kv_heads {}, vocab {} ({}), sequence {}",
        config.dim,
        config.hidden,
        config.layers,
        config.heads,
        config.kv_heads,
        config.vocab,
        if config.tied { "tied" } else { "untied" },
        config.max_seq,
    );
    let problem = format!("its header ({shape}) requires {expected} bytes and it has {length}");
    Err(ModelError::corrupt(FORMAT, path, problem))
}

/// Both RoPE tables.
fn rope_values(config: &ModelConfig) -> u64 {
    config.max_seq as u64 * config.head_dim as u64
}

fn read_tensors(reader: &mut impl Read, parameters: &mut Parameters) -> std::io::Result<()> {
    // w1 is the gate, w2 the down and w3 the up projection.
    const ORDER: [LayerRole; 9] = [
        LayerRole::AttnNorm,
        LayerRole::Q,
        LayerRole::K,
        LayerRole::V,
        LayerRole::O,
        LayerRole::FfnNorm,
        LayerRole::Gate,
        LayerRole::Down,
        LayerRole::Up,
    ];
    let config = parameters.config().clone();
    let table = parameters.table().clone();
    let mut read = |param: &Param| {
        let values = &mut parameters.data_mut()[param.range()];
        read_values(reader, values)
    };
    read(table.embedding())?;
    for role in ORDER {
        for layer in 0..config.layers {
            read(table.layer(layer, role))?;
        }
    }
    read(table.final_norm())?;
    if !config.tied {
        std::io::copy(&mut reader.take(4 * rope_values(&config)), &mut std::io::sink())?;
        read_values(reader, &mut parameters.data_mut()[table.classifier().range()])?;
    }
    Ok(())
}

fn read_values(reader: &mut impl Read, values: &mut [f32]) -> std::io::Result<()> {
    let mut bytes = vec![0; 4 * values.len().min(1 << 18)];
    for piece in values.chunks_mut(1 << 18) {
        let bytes = &mut bytes[..4 * piece.len()];
        reader.read_exact(bytes)?;
        for (value, &bytes) in piece.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *value = f32::from_le_bytes(bytes);
        }
    }
    Ok(())
}

/// Reorders the rows of a query or key projection `[heads·head_dim, dim]` inside each head: row 2i
/// becomes row i, row 2i+1 becomes row i + head_dim/2.
fn interleaved_to_half_split(weight: &mut [f32], config: &ModelConfig) {
    let (dim, head_dim) = (config.dim, config.head_dim);
    let mut old = vec![0.0; head_dim * dim];
    for head in weight.chunks_exact_mut(head_dim * dim) {
        old.copy_from_slice(head);
        for pair in 0..head_dim / 2 {
            for (half, row) in [(0, 2 * pair), (head_dim / 2, 2 * pair + 1)] {
                let target = (pair + half) * dim;
                head[target..target + dim].copy_from_slice(&old[row * dim..(row + 1) * dim]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::preset::Preset;

    const DIM: usize = 16;
    const HEAD_DIM: usize = 4;

    fn config(tied: bool) -> ModelConfig {
        ModelConfig {
            dim: DIM,
            hidden: 12,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            head_dim: HEAD_DIM,
            vocab: 10,
            max_seq: 6,
            tied,
            ..Preset::Stories260K.config()
        }
    }

    /// A value for every tensor element that names its tensor, layer and place.
    fn value(tensor: usize, layer: usize, index: usize) -> f32 {
        let mixed = (tensor * 31 + layer * 17 + index * 7 + index * index * 3) % 101;
        mixed as f32 / 101.0 - 0.5
    }

    fn tensor(tensor: usize, layer: usize, len: usize) -> Vec<f32> {
        (0..len).map(|index| value(tensor, layer, index)).collect()
    }

    /// Writes the format as llama2.c's export does, independently of the reader.
    fn file_bytes(tied: bool) -> Vec<u8> {
        let c = config(tied);
        let vocab = if tied { 10 } else { -10 };
        let mut bytes: Vec<u8> =
            [16, 12, 2, 4, 2, vocab, 6i32].iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut put = |values: Vec<f32>| bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        put(tensor(0, 0, 10 * DIM));
        let sizes = [DIM, DIM * DIM, 8 * DIM, 8 * DIM, DIM * DIM, DIM, 12 * DIM, DIM * 12, 12 * DIM];
        for (kind, size) in sizes.into_iter().enumerate() {
            for layer in 0..2 {
                put(tensor(kind + 1, layer, size));
            }
        }
        put(tensor(10, 0, DIM));
        put(vec![9.0; c.max_seq * HEAD_DIM]);
        if !tied {
            put(tensor(11, 0, 10 * DIM));
        }
        bytes
    }

    fn load_bytes(bytes: &[u8]) -> Result<Parameters> {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("model.bin");
        std::fs::write(&path, bytes).unwrap();
        load(&path)
    }

    #[test]
    fn every_tensor_lands_in_its_place() {
        for tied in [true, false] {
            let parameters = load_bytes(&file_bytes(tied)).unwrap();
            assert_eq!(parameters.config(), &config(tied));
            assert_eq!(parameters.embedding(), tensor(0, 0, 10 * DIM));
            for layer in 0..2 {
                let at = |role| parameters.layer(layer, role).to_vec();
                assert_eq!(at(LayerRole::AttnNorm), tensor(1, layer, DIM));
                assert_eq!(at(LayerRole::V), tensor(4, layer, 8 * DIM));
                assert_eq!(at(LayerRole::O), tensor(5, layer, DIM * DIM));
                assert_eq!(at(LayerRole::FfnNorm), tensor(6, layer, DIM));
                assert_eq!(at(LayerRole::Gate), tensor(7, layer, 12 * DIM));
                assert_eq!(at(LayerRole::Down), tensor(8, layer, 12 * DIM));
                assert_eq!(at(LayerRole::Up), tensor(9, layer, 12 * DIM));
            }
            assert_eq!(parameters.final_norm(), tensor(10, 0, DIM));
            let classifier = if tied { tensor(0, 0, 10 * DIM) } else { tensor(11, 0, 10 * DIM) };
            assert_eq!(parameters.classifier(), classifier);
        }
    }

    fn project(weight: &[f32], x: &[f32]) -> Vec<f64> {
        let dot = |row: &[f32]| row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
        weight.chunks_exact(DIM).map(dot).collect()
    }

    /// Rotates the pairs (a, b) of one head at a position; `pair(i)` names the channels of pair i.
    fn rotate(head: &mut [f64], position: usize, pair: impl Fn(usize) -> (usize, usize)) {
        for i in 0..HEAD_DIM / 2 {
            let frequency = 10_000f64.powf(-((2 * i) as f64) / HEAD_DIM as f64);
            let (sin, cos) = (position as f64 * frequency).sin_cos();
            let (a, b) = pair(i);
            (head[a], head[b]) = (head[a] * cos - head[b] * sin, head[a] * sin + head[b] * cos);
        }
    }

    fn scores(wq: &[f32], wk: &[f32], pair: impl Fn(usize) -> (usize, usize) + Copy) -> Vec<f64> {
        let (xq, xk) = (tensor(20, 0, DIM), tensor(21, 0, DIM));
        let (mut q, mut k) = (project(wq, &xq), project(wk, &xk));
        q.chunks_exact_mut(HEAD_DIM).for_each(|head| rotate(head, 5, pair));
        k.chunks_exact_mut(HEAD_DIM).for_each(|head| rotate(head, 2, pair));
        let heads = q.chunks_exact(HEAD_DIM).enumerate();
        heads
            .map(|(h, q)| {
                let k = &k[h / 2 * HEAD_DIM..][..HEAD_DIM];
                q.iter().zip(k).map(|(q, k)| q * k).sum()
            })
            .collect()
    }

    #[test]
    fn attention_scores_survive_the_change_of_rope_convention() {
        let parameters = load_bytes(&file_bytes(true)).unwrap();
        for layer in 0..2 {
            let (wq, wk) = (tensor(2, layer, DIM * DIM), tensor(3, layer, 8 * DIM));
            let interleaved = scores(&wq, &wk, |i| (2 * i, 2 * i + 1));
            let (wq, wk) = (parameters.layer(layer, LayerRole::Q), parameters.layer(layer, LayerRole::K));
            let half_split = scores(wq, wk, |i| (i, i + HEAD_DIM / 2));
            for (a, b) in interleaved.iter().zip(&half_split) {
                assert!((a - b).abs() < 1e-12, "{interleaved:?} {half_split:?}");
            }
        }
    }

    /// The published trainer read whatever was there and used an untied file as a tied one.
    #[test]
    fn a_file_of_another_length_than_its_header_says_is_refused() {
        let whole = file_bytes(true);
        for length in [0, 10, 28, whole.len() / 2, whole.len() - 1] {
            let error = load_bytes(&whole[..length]).expect_err("truncated").to_string();
            assert!(error.contains("model.bin"), "{error}");
        }
        let mut long = whole.clone();
        long.push(0);
        assert!(load_bytes(&long).is_err());
        let mut other_vocab = whole.clone();
        other_vocab[20..24].copy_from_slice(&(-10i32).to_le_bytes());
        let error = load_bytes(&other_vocab).unwrap_err().to_string();
        assert!(error.contains("untied"), "{error}");
    }

    #[test]
    fn headers_that_describe_no_model_are_refused() {
        for (field, value) in [(0, 0i32), (1, -3), (3, 3), (4, 3), (5, 0), (0, 0x616b_3432)] {
            let mut bytes = file_bytes(true);
            bytes[4 * field..4 * field + 4].copy_from_slice(&value.to_le_bytes());
            assert!(load_bytes(&bytes).is_err(), "field {field} = {value}");
        }
        let huge: Vec<u8> = [i32::MAX; 7].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert!(load_bytes(&huge).is_err());
    }
}
