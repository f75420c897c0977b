//! The engine `sim`.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use ferrane_cpu::{HostKernel, Options};
use ferrane_engine::{
    Clock, Engine, EngineError, Kernel, OpSaturation, Port, Profile, Status, Surface, SurfaceError, Usage,
    WeightFiles, cost,
};
use ferrane_mil::{Program, Verified, pass::decompose_attention, verify};

use crate::{numerics::Faithful, rules, silent};

/// How the simulated engine computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numerics {
    /// Every op's result is rounded to its MIL type, ties to even; sums are fp32.
    #[default]
    Fast,
    /// As the chip was measured to compute: [`Faithful`].
    Faithful,
}

/// A simulated Neural Engine with the limits, quirks and slots of a profile.
#[derive(Clone, Debug)]
pub struct SimEngine {
    profile: Arc<Profile>,
    threads: usize,
    numerics: Numerics,
    used: Arc<Used>,
}

/// What the process has used of the engine.
#[derive(Debug, Default)]
struct Used {
    compiles: AtomicUsize,
    loaded: AtomicUsize,
    clock: Mutex<Clock>,
}

impl Used {
    fn pass(&self, time: Clock) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }
}

impl SimEngine {
    /// A simulation of `profile` computed on `threads` threads. Clones are of one process: they share its slots and count
    /// of compiles.
    pub fn new(profile: Profile, threads: usize) -> Self {
        Self { profile: Arc::new(profile), threads, numerics: Numerics::Fast, used: Arc::default() }
    }

    /// The same engine, computing otherwise.
    #[must_use]
    pub fn with_numerics(self, numerics: Numerics) -> Self {
        Self { numerics, ..self }
    }

    /// What to know of its numerics before trusting them, for a chip whose arithmetic is not known well enough.
    pub fn caveat(&self) -> Option<&'static str> {
        match self.numerics {
            Numerics::Fast => None,
            Numerics::Faithful => Faithful::caveat(&self.profile),
        }
    }

    fn title(&self) -> String {
        format!("sim ({})", self.profile.name)
    }

    /// Counts a compile, or refuses it as one too many for the process.
    fn count_compile(&self, program: &str) -> Result<(), EngineError> {
        let before = self.used.compiles.fetch_add(1, Ordering::Relaxed);
        match self.usage().max_compiles {
            Some(most) if before >= most => Err(EngineError::Compile {
                engine: self.title(),
                program: program.into(),
                reason: format!(
                    "ANECCompile() FAILED: this process has compiled {most} programs, which is all it can; go on in a \
                     new process"
                ),
            }),
            _ => Ok(()),
        }
    }

    /// What computes the program as the chip does, its silent quirks included.
    fn kernel(&self, program: &Verified, weights: &WeightFiles) -> Result<HostKernel, EngineError> {
        let refuse = |reason: String| EngineError::Compile {
            engine: self.title(),
            program: program.main().name.clone(),
            reason,
        };
        let mut function = silent::rewrite(program.main(), &self.profile);
        let numerics = match self.numerics {
            Numerics::Fast => ferrane_cpu::Numerics::Declared,
            Numerics::Faithful => {
                function = decompose_attention(&function).map_err(|e| refuse(e.to_string()))?;
                ferrane_cpu::Numerics::Arithmetic(Arc::new(Faithful::of(&self.profile)))
            }
        };
        let program = Program { functions: vec![function], ..program.program().clone() };
        let program = verify(program).map_err(|errors| refuse(joined(&errors)))?;
        let options = Options { numerics, threads: self.threads };
        HostKernel::compile(&self.title(), &program, weights, options)
    }

    /// Loads a compiled program; once more if it fails, as a slot may just be coming free.
    fn load(&self, program: &str) -> Result<Slot, EngineError> {
        self.take_slot(program).or_else(|_| self.take_slot(program))
    }

    fn take_slot(&self, program: &str) -> Result<Slot, EngineError> {
        let slot = Slot(Arc::clone(&self.used));
        let before = self.used.loaded.fetch_add(1, Ordering::Relaxed);
        match self.usage().slots {
            Some(slots) if before >= slots => Err(EngineError::Load {
                engine: self.title(),
                program: program.into(),
                status: Status::LOAD,
                reason: format!("all {slots} program slots are taken; drop kernels that are not needed"),
            }),
            _ => Ok(slot),
        }
    }
}

