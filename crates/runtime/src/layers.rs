//! The layers of a model: compiled pieces bound to surfaces.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use ferrane_engine::{Engine, Port, Surface, Usage};
use ferrane_mil::DType;
use ferrane_model::{
    plan::{Piece, Place},
    stage::names,
};

use crate::{
    RuntimeError, WeightsMode,
    baking::{BakedPiece, Bakery, CompileLog, LayerKernel, Reference},
    compile::{CompiledPiece, Compiler, PieceKernel},
    packing::Part,
    saturation::Watch,
    spent::{Spent, timed},
    weights::{WeightSurfaces, Weights},
};

/// One evaluation: which piece, on which surfaces.
struct Call {
    piece: usize,
    inputs: Inputs,
    outputs: Vec<Surface>,
}

/// What a kernel reads.
struct Inputs {
    surfaces: Vec<Surface>,
    /// Values to be copied into the only surface before an evaluation, if they share it.
    shared: Vec<(Surface, Part)>,
}

impl Inputs {
    /// Puts the values that share a surface where the kernel wants them.
    fn fill(&self) -> Result<(), RuntimeError> {
        let [surface] = &self.surfaces[..] else { return Ok(()) };
        for (from, part) in &self.shared {
            from.read(|from| part.put(from, surface))??;
        }
        Ok(())
    }
}

/// The values of one layer by name.
pub(crate) type Values = HashMap<String, Surface>;

/// A sequence of pieces that every layer runs, bound to each layer's surfaces.
pub(crate) struct Pass {
    pieces: Vec<CompiledPiece>,
    /// `calls[layer]`, in order.
    calls: Vec<Vec<Call>>,
    /// What saturated in it, on an engine that tells.
    pub(crate) saturated: Watch,
    spent: Spent,
}

impl Pass {
    /// The kernels that hold a layer's weights, in order.
    pub(crate) fn layer_kernels(&self, layer: usize) -> impl Iterator<Item = &Arc<LayerKernel>> {
        self.pieces.iter().filter_map(move |piece| piece.kernel.of_layer(layer))
    }

    /// The first value put out for `layer` whose fp16 surface holds an infinity, NaN, or the largest number fp16 has, which
    /// is where an engine that saturates stops.
    pub(crate) fn overflow(&self, layer: usize) -> Result<Option<&str>, RuntimeError> {
        for call in &self.calls[layer] {
            for (port, surface) in self.pieces[call.piece].kernel.outputs().iter().zip(&call.outputs) {
                if surface.dtype() == DType::Fp16 && surface.read(overflowed)? {
                    return Ok(Some(&port.name));
                }
            }
        }
        Ok(None)
    }

    /// Time of the pieces since it was last asked.
    pub(crate) fn take_spent(&mut self) -> Spent {
        std::mem::take(&mut self.spent)
    }

    /// Runs the pieces of one layer.
    pub(crate) fn run(&mut self, layer: usize) -> Result<(), RuntimeError> {
        for call in &self.calls[layer] {
            let inputs: Vec<&Surface> = call.inputs.surfaces.iter().collect();
            let outputs: Vec<&Surface> = call.outputs.iter().collect();
            let piece = &mut self.pieces[call.piece];
            let part = match piece.place {
                Place::Engine => &mut self.spent.engine,
                Place::Host => &mut self.spent.host,
            };
            timed(&mut self.spent.staging, || call.inputs.fill())?;
            timed(part, || piece.kernel.evaluate(layer, &inputs, &outputs))?;
            self.saturated.note(layer, piece.name, piece.kernel.take_saturation(layer));
        }
        Ok(())
    }
}

/// Compiles pieces and gives their ports surfaces.
///
/// A value has one surface however many pieces use it, so that nothing is copied between kernels. It is of the engine's
/// type if any engine piece touches it, else fp32.
pub(crate) struct Binder {
    compiler: Compiler,
    surfaces: WeightSurfaces,
    /// Bytes every engine surface claims, when the profile wants them equal.
    equal_allocation: Option<usize>,
}

