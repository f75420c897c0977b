//! Every kernel of a plan on an engine, held against the host's fp32.
//!
//! The pieces of a plan run on the host one after the other, and each of those that belong on the engine runs there, too, on
//! the same inputs: what one kernel gets wrong is not passed on to the next. Inputs and weights are numbers that fp16 holds, so
//! that what differs is the engine's arithmetic alone.

mod difference;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use ferrane_cpu::CpuEngine;
use ferrane_engine::{Engine, Kernel, Port, ReloadWay, Surface, WeightFiles, round_to_fp16};
use ferrane_mil::pass::PackedInput;
use ferrane_model::{
    LayerRole,
    plan::{ClassifierPlan, Piece, Place, Plan},
    stage::names,
};

use crate::{BakedPiece, CompileLog, RuntimeError, Weights, WeightsMode, compile::streamed, packing::Part};
pub use difference::{Difference, ULP_BUCKETS};

/// How one kernel did.
#[derive(Clone, Debug)]
pub struct KernelTest {
    /// The piece.
    pub kernel: &'static str,
    /// The layer whose weights it had; none of a piece of the head.
    pub layer: Option<usize>,
    /// How far each output is from the host's, or the engine's refusal.
    pub result: Result<Vec<(String, Difference)>, String>,
}

impl KernelTest {
    /// True when the engine computed it, and no output is further off than fp16 can be.
    pub fn passes(&self) -> bool {
        self.result.as_ref().is_ok_and(|outputs| outputs.iter().all(|(_, difference)| difference.passes()))
    }
}

/// Tests every kernel of `plan` with its weights in `mode`, those of each of `layers` and of the head. `tell` is called with
/// each as it is done. Refusals of the engine are results.
///
/// # Errors
/// When the host cannot run a piece, which is a defect, or the model cannot be planned for the engine.
pub fn selftest(
    engine: &Arc<dyn Engine>,
    weights: &Weights,
    plan: &Plan,
    mode: WeightsMode,
    layers: Range<usize>,
    mut tell: impl FnMut(&KernelTest),
) -> Result<Vec<KernelTest>, RuntimeError> {
    let (engine, host) = (Arc::clone(engine), CpuEngine::new(1));
    let mut bench = Bench { engine, host, weights, layer: 0, serving_all: HashMap::new() };
    let layer: Vec<&Piece> = plan.layer.forward.iter().chain(&plan.layer.backward).collect();
    let loss = match &plan.head.classifier {
        ClassifierPlan::Gradients { loss, .. } => Some(&**loss),
        ClassifierPlan::Host | ClassifierPlan::Probabilities => None,
    };
    let head: Vec<&Piece> = loss.into_iter().chain(plan.head.pieces()).collect();
    let mut tests = Vec::new();
    for (number, pieces) in layers.map(|n| (Some(n), &layer)).chain([(None, &head)]) {
        bench.layer = number.unwrap_or_default();
        let mut values = Values::default();
        for piece in pieces {
            let expected = bench.on_host(piece, &mut values)?;
            if piece.place == Place::Engine {
                let found = bench.on_engine(piece, mode, &values);
                let test = KernelTest {
                    kernel: piece.name,
                    layer: number,
                    result: found.map_err(|error| error.to_string()).map(|found| compared(&expected, &found)),
                };
                tell(&test);
                tests.push(test);
            }
            values.by_name.extend(expected);
        }
    }
    Ok(tests)
}

/// Elements by the names of ports.
type Elements = HashMap<String, Vec<f32>>;

fn compared(expected: &Elements, found: &Elements) -> Vec<(String, Difference)> {
    let mut names: Vec<&String> = expected.keys().collect();
    names.sort();
    let none = Vec::new();
    let of = |name: &String| Difference::of(&expected[name], found.get(name).unwrap_or(&none));
    names.into_iter().map(|name| (name.clone(), of(name))).collect()
}

/// The values that pieces take from those before them, and numbers without pattern for what nobody before them made.
#[derive(Default)]
struct Values {
    by_name: Elements,
    drawn: u32,
}

impl Values {
    fn take(&mut self, port: &Port) -> &[f32] {
        let drawn = &mut self.drawn;
        // Gradients come scaled up, for the smallest products are lost on the chips, and activations small, so that what a
        // layer adds to them counts.
        let scale = if port.name.starts_with("d_") { 256.0 } else { 0.125 };
        self.by_name.entry(port.name.clone()).or_insert_with(|| {
            let mut next = || {
                *drawn = drawn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Exact in fp16, between −1 and 1.
                scale * ((*drawn >> 22) as f32 / 512.0 - 1.0)
            };
            (0..port.elements()).map(|_| next()).collect()
        })
    }
}

struct Bench<'a> {
    engine: Arc<dyn Engine>,
    host: CpuEngine,
    weights: &'a Weights,
    /// The layer whose weights are tested with.
    layer: usize,
    /// By the names of their pieces.
    serving_all: HashMap<&'static str, Compiled>,
}

/// A kernel, and where inputs lie in its only one, if they share it.
struct Compiled {
    kernel: Box<dyn Kernel>,
    packed: Vec<PackedInput>,
    /// Its weights are inputs, so that it serves all layers.
    serves_all: bool,
}

