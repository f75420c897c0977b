//! An engine whose kernels survive what another try cures.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrane_mil::Verified;

use crate::{
    Clock, Engine, EngineError, Kernel, OpSaturation, Port, Profile, ReloadWay, Remark, RemarkKind, Surface,
    SurfaceError, Usage, WeightFiles,
};

/// Another engine, tried again where it fails: a program is compiled a second time; an evaluation is run a second time, then
/// by a kernel compiled anew, which also brings back what a restarted daemon has dropped, and then both once more.
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
            saturation: Vec::new(),
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

    fn with_qos(&self, class: u32) -> Option<Arc<dyn Engine>> {
        let inner = self.inner.with_qos(class)?;
        Some(Arc::new(Self { inner, log: Arc::clone(&self.log) }))
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
    /// What kernels before it saw saturate.
    saturation: Vec<OpSaturation>,
    engine: Arc<dyn Engine>,
    log: Log,
    program: Verified,
    /// What it was compiled with.
    weights: WeightFiles,
    /// What was last put under it, and how.
    reloaded: Option<(WeightFiles, ReloadWay)>,
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
                if let Some((weights, way)) = &self.reloaded {
                    kernel.reload(weights, *way)?;
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
        let mut error = match self.kernel()?.evaluate(inputs, outputs) {
            Err(error @ EngineError::Evaluate { .. }) => error,
            done => return done,
        };
        for cure in CURES {
            note(&self.log, RemarkKind::Fault, self.name(), error);
            if cure == Cure::Anew {
                // Dropped before its successor is compiled, for its slot may be the last.
                let saw = self.kernel.take().map(|mut kernel| kernel.take_saturation());
                self.saturation.extend(saw.into_iter().flatten());
            }
            error = match self.kernel()?.evaluate(inputs, outputs) {
                Ok(()) => {
                    note(&self.log, RemarkKind::Recovery, self.name(), cure.success());
                    return Ok(());
                }
                Err(error @ EngineError::Evaluate { .. }) => error,
                Err(other) => return Err(other),
            };
        }
        Err(error)
    }

    fn take_saturation(&mut self) -> Vec<OpSaturation> {
        let mut all = std::mem::take(&mut self.saturation);
        all.extend(self.kernel.iter_mut().flat_map(|kernel| kernel.take_saturation()));
        all
    }

    fn reload(&mut self, weights: &WeightFiles, way: ReloadWay) -> Result<(), EngineError> {
        self.kernel()?.reload(weights, way)?;
        self.reloaded = Some((weights.clone(), way));
        Ok(())
    }
}

/// What is done about an evaluation that failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cure {
    /// It is run again.
    Again,
    /// It is run by a kernel compiled anew.
    Anew,
}

/// In this order. Twice, for after a restart of the daemon the first two tries of every kernel are bound to fail.
const CURES: [Cure; 4] = [Cure::Again, Cure::Anew, Cure::Again, Cure::Anew];

impl Cure {
    fn success(self) -> &'static str {
        match self {
            Cure::Again => "evaluated at another try",
            Cure::Anew => "evaluated by a kernel compiled anew",
        }
    }
}
