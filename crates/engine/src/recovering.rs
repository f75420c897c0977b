//! An engine whose kernels survive what another try cures.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrane_mil::Verified;

use crate::{
    Clock, Engine, EngineError, Kernel, Port, Profile, Remark, RemarkKind, Surface, SurfaceError, Usage,
    WeightFiles,
};

/// Another engine, tried again where it fails: a program is compiled a second time; an evaluation is run a second time, and
/// then once more by a kernel compiled anew, which also brings back what a restarted daemon has dropped.
///
/// An evaluation never changes its inputs, so one that succeeds after all gives the bits it would have given at once.
/// Every failure and every success after it is a [`Remark`].
pub struct Recovering {
    inner: Arc<dyn Engine>,
    log: Log,
}

type Log = Arc<Mutex<Vec<Remark>>>;

impl Recovering {
    /// An engine that tries again what `inner` fails to do.
    pub fn new(inner: Arc<dyn Engine>) -> Self {
        Self { inner, log: Log::default() }
    }
}

fn entries(log: &Log) -> MutexGuard<'_, Vec<Remark>> {
    // A log is good however far its writer came.
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(log: &Log, kind: RemarkKind, program: &str, message: impl ToString) {
    entries(log).push(Remark { kind, program: program.into(), message: message.to_string() });
}

impl Engine for Recovering {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    fn surface(&self, port: &Port, allocation: usize) -> Result<Surface, SurfaceError> {
        self.inner.surface(port, allocation)
    }

    fn compile(&self, program: &Verified, weights: &WeightFiles) -> Result<Box<dyn Kernel>, EngineError> {
        let kernel = compile(&*self.inner, &self.log, program, weights)?;
        Ok(Box::new(RecoveringKernel {
            inputs: kernel.inputs().to_vec(),
            outputs: kernel.outputs().to_vec(),
            kernel: Some(kernel),
            engine: Arc::clone(&self.inner),
            log: Arc::clone(&self.log),
            program: program.clone(),
            weights: weights.clone(),
            reloaded: None,
        }))
    }

    fn reads_host_memory(&self) -> bool {
        self.inner.reads_host_memory()
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn clock(&self) -> Option<Clock> {
        self.inner.clock()
    }

    fn remarks(&self) -> Vec<Remark> {
        let mut all = self.inner.remarks();
        all.append(&mut entries(&self.log));
        all
    }
}

/// Compiles, and once more if the compiler refuses. Loading is the engine's own to try again.
fn compile(
    engine: &dyn Engine,
    log: &Log,
    program: &Verified,
    weights: &WeightFiles,
) -> Result<Box<dyn Kernel>, EngineError> {
    let first = match engine.compile(program, weights) {
        Err(error @ EngineError::Compile { .. }) => error,
        other => return other,
    };
    let kernel = engine.compile(program, weights)?;
    let name = &program.main().name;
    note(log, RemarkKind::Fault, name, first);
    note(log, RemarkKind::Recovery, name, "compiled at the second try");
    Ok(kernel)
}

struct RecoveringKernel {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// None once compiling it anew has failed.
    kernel: Option<Box<dyn Kernel>>,
    engine: Arc<dyn Engine>,
    log: Log,
    program: Verified,
    /// What it was compiled with.
    weights: WeightFiles,
    /// What was last put under it.
    reloaded: Option<WeightFiles>,
}

impl RecoveringKernel {
    fn name(&self) -> &str {
        &self.program.main().name
    }

    /// The kernel, compiled anew if there is none, in the state its predecessor had.
    fn kernel(&mut self) -> Result<&mut Box<dyn Kernel>, EngineError> {
        let kernel = match self.kernel.take() {
            Some(kernel) => kernel,
            None => {
                let mut kernel = compile(&*self.engine, &self.log, &self.program, &self.weights)?;
                if let Some(weights) = &self.reloaded {
                    kernel.reload(weights)?;
                }
                kernel
            }
        };
        Ok(self.kernel.insert(kernel))
    }
}

impl Kernel for RecoveringKernel {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn evaluate(&mut self, inputs: &[&Surface], outputs: &[&Surface]) -> Result<(), EngineError> {
        let Some(first) = failed(self.kernel()?.evaluate(inputs, outputs))? else { return Ok(()) };
        note(&self.log, RemarkKind::Fault, self.name(), first);
        let Some(second) = failed(self.kernel()?.evaluate(inputs, outputs))? else {
            note(&self.log, RemarkKind::Recovery, self.name(), "evaluated at the second try");
            return Ok(());
        };
        note(&self.log, RemarkKind::Fault, self.name(), second);
        // Dropped before its successor is compiled, for its slot may be the last.
        self.kernel = None;
        self.kernel()?.evaluate(inputs, outputs)?;
        note(&self.log, RemarkKind::Recovery, self.name(), "evaluated by a kernel compiled anew");
        Ok(())
    }

    fn reload(&mut self, weights: &WeightFiles) -> Result<(), EngineError> {
        self.kernel()?.reload(weights)?;
        self.reloaded = Some(weights.clone());
        Ok(())
    }
}

/// An evaluation's failure, if it is one that another try may cure.
fn failed(done: Result<(), EngineError>) -> Result<Option<EngineError>, EngineError> {
    match done {
        Ok(()) => Ok(None),
        Err(error @ EngineError::Evaluate { .. }) => Ok(Some(error)),
        Err(other) => Err(other),
    }
}
