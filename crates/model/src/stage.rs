//! The stages of a Llama-family model as forward MIL functions.
//!
//! Everything is channel-first: a micro-batch of `batch` sequences of `seq` tokens is `[1, C, 1, W]` with
//! `W = batch·seq`, sequence after sequence. Stages are written in fp32, the mathematics; the legaliser lowers them to
//! what a chip computes in. Backward functions are derived, never written.
//!
//! Values that a plan cuts at have fixed names, listed in [`names`].

mod cached;

pub use cached::{MASKED, cached_attention, rotation};

use ferrane_mil::{Builder, CallError, Constant, DType, Function, Opcode, Opset, TensorType, ValueId};

use crate::{LayerRole, ModelConfig};

/// Names of values that plans refer to. The gradient of `v` is `d_v`.
pub mod names {
    /// Layer input, `[1, dim, 1, W]`.
    pub const X: &str = "x";
    /// Normed layer input, `[1, dim, 1, W]`.
    pub const X_NORM: &str = "x_norm";
    /// Query before RoPE, `[1, heads·head_dim, 1, W]`.
    pub const Q_LIN: &str = "q_lin";
    /// Key before RoPE, `[1, kv_heads·head_dim, 1, W]`.
    pub const K_LIN: &str = "k_lin";
    /// Query heads normed, as [`Q_LIN`]; only in a model that norms them.
    pub const Q_NORMED: &str = "q_normed";
    /// Key heads normed, as [`K_LIN`]; only in a model that norms them.
    pub const K_NORMED: &str = "k_normed";
    /// Query after RoPE, times 1/√head_dim.
    pub const Q: &str = "q";
    /// Key after RoPE.
    pub const K: &str = "k";
    /// Value, `[1, kv_heads·head_dim, 1, W]`.
    pub const V: &str = "v";
    /// Attention probabilities, `[batch, heads, seq, seq]`.
    pub const PROBS: &str = "probs";
    /// Attention output before its projection, `[1, heads·head_dim, 1, W]`.
    pub const ATTN: &str = "attn";
    /// Layer input plus attention, `[1, dim, 1, W]`.
    pub const MID: &str = "mid";
    /// `MID` normed.
    pub const MID_NORM: &str = "mid_norm";
    /// Gate projection, `[1, hidden, 1, W]`.
    pub const H1: &str = "h1";
    /// Up projection, `[1, hidden, 1, W]`.
    pub const H3: &str = "h3";
    /// silu(h1)·h3.
    pub const GATE: &str = "gate";
    /// Layer output, `[1, dim, 1, W]`.
    pub const Y: &str = "y";
    /// Final norm's output, `[1, dim, 1, W]`.
    pub const FINAL: &str = "final";
    /// Logits of every token of the vocabulary, `[1, vocab, 1, W]`.
    pub const LOGITS: &str = "logits";
    /// Softmax of the logits.
    pub const TOKEN_PROBS: &str = "token_probs";
    /// Logarithm of the sum of their exponentials, `[1, 1, 1, W]`: the loss of a position is this less its target's logit.
    pub const LOG_SUM: &str = "log_sum";
    /// The classifier's weight, `[vocab, dim, 1, 1]`.
    pub const CLASSIFIER: &str = "classifier";
    /// The final norm's weight.
    pub const FINAL_NORM: &str = "final_norm";
    /// Keys of earlier tokens after RoPE, `[1, kv_heads·head_dim, 1, past]`.
    pub const PAST_K: &str = "past_k";
    /// Values of earlier tokens, `[1, kv_heads·head_dim, 1, past]`.
    pub const PAST_V: &str = "past_v";
    /// What is added to scores of earlier tokens, `[1, 1, 1, past]`.
    pub const PAST_MASK: &str = "past_mask";
    /// Cosines of a position, `[1, head_dim/2, 1, W]`.
    pub const ROPE_COS: &str = "rope_cos";
    /// Sines of a position, `[1, head_dim/2, 1, W]`.
    pub const ROPE_SIN: &str = "rope_sin";
}

