//! A model that can be trained: forward and backward passes over a plan, gradients into a flat arena.

use std::{ops::Range, sync::Arc, time::Instant};

use ferrane_engine::{Engine, Surface};
use ferrane_model::{
    LayerRole,
    plan::{Piece, Plan, WeightProduct},
    stage::{Tokens, names},
};

use crate::{
    CompileLog, RuntimeError, WeightsMode,
    baking::{Bakery, Baking, LayerKernel},
    head::{CompiledHead, Head},
    layers::{Binder, Pass, Values, embed},
    matmul::{Matrix, MatrixMut, Write, matmul},
    saturation::{Saturated, merged},
    spent::{Spent, timed},
    weights::Weights,
};

/// A model's plan, compiled and bound, with the surfaces of every layer's taps.
pub struct TrainingModel {
    /// How many, and how many of them hold weights.
    kernels: (usize, usize),
    binder: Binder,
    tokens: Tokens,
    forward: Pass,
    backward: Pass,
    /// The first layer's input.
    input: Surface,
    layers: Vec<Values>,
    head: Head,
    products: Vec<WeightProduct>,
    direct: Vec<(LayerRole, String)>,
    /// Kernels that hold weights, where there are such.
    baking: Option<Baking>,
    /// The forward pass with weights as inputs, for evaluation: it needs no compile, however the weights change.
    evaluation: Option<Pass>,
    /// Whether the weights changed since what streams them beside baked kernels was given them.
    streamed_is_stale: bool,
    overflow: Option<Overflow>,
    /// Time of what no pass measures.
    spent: Spent,
}

/// A gradient that left fp16's range on its way through the layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// The layer; none for what comes after the last.
    pub layer: Option<usize>,
    /// Name of the value, as the stages have it.
    pub value: String,
}

impl std::fmt::Display for Overflow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.layer {
            Some(layer) => write!(f, "`{}` of layer {layer}", self.value),
            None => write!(f, "`{}` after the last layer", self.value),
        }
    }
}

impl TrainingModel {
    /// Compiles `plan` for `engine` with streamed weights. The parameters are taken over; [`TrainingModel::weights`] shares them.
    ///
    /// # Errors
    /// When the engine refuses a kernel or memory.
    pub fn new(
        engine: Arc<dyn Engine>,
        weights: Weights,
        plan: Plan,
        threads: usize,
    ) -> Result<Self, RuntimeError> {
        Self::with_mode(engine, weights, plan, threads, WeightsMode::Streamed)
    }

    /// Compiles `plan` for `engine`: everything with streamed weights, else what holds no weights. Kernels that hold weights
    /// are compiled when a step needs them. The parameters are taken over; [`TrainingModel::weights`] shares them.
    ///
    /// # Errors
    /// When the engine refuses a kernel or memory, or has no room for the kernels of all layers.
    pub fn with_mode(
        engine: Arc<dyn Engine>,
        weights: Weights,
        plan: Plan,
        threads: usize,
        mode: WeightsMode,
    ) -> Result<Self, RuntimeError> {
        let config = weights.table().config().clone();
        let mut binder = Binder::new(Arc::clone(&engine), weights.clone(), threads);
        let bakery = match mode {
            WeightsMode::Streamed => None,
            _ => Some(Arc::new(Bakery::new(engine, weights, mode, Arc::clone(binder.log())))),
        };
        let compile = |binder: &mut Binder, pieces: &[Piece]| match &bakery {
            None => binder.compile(pieces),
            Some(bakery) => binder.bake(pieces, bakery, config.layers),
        };
        let forward = compile(&mut binder, &plan.layer.forward)?;
        let backward = compile(&mut binder, &plan.layer.backward)?;
        let evaluation = match &bakery {
            None => None,
            Some(_) => Some(binder.compile(&plan.layer.forward)?),
        };
        let head = CompiledHead::compile(&mut binder, &plan.head, bakery.as_ref())?;

        let pieces: Vec<_> = forward.iter().chain(&backward).collect();
        let template = binder.values(&pieces, &Values::new())?;
        // The gradient of a layer's input is the gradient of the one before's output: two surfaces, both such as the
        // engine takes for `d_y`, take turns.
        let turns = [&template["d_y"], &binder.values(&[&backward[0]], &Values::new())?["d_y"].clone()];
        let mut shared = template.clone();
        shared.retain(|name, _| !forward.iter().any(|p| p.kernel.outputs().iter().any(|o| o.name == *name)));
        let mut residual = vec![template[names::X].clone()];
        let mut layers = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            let mut given = shared.clone();
            given.insert(names::X.to_owned(), residual[layer].clone());
            given.insert("d_x".to_owned(), turns[layer % 2].clone());
            given.insert("d_y".to_owned(), turns[(layer + 1) % 2].clone());
            let values = binder.values(&pieces, &given)?;
            residual.push(values[names::Y].clone());
            layers.push(values);
        }

