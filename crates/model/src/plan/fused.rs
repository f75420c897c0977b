//! A layer in two kernels.

use super::{
    LayerPlan, Place, PlanError,
    cut::{Cut, StageJoint},
    six::norm_gradients,
};
use crate::{
    LayerRole, ModelConfig, ParamKind,
    stage::{self, Tokens, names::*},
};

/// The forward values that cost the most to compute again: all that products give, but for the layer's output.
pub(super) const TAPS: [&str; 6] = [MID, Q, K, V, H1, H3];

/// `layer_fwd`, which keeps `taps`, and `layer_bwd`, which computes what else it needs of the forward pass again and puts
/// out the gradients of all weights.
pub(super) fn layer(
    config: &ModelConfig,
    tokens: Tokens,
    taps: &[&'static str],
) -> Result<LayerPlan, PlanError> {
    let mut joint = StageJoint::new(stage::layer(config, tokens)?)?;
    joint.compute_products()?;

    let mut direct = norm_gradients(config);
    let matrices = LayerRole::of(config).iter().filter(|role| role.kind() != ParamKind::Norm);
    direct.extend(matrices.map(|role| (*role, format!("d_{}", role.weight_name()))));

    let forward_outputs: Vec<&str> = [Y].iter().chain(taps).copied().collect();
    let backward_inputs: Vec<&str> = ["d_y", X].iter().chain(taps).copied().collect();
    let gradients = direct.iter().map(|(_, value)| value.as_str());
    let backward_outputs: Vec<&str> = std::iter::once("d_x").chain(gradients).collect();
    let forward = joint.piece(&Cut("layer_fwd", Place::Engine, &[X], &forward_outputs))?;
    let backward = joint.piece(&Cut("layer_bwd", Place::Engine, &backward_inputs, &backward_outputs))?;
    Ok(LayerPlan { forward: vec![forward], backward: vec![backward], products: Vec::new(), direct })
}
