//! From a piece of a plan to a kernel.

use std::sync::Arc;

use ferrane_cpu::CpuEngine;
use ferrane_engine::{
    Engine, Kernel, OpSaturation, Port, Profile, Surface, WeightFiles, legalise, share_input,
};
use ferrane_mil::{
    Function, Verified,
    pass::{PackedInput, Streamed, WeightInput, flatten_ports, weights_to_inputs},
};
use ferrane_model::plan::{Piece, Place};

use crate::{
    RuntimeError,
    baking::{CompileLog, LayerKernel},
    packing,
};

/// A piece as an engine holds it.
pub(crate) struct CompiledPiece {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) kernel: PieceKernel,
    /// The inputs that are weights.
    pub(crate) weights: Vec<WeightInput>,
    /// Where inputs lie in the kernel's only one, if they share it.
    pub(crate) packed: Vec<PackedInput>,
}

impl CompiledPiece {
    /// What it takes: the kernel's inputs, or those that share its only one.
    pub(crate) fn inputs(&self) -> Vec<Port> {
        match self.kernel.inputs() {
            [shared] if !self.packed.is_empty() => packing::ports(shared, &self.packed),
            own => own.to_vec(),
        }
    }

    pub(crate) fn is_weight(&self, input: &Port) -> bool {
        self.weights.iter().any(|weight| weight.name == input.name)
    }
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

/// A program for a profile.
pub(crate) struct Lowered {
    pub(crate) program: Verified,
    /// Where inputs lie in the program's only one, if they share it.
    pub(crate) packed: Vec<PackedInput>,
}

impl Lowered {
    /// The function of the piece `name`, made legal for `profile`.
    pub(crate) fn new(
        name: &'static str,
        function: &Function,
        profile: &Profile,
    ) -> Result<Self, RuntimeError> {
        let least = profile.limits.min_input_width.value;
        let flat = flatten_ports(function, least);
        let mut function = flat.map_err(|source| RuntimeError::Pass { piece: name, source })?;
        function.name = "main".to_owned();
        let illegal = |source| RuntimeError::Legalise { piece: name, source };
        let (function, packed) = share_input(function, profile).map_err(illegal)?;
        Ok(Self { program: legalise(function, profile).map_err(illegal)?, packed })
    }
}

/// A piece as a program for `profile` whose weights are inputs, and which inputs those are.
pub(crate) fn streamed(
    piece: &Piece,
    profile: &Profile,
) -> Result<(Lowered, Vec<WeightInput>), RuntimeError> {
    let pass = |source| RuntimeError::Pass { piece: piece.name, source };
    let Streamed { function, weights } = weights_to_inputs(&piece.function).map_err(pass)?;
    Ok((Lowered::new(piece.name, &function, profile)?, weights))
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
        let (program, weights) = streamed(piece, self.at(piece.place).profile())?;
        let kernel = PieceKernel::Shared(self.compile(&program.program, piece.place)?);
        Ok(CompiledPiece { name: piece.name, place: piece.place, kernel, weights, packed: program.packed })
    }

    /// A kernel of `piece` on the host.
    pub(crate) fn on_host(&self, piece: &Piece) -> Result<CompiledPiece, RuntimeError> {
        self.piece(&Piece { place: Place::Host, ..piece.clone() })
    }

    fn at(&self, place: Place) -> &dyn Engine {
        match place {
            Place::Engine => &*self.engine,
            Place::Host => &self.host,
        }
    }

    fn compile(&self, program: &Verified, place: Place) -> Result<Box<dyn Kernel>, RuntimeError> {
        let compile = || self.at(place).compile(program, &WeightFiles::none());
        Ok(match place {
            Place::Engine => self.log.time(compile),
            Place::Host => compile(),
        }?)
    }

    pub(crate) fn pieces(&self, pieces: &[Piece]) -> Result<Vec<CompiledPiece>, RuntimeError> {
        pieces.iter().map(|p| self.piece(p)).collect()
    }
}