        let evaluation = evaluation.map(|pieces| binder.bind(pieces, &layers)).transpose()?;
        let forward = binder.bind(forward, &layers)?;
        let backward = binder.bind(backward, &layers)?;
        let head =
            head.bind(&mut binder, residual[config.layers].clone(), turns[config.layers % 2].clone())?;
        let baking =
            bakery.map(|bakery| Baking::new(bakery, in_order(&forward, &head, &backward, config.layers)));
        if let Some(baking) = &baking {
            baking.check_fits(binder.log().compiles() as usize)?;
        }
        Ok(Self {
            kernels: plan.kernels(config.layers),
            baking,
            evaluation,
            streamed_is_stale: false,
            forward,
            backward,
            tokens: plan.tokens,
            input: residual.swap_remove(0),
            layers,
            head,
            products: plan.layer.products,
            direct: plan.layer.direct,
            overflow: None,
            spent: Spent::default(),
            binder,
        })
    }

    /// Adds `weight`·lnZ² to what is minimised, though not to the loss that is told; 0, the default, adds nothing.
    pub fn set_z_loss(&mut self, weight: f64) {
        self.head.set_z_loss(weight);
    }

    /// The first gradient that overflowed in the last [`TrainingModel::loss_and_gradients`]: an op that the engine tells of, or a
    /// surface. Surfaces are looked at because an engine that saturates leaves no infinity in what is computed from them.
    pub fn overflow(&self) -> Option<&Overflow> {
        self.overflow.as_ref()
    }

    /// Kernels of the engine, counted for each layer, and how many of them hold weights.
    pub fn kernels(&self) -> (usize, usize) {
        self.kernels
    }

    /// Where time went since it was last asked, evaluation included.
    pub fn take_spent(&mut self) -> Spent {
        let mut spent = std::mem::take(&mut self.spent);
        for pass in [&mut self.forward, &mut self.backward].into_iter().chain(&mut self.evaluation) {
            let Spent { engine, host, staging, .. } = pass.take_spent();
            spent.engine += engine;
            spent.host += host;
            spent.staging += staging;
        }
        spent
    }

    /// Tokens of a micro-batch.
    pub fn tokens(&self) -> Tokens {
        self.tokens
    }

    /// The parameters.
    pub fn weights(&self) -> &Weights {
        self.binder.weights()
    }

    /// To be called after the parameters changed: renews what the engine holds of them.
    ///
    /// # Errors
    /// When surface memory cannot be written.
    pub fn weights_changed(&mut self) -> Result<(), RuntimeError> {
        match &mut self.baking {
            None => timed(&mut self.spent.staging, || self.binder.renew_weights()),
            Some(baking) => {
                baking.weights_changed();
                self.streamed_is_stale = true;
                Ok(())
            }
        }
    }

    /// Programs that the next call of [`TrainingModel::loss_and_gradients`] compiles.
    pub fn compiles_due(&self) -> usize {
        self.baking.as_ref().map_or(0, Baking::compiles_due)
    }

    /// Whether the next call of [`TrainingModel::loss_and_gradients`] has to compile more programs than this process can.
    /// `budget` is the most it is allowed, besides what the engine says.
    pub fn exceeds_compiles(&self, budget: Option<usize>) -> bool {
        let (due, usage) = (self.compiles_due(), self.binder.usage());
        let used = usage.compiles.max(self.compile_log().compiles() as usize);
        let most = [budget, usage.max_compiles].into_iter().flatten().min();
        due > 0 && most.is_some_and(|most| used + due > most)
    }

    /// What compiling has cost so far.
    pub fn compile_log(&self) -> &CompileLog {
        self.binder.log()
    }

    /// Sum over positions of the negative log-likelihood of `targets` after `inputs`, both `batch·seq` tokens, sequence
    /// after sequence.
    ///
    /// # Errors
    /// When a token is outside the vocabulary, the engine fails, or the loss is not finite.
    pub fn loss(&mut self, inputs: &[u32], targets: &[u32]) -> Result<f64, RuntimeError> {
        self.renew_streamed()?;
        self.embed(inputs)?;
        let forward = self.evaluation.as_mut().unwrap_or(&mut self.forward);
        run_layers(forward, self.layers.len())?;
        self.head.loss(self.binder.weights(), targets)
    }

    /// As [`TrainingModel::loss`]; and `grads`, an arena laid out as the parameters, is set to the gradients of
    /// `grad_scale` times that sum, or they are added to it.
    ///
    /// # Errors
    /// As [`TrainingModel::loss`]; `grads` is then meaningless.
    pub fn loss_and_gradients(
        &mut self,
        inputs: &[u32],
        targets: &[u32],
        grad_scale: f32,
        grads: &mut [f32],
        write: Write,
    ) -> Result<f64, RuntimeError> {
        // One team for all kernels and products.
        ferrane_team::gather(usize::MAX, || self.passes(inputs, targets, grad_scale, grads, write))
    }

    /// The forward pass, the loss, and the backward pass.
    fn passes(
        &mut self,
        inputs: &[u32],
        targets: &[u32],
        grad_scale: f32,
        grads: &mut [f32],
        write: Write,
    ) -> Result<f64, RuntimeError> {
        if let Some(baking) = &mut self.baking {
            baking.begin();
        }
        if self.head.streams() {
            self.renew_streamed()?;
        }
        self.embed(inputs)?;
        run_layers(&mut self.forward, self.layers.len())?;
        self.overflow = None;
        let weights = self.binder.weights();
        let head = || self.head.loss_and_gradients(weights, targets, grad_scale, grads, write);
        let sum = timed(&mut self.spent.head, head)?;
        self.look_for_overflow(None)?;
        for layer in (0..self.layers.len()).rev() {
            self.backward.run(layer)?;
            self.look_for_overflow(Some(layer))?;
            let started = Instant::now();
            self.layer_gradients(layer, grads, write)?;
            self.spent.weight_gradients += started.elapsed();
        }
        let started = Instant::now();
        self.embedding_gradient(inputs, grads, write)?;
        self.spent.embedding += started.elapsed();
        Ok(sum)
    }

    /// What saturated since this was last asked, by layer and op, on an engine that watches its arithmetic.
    pub fn take_saturation(&mut self) -> Vec<Saturated> {
        let mut all = self.forward.saturated.take(true);
        all.extend(self.backward.saturated.take(true));
        all.extend(self.evaluation.iter_mut().flat_map(|pass| pass.saturated.take(true)));
        all.extend(self.head.take_saturation());
        merged(all)
    }

    fn renew_streamed(&mut self) -> Result<(), RuntimeError> {
        if self.streamed_is_stale {
            timed(&mut self.spent.staging, || self.binder.renew_weights())?;
            self.streamed_is_stale = false;
        }
        Ok(())
    }

    fn embed(&mut self, inputs: &[u32]) -> Result<(), RuntimeError> {
        let (weights, input) = (self.binder.weights(), &self.input);
        timed(&mut self.spent.embedding, || embed(weights, inputs, input))
    }

    fn look_for_overflow(&mut self, layer: Option<usize>) -> Result<(), RuntimeError> {
        if self.overflow.is_some() {
            return Ok(());
        }
        let value = match layer {
            Some(layer) => match self.backward.saturated.gradient(layer, &self.forward.saturated) {
                Some(value) => Some(value),
                None => self.backward.overflow(layer)?,
            },
            None => self.head.overflow()?,
        };
        self.overflow = value.map(|value| Overflow { layer, value: value.to_owned() });
        Ok(())
    }

    /// The gradients of a layer's weights, from its taps and the gradients its backward pieces left.
    fn layer_gradients(&self, layer: usize, grads: &mut [f32], write: Write) -> Result<(), RuntimeError> {
        let (table, values) = (self.binder.weights().table(), &self.layers[layer]);
        let mut products: Vec<_> = self
            .products
            .iter()
            .map(|p| (table.layer(layer, p.role), &values[&p.dy], &values[&p.x]))
            .collect();
        products.sort_unstable_by_key(|(param, ..)| param.offset);
        let params = products.iter().map(|(param, ..)| param.range());
        let grads_of = disjoint(grads, params);
        let parts = products.iter().zip(grads_of).flat_map(|((_, dy, x), grads)| {
            let rows = rows_of_part(dy, x);
            let grads = grads.chunks_mut(rows * x.shape()[1]).enumerate();
            grads.map(move |(part, grads)| (*dy, *x, part * rows, grads))
        });
        let done =
            ferrane_team::map(parts, |_, (dy, x, first, grads)| weight_gradient(dy, x, first, grads, write));
        done.into_iter().collect::<Result<(), _>>()?;
        for (role, value) in &self.direct {
            accumulate(&values[value], &mut grads[table.layer(layer, *role).range()], write, 1.0)?;
        }
        Ok(())
    }

    /// Adds the gradient of each position to its token's row. With a classifier of its own the rows of tokens that do not
    /// occur are set to zero first; a tied classifier's gradient is already there.
    fn embedding_gradient(
        &self,
        inputs: &[u32],
        grads: &mut [f32],
        write: Write,
    ) -> Result<(), RuntimeError> {
        let table = self.binder.weights().table();
        let grads = &mut grads[table.embedding().range()];
        if write == Write::Set && !table.config().tied {
            grads.fill(0.0);
        }
        let (dim, width) = (table.config().dim, self.tokens.width());
        self.layers[0]["d_x"].read(|dx| {
            for (position, &token) in inputs.iter().enumerate() {
                let row = &mut grads[token as usize * dim..][..dim];
                row.iter_mut().enumerate().for_each(|(channel, g)| *g += dx[channel * width + position]);
            }
        })?;
        Ok(())
    }
}

