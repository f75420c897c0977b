//! A program as the framework holds it: compiled, loaded, evaluated, unloaded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use ferrane_engine::{Engine, EngineError, Kernel, Port, ReloadWay, Surface, WeightFiles};
use ferrane_mil::{DType, Verified, blob, text, verify};
use ferrane_sim::faults::FaultPlan;
use half::f16;

use super::request::{Bound, Request};
use super::{LOADED, Refusal, chip};
use crate::foundation;
use crate::iosurface::IoSurface;
use crate::world::{self, Fault};

/// The state of a model.
#[derive(Default)]
pub(super) struct Program(Mutex<State>);

#[derive(Default)]
struct State {
    kernel: Option<Box<dyn Kernel>>,
    loaded: bool,
}

impl Drop for Program {
    fn drop(&mut self) {
        foundation::leave_behind();
    }
}

/// Status of an evaluation that was refused.
const INFERENCE: &str = "Program Inference error (status=0x1d)";

impl Program {
    /// Compiles the program in `folder`, which holds `model.mil` and the files of its weights, and leaves behind what the
    /// compiler leaves.
    pub(super) fn compile(&self, folder: &Path) -> Result<(), Refusal> {
        let refuse =
            |words| Refusal { cause: Some(words), ..Refusal::new(1, "_ANECompiler : ANECCompile() FAILED") };
        if world::fails(Fault::Compile) {
            return Err(refuse("a fault on purpose".into()));
        }
        let file = folder.join("model.mil");
        let text = fs::read_to_string(&file).map_err(|e| refuse(format!("{}: {e}", file.display())))?;
        let program = text::parse(&text).map_err(|e| refuse(e.to_string()))?.program;
        if program.attrs.iter().all(|(name, _)| name != "buildInfo") {
            return Err(Refusal::new(1, "InvalidMILProgram: there is no buildInfo"));
        }
        let program = verify(program).map_err(|e| refuse(format!("{e:?}")))?;
        let weights = in_folder(&program, folder).map_err(refuse)?;
        check_name(folder, text, &weights);
        let kernel = chip().compile(&program, &weights).map_err(|e| refuse(said(&e)))?;
        let data = weights.only().map_or(&[][..], |file| file);
        let compiled = remember(Compiled { program, weights: weights.clone() });
        for (left, bytes) in [("data", data), ("net.plist", compiled.as_bytes())] {
            fs::write(folder.join(left), bytes).map_err(|e| refuse(e.to_string()))?;
        }
        self.state().kernel = Some(kernel);
        Ok(())
    }

