//! What can go wrong when a model is run.

use ferrane_engine::cost::CostError;
use ferrane_engine::{EngineError, LegaliseError, SurfaceError};
use ferrane_mil::pass::PassError;
use ferrane_model::{ModelError, plan::PlanError};

use crate::{LossError, WeightsMode};

/// A model cannot be compiled or run.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The plan cannot be made for this model.
    #[error("plan: {0}")]
    Plan(#[from] PlanError),
    /// A pass cannot rewrite a piece.
    #[error("piece `{piece}`: {source}")]
    Pass {
        /// The piece.
        piece: &'static str,
        /// What is in the way.
        source: PassError,
    },
    /// A piece cannot be made legal for the engine's profile.
    #[error("piece `{piece}`: {source}")]
    Legalise {
        /// The piece.
        piece: &'static str,
        /// What is in the way.
        source: LegaliseError,
    },
    /// A weight file cannot be made.
    #[error("piece `{piece}`: weight file `{path}`: {source}")]
    WeightFile {
        /// The piece.
        piece: &'static str,
        /// The file.
        path: String,
        /// What is in the way.
        source: Box<ferrane_mil::blob::BlobError>,
    },
    /// A model has more kernels than the engine ever takes.
    #[error(
        "with {mode} weights the model needs {needed} kernels, and {engine} {what} at most {most}; use --weights streamed, \
         which needs one kernel a piece for all layers, or a model of fewer layers"
    )]
    TooManyKernels {
        /// Where the weights are.
        mode: WeightsMode,
        /// Kernels needed.
        needed: usize,
        /// The engine's profile.
        engine: String,
        /// What is limited.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// A kernel goes on with old weights after a reload.
    #[error(
        "{engine} does not take reloaded weights: output `{output}` of `{piece}` in layer {layer} differs by {difference:.2e} \
         from what the new weights give, and {most:.0e} is allowed; use --weights baked or --weights streamed"
    )]
    ReloadIgnored {
        /// The engine's profile.
        engine: String,
        /// The piece.
        piece: &'static str,
        /// The layer.
        layer: usize,
        /// The output.
        output: String,
        /// Relative difference of the output.
        difference: f64,
        /// The most it may be.
        most: f64,
    },
    /// A piece's cost cannot be estimated.
    #[error("piece `{piece}`: {source}")]
    Cost {
        /// The piece.
        piece: &'static str,
        /// What is missing.
        source: Box<CostError>,
    },
    /// The engine refuses.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Surface memory cannot be had or used.
    #[error(transparent)]
    Surface(#[from] SurfaceError),
    /// The model's configuration or parameters do not fit.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The loss cannot be computed.
    #[error(transparent)]
    Loss(#[from] LossError),
    /// A piece reads a value that no earlier piece makes.
    #[error("piece `{piece}` reads `{value}`, which nothing before it makes")]
    Unbound {
        /// The piece.
        piece: &'static str,
        /// The value.
        value: String,
    },
    /// The engine's profile takes no input so narrow.
    #[error(
        "`{value}` is {width} wide (batch × sequence) and the engine takes no input narrower than {least}; use longer \
         sequences or a larger batch"
    )]
    TooNarrow {
        /// The value.
        value: String,
        /// Its width.
        width: usize,
        /// The engine's minimum.
        least: usize,
    },
    /// A weight cannot be laid out as the port wants it.
    #[error("weight `{weight}` of {elements} elements does not fit the port {shape:?}")]
    WeightShape {
        /// The weight.
        weight: String,
        /// Its elements.
        elements: usize,
        /// The port's extents.
        shape: [usize; 4],
    },
    /// More or fewer tokens than the kernels were compiled for.
    #[error("{given} tokens were given to kernels compiled for {expected}")]
    TokenCount {
        /// Tokens given.
        given: usize,
        /// Tokens expected.
        expected: usize,
    },
    /// A token outside the vocabulary.
    #[error("token {token} at position {position} is outside the vocabulary of {vocab}")]
    Token {
        /// The token.
        token: u32,
        /// Its place in the batch.
        position: usize,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// A prompt longer than the model's positions.
    #[error("{tokens} tokens exceed the model's {max} positions")]
    TooLong {
        /// Tokens given.
        tokens: usize,
        /// The most there can be.
        max: usize,
    },
}