fn joined(errors: &[impl ToString]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A loaded program's slot, free again when dropped.
struct Slot(Arc<Used>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.loaded.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engine for SimEngine {
    fn name(&self) -> &str {
        "sim"
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn surface(&self, port: &Port, allocation: usize) -> Result<Surface, SurfaceError> {
        Surface::host(&port.name, port.shape, port.dtype, allocation)
    }

    fn compile(&self, program: &Verified, weights: &WeightFiles) -> Result<Box<dyn Kernel>, EngineError> {
        rules::compile(program, &self.profile)?;
        let name = program.main().name.clone();
        self.count_compile(&name)?;
        let kernel = self.kernel(program, weights)?;
        let slot = self.load(&name)?;
        // A profile need not have the figures of the cost model.
        let cost = cost::estimate(program.main(), &self.profile).ok();
        self.used.pass(cost.as_ref().map(Clock::of_compile).unwrap_or_default());
        Ok(Box::new(SimKernel {
            input_binding: rules::binding(kernel.inputs(), &self.profile),
            output_binding: rules::binding(kernel.outputs(), &self.profile),
            profile: Arc::clone(&self.profile),
            name,
            kernel,
            evaluation: cost.as_ref().map(Clock::of_evaluation).unwrap_or_default(),
            slot,
        }))
    }

    fn usage(&self) -> Usage {
        let limits = &self.profile.limits;
        Usage {
            compiles: self.used.compiles.load(Ordering::Relaxed),
            max_compiles: limits.compiles.as_ref().map(|most| most.value),
            loaded: self.used.loaded.load(Ordering::Relaxed),
            slots: Some(limits.slots.value),
        }
    }

    fn clock(&self) -> Option<Clock> {
        let clock = *self.used.clock.lock().unwrap_or_else(PoisonError::into_inner);
        cost::is_modelled(&self.profile).then_some(clock)
    }
}

struct SimKernel {
    name: String,
    profile: Arc<Profile>,
    kernel: HostKernel,
    /// For each port, the surface that is bound to it.
    input_binding: Vec<usize>,
    output_binding: Vec<usize>,
    /// What one evaluation takes.
    evaluation: Clock,
    slot: Slot,
}

impl Kernel for SimKernel {
    fn inputs(&self) -> &[Port] {
        self.kernel.inputs()
    }

    fn outputs(&self) -> &[Port] {
        self.kernel.outputs()
    }

    fn evaluate(&mut self, inputs: &[&Surface], outputs: &[&Surface]) -> Result<(), EngineError> {
        let inputs = bound(inputs, &self.input_binding);
        let outputs = bound(outputs, &self.output_binding);
        rules::surfaces(&self.name, "input", self.kernel.inputs(), &inputs, &self.profile)?;
        rules::surfaces(&self.name, "output", self.kernel.outputs(), &outputs, &self.profile)?;
        self.kernel.evaluate(&inputs, &outputs)?;
        self.slot.0.pass(self.evaluation);
        Ok(())
    }

    fn take_saturation(&mut self) -> Vec<OpSaturation> {
        self.kernel.take_saturation()
    }

    fn reload(&mut self, weights: &WeightFiles) -> Result<(), EngineError> {
        match self.profile.quirk(WEIGHTS_STAY) {
            // Weights are part of the compiled program: nobody reads the new files.
            Some(_) => Ok(self.kernel.check_weights(weights)?),
            None => self.kernel.reload(weights),
        }
    }
}

/// The quirk by which new weight files change nothing.
const WEIGHTS_STAY: &str = "weight-file-ignored";

/// The surfaces in port order. A wrong number of them is left to the rules to refuse.
fn bound<'a>(surfaces: &[&'a Surface], binding: &[usize]) -> Vec<&'a Surface> {
    if surfaces.len() != binding.len() {
        return surfaces.to_vec();
    }
    binding.iter().map(|&i| surfaces[i]).collect()
}