/// How many tokens a kernel sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tokens {
    /// Sequences side by side.
    pub batch: usize,
    /// Tokens in each.
    pub seq: usize,
}

impl Tokens {
    /// `batch·seq`, the last extent of every surface.
    pub fn width(self) -> usize {
        self.batch * self.seq
    }
}

/// Norms square `x·NORM_SCALE`: in fp16 the sum of squares of a wide `x` would overflow (at an RMS of 9.2 for 768
/// channels). A power of two, so the scaling itself is exact.
const NORM_SCALE: f64 = 0.25;

/// `mid = x + α·Wo·attention(norm(x))`, α being the residual scale; with RoPE, grouped queries and a causal mask.
///
/// # Errors
/// When the configuration's extents contradict each other.
pub fn attention(config: &ModelConfig, tokens: Tokens) -> Result<Function, CallError> {
    let mut b = Builder::new("attention", Opset::Ios18);
    let x = b.input(names::X, activation(config.dim, tokens));
    let mid = attention_of(&mut b, config, tokens, x)?;
    Ok(b.finish(&[mid]))
}

fn attention_of(
    b: &mut Builder,
    config: &ModelConfig,
    tokens: Tokens,
    x: ValueId,
) -> Result<ValueId, CallError> {
    let (q, k, v) = queries_keys_values(b, config, x)?;

    // 1/√head_dim rides on the query's rotation: no pass over the scores, and smaller sums in the product.
    let scale = 1.0 / (config.head_dim as f64).sqrt();
    let q = rope(b, config, tokens, q, scale, names::Q)?;
    let k = rope(b, config, tokens, k, 1.0, names::K)?;

    let attn = attend(b, config, tokens, q, k, v)?;
    let o = project(b, attn, LayerRole::O, config.dim, "o")?;
    residual(b, config, x, o, names::MID)
}

/// Queries and keys before their rotation, and values, of the normed layer input.
fn queries_keys_values(
    b: &mut Builder,
    config: &ModelConfig,
    x: ValueId,
) -> Result<(ValueId, ValueId, ValueId), CallError> {
    let x_norm = rms_norm(b, config, x, LayerRole::AttnNorm, names::X_NORM)?;
    let q = project(b, x_norm, LayerRole::Q, config.q_dim(), names::Q_LIN)?;
    let k = project(b, x_norm, LayerRole::K, config.kv_dim(), names::K_LIN)?;
    let v = project(b, x_norm, LayerRole::V, config.kv_dim(), names::V)?;
    if !config.qk_norm {
        return Ok((q, k, v));
    }
    let q = norm_heads(b, config, q, LayerRole::QNorm, names::Q_NORMED)?;
    let k = norm_heads(b, config, k, LayerRole::KNorm, names::K_NORMED)?;
    Ok((q, k, v))
}

/// `y = mid + α·W2·(silu(W1·n)·(W3·n))` with `n = norm(mid)`.
///
/// # Errors
/// When the configuration's extents contradict each other.
pub fn feed_forward(config: &ModelConfig, tokens: Tokens) -> Result<Function, CallError> {
    let mut b = Builder::new("feed_forward", Opset::Ios18);
    let mid = b.input(names::MID, activation(config.dim, tokens));
    let y = feed_forward_of(&mut b, config, mid)?;
    Ok(b.finish(&[y]))
}

fn feed_forward_of(b: &mut Builder, config: &ModelConfig, mid: ValueId) -> Result<ValueId, CallError> {
    let norm = rms_norm(b, config, mid, LayerRole::FfnNorm, names::MID_NORM)?;
    let h1 = project(b, norm, LayerRole::Gate, config.hidden, names::H1)?;
    let h3 = project(b, norm, LayerRole::Up, config.hidden, names::H3)?;
    let sigmoid = b.unary(Opcode::Sigmoid, h1)?;
    let silu = b.mul(h1, sigmoid)?;
    let gate = b.mul(silu, h3)?;
    b.rename(gate, names::GATE);
    let down = project(b, gate, LayerRole::Down, config.dim, "down")?;
    residual(b, config, mid, down, names::Y)
}