impl Binder {
    pub(crate) fn new(engine: Arc<dyn Engine>, weights: Weights, threads: usize) -> Self {
        let (host, log) = (ferrane_cpu::CpuEngine::new(threads), Arc::default());
        let compiler = Compiler { engine, host, log };
        Self { compiler, surfaces: WeightSurfaces::new(weights), equal_allocation: None }
    }

    pub(crate) fn weights(&self) -> &Weights {
        self.surfaces.weights()
    }

    /// What this process has used of the engine.
    pub(crate) fn usage(&self) -> Usage {
        self.compiler.engine.usage()
    }

    /// What compiling has cost.
    pub(crate) fn log(&self) -> &Arc<CompileLog> {
        &self.compiler.log
    }

    /// The narrowest input the engine takes.
    pub(crate) fn min_input_width(&self) -> usize {
        self.compiler.engine.profile().limits.min_input_width.value
    }

    /// Renews staged weights after an update.
    pub(crate) fn renew_weights(&self) -> Result<(), RuntimeError> {
        self.surfaces.renew()
    }

    /// Compiles pieces. All pieces of a model are compiled before any is bound: what surfaces must claim depends on all.
    pub(crate) fn compile(&mut self, pieces: &[Piece]) -> Result<Vec<CompiledPiece>, RuntimeError> {
        let compiled = self.compiler.pieces(pieces)?;
        self.claim_for(&compiled);
        Ok(compiled)
    }

    /// As [`Binder::compile`], but engine pieces with weights get a kernel for each of `layers` layers, which holds them; what
    /// is not of a layer counts as one.
    pub(crate) fn bake(
        &mut self,
        pieces: &[Piece],
        bakery: &Arc<Bakery>,
        layers: usize,
    ) -> Result<Vec<CompiledPiece>, RuntimeError> {
        let baked = pieces.iter().map(|piece| self.bake_piece(piece, bakery, layers));
        let baked = baked.collect::<Result<Vec<_>, _>>()?;
        self.claim_for(&baked);
        Ok(baked)
    }

    fn bake_piece(
        &mut self,
        piece: &Piece,
        bakery: &Arc<Bakery>,
        layers: usize,
    ) -> Result<CompiledPiece, RuntimeError> {
        let baked = match piece.place {
            Place::Engine => BakedPiece::new(piece.name, &piece.function, bakery.engine.profile())?,
            Place::Host => return self.compiler.piece(piece),
        };
        if !baked.has_weights() {
            return self.compiler.piece(piece);
        }
        let baked = Arc::new(baked);
        let references = match bakery.mode {
            WeightsMode::Reload => self.references(piece, layers)?,
            _ => Vec::new(),
        };
        let kernel = |layer| {
            let reference = references.get(layer).cloned();
            Ok(Arc::new(LayerKernel::new(bakery, &baked, layer, reference)?))
        };
        let others = (1..layers).map(kernel).collect::<Result<_, RuntimeError>>()?;
        let kernel = PieceKernel::EachLayer { first: kernel(0)?, others };
        let packed = baked.packed().to_vec();
        Ok(CompiledPiece { name: piece.name, place: piece.place, kernel, weights: Vec::new(), packed })
    }

    /// The piece on the host with each layer's weights.
    fn references(&mut self, piece: &Piece, layers: usize) -> Result<Vec<Arc<Reference>>, RuntimeError> {
        let host = self.compiler.on_host(piece)?;
        let ports: Vec<Port> = host.inputs().into_iter().filter(|port| host.is_weight(port)).collect();
        let kernel = Arc::new(Mutex::new(host.kernel));
        let mut references = Vec::with_capacity(layers);
        for layer in 0..layers {
            let surface =
                |port: &Port| Ok((port.name.clone(), self.weight(piece.name, Place::Host, port, layer)?));
            let weights = ports.iter().map(surface).collect::<Result<_, RuntimeError>>()?;
            references.push(Arc::new(Reference::new(Arc::clone(&kernel), weights)));
        }
        Ok(references)
    }

