//! What a training step of a plan costs on a chip, modelled: for comparing plans, chips and weights modes.

use std::collections::BTreeMap;

use ferrane_engine::{
    Confidence, CostFigures, Profile,
    cost::{Cost, CostError, estimate},
};
use ferrane_mil::{Opcode, Verified};
use ferrane_model::{
    ModelConfig,
    plan::{ClassifierPlan, HeadKind, LayerKind, LayerPlan, Piece, Place, Plan},
    stage::Tokens,
};

use crate::{BakedPiece, RuntimeError, WeightsMode, compile::streamed};

/// Which part of a step a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// From embeddings to the final hidden state.
    Forward,
    /// From its gradient back.
    Backward,
}

/// The modelled cost of one kernel of a plan.
#[derive(Clone, Debug)]
pub struct KernelCost {
    /// The piece.
    pub name: &'static str,
    /// When it runs.
    pub phase: Phase,
    /// Evaluations in a micro-batch.
    pub dispatches: usize,
    /// Programs to compile for all layers.
    pub programs: usize,
    /// Programs to compile again after an update.
    pub recompiled: usize,
    /// One evaluation.
    pub cost: Cost,
}

/// What the host computes in a micro-batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostWork {
    /// Multiplications and additions of weight gradients, in FLOP.
    pub weight_gradients: f64,
    /// Multiplications and additions of the classifier, forward and backward, in FLOP.
    pub classifier: f64,
    /// Elements that the pieces on the host compute, one for each op and element.
    pub elements: f64,
}

impl HostWork {
    /// Multiplications and additions of products, in FLOP.
    pub fn flops(&self) -> f64 {
        self.weight_gradients + self.classifier
    }
}

/// The modelled cost of a micro-batch of a plan: forward and backward pass.
#[derive(Clone, Debug)]
pub struct PlanCost {
    /// Kernels on the engine, in the order they run.
    pub kernels: Vec<KernelCost>,
    /// The host's part.
    pub host: HostWork,
    /// Modelled time of the host's part, in seconds. The profile's host is one machine's: another's differs.
    pub host_seconds: f64,
}

impl PlanCost {
    /// Evaluations in a micro-batch.
    pub fn dispatches(&self) -> usize {
        self.kernels.iter().map(|k| k.dispatches).sum()
    }

    /// Modelled time on the engine of one phase, in seconds.
    pub fn phase_seconds(&self, phase: Phase) -> f64 {
        let of = self.kernels.iter().filter(|k| k.phase == phase);
        of.map(|k| k.dispatches as f64 * k.cost.seconds).sum()
    }

    /// Modelled time on the engine, in seconds.
    pub fn seconds(&self) -> f64 {
        self.total(|cost| cost.seconds)
    }

    /// Modelled time of engine and host, one after the other, in seconds.
    pub fn step_seconds(&self) -> f64 {
        self.seconds() + self.host_seconds
    }

    /// Modelled energy of the engine, in joules.
    pub fn joules(&self) -> f64 {
        self.total(|cost| cost.joules)
    }

    /// Multiplications and additions of products on the engine, in FLOP.
    pub fn flops(&self) -> f64 {
        self.total(|cost| cost.flops)
    }

    /// Inputs and outputs of all evaluations, in bytes.
    pub fn surface_bytes(&self) -> f64 {
        self.total(|cost| cost.surface_bytes)
    }

    /// Share of the chip's best published rate while the engine is busy, 0 to 1.
    pub fn of_peak(&self) -> f64 {
        self.total(|cost| cost.of_peak * cost.seconds) / self.seconds()
    }

    /// Programs to compile at the start, and the modelled time for it in seconds.
    pub fn compiles(&self) -> (usize, f64) {
        self.compiling(|k| k.programs)
    }

    /// Programs to compile again after each update, and the modelled time for it in seconds.
    pub fn recompiles(&self) -> (usize, f64) {
        self.compiling(|k| k.recompiled)
    }

    /// How sure the weakest figure of any kernel is.
    pub fn confidence(&self) -> Confidence {
        self.kernels.iter().map(|k| k.cost.confidence).fold(Confidence::Inferred, Confidence::weaker)
    }

    fn total(&self, of: impl Fn(&Cost) -> f64) -> f64 {
        self.kernels.iter().map(|k| k.dispatches as f64 * of(&k.cost)).sum()
    }

    fn compiling(&self, of: impl Fn(&KernelCost) -> usize) -> (usize, f64) {
        let programs = self.kernels.iter().map(&of).sum();
        (programs, self.kernels.iter().map(|k| of(k) as f64 * k.cost.compile_seconds).sum())
    }
}

