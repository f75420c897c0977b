//! The compiled function and its run.

use std::{
    mem,
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use ferrane_engine::OpSaturation;
use ferrane_mil::{BlobRef, Function, TensorType, ValueId};

use crate::{
    CompileError, RunError,
    arithmetic::{Arithmetic, Foreign},
    fold::fold,
    graph::{Graph, Site},
    lower::lower,
    memory::{Bases, Origin},
    plan::{ALIGNMENT, Plan, plan},
    scratch::Scratch,
    simd::kernels::{self, Run},
    step::{Machine, Step},
    workspace::Workspace,
};

/// How values are kept between ops.
#[derive(Clone, Debug)]
pub enum Numerics {
    /// Results of ops are fp32 whatever their MIL type.
    F32,
    /// Every result is rounded to its MIL element type, fp16 through binary16 with ties to even; sums inside an op are
    /// fp32. Inputs are taken as they are: give elements that their type can hold.
    Declared,
    /// As [`Numerics::Declared`], but fp16 results are computed by another arithmetic.
    Arithmetic(Arc<dyn Arithmetic>),
}

/// How to compile a function.
#[derive(Clone, Debug)]
pub struct Options {
    /// How values are kept between ops.
    pub numerics: Numerics,
    /// How many threads work at a time; at least one does. The thread that calls [`Executable::run`] leads a team of the rayon
    /// pool it is in, else of the global one. Results do not depend on this number.
    pub threads: usize,
    /// Where intermediate values are.
    pub workspace: Workspace,
}

impl Options {
    /// With intermediate values of its own.
    pub fn new(numerics: Numerics, threads: usize) -> Self {
        Self { numerics, threads, workspace: Workspace::default() }
    }
}

/// Elements of the constants that are in weight files.
pub trait Weights {
    /// The elements at `blob`, row-major, as fp32; `None` if there are none.
    fn read(&self, blob: &BlobRef, ty: &TensorType) -> Option<Vec<f32>>;
}

/// A function ready to run.
pub struct Executable {
    inputs: Vec<(String, usize)>,
    outputs: Vec<(String, usize)>,
    plan: Plan,
    workspace: Workspace,
    bases: Bases,
    scratch: Vec<Mutex<Scratch>>,
    tile: Run,
    arithmetic: Option<Arc<dyn Arithmetic>>,
    /// The ops, and for each how many of its results saturated.
    sites: Vec<Site>,
    saturated: Vec<AtomicU64>,
}

impl std::fmt::Debug for Executable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executable")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .field("steps", &self.plan.steps)
            .field("arena", &self.plan.arena)
            .finish_non_exhaustive()
    }
}

impl Executable {
    /// Plans `function`, which must be from a verified program, and allocates what running it needs.
    ///
    /// # Errors
    /// When an op has no kernel, a value is not a tensor of numbers, or a weight is missing.
    pub fn compile(
        function: &Function,
        weights: &dyn Weights,
        options: Options,
    ) -> Result<Self, CompileError> {
        let mut graph = lower(function, weights, &options.numerics)?;
        fold(&mut graph, &function.name, &options)?;
        let ports = |values: &[ValueId]| {
            let port = |&v: &ValueId| {
                (function.name_of(v).to_owned(), function.tensor_type(v).map_or(0, TensorType::elements))
            };
            values.iter().map(port).collect()
        };
        Self::from_graph(graph, &function.name, ports(&function.inputs), ports(&function.outputs), &options)
    }

