//! The engine `sim`.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ferrane_cpu::{HostKernel, Numerics, Options};
use ferrane_engine::{Engine, EngineError, Kernel, Port, Profile, Surface, SurfaceError, WeightFiles};
use ferrane_mil::Verified;

use crate::rules;

/// A simulated Neural Engine with the limits, quirks and slots of a profile.
#[derive(Clone, Debug)]
pub struct SimEngine {
    profile: Arc<Profile>,
    threads: usize,
    /// Programs loaded now.
    loaded: Arc<AtomicUsize>,
}

impl SimEngine {
    /// A simulation of `profile` computed on `threads` threads. Clones share its slots.
    pub fn new(profile: Profile, threads: usize) -> Self {
        Self { profile: Arc::new(profile), threads, loaded: Arc::default() }
    }

    /// Programs loaded now.
    pub fn loaded(&self) -> usize {
        self.loaded.load(Ordering::Relaxed)
    }

    fn take_slot(&self, program: &str) -> Result<Slot, EngineError> {
        let slots = self.profile.limits.slots.value;
        let slot = Slot(Arc::clone(&self.loaded));
        if self.loaded.fetch_add(1, Ordering::Relaxed) >= slots {
            return Err(EngineError::Compile {
                engine: format!("sim ({})", self.profile.name),
                program: program.into(),
                reason: format!(
                    "ANECCompile() FAILED: all {slots} program slots of the process are taken; drop kernels, or \
                     restart the process"
                ),
            });
        }
        Ok(slot)
    }
}

/// A loaded program's slot, free again when dropped.
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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
        let slot = self.take_slot(&name)?;
        let options = Options { numerics: Numerics::Declared, threads: self.threads };
        let kernel = HostKernel::compile(&format!("sim ({})", self.profile.name), program, weights, options)?;
        Ok(Box::new(SimKernel {
            input_binding: rules::binding(kernel.inputs(), &self.profile),
            output_binding: rules::binding(kernel.outputs(), &self.profile),
            profile: Arc::clone(&self.profile),
            name,
            kernel,
            _slot: slot,
        }))
    }
}

struct SimKernel {
    name: String,
    profile: Arc<Profile>,
    kernel: HostKernel,
    /// For each port, the surface that is bound to it.
    input_binding: Vec<usize>,
    output_binding: Vec<usize>,
    _slot: Slot,
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
        self.kernel.evaluate(&inputs, &outputs)
    }
}

/// The surfaces in port order. A wrong number of them is left to the rules to refuse.
fn bound<'a>(surfaces: &[&'a Surface], binding: &[usize]) -> Vec<&'a Surface> {
    if surfaces.len() != binding.len() {
        return surfaces.to_vec();
    }
    binding.iter().map(|&i| surfaces[i]).collect()
}
