//! What a program costs on a chip, modelled: time, energy, and the time to compile it.
//!
//! One evaluation costs the dispatch, then the traffic of its surfaces, then its ops one after the other. An op takes as
//! long as the slowest of what it needs: the multiply-accumulate array, the elementwise engine, or memory (weights, and
//! intermediate values that exceed the working set). Every rate is a figure of the [`Profile`], with its source; those
//! that nobody published as such were fitted by `tools/cost-model/fit.py` to points that somebody did.
//!
//! Nothing here is measured: [`Cost::confidence`] says how sure the weakest figure is that matters.

mod compile;
mod rates;
mod work;

use ferrane_mil::{CallError, Function, Opcode};

use crate::{Confidence, Profile};
use rates::Rates;
use work::{Unit, Work};

/// Why there is no estimate.
#[derive(Debug, thiserror::Error)]
pub enum CostError {
    /// The profile lacks a figure the model needs.
    #[error(
        "profile `{profile}` has no {key}, which the cost model needs; only profiles of Neural Engines have it"
    )]
    Missing {
        /// The profile.
        profile: String,
        /// The dotted key.
        key: &'static str,
    },
    /// An op whose work cannot be told.
    #[error("the cost of `{result}` in `{function}`: {source}")]
    Op {
        /// The function.
        function: String,
        /// The op's first result.
        result: String,
        /// What is wrong with the op.
        source: CallError,
    },
}

/// What an evaluation, or an op of it, waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Getting the request to the engine and the answer back.
    Dispatch,
    /// Moving inputs and outputs.
    Surfaces,
    /// The multiply-accumulate array.
    Mac,
    /// The elementwise engine.
    Elementwise,
    /// Reductions, norms and softmax, on the elementwise engine.
    Reduction,
    /// Reading weights, and intermediate values beyond the working set.
    Memory,
    /// Reading an operand of a product again for each part of the other that fits the working set.
    WorkingSet,
    /// Nothing: the op is a view, or done while the weights are prepared.
    Nothing,
}

impl Resource {
    /// The figures that its time rests on.
    fn figures(self) -> &'static [&'static str] {
        match self {
            Resource::Dispatch => &["speed.dispatch_us"],
            Resource::Surfaces => &["speed.activations_gbs"],
            Resource::Mac => &["cost.mac_tflops", "cost.half_width"],
            Resource::Elementwise => &["cost.elementwise_gps"],
            Resource::Reduction => &["cost.reduction_gps"],
            Resource::Memory => &["speed.weights_gbs"],
            Resource::WorkingSet => &["speed.working_set_mb", "speed.activations_gbs"],
            Resource::Nothing => &[],
        }
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Resource::Dispatch => "dispatch",
            Resource::Surfaces => "surfaces",
            Resource::Mac => "mac",
            Resource::Elementwise => "elementwise",
            Resource::Reduction => "reduction",
            Resource::Memory => "memory",
            Resource::WorkingSet => "working set",
            Resource::Nothing => "nothing",
        })
    }
}

/// The modelled cost of one op.
#[derive(Clone, Debug, PartialEq)]
pub struct OpCost {
    /// Its index in [`Function::ops`].
    pub index: usize,
    /// The name of its first result.
    pub name: String,
    /// Which op.
    pub code: Opcode,
    /// Modelled time, in seconds.
    pub seconds: f64,
    /// Multiplications and additions of products, in FLOP; 0 for other ops.
    pub flops: f64,
    /// Weights and spilled values it reads or writes, in bytes.
    pub bytes: f64,
    /// What takes the most time.
    pub limited_by: Resource,
}

/// A share of an evaluation's time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// What is waited for.
    pub resource: Resource,
    /// Modelled time, in seconds.
    pub seconds: f64,
    /// How sure the weakest figure is that this rests on.
    pub confidence: Confidence,
}

/// The modelled cost of one evaluation of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// Modelled time, in seconds.
    pub seconds: f64,
    /// Modelled energy, in joules.
    pub joules: f64,
    /// Multiplications and additions of products, in FLOP.
    pub flops: f64,
    /// Share of the chip's best published rate, 0 to 1.
    pub of_peak: f64,
    /// Inputs and outputs, in bytes.
    pub surface_bytes: f64,
    /// Weights read, in bytes as stored.
    pub weight_bytes: f64,
    /// The time by what is waited for, longest first.
    pub parts: Vec<Part>,
    /// Each op but constants.
    pub ops: Vec<OpCost>,
    /// Compiling and loading the program once, in seconds.
    pub compile_seconds: f64,
    /// The weakest of the figures behind parts of a tenth of the time or more; never better than *inferred*.
    pub confidence: Confidence,
}

