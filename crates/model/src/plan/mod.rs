//! How a layer's functions are cut into kernels.
//!
//! A plan is a list of cuts through the joint forward-and-backward functions of the stages. A cut names the values that
//! go in and those that come out; everything between is part of the piece, and what a piece needs but is not given, it
//! computes again. Nothing here writes a backward function: cuts only say where derived ones are divided.

mod cut;
mod fused;
mod head;
mod six;

pub use head::{ClassifierPlan, HeadPlan};

use ferrane_mil::{CallError, Function, diff::DiffError, pass::ExtractError};

use crate::{
    LayerRole, ModelConfig,
    stage::{self, Tokens, names},
};
use cut::{Cut, piece};
use six::AttentionBackward;

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
    /// Whether it reads weights.
    pub fn has_weights(&self) -> bool {
        cut::weights(&self.function).next().is_some()
    }

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

/// A whole plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Tokens a kernel sees.
    pub tokens: Tokens,
    /// Pieces of a layer.
    pub layer: LayerPlan,
    /// Pieces after the last layer.
    pub head: HeadPlan,
}

impl LayerPlan {
    /// A layer cut this way.
    ///
    /// # Errors
    /// When the configuration's extents contradict each other.
    pub fn new(kind: LayerKind, config: &ModelConfig, tokens: Tokens) -> Result<Self, PlanError> {
        match kind {
            LayerKind::Six => six::layer(config, tokens, Place::Host, AttentionBackward::Two),
            LayerKind::SixAndNorms => six::layer(config, tokens, Place::Engine, AttentionBackward::Two),
            LayerKind::Five => six::layer(config, tokens, Place::Host, AttentionBackward::One),
            LayerKind::Fused => fused::layer(config, tokens, &fused::TAPS),
            LayerKind::FusedRecompute => fused::layer(config, tokens, &[]),
        }
    }
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

/// How a layer is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerKind {
    /// The published six kernels; norms' backward passes and weight gradients on the host.
    Six,
    /// The same six, and a kernel for each norm's backward pass.
    SixAndNorms,
    /// The published six with attention's backward pass, which is two of them, as one: squares of a number a pair of
    /// positions stay within a kernel.
    Five,
    /// The forward pass as one kernel and the backward pass as another, which gives all weight gradients.
    Fused,
    /// [`LayerKind::Fused`] with nothing kept of the forward pass but its input: the backward kernel computes it again.
    FusedRecompute,
}

/// Who computes what follows the last layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadKind {
    /// The host.
    Host,
    /// The engine the final norm, the logits and their softmax; the host their gradients.
    Probabilities,
    /// The engine, but for what belongs to the targets.
    Gradients,
}

impl LayerKind {
    /// In a few words.
    pub fn describe(self) -> &'static str {
        match self {
            LayerKind::Six => "six kernels a layer",
            LayerKind::SixAndNorms => "six kernels a layer and two for norms",
            LayerKind::Five => "five kernels a layer",
            LayerKind::Fused => "two kernels a layer",
            LayerKind::FusedRecompute => "two kernels a layer, the forward pass computed again",
        }
    }
}

impl HeadKind {
    /// In a few words.
    pub fn describe(self) -> &'static str {
        match self {
            HeadKind::Host => "the classifier on the host",
            HeadKind::Probabilities => "the classifier's softmax on the engine",
            HeadKind::Gradients => "the classifier on the engine",
        }
    }
}

/// The plans that have names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlanKind {
    /// As the published system has it.
    Six,
    /// As a fork of it has it, with norms, classifier and softmax on the engine.
    Extras,
    /// The published one with attention's backward pass as one kernel, which leaves out what the mask excludes on the host's
    /// engine.
    Five,
    /// Two kernels a layer; the host only looks up embeddings and updates weights.
    Fused,
    /// The same with nothing kept between the passes but each layer's input.
    FusedRecompute,
}

impl PlanKind {
    /// Every plan.
    pub const ALL: [PlanKind; 5] = [Self::Six, Self::Extras, Self::Five, Self::Fused, Self::FusedRecompute];

    /// The name, as in `--plan`.
    pub fn name(self) -> &'static str {
        match self {
            PlanKind::Six => "six",
            PlanKind::Extras => "extras",
            PlanKind::Five => "five",
            PlanKind::Fused => "fused",
            PlanKind::FusedRecompute => "fused-recompute",
        }
    }

    /// The plan of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What it is made of.
    pub fn parts(self) -> (LayerKind, HeadKind) {
        match self {
            PlanKind::Six => (LayerKind::Six, HeadKind::Host),
            PlanKind::Extras => (LayerKind::SixAndNorms, HeadKind::Probabilities),
            PlanKind::Five => (LayerKind::Five, HeadKind::Host),
            PlanKind::Fused => (LayerKind::Fused, HeadKind::Gradients),
            PlanKind::FusedRecompute => (LayerKind::FusedRecompute, HeadKind::Gradients),
        }
    }
}

impl Plan {
    /// The plan of this kind.
    ///
    /// # Errors
    /// When the configuration's extents contradict each other.
    pub fn new(kind: PlanKind, config: &ModelConfig, tokens: Tokens) -> Result<Self, PlanError> {
        let (layer, head) = kind.parts();
        Self::of(layer, head, config, tokens)
    }

    /// A plan of any two parts.
    ///
    /// # Errors
    /// When the configuration's extents contradict each other.
    pub fn of(
        layer: LayerKind,
        head: HeadKind,
        config: &ModelConfig,
        tokens: Tokens,
    ) -> Result<Self, PlanError> {
        Ok(Self {
            layer: LayerPlan::new(layer, config, tokens)?,
            head: HeadPlan::new(head, config, tokens)?,
            tokens,
        })
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

    /// Kernels of the engine for `layers` layers and the head, and how many of them hold weights.
    pub fn kernels(&self, layers: usize) -> (usize, usize) {
        let of_layer = self.layer.forward.iter().chain(&self.layer.backward).map(|piece| (piece, layers));
        let on_engine = of_layer.chain(self.head.pieces().map(|piece| (piece, 1)));
        let on_engine = on_engine.filter(|(piece, _)| piece.place == Place::Engine);
        on_engine.fold((0, 0), |(all, weighted), (piece, times)| {
            (all + times, if piece.has_weights() { weighted + times } else { weighted })
        })
    }
}
