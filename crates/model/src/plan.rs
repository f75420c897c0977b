//! How a layer's functions are cut into kernels.
//!
//! A plan is a list of cuts through the joint forward-and-backward functions of the stages. A cut names the values that
//! go in and those that come out; everything between is part of the piece, and what a piece needs but is not given, it
//! computes again. Nothing here writes a backward function: cuts only say where derived ones are divided.

use ferrane_mil::{
    CallError, Function, Payload, ValueId,
    diff::{DiffError, Joint, differentiate},
    pass::{ExtractError, extract},
};

use crate::{
    LayerRole, ModelConfig, ParamKind,
    stage::{self, Tokens, names},
};

/// Where a piece runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// As a kernel of the engine.
    Engine,
    /// On the host, in fp32.
    Host,
}

/// One part of a plan: a function whose inputs and outputs are values of the layer.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Name of the kernel, e.g. `attn_fwd`.
    pub name: &'static str,
    /// Where it runs.
    pub place: Place,
    /// What it computes. Weights are constants in weight files.
    pub function: Function,
}

impl Piece {
    fn on_engine(name: &'static str, function: Function) -> Self {
        Self { name, place: Place::Engine, function }
    }
}

/// A weight gradient that is a matrix product: `dW [O, I] = dY [O, W] · X [I, W]ᵀ`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightProduct {
    /// The weight.
    pub role: LayerRole,
    /// Name of the value `dY`.
    pub dy: String,
    /// Name of the value `X`.
    pub x: String,
}

/// The pieces of one layer, which all layers share.
#[derive(Clone, Debug)]
pub struct LayerPlan {
    /// From `x` to `y`, in order.
    pub forward: Vec<Piece>,
    /// From `d_y` to `d_x`, in order.
    pub backward: Vec<Piece>,
    /// Weight gradients the host computes once the backward pieces are done.
    pub products: Vec<WeightProduct>,
    /// Weight gradients that a backward piece puts out, by the value's name.
    pub direct: Vec<(LayerRole, String)>,
}

/// The pieces after the last layer, up to the classifier.
#[derive(Clone, Debug)]
pub struct HeadPlan {
    /// From `x` to `final`.
    pub forward: Piece,
    /// From `d_final` to `d_x` and `d_final_norm`.
    pub backward: Piece,
}

/// A whole plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name.
    pub name: &'static str,
    /// Tokens a kernel sees.
    pub tokens: Tokens,
    /// Pieces of a layer.
    pub layer: LayerPlan,
    /// Pieces after the last layer.
    pub head: HeadPlan,
}

/// Why a plan cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A stage could not be built.
    #[error("stage: {0}")]
    Stage(#[from] CallError),
    /// A stage could not be differentiated.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// A cut does not divide its function.
    #[error("piece `{piece}`: {source}")]
    Extract {
        /// The piece.
        piece: &'static str,
        /// What is wrong.
        source: ExtractError,
    },
    /// A cut names a value that the stage does not have.
    #[error("piece `{piece}`: the stage `{stage}` has no value `{value}`")]
    NoValue {
        /// The piece.
        piece: &'static str,
        /// The stage.
        stage: String,
        /// The value.
        value: String,
    },
}

/// A cut: a piece's name and place, the values that go in and those that come out.
struct Cut<'a>(&'static str, Place, &'a [&'static str], &'a [&'static str]);

impl Plan {
    /// The published six kernels a layer: `attn_fwd`, `ffn_fwd`, `ffn_bwd`, `sdpa_bwd1`, `sdpa_bwd2`, `qkv_bwd` on the
    /// engine; the backward pass of the norms, those of heads included, and the final norm, on the host.
    ///
    /// # Errors
    /// When the configuration's extents contradict each other.
    pub fn six(config: &ModelConfig, tokens: Tokens) -> Result<Self, PlanError> {
        use Place::{Engine, Host};
        use names::*;
        let attention = StageJoint::new(stage::attention(config, tokens)?)?;
        let feed_forward = StageJoint::new(stage::feed_forward(config, tokens)?)?;

        // With a residual scale the gradient of a branch is not that of the stream.
        let mut attention_backward_outputs = vec!["d_v", PROBS, "d_probs"];
        let mut feed_forward_backward_outputs = vec!["d_mid_norm", "d_h1", "d_h3"];
        if config.residual_scale != 1.0 {
            attention_backward_outputs.push("d_o");
            feed_forward_backward_outputs.push("d_down");
        }
        let mut attention_forward = vec![MID, Q, K, V, ATTN, X_NORM];
        let mut attention_backward =
            vec![Cut("sdpa_bwd1", Engine, &["d_mid", Q, K, V], &attention_backward_outputs)];
        let sdpa_inputs = &[PROBS, "d_probs", Q, K];
        if config.qk_norm {
            attention_forward.extend([Q_LIN, K_LIN]);
            attention_backward.extend([
                Cut("sdpa_bwd2", Engine, sdpa_inputs, &["d_q_normed", "d_k_normed"]),
                Cut(
                    "qk_norm_bwd",
                    Host,
                    &["d_q_normed", "d_k_normed", Q_LIN, K_LIN],
                    &["d_q_lin", "d_k_lin", "d_q_norm", "d_k_norm"],
                ),
            ]);
        } else {
            attention_backward.push(Cut("sdpa_bwd2", Engine, sdpa_inputs, &["d_q_lin", "d_k_lin"]));
        }
        attention_backward.extend([
            Cut("qkv_bwd", Engine, &["d_q_lin", "d_k_lin", "d_v"], &["d_x_norm"]),
            Cut("attn_norm_bwd", Host, &["d_mid", "d_x_norm", X], &["d_x", "d_attn_norm"]),
        ]);
        let feed_forward_backward = [
            Cut("ffn_bwd", Engine, &["d_y", H1, H3], &feed_forward_backward_outputs),
            Cut("ffn_norm_bwd", Host, &["d_y", "d_mid_norm", MID], &["d_mid", "d_ffn_norm"]),
        ];
        let forward = vec![
            attention.piece(&Cut("attn_fwd", Engine, &[X], &attention_forward))?,
            feed_forward.piece(&Cut("ffn_fwd", Engine, &[MID], &[Y, H1, H3, GATE, MID_NORM]))?,
        ];
        let mut backward = feed_forward.pieces(&feed_forward_backward)?;
        backward.extend(attention.pieces(&attention_backward)?);
        let products = feed_forward.products().chain(attention.products()).collect();
        let norms = LayerRole::of(config).iter().filter(|role| role.kind() == ParamKind::Norm);
        let direct = norms.map(|role| (*role, format!("d_{}", role.weight_name()))).collect();
        let layer = LayerPlan { forward, backward, products, direct };
        Ok(Self { name: "six", tokens, layer, head: HeadPlan::host(config, tokens)? })
    }