impl Cost {
    /// The rate of products over the whole evaluation, in TFLOPS.
    pub fn tflops(&self) -> f64 {
        self.flops / self.seconds / 1e12
    }

    /// What takes the most time.
    pub fn limited_by(&self) -> Resource {
        self.parts.first().map_or(Resource::Nothing, |part| part.resource)
    }
}

/// The modelled cost of one evaluation of `function`, as it stands, on the chip of `profile`: warm, with nothing else on
/// the engine. Weights are read from memory in each evaluation.
///
/// # Errors
/// [`CostError::Missing`] for a profile without the figures of a Neural Engine, and [`CostError::Op`] for a function that
/// does not verify.
pub fn estimate(function: &Function, profile: &Profile) -> Result<Cost, CostError> {
    let rates = Rates::read(profile)?;
    let work = Work::of(function, &rates)?;
    let ops: Vec<OpCost> = work.ops.iter().map(|op| rates.op(function, op)).collect();

    let surfaces = work.surface_bytes / rates.surfaces;
    let mut times = vec![(Resource::Dispatch, rates.dispatch), (Resource::Surfaces, surfaces)];
    for op in &ops {
        match times.iter_mut().find(|(resource, _)| *resource == op.limited_by) {
            Some((_, seconds)) => *seconds += op.seconds,
            None => times.push((op.limited_by, op.seconds)),
        }
    }
    times.retain(|(_, seconds)| *seconds > 0.0);
    times.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let parts: Vec<Part> = times
        .into_iter()
        .map(|(resource, seconds)| Part { resource, seconds, confidence: weakest(resource, profile) })
        .collect();

    let seconds: f64 = parts.iter().map(|part| part.seconds).sum();
    let flops = ops.iter().map(|op| op.flops).sum();
    let at_peak: f64 = work.ops.iter().map(|op| op.flops / rates.peak(op.int8)).sum();
    let full: f64 = work.ops.iter().map(|op| rates.mac_joules(op)).sum();
    let matter = parts.iter().filter(|part| part.seconds >= seconds / 10.0);
    let confidence = matter.map(|part| part.confidence).fold(Confidence::Inferred, Confidence::weaker);
    Ok(Cost {
        seconds,
        joules: rates.active_w * seconds + full,
        flops,
        of_peak: at_peak / seconds,
        surface_bytes: work.surface_bytes,
        weight_bytes: work.weight_bytes,
        parts,
        ops,
        compile_seconds: compile::seconds(function, work.weight_bytes, profile)?,
        confidence,
    })
}

/// Whether a profile has the figures that [`estimate`] needs.
pub fn is_modelled(profile: &Profile) -> bool {
    Rates::read(profile).is_ok()
}

/// How sure the weakest figure of a resource is.
fn weakest(resource: Resource, profile: &Profile) -> Confidence {
    let sure =
        resource.figures().iter().filter_map(|key| profile.figure(key)).map(|figure| figure.confidence);
    sure.fold(Confidence::Measured, Confidence::weaker)
}

impl Rates {
    /// The time of one op, and what it waits for.
    fn op(&self, function: &Function, op: &work::OpWork) -> OpCost {
        let unit = match op.unit {
            Unit::Mac => (Resource::Mac, op.flops / self.mac(op)),
            Unit::Elementwise => (Resource::Elementwise, op.elements / self.elementwise),
            Unit::Reduction => (Resource::Reduction, op.elements / self.reduction),
            Unit::None => (Resource::Nothing, 0.0),
        };
        let memory = (Resource::Memory, (op.weights + op.spilled) / self.weights);
        let again = (Resource::WorkingSet, op.again / self.surfaces);
        let waits = if memory.1 > unit.1 { memory } else { unit };
        let code = &function.ops[op.index];
        OpCost {
            index: op.index,
            name: code.results.first().map_or("", |&v| function.name_of(v)).to_owned(),
            code: code.code,
            seconds: waits.1 + again.1,
            flops: op.flops,
            bytes: op.weights + op.spilled + op.again,
            limited_by: if again.1 > waits.1 { again.0 } else { waits.0 },
        }
    }
}