fn run_layers(forward: &mut Pass, layers: usize) -> Result<(), RuntimeError> {
    (0..layers).try_for_each(|layer| forward.run(layer))
}

/// The kernels that hold weights, in the order in which a step needs them.
fn in_order(forward: &Pass, head: &Head, backward: &Pass, layers: usize) -> Vec<Arc<LayerKernel>> {
    let up = (0..layers).flat_map(|layer| forward.layer_kernels(layer));
    let down = (0..layers).rev().flat_map(|layer| backward.layer_kernels(layer));
    up.chain(head.layer_kernels()).chain(down).cloned().collect()
}

/// The parts of `arena` at `ranges`, which follow each other and do not overlap.
fn disjoint(mut arena: &mut [f32], ranges: impl Iterator<Item = Range<usize>>) -> Vec<&mut [f32]> {
    let mut at = 0;
    ranges
        .map(|range| {
            let (_, rest) = std::mem::take(&mut arena).split_at_mut(range.start - at);
            let (part, rest) = rest.split_at_mut(range.len());
            (arena, at) = (rest, range.end);
            part
        })
        .collect()
}

/// Rows of dW that are computed together. A product packs X, and each part does so again, so parts are no smaller than that
/// pays for; where reading a surface copies it, there is one.
fn rows_of_part(dy: &Surface, x: &Surface) -> usize {
    let ([_, outputs, ..], [_, inputs, ..]) = (dy.shape(), x.shape());
    let parts = if x.as_host().is_some() { (outputs / inputs.max(1)).clamp(1, 4) } else { 1 };
    outputs.div_ceil(parts).next_multiple_of(16)
}