    /// Loads what was compiled in `folder`, by this model or, with another `data`, by one before it.
    pub(super) fn load(&self, folder: &Path) -> Result<(), Refusal> {
        let refuse = |words: String| Refusal::new(4, format!("Program load failure (0x50004): {words}"));
        let mut state = self.state();
        assert!(!state.loaded, "a model is loaded once");
        if world::fails(Fault::Load) {
            return Err(refuse("a fault on purpose".into()));
        }
        let name = fs::read_to_string(folder.join("net.plist")).map_err(|e| refuse(e.to_string()))?;
        let compiled = remembered(&name).ok_or_else(|| refuse(format!("{name} was never compiled")))?;
        match &mut state.kernel {
            Some(kernel) => {
                let files = in_folder(&compiled.program, folder).map_err(refuse)?;
                kernel.reload(&files, ReloadWay::Files).map_err(|e| refuse(said(&e)))?;
            }
            none => *none = Some(compiled.with_data(folder).map_err(refuse)?),
        }
        state.loaded = true;
        LOADED.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    pub(super) fn unload(&self) -> Result<(), Refusal> {
        let mut state = self.state();
        assert!(state.loaded, "only what is loaded is unloaded");
        if world::fails(Fault::Unload) {
            return Err(Refusal::new(5, "Program unload failure"));
        }
        state.loaded = false;
        LOADED.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }

    pub(super) fn evaluate(&self, request: &Request) -> Result<(), Refusal> {
        let mut state = self.state();
        assert!(state.loaded, "only what is loaded is evaluated");
        let kernel = state.kernel.as_mut().expect("what is loaded was compiled");
        if world::fails(Fault::Evaluate) {
            return Err(Refusal::new(8, INFERENCE));
        }
        let (in_ports, out_ports) = (in_order(kernel.inputs()), in_order(kernel.outputs()));
        let inputs = surfaces(&in_ports, request.inputs())?;
        let outputs = surfaces(&out_ports, request.outputs())?;
        for (surface, bound) in inputs.iter().zip(request.inputs()) {
            copy_in(surface, bound.surface())?;
        }
        let refuse = |e: EngineError| Refusal::new(8, format!("{INFERENCE}: {}", said(&e)));
        kernel
            .evaluate(&inputs.iter().collect::<Vec<_>>(), &outputs.iter().collect::<Vec<_>>())
            .map_err(refuse)?;
        for (surface, bound) in outputs.iter().zip(request.outputs()) {
            copy_out(surface, bound.surface())?;
        }
        Ok(())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic on purpose, of an assertion above, changes nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the compiler made, by what it wrote into `net.plist`.
#[derive(Clone)]
struct Compiled {
    program: Verified,
    weights: WeightFiles,
}

static COMPILED: Mutex<Vec<Compiled>> = Mutex::new(Vec::new());

fn remember(compiled: Compiled) -> String {
    let mut all = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    all.push(compiled);
    (all.len() - 1).to_string()
}

fn remembered(name: &str) -> Option<Compiled> {
    COMPILED.lock().unwrap_or_else(PoisonError::into_inner).get(name.parse::<usize>().ok()?).cloned()
}

impl Compiled {
    /// The same with the weights that `data` in `folder` holds. It is not compiled: nothing is counted.
    fn with_data(mut self, folder: &Path) -> Result<Box<dyn Kernel>, String> {
        let data = fs::read(folder.join("data")).map_err(|e| format!("data: {e}"))?;
        let path = self.weights.iter().next().map(|(path, _)| path.to_owned()).ok_or("it has no weights")?;
        let chip = chip().with_faults(FaultPlan::default());
        let mut kernel = chip.compile(&self.program, &self.weights).map_err(|e| said(&e))?;
        self.weights.insert(path, data);
        kernel.reload(&self.weights, ReloadWay::Data).map_err(|e| said(&e))?;
        Ok(kernel)
    }
}

/// The weight files of a program in its folder.
fn in_folder(program: &Verified, folder: &Path) -> Result<WeightFiles, String> {
    let mut weights = WeightFiles::none();
    for (_, blob, _) in program.main().weights() {
        let file = blob::resolve(folder, &blob.path).map_err(|e| e.to_string())?;
        weights.insert(&*blob.path, fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?);
    }
    Ok(weights)
}

/// The daemon knows programs by their folders, and for longer than there are any: it may give back an earlier one.
fn check_name(folder: &Path, text: String, weights: &WeightFiles) {
    type Content = (String, Vec<Vec<u8>>);
    static SEEN: Mutex<BTreeMap<PathBuf, Content>> = Mutex::new(BTreeMap::new());
    let content: Content = (text, weights.iter().map(|(_, bytes)| bytes.to_vec()).collect());
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let first = seen.entry(folder.to_owned()).or_insert_with(|| content.clone());
    assert!(*first == content, "{} was the folder of another program", folder.display());
}

/// The simulator's words for the cause, without its own name.
fn said(error: &EngineError) -> String {
    match error {
        EngineError::Compile { reason, .. } | EngineError::Evaluate { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

/// The ports in the order in which surfaces are bound to them.
fn in_order(ports: &[Port]) -> Vec<Port> {
    let mut ports = ports.to_vec();
    if chip().profile().ports.alphabetical.value {
        ports.sort_by(|a, b| a.name.cmp(&b.name));
    }
    ports
}

/// Surfaces of the simulator, as large as those of the request.
fn surfaces(ports: &[Port], bound: &[Bound]) -> Result<Vec<Surface>, Refusal> {
    if ports.len() != bound.len() {
        let words = format!("{INFERENCE}: {} surfaces for {} ports", bound.len(), ports.len());
        return Err(Refusal::new(8, words));
    }
    let made = |(port, bound): (&Port, &Bound)| {
        Surface::host(&port.name, port.shape, port.dtype, bound.surface().bytes())
            .map_err(|e| Refusal::new(8, format!("{INFERENCE}: {e}")))
    };
    ports.iter().zip(bound).map(made).collect()
}

fn locked() -> Refusal {
    Refusal::new(8, format!("{INFERENCE}: a surface is locked"))
}

fn copy_in(surface: &Surface, io: &IoSurface) -> Result<(), Refusal> {
    let half = surface.dtype() == DType::Fp16;
    let copy = |elements: &mut [f32], bytes: &[u8]| match half {
        true => elements
            .iter_mut()
            .zip(bytes.as_chunks().0)
            .for_each(|(e, &b)| *e = f16::from_le_bytes(b).to_f32()),
        false => elements.iter_mut().zip(bytes.as_chunks().0).for_each(|(e, &b)| *e = f32::from_le_bytes(b)),
    };
    let copied = io.with(|bytes| surface.write(|elements| copy(elements, bytes)));
    copied.ok_or_else(locked)?.map_err(|e| Refusal::new(8, e.to_string()))
}

fn copy_out(surface: &Surface, io: &IoSurface) -> Result<(), Refusal> {
    let half = surface.dtype() == DType::Fp16;
    let copy = |elements: &[f32], bytes: &mut [u8]| match half {
        true => elements
            .iter()
            .zip(bytes.as_chunks_mut().0)
            .for_each(|(e, b)| *b = f16::from_f32(*e).to_le_bytes()),
        false => elements.iter().zip(bytes.as_chunks_mut().0).for_each(|(e, b)| *b = e.to_le_bytes()),
    };
    let copied = io.with(|bytes| surface.read(|elements| copy(elements, bytes)));
    copied.ok_or_else(locked)?.map_err(|e| Refusal::new(8, e.to_string()))
}
