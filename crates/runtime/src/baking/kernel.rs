//! Kernels that hold one layer's weights.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ferrane_engine::{Kernel, OpSaturation, Port, ReloadWay, Surface, WeightFiles};

use super::{
    BakedPiece, Bakery,
    reference::{Reference, relative_difference},
};
use crate::{RuntimeError, WeightsMode, packing::by_name};

/// A kernel of one layer. It is compiled when first needed or ahead of that by [`Ahead`](super::ahead::Ahead), and never evaluated with other
/// weights than those of now.
pub(crate) struct LayerKernel {
    bakery: Arc<Bakery>,
    piece: Arc<BakedPiece>,
    layer: usize,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// What its outputs are compared with after a reload.
    reference: Option<Arc<Reference>>,
    loaded: Mutex<Option<Loaded>>,
}

/// A kernel on the engine.
struct Loaded {
    kernel: Box<dyn Kernel>,
    version: u64,
    /// What its next evaluation has to show.
    check: Option<Check>,
}

/// What has to be seen of a kernel in mode `reload`.
enum Check {
    /// That reloading does anything.
    Trial,
    /// That it computes with the weights it was reloaded with.
    Outputs,
}

impl LayerKernel {
    pub(crate) fn new(
        bakery: &Arc<Bakery>,
        piece: &Arc<BakedPiece>,
        layer: usize,
        reference: Option<Arc<Reference>>,
    ) -> Result<Self, RuntimeError> {
        let (inputs, outputs) = piece.ports()?;
        let (bakery, piece) = (Arc::clone(bakery), Arc::clone(piece));
        Ok(Self { bakery, piece, layer, inputs, outputs, reference, loaded: Mutex::new(None) })
    }

    pub(crate) fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    pub(crate) fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Whether it has to be compiled before it can run.
    pub(crate) fn needs_compile(&self) -> bool {
        match &*self.lock() {
            None => true,
            Some(loaded) => self.bakery.mode.recompiles() && loaded.version != self.bakery.version(),
        }
    }

    /// Whether it shows if reloading works: that of the first layer does, before any other relies on it.
    pub(crate) fn is_trial(&self) -> bool {
        self.bakery.mode == WeightsMode::Reload && self.layer == 0
    }

    /// Runs it with the weights of now.
    pub(crate) fn evaluate(&self, inputs: &[&Surface], outputs: &[&Surface]) -> Result<(), RuntimeError> {
        let mut slot = self.lock();
        let loaded = self.renewed(&mut slot)?;
        loaded.kernel.evaluate(inputs, outputs)?;
        match loaded.check.take() {
            None => Ok(()),
            Some(Check::Trial) => self.try_reload(&mut *loaded.kernel, inputs, outputs),
            Some(Check::Outputs) => self.compare(inputs, outputs),
        }
    }

    /// The ops of which results saturated since this was last asked.
    pub(crate) fn take_saturation(&self) -> Vec<OpSaturation> {
        self.lock().as_mut().map_or_else(Vec::new, |loaded| loaded.kernel.take_saturation())
    }

    /// Gives it the weights of now, if it has others.
    pub(crate) fn renew(&self) -> Result<(), RuntimeError> {
        self.renewed(&mut self.lock()).map(drop)
    }

    fn renewed<'a>(&self, slot: &'a mut Option<Loaded>) -> Result<&'a mut Loaded, RuntimeError> {
        let version = self.bakery.version();
        let loaded = match slot.take() {
            Some(loaded) if loaded.version == version => loaded,
            Some(mut stale) if self.bakery.mode == WeightsMode::Reload => {
                let files = self.files(1.0)?;
                self.bakery.log.time_reload(|| stale.kernel.reload(&files, ReloadWay::Files))?;
                Loaded { version, check: Some(Check::Outputs), ..stale }
            }
            // A stale kernel has nothing more to do: it is gone before its successor takes its slot.
            _ => self.compiled(version)?,
        };
        Ok(slot.insert(loaded))
    }

    fn compiled(&self, version: u64) -> Result<Loaded, RuntimeError> {
        let kernel = self.compile(&self.files(1.0)?)?;
        Ok(Loaded { kernel, version, check: self.is_trial().then_some(Check::Trial) })
    }

    fn compile(&self, files: &WeightFiles) -> Result<Box<dyn Kernel>, RuntimeError> {
        self.piece.compile(&*self.bakery.engine, files, &self.bakery.log)
    }

    /// The layer's weight files, each weight times `factor`.
    fn files(&self, factor: f32) -> Result<WeightFiles, RuntimeError> {
        let (weights, layer) = (&self.bakery.weights, self.layer);
        let arena = weights.arena().read();
        self.piece.files(&|name| {
            let values = &arena[weights.named(name, layer)?.range()];
            Some(match factor == 1.0 {
                true => Cow::Borrowed(values),
                false => values.iter().map(|w| w * factor).collect(),
            })
        })
    }

    /// Reloads `kernel` with other weights and back, and holds its outputs against those of a kernel compiled with them.
    fn try_reload(
        &self,
        kernel: &mut dyn Kernel,
        inputs: &[&Surface],
        outputs: &[&Surface],
    ) -> Result<(), RuntimeError> {
        let (own, others) = (self.files(1.0)?, self.files(-1.0)?);
        let before = read_all(outputs)?;
        kernel.reload(&others, ReloadWay::Files)?;
        kernel.evaluate(inputs, outputs)?;
        let reloaded = read_all(outputs)?;
        self.compile(&others)?.evaluate(inputs, outputs)?;
        self.require_near(&reloaded, &read_all(outputs)?, SAME_PROGRAM)?;
        kernel.reload(&own, ReloadWay::Files)?;
        kernel.evaluate(inputs, outputs)?;
        self.require_near(&read_all(outputs)?, &before, SAME_PROGRAM)
    }

    /// Holds the outputs against what the host computes with the weights of now.
    fn compare(&self, inputs: &[&Surface], outputs: &[&Surface]) -> Result<(), RuntimeError> {
        let Some(reference) = &self.reference else { return Ok(()) };
        let given = by_name(&self.inputs, inputs, self.piece.packed())?;
        let expected = reference.outputs(&given, &self.outputs)?;
        self.require_near(&read_all(outputs)?, &expected, OTHER_ARITHMETIC)
    }

    fn require_near(&self, found: &[Vec<f32>], expected: &[Vec<f32>], most: f64) -> Result<(), RuntimeError> {
        for ((found, expected), port) in found.iter().zip(expected).zip(&self.outputs) {
            let difference = relative_difference(found, expected);
            if difference > most {
                return Err(RuntimeError::ReloadIgnored {
                    engine: self.bakery.engine.profile().to_string(),
                    piece: self.piece.name(),
                    layer: self.layer,
                    output: port.name.clone(),
                    difference,
                    most,
                });
            }
        }
        Ok(())
    }

    /// The kernel, once nobody else has it.
    fn lock(&self) -> MutexGuard<'_, Option<Loaded>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most by which outputs of the same program with the same weights may differ.
const SAME_PROGRAM: f64 = 1e-3;

/// The most by which an engine's outputs may differ from the host's: fp16 arithmetic, with gradients near its smallest
/// numbers.
const OTHER_ARITHMETIC: f64 = 0.1;

fn read_all(surfaces: &[&Surface]) -> Result<Vec<Vec<f32>>, RuntimeError> {
    Ok(surfaces.iter().map(|s| s.read(<[f32]>::to_vec)).collect::<Result<_, _>>()?)
}