/// `dW [O, I] (+)= dY [O, W] · X [I, W]ᵀ` for the rows from `first` on, where `grads` is those of dW.
fn weight_gradient(
    dy: &Surface,
    x: &Surface,
    first: usize,
    grads: &mut [f32],
    write: Write,
) -> Result<(), RuntimeError> {
    let [_, inputs, _, width] = x.shape();
    let rows = grads.len() / inputs;
    dy.read(|dy| {
        x.read(|x| {
            let dy = Matrix::row_major(&dy[first * width..], rows, width, width);
            let x = Matrix::row_major(x, inputs, width, width);
            matmul(MatrixMut::row_major(grads, rows, inputs, inputs), write, dy, x.t());
        })
    })??;
    Ok(())
}

/// Writes `scale` times `value` to `grads`, or adds it.
pub(crate) fn accumulate(
    value: &Surface,
    grads: &mut [f32],
    write: Write,
    scale: f32,
) -> Result<(), RuntimeError> {
    const PART: usize = 1 << 16;
    value.read(|v| {
        let parts = grads.chunks_mut(PART).zip(v.chunks(PART));
        ferrane_team::each_of(parts, |_, (grads, v)| match write {
            Write::Set => grads.iter_mut().zip(v).for_each(|(g, v)| *g = scale * v),
            Write::Add => grads.iter_mut().zip(v).for_each(|(g, v)| *g += scale * v),
        });
    })?;
    Ok(())
}