    /// Makes surfaces claim what these pieces want, where all must claim the same.
    fn claim_for(&mut self, compiled: &[CompiledPiece]) {
        if self.compiler.engine.profile().ports.equal_allocation.value {
            let on_engine = compiled.iter().filter(|p| p.place == Place::Engine);
            let ports = on_engine.flat_map(|p| p.kernel.inputs().iter().chain(p.kernel.outputs()));
            let most = ports.map(Port::bytes).max().unwrap_or(0);
            self.equal_allocation = Some(self.equal_allocation.unwrap_or(0).max(most));
        }
    }

    /// A surface for a value.
    fn value(&self, port: &Port, place: Place) -> Result<Surface, RuntimeError> {
        Ok(match place {
            Place::Engine => {
                let allocation = self.equal_allocation.unwrap_or(0).max(port.bytes());
                self.compiler.engine.surface(port, allocation)?
            }
            Place::Host => Surface::host(&port.name, port.shape, DType::Fp32, port.elements() * 4)?,
        })
    }

    /// Makes a surface for each value the pieces read or write, except those in `given` and the weights.
    pub(crate) fn values(&self, pieces: &[&CompiledPiece], given: &Values) -> Result<Values, RuntimeError> {
        let mut values = given.clone();
        let engine_first = [Place::Engine, Place::Host];
        for place in engine_first {
            for piece in pieces.iter().filter(|p| p.place == place) {
                for port in piece.inputs().iter().chain(piece.kernel.outputs()) {
                    if !piece.is_weight(port) && !values.contains_key(&port.name) {
                        values.insert(port.name.clone(), self.value(port, place)?);
                    }
                }
            }
        }
        Ok(values)
    }

    /// Binds pieces to each layer's values.
    pub(crate) fn bind(
        &mut self,
        pieces: Vec<CompiledPiece>,
        layers: &[Values],
    ) -> Result<Pass, RuntimeError> {
        let mut calls = Vec::with_capacity(layers.len());
        for (layer, values) in layers.iter().enumerate() {
            let mut of_layer = Vec::with_capacity(pieces.len());
            for (index, piece) in pieces.iter().enumerate() {
                let inputs = self.inputs(piece, layer, values)?;
                let outputs = piece.kernel.outputs().iter();
                let outputs = outputs.map(|port| bound(piece, port, values)).collect::<Result<_, _>>()?;
                of_layer.push(Call { piece: index, inputs, outputs });
            }
            calls.push(of_layer);
        }
        Ok(Pass { pieces, calls, saturated: Watch::default(), spent: Spent::default() })
    }

    /// What a piece reads for a layer.
    fn inputs(
        &mut self,
        piece: &CompiledPiece,
        layer: usize,
        values: &Values,
    ) -> Result<Inputs, RuntimeError> {
        let inputs = piece.inputs();
        let (weights, others): (Vec<_>, Vec<_>) = inputs.iter().partition(|port| piece.is_weight(port));
        if piece.packed.is_empty() {
            let surface = |port: &Port| match piece.is_weight(port) {
                true => self.weight(piece.name, piece.place, port, layer),
                false => bound(piece, port, values),
            };
            let surfaces = inputs.iter().map(surface).collect::<Result<_, _>>()?;
            return Ok(Inputs { surfaces, shared: Vec::new() });
        }
        // Each layer has a surface of its own, so that its weights stay there.
        let shared = self.value(&piece.kernel.inputs()[0], piece.place)?;
        let part = |port: &Port| {
            let input = piece.packed.iter().find(|input| input.name == port.name);
            input.map(Part::of).ok_or_else(|| unbound(piece.name, port))
        };
        for port in weights {
            let param = self.weights().named(&port.name, layer).cloned();
            let param = param.ok_or_else(|| unbound(piece.name, port))?;
            self.surfaces.stage(&param, &shared, part(port)?)?;
        }
        let others = others.into_iter().map(|port| Ok((bound(piece, port, values)?, part(port)?)));
        Ok(Inputs { surfaces: vec![shared], shared: others.collect::<Result<_, RuntimeError>>()? })
    }

