//! Attention of one token to those before it, whose keys and values are at hand: what generation repeats.
//!
//! The surfaces of a chip have a least width, so ports are `width` columns wide: the first column of an input counts, and
//! every column of an output is the same.

use ferrane_mil::{Builder, CallError, Constant, DType, Function, Opset, TensorType, ValueId};

use super::{Tokens, activation, names, project, queries_keys_values, residual, turn};
use crate::{LayerRole, ModelConfig};

/// The mask added to scores of keys that must not count. Far below any score, so that its exponential is 0, and far inside
/// fp16, so that adding a score cannot overflow.
pub const MASKED: f32 = -1e4;

/// [`attention`](super::attention) for one token after up to `past` others, with its `k` and `v`.
///
/// Inputs besides `x`: `past_k`, `past_v`, `past_mask` (0 for keys that are there, [`MASKED`] for the others) and the
/// token's [`rotation`].
///
/// # Errors
/// When the configuration's extents contradict each other.
pub fn cached_attention(config: &ModelConfig, past: usize, width: usize) -> Result<Function, CallError> {
    let mut b = Builder::new("cached_attention", Opset::Ios18);
    let column = |b: &mut Builder, name, channels, wide| {
        let x = b.input(name, TensorType::new(DType::Fp32, [1, channels, 1, wide]));
        if wide == 1 { Ok(x) } else { b.slice_axis(x, 3, 0, 1) }
    };
    let x = column(&mut b, names::X, config.dim, width)?;
    let cos = column(&mut b, names::ROPE_COS, config.head_dim / 2, width)?;
    let sin = column(&mut b, names::ROPE_SIN, config.head_dim / 2, width)?;
    let past_k = b.input(names::PAST_K, activation(config.kv_dim(), Tokens { batch: 1, seq: past }));
    let past_v = b.input(names::PAST_V, activation(config.kv_dim(), Tokens { batch: 1, seq: past }));
    let past_mask = b.input(names::PAST_MASK, activation(1, Tokens { batch: 1, seq: past }));

    let (q, k, v) = queries_keys_values(&mut b, config, x)?;
    // The name is the output's, which may be wider.
    b.rename(v, "v_column");

    let pairs = [1, 1, config.head_dim / 2, 1];
    let (cos, sin) = (b.reshape(cos, &pairs)?, b.reshape(sin, &pairs)?);
    let rotate = |b: &mut Builder, x: ValueId| {
        let heads = b.shape(x)[1] / config.head_dim;
        let heads = b.reshape(x, &[1, heads, config.head_dim, 1])?;
        turn(b, heads, cos, sin)
    };
    let (q, k) = (rotate(&mut b, q)?, rotate(&mut b, k)?);
    let q = b.scale(q, 1.0 / (config.head_dim as f64).sqrt())?;

    let attn = attend(&mut b, config, q, [k, v], [past_k, past_v, past_mask])?;
    let o = project(&mut b, attn, LayerRole::O, config.dim, "o")?;
    let mid = residual(&mut b, config, x, o, "mid_column")?;
    let k = b.reshape(k, &[1, config.kv_dim(), 1, 1])?;
    let outputs = [(mid, names::MID), (k, names::K), (v, names::V)]
        .map(|(value, name)| widen(&mut b, value, width).map(|value| b.rename(value, name)));
    let [mid, k, v] = outputs;
    Ok(b.finish(&[mid?, k?, v?]))
}

/// The query heads of a key/value head are neighbours, so that each key/value head is multiplied with all of its queries
/// at once and none is repeated.
fn attend(
    b: &mut Builder,
    config: &ModelConfig,
    q: ValueId,
    [k, v]: [ValueId; 2],
    [past_k, past_v, past_mask]: [ValueId; 3],
) -> Result<ValueId, CallError> {
    let (kv_heads, head_dim, past) = (config.kv_heads, config.head_dim, b.shape(past_k)[3]);
    let q = b.reshape(q, &[1, kv_heads, config.heads / kv_heads, head_dim])?;
    let past_k = b.reshape(past_k, &[1, kv_heads, head_dim, past])?;
    let past_v = b.reshape(past_v, &[1, kv_heads, head_dim, past])?;
    let v = b.reshape(v, &[1, kv_heads, 1, head_dim])?;

    let past_scores = b.matmul(q, past_k, false, false)?;
    let past_scores = b.add(past_scores, past_mask)?;
    let own_score = b.matmul(q, k, false, false)?;
    let scores = b.concat(&[past_scores, own_score], 3)?;
    let probs = b.softmax(scores, -1)?;
    let past_probs = b.slice_axis(probs, 3, 0, past)?;
    let own_prob = b.slice_axis(probs, 3, past, 1)?;
    let of_past = b.matmul(past_probs, past_v, false, true)?;
    let of_own = b.mul(own_prob, v)?;
    let attn = b.add(of_past, of_own)?;
    b.reshape(attn, &[1, config.q_dim(), 1, 1])
}

/// The column `x` `width` times.
fn widen(b: &mut Builder, x: ValueId, width: usize) -> Result<ValueId, CallError> {
    if width == 1 {
        return Ok(x);
    }
    let zeros = b.constant("columns", Constant::fp32_tensor([1, 1, 1, width], vec![0.0; width]));
    b.add(x, zeros)
}

/// Cosines and sines, one a channel pair, by which a token at `position` is turned.
pub fn rotation(config: &ModelConfig, position: usize) -> impl Iterator<Item = (f32, f32)> + '_ {
    (0..config.head_dim / 2).map(move |i| {
        let (sin, cos) = (position as f64 * config.rope_frequency(i)).sin_cos();
        (cos as f32, sin as f32)
    })
}
