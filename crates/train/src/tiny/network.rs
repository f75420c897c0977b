//! The network's kernels and one pass through them.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread::JoinHandle,
};

use ferrane_engine::{Engine, Kernel, Port, Surface, spawn_favoured};
use ferrane_model::tiny::{self, COLUMNS, DIM, HIDDEN, WEIGHT, names};
use ferrane_runtime::{BakedPiece, CompileLog, RuntimeError};

use crate::trainer::TrainError;

/// The network on an engine, without weights.
pub(super) struct Network {
    engine: Arc<dyn Engine>,
    pieces: Arc<[BakedPiece]>,
    /// Inputs and outputs of each piece.
    surfaces: Vec<[Vec<Surface>; 2]>,
    log: Arc<CompileLog>,
    /// Every value of the last pass, channel after channel of 16 columns.
    values: HashMap<String, Vec<f32>>,
}

impl Network {
    pub(super) fn new(engine: &Arc<dyn Engine>) -> Result<Self, TrainError> {
        let baked = |piece: &ferrane_model::plan::Piece| {
            BakedPiece::new(piece.name, &piece.function, engine.profile())
        };
        let pieces = tiny::pieces().map_err(RuntimeError::from)?;
        let pieces: Arc<[BakedPiece]> = pieces.iter().map(baked).collect::<Result<_, RuntimeError>>()?;
        let ports = pieces.iter().map(BakedPiece::ports).collect::<Result<Vec<_>, _>>()?;
        // Doors that want the surfaces of a side to claim the same get that from all claiming the largest.
        let all = ports.iter().flat_map(|(inputs, outputs)| inputs.iter().chain(outputs));
        let claim = all.map(Port::bytes).max().unwrap_or(0);
        let make = |ports: &[Port]| -> Result<Vec<Surface>, RuntimeError> {
            Ok(ports.iter().map(|port| engine.surface(port, claim)).collect::<Result<_, _>>()?)
        };
        let surfaces = ports.iter().map(|(inputs, outputs)| Ok([make(inputs)?, make(outputs)?]));
        Ok(Self {
            surfaces: surfaces.collect::<Result<_, RuntimeError>>()?,
            engine: Arc::clone(engine),
            pieces,
            log: Arc::default(),
            values: HashMap::from([(names::X.to_owned(), tiny::batch())]),
        })
    }

    /// Programs this process can still compile, of `budget` and of what the engine allows.
    pub(super) fn compiles_left(&self, budget: u64) -> u64 {
        let left = self.engine.usage().compiles_left().unwrap_or(usize::MAX) as u64;
        left.min(budget.saturating_sub(self.log.compiles()))
    }

    pub(super) fn log(&self) -> &CompileLog {
        &self.log
    }

    /// The output of the last pass, if there was one.
    pub(super) fn output(&self) -> Option<&[f32]> {
        self.values.get(names::Y).map(Vec::as_slice)
    }

    /// Begins to compile kernels that hold `weights`.
    pub(super) fn compile(&self, weights: Vec<f32>) -> KernelSet {
        let (engine, pieces, log) =
            (Arc::clone(&self.engine), Arc::clone(&self.pieces), Arc::clone(&self.log));
        let (send, arrivals) = mpsc::channel();
        let compile = move || {
            let (first, second) = weights.split_at(WEIGHT);
            for piece in pieces.iter() {
                let weight = |name: &str| Some(Cow::Borrowed(if name == names::W1 { first } else { second }));
                let kernel = piece.files(&weight).and_then(|files| piece.compile(&*engine, &files, &log));
                // Nobody listens to a set that was dropped.
                if send.send(kernel).is_err() {
                    return;
                }
            }
        };
        // Without a thread nothing arrives, which whoever waits for a kernel is told.
        let thread = spawn_favoured("compile", compile).ok();
        KernelSet { ready: Vec::new(), arrivals, thread }
    }