    /// Forward pieces alone, two kernels a layer, with keys and values as their only taps: for evaluation and for the
    /// prompt of a generation.
    ///
    /// # Errors
    /// When the configuration's extents contradict each other.
    pub fn inference(config: &ModelConfig, tokens: Tokens) -> Result<Vec<Piece>, PlanError> {
        use names::*;
        let attention = stage::attention(config, tokens)?;
        let cut = Cut("attn_fwd", Place::Engine, &[X], &[MID, K, V]);
        let feed_forward = stage::feed_forward(config, tokens)?;
        Ok(vec![piece(&attention, &cut)?, Piece::on_engine("ffn_fwd", feed_forward)])
    }

    /// The pieces of a layer for one token after up to `past` others, in ports of `width` columns: see
    /// [`stage::cached_attention`].
    ///
    /// # Errors
    /// When the configuration's extents contradict each other.
    pub fn cached(config: &ModelConfig, past: usize, width: usize) -> Result<Vec<Piece>, PlanError> {
        let feed_forward = stage::feed_forward(config, Tokens { batch: 1, seq: width })?;
        Ok(vec![
            Piece::on_engine("attn_cached", stage::cached_attention(config, past, width)?),
            Piece::on_engine("ffn_cached", feed_forward),
        ])
    }

    /// Kernels of the engine for `layers` layers, and how many of them hold weights.
    pub fn kernels(&self, layers: usize) -> (usize, usize) {
        let pieces = || self.layer.forward.iter().chain(&self.layer.backward);
        let on_engine = || pieces().filter(|p| p.place == Place::Engine);
        let weighted = on_engine().filter(|p| has_weights(&p.function)).count();
        (layers * on_engine().count(), layers * weighted)
    }
}

impl HeadPlan {
    /// The final norm on the host, as the published system has it.
    ///
    /// # Errors
    /// When the configuration's extents contradict each other.
    pub fn host(config: &ModelConfig, tokens: Tokens) -> Result<Self, PlanError> {
        let joint = StageJoint::new(stage::final_norm(config, tokens)?)?;
        Ok(Self {
            forward: joint.piece(&Cut("final_norm_fwd", Place::Host, &[names::X], &[names::FINAL]))?,
            backward: joint.piece(&Cut(
                "final_norm_bwd",
                Place::Host,
                &["d_final", names::X],
                &["d_x", "d_final_norm"],
            ))?,
        })
    }
}

fn has_weights(f: &Function) -> bool {
    weights(f).next().is_some()
}

/// The values that are constants in weight files.
fn weights(f: &Function) -> impl Iterator<Item = ValueId> + '_ {
    let is_weight =
        |v: &ValueId| f.value(*v).constant.as_ref().is_some_and(|c| matches!(c.payload, Payload::Blob(_)));
    (0..f.values.len() as u32).map(ValueId).filter(is_weight)
}

/// A stage with its derived backward pass.
struct StageJoint {
    joint: Joint,
}

impl StageJoint {
    fn new(forward: Function) -> Result<Self, PlanError> {
        let wrt: Vec<ValueId> = forward.inputs.iter().copied().chain(weights(&forward)).collect();
        Ok(Self { joint: differentiate(&forward, &wrt)? })
    }

    fn pieces(&self, cuts: &[Cut<'_>]) -> Result<Vec<Piece>, PlanError> {
        cuts.iter().map(|cut| self.piece(cut)).collect()
    }

    fn piece(&self, cut: &Cut<'_>) -> Result<Piece, PlanError> {
        piece(&self.joint.function, cut)
    }

    fn products(&self) -> impl Iterator<Item = WeightProduct> + '_ {
        let f = &self.joint.function;
        self.joint.jobs.iter().filter_map(|job| {
            let role = LayerRole::ALL.into_iter().find(|r| r.weight_name() == f.name_of(job.weight))?;
            Some(WeightProduct { role, dy: f.name_of(job.dy).to_owned(), x: f.name_of(job.x).to_owned() })
        })
    }
}

/// The part of `f` that a cut names.
fn piece(f: &Function, &Cut(name, place, inputs, outputs): &Cut<'_>) -> Result<Piece, PlanError> {
    let ids = |values: &[&str]| -> Result<Vec<ValueId>, PlanError> {
        let id = |v: &&str| {
            let stage = f.name.clone();
            f.find(v).ok_or_else(|| PlanError::NoValue { piece: name, stage, value: (*v).to_owned() })
        };
        values.iter().map(id).collect()
    };
    let function = extract(f, name, &ids(inputs)?, &ids(outputs)?)
        .map_err(|source| PlanError::Extract { piece: name, source })?;
    Ok(Piece { name, place, function })
}