impl Bench<'_> {
    /// The outputs of a piece in fp32, rounded to what surfaces of the engine hold.
    fn on_host(&self, piece: &Piece, values: &mut Values) -> Result<Elements, RuntimeError> {
        let (lowered, _) = streamed(piece, self.host.profile())?;
        let mut kernel = self.host.compile(&lowered.program, &WeightFiles::none())?;
        let inputs = kernel.inputs().iter().map(|port| {
            let surface = self.host.surface(port, port.bytes())?;
            let weight = self.weight(&port.name);
            let given = weight.as_deref().unwrap_or_else(|| values.take(port));
            surface.write(|elements| elements.copy_from_slice(&rows(given, port.shape)))?;
            Ok(surface)
        });
        let inputs = inputs.collect::<Result<Vec<_>, RuntimeError>>()?;
        let mut outputs = evaluate(&self.host, &mut *kernel, &inputs, 0)?;
        outputs.values_mut().for_each(|output| round_to_fp16(output));
        Ok(outputs)
    }

    /// The outputs of the same piece on the engine.
    fn on_engine(
        &mut self,
        piece: &Piece,
        mode: WeightsMode,
        values: &Values,
    ) -> Result<Elements, RuntimeError> {
        let compiled = self.serving_all.remove(piece.name);
        let mut compiled = compiled.map_or_else(|| self.compile(piece, mode), Ok)?;
        let outputs = self.run(piece, &mut compiled, values)?;
        if compiled.serves_all {
            self.serving_all.insert(piece.name, compiled);
        }
        Ok(outputs)
    }

    fn run(&self, piece: &Piece, compiled: &mut Compiled, values: &Values) -> Result<Elements, RuntimeError> {
        let (engine, Compiled { kernel, packed, .. }) = (&*self.engine, compiled);
        let ports = kernel.inputs().iter().chain(kernel.outputs());
        let most = match engine.profile().ports.equal_allocation.value {
            true => ports.map(Port::bytes).max().unwrap_or(0),
            false => 0,
        };
        let given = |name: &str, shape: [usize; 4]| {
            let value = self.weight(name).or_else(|| values.by_name.get(name).cloned());
            let unbound = || RuntimeError::Unbound { piece: piece.name, value: name.to_owned() };
            Ok::<_, RuntimeError>(rows(&value.ok_or_else(unbound)?, shape))
        };
        let mut inputs = Vec::new();
        for port in kernel.inputs() {
            let surface = engine.surface(port, most.max(port.bytes()))?;
            if packed.is_empty() {
                let given = given(&port.name, port.shape)?;
                surface.write(|elements| elements.copy_from_slice(&given))?;
            }
            for part in packed.iter() {
                let given = given(&part.name, part.shape)?;
                Part::of(part).put(&given, &surface)?;
            }
            inputs.push(surface);
        }
        evaluate(engine, &mut **kernel, &inputs, most)
    }

    fn compile(&self, piece: &Piece, mode: WeightsMode) -> Result<Compiled, RuntimeError> {
        let engine = &*self.engine;
        let baked = match mode {
            WeightsMode::Streamed => None,
            WeightsMode::Baked | WeightsMode::Reload => {
                Some(BakedPiece::new(piece.name, &piece.function, engine.profile())?)
            }
        };
        let Some(baked) = baked.filter(BakedPiece::has_weights) else {
            let (lowered, _) = streamed(piece, engine.profile())?;
            let kernel = engine.compile(&lowered.program, &WeightFiles::none())?;
            return Ok(Compiled { kernel, packed: lowered.packed, serves_all: true });
        };
        let files = |factor: f32| {
            baked.files(&|name| {
                let values = self.weight(name)?;
                Some(Cow::Owned(values.iter().map(|value| factor * value).collect()))
            })
        };
        let log = CompileLog::default();
        // In mode reload, whoever does not heed it computes with the opposite.
        let first = if mode == WeightsMode::Reload { -1.0 } else { 1.0 };
        let mut kernel = baked.compile(engine, &files(first)?, &log)?;
        if mode == WeightsMode::Reload {
            kernel.reload(&files(1.0)?, ReloadWay::Files)?;
        }
        Ok(Compiled { kernel, packed: baked.packed().to_vec(), serves_all: false })
    }

    /// A weight of the layer or the head, as fp16 holds it.
    fn weight(&self, name: &str) -> Option<Vec<f32>> {
        let table = self.weights.table();
        let role = LayerRole::ALL.into_iter().find(|role| role.weight_name() == name);
        let param = match role {
            Some(role) => table.layer(self.layer, role),
            None if name == names::FINAL_NORM => table.final_norm(),
            None if name == names::CLASSIFIER => table.classifier(),
            None => return None,
        };
        let mut values = self.weights.arena().read()[param.range()].to_vec();
        round_to_fp16(&mut values);
        Some(values)
    }
}

/// Values as a port has them. One that was widened has room behind each row of them.
fn rows(values: &[f32], [_, channels, _, width]: [usize; 4]) -> Vec<f32> {
    let mut wide = vec![0.0; channels * width];
    let row = (values.len() / channels.max(1)).clamp(1, width);
    for (to, from) in wide.chunks_exact_mut(width).zip(values.chunks_exact(row)) {
        to[..row].copy_from_slice(from);
    }
    wide
}

fn evaluate(
    engine: &dyn Engine,
    kernel: &mut dyn Kernel,
    inputs: &[Surface],
    allocation: usize,
) -> Result<Elements, RuntimeError> {
    let surface = |port: &Port| engine.surface(port, allocation.max(port.bytes()));
    let outputs = kernel.outputs().iter().map(surface).collect::<Result<Vec<_>, _>>()?;
    kernel.evaluate(&inputs.iter().collect::<Vec<_>>(), &outputs.iter().collect::<Vec<_>>())?;
    let read = |(port, surface): (&Port, &Surface)| Ok((port.name.clone(), surface.read(<[f32]>::to_vec)?));
    kernel.outputs().iter().zip(&outputs).map(read).collect()
}
