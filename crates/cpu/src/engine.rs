//! The executor as an engine: programs on surfaces in host memory.

use std::sync::{Arc, RwLockReadGuard, RwLockWriteGuard};

use ferrane_engine::{
    Engine, EngineError, HostMemory, Kernel, OpSaturation, Port, Profile, ReloadWay, Status, Surface,
    SurfaceError, WeightFiles, WeightsError, round_to_fp16,
};
use ferrane_mil::{BlobRef, DType, TensorType, Verified};

use crate::{Executable, Numerics, Options, Weights, Workspace};

/// The engine `cpu`: fp32, no limits but memory.
#[derive(Clone, Debug)]
pub struct CpuEngine {
    profile: Arc<Profile>,
    threads: usize,
    workspace: Workspace,
}

impl CpuEngine {
    /// An engine that computes on `threads` threads.
    ///
    /// # Panics
    /// Never: the built-in profile loads, which a test of `ferrane-engine` holds.
    pub fn new(threads: usize) -> Self {
        let profile = Profile::built_in("cpu").expect("the built-in profile loads");
        Self { profile: Arc::new(profile), threads, workspace: Workspace::default() }
    }
}

impl Engine for CpuEngine {
    fn name(&self) -> &str {
        "cpu"
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn surface(&self, port: &Port, allocation: usize) -> Result<Surface, SurfaceError> {
        Surface::host(&port.name, port.shape, port.dtype, allocation)
    }

    fn compile(&self, program: &Verified, weights: &WeightFiles) -> Result<Box<dyn Kernel>, EngineError> {
        let workspace = self.workspace.clone();
        let options = Options { numerics: Numerics::Declared, threads: self.threads, workspace };
        Ok(Box::new(HostKernel::compile(self.name(), program, weights, options)?))
    }

    fn reads_host_memory(&self) -> bool {
        true
    }
}

/// A program executed on the CPU on behalf of an engine, which may have rules of its own around it.
pub struct HostKernel {
    engine: String,
    program: String,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    source: Verified,
    options: Options,
    executable: Executable,
}

impl HostKernel {
    /// Plans `program`. `engine` is named in errors.
    ///
    /// # Errors
    /// When an op has no CPU kernel, a port is not `[1, C, 1, W]`, or a weight is missing.
    pub fn compile(
        engine: &str,
        program: &Verified,
        weights: &WeightFiles,
        options: Options,
    ) -> Result<Self, EngineError> {
        let (inputs, outputs) = Port::of(program.main())?;
        let executable = executable(engine, program, weights, options.clone())?;
        Ok(Self {
            engine: engine.into(),
            program: program.main().name.clone(),
            inputs,
            outputs,
            source: program.clone(),
            options,
            executable,
        })
    }

    /// Checks that `weights` holds what the program refers to.
    ///
    /// # Errors
    /// Names a file that is missing or does not hold what the program says.
    pub fn check_weights(&self, weights: &WeightFiles) -> Result<(), WeightsError> {
        weights.check(self.source.main())
    }

    fn check(&self, ports: &[Port], surfaces: &[&Surface]) -> Result<(), EngineError> {
        let binding = |reason| EngineError::Binding { program: self.program.clone(), reason };
        if ports.len() != surfaces.len() {
            return Err(binding(format!("{} surfaces for {} ports", surfaces.len(), ports.len())));
        }
        match ports.iter().zip(surfaces).find(|(p, s)| p.shape != s.shape()) {
            Some((p, s)) => {
                let (name, wanted, given) = (&p.name, p.shape, s.shape());
                Err(binding(format!("port `{name}` is {wanted:?} but its surface {given:?}")))
            }
            None => Ok(()),
        }
    }

    /// An output in memory that another surface of this evaluation uses could not be locked.
    fn check_aliases(&self, inputs: &[&Surface], outputs: &[&Surface]) -> Result<(), EngineError> {
        let memory = |s: &Surface| s.as_host().map(|view| view.memory.clone());
        for (i, output) in outputs.iter().enumerate() {
            let Some(mine) = memory(output) else { continue };
            let others = inputs.iter().chain(&outputs[..i]);
            if others.filter_map(|s| memory(s)).any(|m| m.same(&mine)) {
                let reason = format!(
                    "output `{}` shares its memory with another surface; give it its own",
                    self.outputs[i].name
                );
                return Err(EngineError::Binding { program: self.program.clone(), reason });
            }
        }
        Ok(())
    }
}

impl Kernel for HostKernel {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn evaluate(&mut self, inputs: &[&Surface], outputs: &[&Surface]) -> Result<(), EngineError> {
        self.check(&self.inputs, inputs)?;
        self.check(&self.outputs, outputs)?;
        self.check_aliases(inputs, outputs)?;