/// A whole layer: [`attention`] and then [`feed_forward`].
///
/// # Errors
/// When the configuration's extents contradict each other.
pub fn layer(config: &ModelConfig, tokens: Tokens) -> Result<Function, CallError> {
    let mut b = Builder::new("layer", Opset::Ios18);
    let x = b.input(names::X, activation(config.dim, tokens));
    let mid = attention_of(&mut b, config, tokens, x)?;
    let y = feed_forward_of(&mut b, config, mid)?;
    Ok(b.finish(&[y]))
}

/// `final = norm(x)`, before the classifier.
///
/// # Errors
/// When the configuration's extents contradict each other.
pub fn final_norm(config: &ModelConfig, tokens: Tokens) -> Result<Function, CallError> {
    let mut b = Builder::new("final_norm", Opset::Ios18);
    let x = b.input(names::X, activation(config.dim, tokens));
    let w = b.weight(names::FINAL_NORM, norm_weight(config.dim));
    let y = normed(&mut b, config, x, w)?;
    b.rename(y, names::FINAL);
    Ok(b.finish(&[y]))
}

/// Logits of every token for each position, their softmax, and the logarithm of the sum of their exponentials, which is the
/// output.
///
/// # Errors
/// When the configuration's extents contradict each other.
pub fn classifier(config: &ModelConfig, tokens: Tokens) -> Result<Function, CallError> {
    let mut b = Builder::new("classifier", Opset::Ios18);
    let x = b.input(names::FINAL, activation(config.dim, tokens));
    let w = b.weight(names::CLASSIFIER, TensorType::new(DType::Fp32, [config.vocab, config.dim, 1, 1]));
    let logits = b.linear(x, w)?;
    b.rename(logits, names::LOGITS);
    let probs = b.softmax(logits, 1)?;
    b.rename(probs, names::TOKEN_PROBS);
    let log_sum = b.reduce(Opcode::ReduceLogSumExp, logits, &[1])?;
    b.rename(log_sum, names::LOG_SUM);
    Ok(b.finish(&[log_sum]))
}

fn activation(channels: usize, tokens: Tokens) -> TensorType {
    TensorType::new(DType::Fp32, [1, channels, 1, tokens.width()])
}

/// `W·x` with the weight of `role`, `[out, in, 1, 1]`.
fn project(
    b: &mut Builder,
    x: ValueId,
    role: LayerRole,
    out: usize,
    name: &str,
) -> Result<ValueId, CallError> {
    let input = b.shape(x)[1];
    let w = b.weight(role.weight_name(), TensorType::new(DType::Fp32, [out, input, 1, 1]));
    let y = b.linear(x, w)?;
    Ok(b.rename(y, name))
}

/// `x + α·branch`, α being the residual scale.
fn residual(
    b: &mut Builder,
    config: &ModelConfig,
    x: ValueId,
    branch: ValueId,
    name: &str,
) -> Result<ValueId, CallError> {
    let branch = match config.residual_scale {
        1.0 => branch,
        scale => b.scale(branch, f64::from(scale))?,
    };
    let y = b.add(x, branch)?;
    Ok(b.rename(y, name))
}

/// The norm of all channels, with the weight of `role`.
fn rms_norm(
    b: &mut Builder,
    config: &ModelConfig,
    x: ValueId,
    role: LayerRole,
    name: &str,
) -> Result<ValueId, CallError> {
    let w = b.weight(role.weight_name(), norm_weight(config.dim));
    let y = normed(b, config, x, w)?;
    Ok(b.rename(y, name))
}

/// The norm of each head's channels, all with the weight of `role`.
fn norm_heads(
    b: &mut Builder,
    config: &ModelConfig,
    x: ValueId,
    role: LayerRole,
    name: &str,
) -> Result<ValueId, CallError> {
    let flat = b.shape(x).to_vec();
    let w = b.weight(role.weight_name(), norm_weight(config.head_dim));
    let heads = b.reshape(x, &[flat[1] / config.head_dim, config.head_dim, 1, flat[3]])?;
    let y = normed(b, config, heads, w)?;
    let y = b.reshape(y, &flat)?;
    Ok(b.rename(y, name))
}