    /// One forward and backward pass. Adds the gradient of the mean squared error to `sum` and returns the error.
    pub(super) fn pass(&mut self, kernels: &mut KernelSet, sum: &mut [f32]) -> Result<f64, TrainError> {
        let (up, down) = ([0, 1], [2, 3]);
        up.into_iter().try_for_each(|index| self.run(index, kernels))?;
        let (output, target) = (&self.values[names::Y], &self.values[names::X]);
        let error: Vec<f32> = output.iter().zip(target).map(|(y, t)| y - t).collect();
        let loss = error.iter().map(|e| f64::from(e * e)).sum::<f64>() / error.len() as f64;
        let seed = error.iter().map(|e| 2.0 * e / error.len() as f32).collect();
        self.values.insert("d_y".to_owned(), seed);
        down.into_iter().try_for_each(|index| self.run(index, kernels))?;

        let (first, second) = sum.split_at_mut(WEIGHT);
        add_product(first, &self.values["d_pre"], &self.values[names::X], DIM);
        add_product(second, &self.values["d_y"], &self.values[names::H], HIDDEN);
        Ok(loss)
    }

    fn run(&mut self, index: usize, kernels: &mut KernelSet) -> Result<(), RuntimeError> {
        let kernel = kernels.get(index)?;
        let [inputs, outputs] = &self.surfaces[index];
        for (port, surface) in kernel.inputs().iter().zip(inputs) {
            let values = &self.values[&port.name];
            surface.write(|s| copy_rows(s, values, port.shape[3], COLUMNS))?;
        }
        kernel.evaluate(&inputs.iter().collect::<Vec<_>>(), &outputs.iter().collect::<Vec<_>>())?;
        for (port, surface) in kernel.outputs().iter().zip(outputs) {
            let mut values = vec![0.0; port.shape[1] * COLUMNS];
            surface.read(|s| copy_rows(&mut values, s, COLUMNS, port.shape[3]))?;
            self.values.insert(port.name.clone(), values);
        }
        Ok(())
    }
}

/// Copies the first columns: engines take no surface as narrow as the batch, so ports are wider.
fn copy_rows(to: &mut [f32], from: &[f32], to_width: usize, from_width: usize) {
    for (to, from) in to.chunks_exact_mut(to_width).zip(from.chunks_exact(from_width)) {
        to[..COLUMNS].copy_from_slice(&from[..COLUMNS]);
    }
}

/// `dW [O, I] += dY [O, 16] · X [I, 16]ᵀ`
fn add_product(dw: &mut [f32], dy: &[f32], x: &[f32], inputs: usize) {
    for (row, dy) in dw.chunks_exact_mut(inputs).zip(dy.chunks_exact(COLUMNS)) {
        for (w, x) in row.iter_mut().zip(x.chunks_exact(COLUMNS)) {
            *w += dy.iter().zip(x).map(|(dy, x)| dy * x).sum::<f32>();
        }
    }
}

/// The four kernels with certain weights, or as many as have been compiled yet.
pub(super) struct KernelSet {
    ready: Vec<Box<dyn Kernel>>,
    arrivals: Receiver<Result<Box<dyn Kernel>, RuntimeError>>,
    thread: Option<JoinHandle<()>>,
}

impl KernelSet {
    /// A kernel, once it is there.
    fn get(&mut self, index: usize) -> Result<&mut dyn Kernel, RuntimeError> {
        while self.ready.len() <= index {
            match self.arrivals.recv() {
                Ok(kernel) => self.ready.push(kernel?),
                Err(_) => {
                    return Err(RuntimeError::Unbound { piece: "tiny", value: format!("kernel {index}") });
                }
            }
        }
        Ok(&mut *self.ready[index])
    }

    /// Waits for all kernels.
    pub(super) fn wait(&mut self) -> Result<(), RuntimeError> {
        self.get(super::settings::KERNELS as usize - 1).map(drop)
    }
}

impl Drop for KernelSet {
    fn drop(&mut self) {
        // A thread that panicked sent nothing more, which whoever waited has seen.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
