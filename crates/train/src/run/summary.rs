//! A model in a few numbers.

use ferrane_model::flops::StepFlops;
use ferrane_runtime::{PlanChoice, TrainingModel, WeightsMode};
use serde::Serialize;

use super::RunSettings;

/// What a run trains, in the numbers the published trainer begins with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelSummary {
    /// Width of the residual stream.
    pub dim: usize,
    /// Width of the feed-forward layer.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Tokens in a sequence.
    pub seq: usize,
    /// Layers.
    pub layers: usize,
    /// The plan's name.
    pub plan: PlanChoice,
    /// Kernels on the engine, counted for each layer.
    pub kernels: usize,
    /// Those that hold weights.
    pub kernels_with_weights: usize,
    /// Where their weights are.
    pub weights: WeightsMode,
    /// Floating-point operations of a micro-batch.
    pub flops: u64,
    /// Those on the engine, for the plan whose count was published and the one with the same ops.
    pub engine_flops: Option<u64>,
}

impl ModelSummary {
    pub(super) fn new(settings: &RunSettings, model: &TrainingModel) -> Self {
        let shape = &settings.shape;
        let (kernels, kernels_with_weights) = model.kernels();
        let flops = StepFlops::of(shape, model.tokens());
        Self {
            dim: shape.dim,
            hidden: shape.hidden,
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            seq: settings.seq,
            layers: shape.layers,
            plan: settings.plan,
            kernels,
            kernels_with_weights,
            weights: settings.weights,
            flops: flops.total(),
            engine_flops: matches!(settings.plan, PlanChoice::Six | PlanChoice::Five)
                .then(|| flops.on_engine()),
        }
    }
}