        let sources = Sources::lock(inputs)?;
        let input_slices = sources.slices(inputs);
        let mut sinks = outputs.iter().map(|s| Sink::lock(s)).collect::<Vec<_>>();
        let mut output_slices: Vec<&mut [f32]> =
            sinks.iter_mut().zip(outputs).map(|(sink, s)| sink.slice(s)).collect();

        self.executable.run(&input_slices, &mut output_slices).map_err(|e| EngineError::Evaluate {
            engine: self.engine.clone(),
            program: self.program.clone(),
            status: Status::INFERENCE,
            reason: e.to_string(),
        })?;
        for ((port, surface), elements) in self.outputs.iter().zip(outputs).zip(output_slices) {
            if surface.dtype() == DType::Fp16 && port.dtype != DType::Fp16 {
                round_to_fp16(elements);
            }
        }
        for (sink, surface) in sinks.iter().zip(outputs) {
            sink.deliver(surface)?;
        }
        Ok(())
    }

    fn take_saturation(&mut self) -> Vec<OpSaturation> {
        self.executable.take_saturation()
    }

    /// The new weights take effect.
    fn reload(&mut self, weights: &WeightFiles, _way: ReloadWay) -> Result<(), EngineError> {
        self.executable = executable(&self.engine, &self.source, weights, self.options.clone())?;
        Ok(())
    }
}

fn executable(
    engine: &str,
    program: &Verified,
    weights: &WeightFiles,
    options: Options,
) -> Result<Executable, EngineError> {
    let function = program.main();
    weights.check(function)?;
    Executable::compile(function, &Files(weights), options).map_err(|e| EngineError::Compile {
        engine: engine.into(),
        program: function.name.clone(),
        reason: e.to_string(),
    })
}

/// Input memory, locked: each host memory once, however many surfaces view it; device memory copied out.
struct Sources<'a> {
    locked: Vec<(&'a HostMemory, RwLockReadGuard<'a, Vec<f32>>)>,
    copies: Vec<Option<Vec<f32>>>,
}

impl<'a> Sources<'a> {
    fn lock(surfaces: &[&'a Surface]) -> Result<Self, EngineError> {
        let mut locked: Vec<(&HostMemory, _)> = Vec::new();
        let mut copies = Vec::with_capacity(surfaces.len());
        for surface in surfaces {
            match surface.as_host() {
                Some(view) => {
                    if !locked.iter().any(|(memory, _)| memory.same(&view.memory)) {
                        locked.push((&view.memory, view.memory.read()));
                    }
                    copies.push(None);
                }
                None => copies.push(Some(surface.read(<[f32]>::to_vec)?)),
            }
        }
        Ok(Self { locked, copies })
    }

    fn slices(&'a self, surfaces: &[&Surface]) -> Vec<&'a [f32]> {
        let slice = |(surface, copy): (&&Surface, &'a Option<Vec<f32>>)| -> &'a [f32] {
            let view = surface.as_host();
            let found = view.and_then(|v| Some((v, self.locked.iter().find(|(m, _)| m.same(&v.memory))?)));
            match (found, copy) {
                (Some((view, (_, elements))), _) => &elements[view.range()],
                (None, Some(copy)) => copy,
                (None, None) => &[],
            }
        };
        surfaces.iter().zip(&self.copies).map(slice).collect()
    }
}

/// Output memory: host memory locked, device memory written at the end.
enum Sink<'a> {
    Locked(RwLockWriteGuard<'a, Vec<f32>>),
    Copy(Vec<f32>),
}

impl<'a> Sink<'a> {
    fn lock(surface: &'a Surface) -> Self {
        match surface.as_host() {
            Some(view) => Sink::Locked(view.memory.write()),
            None => Sink::Copy(vec![0.0; surface.elements()]),
        }
    }

    fn slice(&mut self, surface: &Surface) -> &mut [f32] {
        match (self, surface.as_host()) {
            (Sink::Locked(elements), Some(view)) => &mut elements[view.range()],
            (Sink::Locked(elements), None) => elements,
            (Sink::Copy(elements), _) => elements,
        }
    }

    fn deliver(&self, surface: &Surface) -> Result<(), SurfaceError> {
        match self {
            Sink::Locked(_) => Ok(()),
            Sink::Copy(elements) => surface.write(|e| e.copy_from_slice(elements)),
        }
    }
}

/// Weight files as the executor reads them.
struct Files<'a>(&'a WeightFiles);

impl Weights for Files<'_> {
    fn read(&self, blob: &BlobRef, ty: &TensorType) -> Option<Vec<f32>> {
        Some(self.0.chunk(blob, ty).ok()?.to_f32())
    }
}