/// The modelled cost of a micro-batch of `plan` on the chip of `profile`. Any plan will do: what is on the engine is
/// lowered as it would be to run it, and the rest is the host's.
///
/// # Errors
/// When a piece cannot be made legal for the profile, or the profile has no figures to estimate from.
pub fn plan_cost(
    plan: &Plan,
    config: &ModelConfig,
    profile: &Profile,
    mode: WeightsMode,
) -> Result<PlanCost, RuntimeError> {
    let LayerPlan { forward, backward, .. } = &plan.layer;
    let head = plan.head.pieces().enumerate().map(|(i, piece)| match i < plan.head.forward.len() {
        true => (piece, Phase::Forward, 1),
        false => (piece, Phase::Backward, 1),
    });
    let of_layers = |phase| move |piece| (piece, phase, config.layers);
    let all = forward.iter().map(of_layers(Phase::Forward)).chain(head);
    let all = all.chain(backward.iter().map(of_layers(Phase::Backward)));

    let mut kernels = Vec::new();
    let mut host = HostWork {
        weight_gradients: config.layers as f64 * weight_gradients(plan),
        classifier: classifier(plan, config),
        elements: 0.0,
    };
    for (piece, phase, dispatches) in all {
        match piece.place {
            Place::Host => host.elements += dispatches as f64 * elements(piece),
            Place::Engine => {
                let (program, own) = lowered(piece, profile, mode)?;
                let cost = estimate(program.main(), profile)
                    .map_err(|source| RuntimeError::Cost { piece: piece.name, source: Box::new(source) })?;
                kernels.push(KernelCost {
                    name: piece.name,
                    phase,
                    dispatches,
                    programs: if own { dispatches } else { 1 },
                    recompiled: if own && mode.recompiles() { dispatches } else { 0 },
                    cost,
                });
            }
        }
    }
    let host_seconds = host_seconds(&host, profile)?;
    Ok(PlanCost { kernels, host, host_seconds })
}

fn host_seconds(host: &HostWork, profile: &Profile) -> Result<f64, RuntimeError> {
    let missing = |key| {
        let source = Box::new(CostError::Missing { profile: profile.name.clone(), key });
        RuntimeError::Cost { piece: "host", source }
    };
    let CostFigures { host_gflops, host_gps, .. } = &profile.cost;
    let products = host_gflops.as_ref().ok_or_else(|| missing("cost.host_gflops"))?.value * 1e9;
    let elements = host_gps.as_ref().ok_or_else(|| missing("cost.host_gps"))?.value * 1e9;
    Ok(host.flops() / products + host.elements / elements)
}

/// The plan of least modelled time, and its parts. What a layer costs and what the head costs add up, so each is chosen by
/// itself; parts that cannot be made legal for the profile are left out. Of equals the first is taken.
///
/// # Errors
/// When not even the published plan can be made legal, or the profile has no figures to estimate from.
pub fn cheapest(
    config: &ModelConfig,
    tokens: Tokens,
    profile: &Profile,
    mode: WeightsMode,
) -> Result<(LayerKind, HeadKind, PlanCost), RuntimeError> {
    let cost = |layer, head| plan_cost(&Plan::of(layer, head, config, tokens)?, config, profile, mode);
    let published = cost(LayerKind::Six, HeadKind::Host)?;
    let (mut best_layer, mut of_layer) = (LayerKind::Six, published.step_seconds());
    for layer in [LayerKind::SixAndNorms, LayerKind::Five, LayerKind::Fused, LayerKind::FusedRecompute] {
        if let Ok(cost) = cost(layer, HeadKind::Host)
            && cost.step_seconds() < of_layer
        {
            (best_layer, of_layer) = (layer, cost.step_seconds());
        }
    }
    let (mut best_head, mut of_head) = (HeadKind::Host, published.step_seconds());
    for head in [HeadKind::Probabilities, HeadKind::Gradients] {
        if let Ok(cost) = cost(LayerKind::Six, head)
            && cost.step_seconds() < of_head
        {
            (best_head, of_head) = (head, cost.step_seconds());
        }
    }
    Ok((best_layer, best_head, cost(best_layer, best_head)?))
}

/// A piece as the engine of `profile` would be given it, and whether each layer has a program of its own.
fn lowered(piece: &Piece, profile: &Profile, mode: WeightsMode) -> Result<(Verified, bool), RuntimeError> {
    if mode != WeightsMode::Streamed {
        let baked = BakedPiece::new(piece.name, &piece.function, profile)?;
        if baked.has_weights() {
            return Ok((baked.program().clone(), true));
        }
    }
    Ok((streamed(piece, profile)?.0.program, false))
}

/// FLOP of `dW = dY·Xᵀ` of a layer's weights that the host computes.
fn weight_gradients(plan: &Plan) -> f64 {
    let pieces = || plan.layer.forward.iter().chain(&plan.layer.backward);
    let mut channels = BTreeMap::new();
    for function in pieces().map(|piece| &piece.function) {
        for &v in function.inputs.iter().chain(&function.outputs) {
            if let Some(&[_, c, ..]) = function.tensor_type(v).map(|t| t.shape.as_slice()) {
                channels.insert(function.name_of(v), c);
            }
        }
    }
    let of = |name: &String| channels.get(name.as_str()).copied().unwrap_or(0);
    let flops =
        plan.layer.products.iter().map(|p| 2.0 * product(&[of(&p.dy), of(&p.x), plan.tokens.width()]));
    flops.fold(0.0, |sum, flops| sum + flops)
}

/// FLOP of the classifier that the host computes: logits, their gradient times the weight, and times the hidden state.
fn classifier(plan: &Plan, config: &ModelConfig) -> f64 {
    let products = match plan.head.classifier {
        ClassifierPlan::Host => 3.0,
        ClassifierPlan::Probabilities => 2.0,
        // Of the targets' rows alone.
        ClassifierPlan::Gradients { .. } => return 6.0 * product(&[config.dim, plan.tokens.width()]),
    };
    2.0 * products * product(&[config.vocab, config.dim, plan.tokens.width()])
}

fn elements(piece: &Piece) -> f64 {
    let function = &piece.function;
    let ops = function.ops.iter().filter(|op| op.code != Opcode::Const);
    let results = ops.flat_map(|op| &op.results).filter_map(|&v| function.tensor_type(v));
    results.map(|ty| ty.elements() as f64).sum()
}

fn product(extents: &[usize]) -> f64 {
    extents.iter().map(|&n| n as f64).product()
}
