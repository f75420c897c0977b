//! Kernels whose weights are constants: each layer has its own, and an update makes all of them stale.
//!
//! A kernel knows the version of the weights it was compiled with and is renewed before it is evaluated with others, so
//! no stale weight can be used. A thread renews kernels ahead of that, in the order in which a step needs them: the
//! forward pass begins as soon as the first layer's are there.

mod ahead;
mod kernel;
mod piece;
mod reference;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ferrane_engine::{Engine, Usage};

use crate::{RuntimeError, WeightsMode, weights::Weights};

use ahead::Ahead;
pub(crate) use kernel::LayerKernel;
pub use piece::{BakedPiece, CompileLog};
pub(crate) use reference::Reference;

/// What the kernels of all layers share.
pub(crate) struct Bakery {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) weights: Weights,
    pub(crate) mode: WeightsMode,
    pub(crate) log: Arc<CompileLog>,
    /// Counts updates of the weights: a kernel of another version is stale.
    version: AtomicU64,
}

impl Bakery {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        weights: Weights,
        mode: WeightsMode,
        log: Arc<CompileLog>,
    ) -> Self {
        Self { engine, weights, mode, log, version: AtomicU64::new(0) }
    }

    /// Makes all kernels stale.
    pub(crate) fn weights_changed(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }
}

/// All kernels of a model that hold weights.
pub(crate) struct Baking {
    bakery: Arc<Bakery>,
    /// In the order in which a step needs them.
    kernels: Vec<Arc<LayerKernel>>,
    ahead: Option<Ahead>,
    /// The version that [`Baking::begin`] last began with.
    begun: Option<u64>,
}

impl Baking {
    pub(crate) fn new(bakery: Arc<Bakery>, kernels: Vec<Arc<LayerKernel>>) -> Self {
        Self { bakery, kernels, ahead: None, begun: None }
    }

    /// To be called before a step: begins to renew stale kernels, if there are any.
    pub(crate) fn begin(&mut self) {
        let version = self.bakery.version();
        if self.begun != Some(version) {
            // The one before has nothing left to do; joined before another begins.
            self.ahead = None;
            self.ahead = Some(Ahead::start(self.kernels.clone()));
            self.begun = Some(version);
        }
    }

    /// Makes all kernels stale.
    pub(crate) fn weights_changed(&mut self) {
        self.ahead = None;
        self.bakery.weights_changed();
    }

    /// Programs that the next step compiles.
    pub(crate) fn compiles_due(&self) -> usize {
        let due = self.kernels.iter().filter(|k| k.needs_compile()).count();
        // Kernels that show whether reloading works are compiled twice.
        let trials = self.kernels.iter().filter(|k| k.is_trial() && k.needs_compile()).count();
        due + trials
    }

    /// Refuses a model whose kernels an engine can never hold, before anything is compiled. `shared` programs serve all
    /// layers.
    pub(crate) fn check_fits(&self, shared: usize) -> Result<(), RuntimeError> {
        let Usage { max_compiles, slots, .. } = self.bakery.engine.usage();
        let needed = shared + self.compiles_due();
        let held = shared + self.kernels.len();
        for (what, needed, most) in
            [("holds", held, slots), ("compiles in one process", needed, max_compiles)]
        {
            if let Some(most) = most.filter(|most| needed > *most) {
                let engine = self.bakery.engine.profile().to_string();
                return Err(RuntimeError::TooManyKernels {
                    mode: self.bakery.mode,
                    needed,
                    engine,
                    what,
                    most,
                });
            }
        }
        Ok(())
    }
}
