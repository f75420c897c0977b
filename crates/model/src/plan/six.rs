//! The published six kernels a layer, and five.

use super::{
    LayerPlan, Place, PlanError,
    cut::{Cut, StageJoint},
};
use crate::{
    LayerRole, ModelConfig, ParamKind,
    stage::{self, Tokens, names},
};

/// Into how many kernels the backward pass of scores, softmax and values is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttentionBackward {
    /// `sdpa_bwd1` hands the shares and their gradients, a square a head each, to `sdpa_bwd2`.
    Two,
    /// `sdpa_bwd`
    One,
}

/// `attn_fwd`, `ffn_fwd`, `ffn_bwd`, `sdpa_bwd1`, `sdpa_bwd2`, `qkv_bwd` on the engine; the backward passes of the norms,
/// those of heads included, at `norms`; weight gradients on the host.
pub(super) fn layer(
    config: &ModelConfig,
    tokens: Tokens,
    norms: Place,
    attention_backward: AttentionBackward,
) -> Result<LayerPlan, PlanError> {
    use Place::Engine;
    use names::*;
    let attention = StageJoint::new(stage::attention(config, tokens)?)?;
    let feed_forward = StageJoint::new(stage::feed_forward(config, tokens)?)?;

    // With a residual scale the gradient of a branch is not that of the stream.
    let mut sdpa_outputs = vec!["d_v"];
    let mut feed_forward_backward_outputs = vec!["d_mid_norm", "d_h1", "d_h3"];
    if config.residual_scale != 1.0 {
        sdpa_outputs.push("d_o");
        feed_forward_backward_outputs.push("d_down");
    }
    let mut attention_forward = vec![MID, Q, K, V, ATTN, X_NORM];
    let d_q_and_k = if config.qk_norm { ["d_q_normed", "d_k_normed"] } else { ["d_q_lin", "d_k_lin"] };
    match attention_backward {
        AttentionBackward::Two => sdpa_outputs.extend([PROBS, "d_probs"]),
        AttentionBackward::One => sdpa_outputs.extend(d_q_and_k),
    }
    let sdpa_inputs = &["d_mid", Q, K, V];
    let mut cuts = match attention_backward {
        AttentionBackward::Two => vec![
            Cut("sdpa_bwd1", Engine, sdpa_inputs, &sdpa_outputs),
            Cut("sdpa_bwd2", Engine, &[PROBS, "d_probs", Q, K], &d_q_and_k),
        ],
        AttentionBackward::One => vec![Cut("sdpa_bwd", Engine, sdpa_inputs, &sdpa_outputs)],
    };
    if config.qk_norm {
        attention_forward.extend([Q_LIN, K_LIN]);
        cuts.push(Cut(
            "qk_norm_bwd",
            norms,
            &["d_q_normed", "d_k_normed", Q_LIN, K_LIN],
            &["d_q_lin", "d_k_lin", "d_q_norm", "d_k_norm"],
        ));
    }
    cuts.extend([
        Cut("qkv_bwd", Engine, &["d_q_lin", "d_k_lin", "d_v"], &["d_x_norm"]),
        Cut("attn_norm_bwd", norms, &["d_mid", "d_x_norm", X], &["d_x", "d_attn_norm"]),
    ]);
    let feed_forward_backward = [
        Cut("ffn_bwd", Engine, &["d_y", H1, H3], &feed_forward_backward_outputs),
        Cut("ffn_norm_bwd", norms, &["d_y", "d_mid_norm", MID], &["d_mid", "d_ffn_norm"]),
    ];
    let forward = vec![
        attention.piece(&Cut("attn_fwd", Engine, &[X], &attention_forward))?,
        feed_forward.piece(&Cut("ffn_fwd", Engine, &[MID], &[Y, H1, H3, GATE, MID_NORM]))?,
    ];
    let mut backward = feed_forward.pieces(&feed_forward_backward)?;
    backward.extend(attention.pieces(&cuts)?);
    let products = feed_forward.products().chain(attention.products()).collect();
    Ok(LayerPlan { forward, backward, products, direct: norm_gradients(config) })
}

/// The weights of norms, and the values that are their gradients.
pub(super) fn norm_gradients(config: &ModelConfig) -> Vec<(LayerRole, String)> {
    let norms = LayerRole::of(config).iter().filter(|role| role.kind() == ParamKind::Norm);
    norms.map(|role| (*role, format!("d_{}", role.weight_name()))).collect()
}