fn norm_weight(channels: usize) -> TensorType {
    TensorType::new(DType::Fp32, [1, channels, 1, 1])
}

/// `x / √(mean_c x² + eps) · w`, over channels.
fn normed(b: &mut Builder, config: &ModelConfig, x: ValueId, w: ValueId) -> Result<ValueId, CallError> {
    let channels = b.shape(x)[1];
    let scaled = b.scale(x, NORM_SCALE)?;
    let squares = b.mul(scaled, scaled)?;
    let sum = b.reduce(Opcode::ReduceSum, squares, &[1])?;
    let mean = b.scale(sum, 1.0 / (channels as f64 * NORM_SCALE * NORM_SCALE))?;
    let shifted = b.with_scalar(Opcode::Add, mean, f64::from(config.rms_eps))?;
    let rrms = b.with_scalar(Opcode::Pow, shifted, -0.5)?;
    let unit = b.mul(x, rrms)?;
    b.mul(unit, w)
}

/// Rotary positions, Hugging Face's halves: channel i of a head turns with channel i + head_dim/2. The result is
/// multiplied by `scale`.
fn rope(
    b: &mut Builder,
    config: &ModelConfig,
    tokens: Tokens,
    x: ValueId,
    scale: f64,
    name: &str,
) -> Result<ValueId, CallError> {
    let flat = b.shape(x).to_vec();
    let heads = b.reshape(x, &[1, flat[1] / config.head_dim, config.head_dim, tokens.width()])?;
    let (cos, sin) = rope_tables(config, tokens, scale);
    let shape = [1, 1, config.head_dim / 2, tokens.width()];
    let cos = b.constant(&format!("{name}_cos"), Constant::fp32_tensor(shape, cos));
    let sin = b.constant(&format!("{name}_sin"), Constant::fp32_tensor(shape, sin));
    let turned = turn(b, heads, cos, sin)?;
    let y = b.reshape(turned, &flat)?;
    Ok(b.rename(y, name))
}

/// `heads [1, n, head_dim, W]` with the halves of each head turned by angles `[1, 1, head_dim/2, W]`.
fn turn(b: &mut Builder, heads: ValueId, cos: ValueId, sin: ValueId) -> Result<ValueId, CallError> {
    let half = b.shape(heads)[2] / 2;
    let low = b.slice_axis(heads, 2, 0, half)?;
    let high = b.slice_axis(heads, 2, half, half)?;
    let (low_cos, high_sin) = (b.mul(low, cos)?, b.mul(high, sin)?);
    let turned_low = b.sub(low_cos, high_sin)?;
    let (high_cos, low_sin) = (b.mul(high, cos)?, b.mul(low, sin)?);
    let turned_high = b.add(high_cos, low_sin)?;
    b.concat(&[turned_low, turned_high], 2)
}

/// cos and sin of every (channel pair, column), times `scale`.
fn rope_tables(config: &ModelConfig, tokens: Tokens, scale: f64) -> (Vec<f32>, Vec<f32>) {
    let pairs = (0..config.head_dim / 2).flat_map(|i| (0..tokens.width()).map(move |c| (i, c)));
    pairs
        .map(|(i, column)| ((column % tokens.seq) as f64 * config.rope_frequency(i)).sin_cos())
        .map(|(s, c)| ((c * scale) as f32, (s * scale) as f32))
        .unzip()
}

/// softmax(qᵀk + mask)·v for every head. Keeping channels before positions spares every transpose but those that bring
/// the batch to the front.
fn attend(
    b: &mut Builder,
    config: &ModelConfig,
    tokens: Tokens,
    q: ValueId,
    k: ValueId,
    v: ValueId,
) -> Result<ValueId, CallError> {
    let q = split_heads(b, config, tokens, q)?;
    let (k, v) = (split_heads(b, config, tokens, k)?, split_heads(b, config, tokens, v)?);
    let ratio = config.heads / config.kv_heads;
    let (k, v) = (repeat_heads(b, k, ratio)?, repeat_heads(b, v, ratio)?);

    let scores = b.matmul(q, k, true, false)?;
    let mask = b.constant("mask", causal_mask(tokens.seq));
    let masked = b.add(scores, mask)?;
    let probs = b.softmax(masked, -1)?;
    b.rename(probs, names::PROBS);
    let out = b.matmul(v, probs, false, true)?;

    let joined = join_heads(b, config, tokens, out)?;
    Ok(b.rename(joined, names::ATTN))
}

