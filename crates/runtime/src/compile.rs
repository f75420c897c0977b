//! From a piece of a plan to a kernel.

use std::sync::Arc;

use ferrane_cpu::CpuEngine;
use ferrane_engine::{Engine, Kernel, OpSaturation, Port, Profile, Surface, WeightFiles, legalise};
use ferrane_mil::{
    Verified,
    pass::{Streamed, WeightInput, flatten_ports, weights_to_inputs},
};
use ferrane_model::plan::{Piece, Place};

use crate::{
    RuntimeError,
    baking::{CompileLog, LayerKernel},
};

/// A piece as an engine holds it.
pub(crate) struct CompiledPiece {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) kernel: PieceKernel,
    /// The inputs that are weights.
    pub(crate) weights: Vec<WeightInput>,
}

/// The kernels of a piece.
pub(crate) enum PieceKernel {
    /// One for all layers: its weights, if it has any, are inputs.
    Shared(Box<dyn Kernel>),
    /// One for each layer, which holds the layer's weights.
    EachLayer { first: Arc<LayerKernel>, others: Vec<Arc<LayerKernel>> },
}

impl PieceKernel {
    pub(crate) fn inputs(&self) -> &[Port] {
        match self {
            PieceKernel::Shared(kernel) => kernel.inputs(),
            PieceKernel::EachLayer { first, .. } => first.inputs(),
        }
    }

    pub(crate) fn outputs(&self) -> &[Port] {
        match self {
            PieceKernel::Shared(kernel) => kernel.outputs(),
            PieceKernel::EachLayer { first, .. } => first.outputs(),
        }
    }

    /// The kernel that holds a layer's weights.
    pub(crate) fn of_layer(&self, layer: usize) -> Option<&Arc<LayerKernel>> {
        match (self, layer) {
            (PieceKernel::Shared(_), _) => None,
            (PieceKernel::EachLayer { first, .. }, 0) => Some(first),
            (PieceKernel::EachLayer { others, .. }, _) => others.get(layer - 1),
        }
    }

    /// The ops of a layer's kernel of which results saturated since this was last asked.
    pub(crate) fn take_saturation(&mut self, layer: usize) -> Vec<OpSaturation> {
        match self {
            PieceKernel::Shared(kernel) => kernel.take_saturation(),
            PieceKernel::EachLayer { .. } => {
                self.of_layer(layer).map_or_else(Vec::new, |kernel| kernel.take_saturation())
            }
        }
    }

    pub(crate) fn evaluate(
        &mut self,
        layer: usize,
        inputs: &[&Surface],
        outputs: &[&Surface],
    ) -> Result<(), RuntimeError> {
        match self {
            PieceKernel::Shared(kernel) => Ok(kernel.evaluate(inputs, outputs)?),
            PieceKernel::EachLayer { first, others } => match layer {
                0 => first.evaluate(inputs, outputs),
                _ => others[layer - 1].evaluate(inputs, outputs),
            },
        }
    }
}

/// A piece as a program for `profile` whose weights are inputs, and which inputs those are.
pub(crate) fn streamed(
    piece: &Piece,
    profile: &Profile,
) -> Result<(Verified, Vec<WeightInput>), RuntimeError> {
    let pass = |source| RuntimeError::Pass { piece: piece.name, source };
    let Streamed { function, weights } = weights_to_inputs(&piece.function).map_err(pass)?;
    let mut function = flatten_ports(&function, profile.limits.min_input_width.value).map_err(pass)?;
    function.name = "main".to_owned();
    let program =
        legalise(function, profile).map_err(|source| RuntimeError::Legalise { piece: piece.name, source })?;
    Ok((program, weights))
}

/// Compiles pieces for an engine, and for the host those that run there.
pub(crate) struct Compiler {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) host: CpuEngine,
    /// What compiling for the engine costs.
    pub(crate) log: Arc<CompileLog>,
}

impl Compiler {
    /// With weights as inputs.
    pub(crate) fn piece(&self, piece: &Piece) -> Result<CompiledPiece, RuntimeError> {
        let (kernel, weights) = self.kernel(piece, piece.place)?;
        let kernel = PieceKernel::Shared(kernel);
        Ok(CompiledPiece { name: piece.name, place: piece.place, kernel, weights })
    }

    /// A kernel of `piece` at `place`, and which of its inputs are weights.
    pub(crate) fn kernel(
        &self,
        piece: &Piece,
        place: Place,
    ) -> Result<(Box<dyn Kernel>, Vec<WeightInput>), RuntimeError> {
        let engine: &dyn Engine = match place {
            Place::Engine => &*self.engine,
            Place::Host => &self.host,
        };
        let (program, weights) = streamed(piece, engine.profile())?;
        let compile = || engine.compile(&program, &WeightFiles::none());
        let kernel = match place {
            Place::Engine => self.log.time(compile),
            Place::Host => compile(),
        };
        Ok((kernel?, weights))
    }

    pub(crate) fn pieces(&self, pieces: &[Piece]) -> Result<Vec<CompiledPiece>, RuntimeError> {
        pieces.iter().map(|p| self.piece(p)).collect()
    }
}
