//! From a piece of a plan to a kernel.

use std::sync::Arc;

use ferrane_cpu::CpuEngine;
use ferrane_engine::{Engine, Kernel, WeightFiles, legalise};
use ferrane_mil::pass::{Streamed, WeightInput, flatten_ports, weights_to_inputs};
use ferrane_model::plan::{Piece, Place};

use crate::RuntimeError;

/// A piece as an engine holds it. Its weights are inputs, so one kernel serves every layer.
pub(crate) struct CompiledPiece {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) kernel: Box<dyn Kernel>,
    /// The inputs that are weights.
    pub(crate) weights: Vec<WeightInput>,
}

/// Compiles pieces for an engine, and for the host those that run there.
pub(crate) struct Compiler {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) host: CpuEngine,
}

impl Compiler {
    pub(crate) fn piece(&self, piece: &Piece) -> Result<CompiledPiece, RuntimeError> {
        let engine: &dyn Engine = match piece.place {
            Place::Engine => &*self.engine,
            Place::Host => &self.host,
        };
        let pass = |source| RuntimeError::Pass { piece: piece.name, source };
        let Streamed { function, weights } = weights_to_inputs(&piece.function).map_err(pass)?;
        let mut function =
            flatten_ports(&function, engine.profile().limits.min_input_width.value).map_err(pass)?;
        function.name = "main".to_owned();
        let program = legalise(function, engine.profile())
            .map_err(|source| RuntimeError::Legalise { piece: piece.name, source })?;
        let kernel = engine.compile(&program, &WeightFiles::none())?;
        Ok(CompiledPiece { name: piece.name, place: piece.place, kernel, weights })
    }

    pub(crate) fn pieces(&self, pieces: &[Piece]) -> Result<Vec<CompiledPiece>, RuntimeError> {
        pieces.iter().map(|p| self.piece(p)).collect()
    }
}