/// `[1, n·head_dim, 1, batch·seq]` → `[batch, n, head_dim, seq]`
fn split_heads(
    b: &mut Builder,
    config: &ModelConfig,
    tokens: Tokens,
    x: ValueId,
) -> Result<ValueId, CallError> {
    let n = b.shape(x)[1] / config.head_dim;
    if tokens.batch == 1 {
        return b.reshape(x, &[1, n, config.head_dim, tokens.seq]);
    }
    let x = b.reshape(x, &[n, config.head_dim, tokens.batch, tokens.seq])?;
    b.transpose(x, &[2, 0, 1, 3])
}

/// `[batch, n, head_dim, seq]` → `[1, n·head_dim, 1, batch·seq]`
fn join_heads(
    b: &mut Builder,
    config: &ModelConfig,
    tokens: Tokens,
    x: ValueId,
) -> Result<ValueId, CallError> {
    let flat = [1, config.q_dim(), 1, tokens.width()];
    if tokens.batch == 1 {
        return b.reshape(x, &flat);
    }
    let x = b.transpose(x, &[1, 2, 0, 3])?;
    b.reshape(x, &flat)
}

/// Each head `ratio` times in place: query head i reads key/value head i/ratio. Slices and a concat, which every chip is
/// known to take; broadcasting over heads in a product is not.
fn repeat_heads(b: &mut Builder, x: ValueId, ratio: usize) -> Result<ValueId, CallError> {
    if ratio == 1 {
        return Ok(x);
    }
    let mut repeated = Vec::new();
    for head in 0..b.shape(x)[1] {
        let one = b.slice_axis(x, 1, head, 1)?;
        repeated.extend(std::iter::repeat_n(one, ratio));
    }
    b.concat(&repeated, 1)
}

/// `[1, 1, seq, seq]`: 0 where the key is not after the query.
fn causal_mask(seq: usize) -> Constant {
    let allowed = (0..seq).flat_map(|query| (0..seq).map(move |key| key <= query));
    let mask = allowed.map(|a| if a { 0.0 } else { MASKED }).collect();
    Constant::fp32_tensor([1, 1, seq, seq], mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrane_mil::{Program, verify};

    fn config() -> ModelConfig {
        ModelConfig {
            dim: 24,
            hidden: 40,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            head_dim: 8,
            vocab: 50,
            max_seq: 16,
            rms_eps: 1e-5,
            rope_theta: 10_000.0,
            rope_scaling: None,
            qk_norm: false,
            residual_scale: 1.0,
            tied: true,
        }
    }

    #[test]
    fn stages_are_valid_mil_for_any_batch() {
        for batch in [1, 3] {
            let tokens = Tokens { batch, seq: 5 };
            let other = ModelConfig { qk_norm: true, residual_scale: 0.5, ..config() };
            for config in [config(), other] {
                for stage in [attention, feed_forward, final_norm] {
                    let f = stage(&config, tokens).unwrap();
                    let out = f.tensor_type(f.outputs[0]).unwrap().shape.clone();
                    assert_eq!(out, [1, 24, 1, 5 * batch], "{}", f.name);
                    verify(Program::single(f)).unwrap();
                }
            }
        }
    }

    #[test]
    fn rope_tables_restart_with_every_sequence() {
        let (cos, sin) = rope_tables(&config(), Tokens { batch: 2, seq: 3 }, 1.0);
        assert_eq!(cos[..3], cos[3..6]);
        assert_eq!((cos[0], sin[0]), (1.0, 0.0));
        assert_eq!(sin[1], 1f32.sin());
    }
}