    /// The surface of a layer's weight for the port of a piece.
    fn weight(
        &mut self,
        piece: &'static str,
        place: Place,
        port: &Port,
        layer: usize,
    ) -> Result<Surface, RuntimeError> {
        let param = self.weights().named(&port.name, layer).cloned().ok_or_else(|| unbound(piece, port))?;
        let engine: Arc<dyn Engine> = match place {
            Place::Engine => Arc::clone(&self.compiler.engine),
            Place::Host => Arc::new(self.compiler.host.clone()),
        };
        let allocation = self.equal_allocation.unwrap_or(0).max(port.bytes());
        self.surfaces.surface(&*engine, &param, port, allocation)
    }
}

fn unbound(piece: &'static str, port: &Port) -> RuntimeError {
    RuntimeError::Unbound { piece, value: port.name.clone() }
}

fn overflowed(values: &[f32]) -> bool {
    const LARGEST: f32 = 65_504.0;
    const BLOCK: usize = 1 << 16;
    let within = |block: &[f32]| {
        // NaN is not below anything. Without a short cut, so that a block is one vector loop.
        block.iter().fold(true, |within, x| within & (x.abs() < LARGEST))
    };
    ferrane_team::map(values.chunks(BLOCK), |_, block| within(block)).contains(&false)
}

fn bound(piece: &CompiledPiece, port: &Port, values: &Values) -> Result<Surface, RuntimeError> {
    let surface = values.get(&port.name).ok_or_else(|| unbound(piece.name, port))?;
    match surface.shape() == port.shape {
        true => Ok(surface.clone()),
        false => Err(RuntimeError::TooNarrow {
            value: port.name.clone(),
            width: surface.shape()[3],
            least: port.shape[3],
        }),
    }
}

/// Copies the embeddings of `tokens` into the columns of `x [1, dim, 1, W]`.
pub(crate) fn embed(weights: &Weights, tokens: &[u32], x: &Surface) -> Result<(), RuntimeError> {
    let [_, dim, _, width] = x.shape();
    let (vocab, offset) = (weights.table().config().vocab, weights.table().embedding().offset);
    if tokens.len() != width {
        return Err(RuntimeError::TokenCount { given: tokens.len(), expected: width });
    }
    check_tokens(tokens, vocab)?;
    let arena = weights.arena().read();
    x.write(|x| {
        for (position, &token) in tokens.iter().enumerate() {
            let row = &arena[offset + token as usize * dim..][..dim];
            for (channel, &value) in row.iter().enumerate() {
                x[channel * width + position] = value;
            }
        }
    })?;
    Ok(())
}

/// Refuses tokens outside the vocabulary.
pub(crate) fn check_tokens(tokens: &[u32], vocab: usize) -> Result<(), RuntimeError> {
    match tokens.iter().enumerate().find(|&(_, &token)| token as usize >= vocab) {
        Some((position, &token)) => Err(RuntimeError::Token { token, position, vocab }),
        None => Ok(()),
    }
}

/// Values of each layer, whose input and output are two surfaces that take turns.
pub(crate) fn in_turns(turns: &[Surface; 2], layers: &[Values]) -> Vec<Values> {
    let of_layer = |(layer, values): (usize, &Values)| {
        let mut values = values.clone();
        values.insert(names::X.to_owned(), turns[layer % 2].clone());
        values.insert(names::Y.to_owned(), turns[(layer + 1) % 2].clone());
        values
    };
    layers.iter().enumerate().map(of_layer).collect()
}