    /// Plans a graph whose inputs and outputs have these names and numbers of elements.
    pub(crate) fn from_graph(
        graph: Graph,
        name: &str,
        inputs: Vec<(String, usize)>,
        outputs: Vec<(String, usize)>,
        options: &Options,
    ) -> Result<Self, CompileError> {
        let sites = graph.sites.clone();
        let plan = plan(graph, name)?;
        let (mut registers, mut row_registers, mut accumulator, mut product) = (0, 0, 0, 0);
        for step in &plan.steps {
            match step {
                Step::Loop(step) => {
                    let (r, rr, a) = step.scratch();
                    registers = registers.max(r);
                    row_registers = row_registers.max(rr);
                    accumulator = accumulator.max(a);
                }
                Step::Gemm(step) => product = product.max(step.scratch()),
                Step::Along(step) => product = product.max(step.scratch()),
                _ => {}
            }
        }
        let scratch = || Scratch {
            registers: vec![0.0; registers],
            row_registers: vec![0.0; row_registers],
            accumulator: vec![0.0; accumulator],
            product: vec![0.0; product],
            planes: Vec::new(),
        };
        Ok(Self {
            inputs,
            outputs,
            workspace: options.workspace.clone(),
            bases: Bases(Vec::with_capacity(plan.buffers.len())),
            scratch: (0..options.threads.max(1)).map(|_| Mutex::new(scratch())).collect(),
            tile: kernels::best(),
            arithmetic: match &options.numerics {
                Numerics::Arithmetic(arithmetic) => Some(Arc::clone(arithmetic)),
                Numerics::F32 | Numerics::Declared => None,
            },
            saturated: sites.iter().map(|_| AtomicU64::new(0)).collect(),
            sites,
            plan,
        })
    }

    /// Bytes of the arena of intermediate values.
    pub fn arena_bytes(&self) -> usize {
        self.plan.arena * size_of::<f32>()
    }

    /// Runs the function. Inputs and outputs are in declared order, row-major.
    ///
    /// # Errors
    /// When the number of slices or a length is wrong; nothing has run then.
    pub fn run(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), RunError> {
        check("input", &self.inputs, inputs.iter().map(|s| s.len()))?;
        check("output", &self.outputs, outputs.iter().map(|s| s.len()))?;
        let mut arena = self.workspace.take(self.plan.arena + ALIGNMENT);
        self.locate(&mut arena, inputs, outputs);
        ferrane_team::gather(self.scratch.len(), || self.steps());
        self.workspace.put_back(arena);
        Ok(())
    }

    /// Fills in the addresses of all buffers. The first element used of the arena is aligned to a cache line.
    fn locate(&mut self, arena: &mut [f32], inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
        let arena = arena.as_mut_ptr();
        let aligned = arena.align_offset(ALIGNMENT * size_of::<f32>()).min(ALIGNMENT);
        self.bases.0.clear();
        for buffer in &self.plan.buffers {
            self.bases.0.push(match buffer.origin {
                Origin::Input(i) => inputs[i].as_ptr().cast_mut(),
                Origin::Output(i) => outputs[i].as_mut_ptr(),
                Origin::Constant(i) => self.plan.constants[i].as_ptr().cast_mut(),
                Origin::Arena(at) => arena.wrapping_add(aligned + at),
            });
        }
    }

    fn steps(&mut self) {
        let foreign = self.arithmetic.as_deref().map(|a| Foreign::new(a, &self.saturated));
        let machine = Machine { tile: self.tile, foreign };
        for step in &self.plan.steps {
            step.run(&self.bases, &self.scratch, machine);
        }
    }

    /// The ops of which results saturated since this was last asked. Only an [`Arithmetic`] counts them.
    pub fn take_saturation(&mut self) -> Vec<OpSaturation> {
        let counts = self.sites.iter().zip(&mut self.saturated);
        counts
            .map(|(site, count)| (site, mem::take(count.get_mut())))
            .filter(|(_, saturated)| *saturated > 0)
            .map(|(Site { value, op }, saturated)| OpSaturation { value: value.clone(), op: *op, saturated })
            .collect()
    }
}

fn check(
    side: &'static str,
    ports: &[(String, usize)],
    given: impl ExactSizeIterator<Item = usize>,
) -> Result<(), RunError> {
    if given.len() != ports.len() {
        return Err(RunError::Count { side, expected: ports.len(), given: given.len() });
    }
    for ((name, expected), given) in ports.iter().zip(given) {
        if *expected != given {
            return Err(RunError::Length { side, name: name.clone(), expected: *expected, given });
        }
    }
    Ok(())
}
