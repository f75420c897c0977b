//! What follows the last layer: final norm, classifier, loss, and their gradients, shared between engine and host as the plan
//! says.

use std::sync::Arc;

use ferrane_engine::Surface;
use ferrane_model::{
    plan::{ClassifierPlan, HeadPlan, Piece},
    stage::names,
};

use crate::{
    LossError, NonFinite, RuntimeError, Write,
    baking::{Bakery, LayerKernel},
    classifier::{Classifier, Gradients},
    compile::CompiledPiece,
    layers::{Binder, Pass, Values},
    matmul::{Matrix, MatrixMut, matmul},
    saturation::Saturated,
    training::accumulate,
    weights::Weights,
};

/// The pieces after the last layer, compiled. All pieces of a model are compiled before any is bound.
pub(crate) struct CompiledHead {
    forward: Vec<CompiledPiece>,
    evaluation: Option<Vec<CompiledPiece>>,
    classifier: CompiledClassifier,
    backward: Vec<CompiledPiece>,
}

enum CompiledClassifier {
    Host,
    Probabilities,
    Gradients { loss: Vec<CompiledPiece>, gradients: Vec<CompiledPiece> },
}

/// The head of a model, bound to surfaces.
pub(crate) struct Head {
    forward: Pass,
    /// The forward pass with weights as inputs, for evaluation, where that of a step has kernels that hold them.
    evaluation: Option<Pass>,
    backward: Pass,
    values: Values,
    classifier: HeadClassifier,
    /// Weight of the z-loss; 0 for none.
    z_loss: f64,
}

/// Who computes what of the classifier.
enum HeadClassifier {
    Host(Box<Classifier>),
    Probabilities,
    /// The pass that puts out `log_sum`, and the one that puts out its gradients, too. Both stream their weights always: a
    /// product by the classifier's transpose, compiled in, would be a convolution of more channels than chips take.
    Gradients {
        loss: Pass,
        gradients: Box<Pass>,
    },
}

/// What a loss is computed from besides the model: where the classifier's weight is, and the tokens to predict.
struct Targets<'a> {
    /// `[V, D]`
    weight: &'a [f32],
    tokens: &'a [u32],
    dim: usize,
}

impl CompiledHead {
    /// With streamed weights, or kernels that hold them.
    pub(crate) fn compile(
        binder: &mut Binder,
        plan: &HeadPlan,
        bakery: Option<&Arc<Bakery>>,
    ) -> Result<Self, RuntimeError> {
        let compile = |binder: &mut Binder, pieces: &[Piece]| match bakery {
            None => binder.compile(pieces),
            Some(bakery) => binder.bake(pieces, bakery, 1),
        };
        let forward = compile(binder, &plan.forward)?;
        let holds_weights = forward.iter().any(|piece| piece.kernel.of_layer(0).is_some());
        let evaluation = holds_weights.then(|| binder.compile(&plan.forward)).transpose()?;
        let classifier = match &plan.classifier {
            ClassifierPlan::Host => CompiledClassifier::Host,
            ClassifierPlan::Probabilities => CompiledClassifier::Probabilities,
            ClassifierPlan::Gradients { loss, gradients } => CompiledClassifier::Gradients {
                loss: binder.compile(std::slice::from_ref(&**loss))?,
                gradients: binder.compile(std::slice::from_ref(&**gradients))?,
            },
        };
        let backward = compile(binder, std::slice::from_ref(&plan.backward))?;
        Ok(Self { forward, evaluation, classifier, backward })
    }

    /// Binds the head to the last layer's output `x` and its gradient `d_x`.
    pub(crate) fn bind(self, binder: &mut Binder, x: Surface, d_x: Surface) -> Result<Head, RuntimeError> {
        let given = Values::from([(names::X.to_owned(), x), ("d_x".to_owned(), d_x)]);
        let mut pieces: Vec<&CompiledPiece> =
            self.forward.iter().chain(self.evaluation.iter().flatten()).collect();
        if let CompiledClassifier::Gradients { loss, gradients } = &self.classifier {
            pieces.extend(loss.iter().chain(gradients));
        }
        pieces.extend(&self.backward);
        let values = binder.values(&pieces, &given)?;
        let here = std::slice::from_ref(&values);
        let classifier = match self.classifier {
            CompiledClassifier::Host => {
                let config = binder.weights().table().config();
                let width = values[names::FINAL].shape()[3];
                HeadClassifier::Host(Box::new(Classifier::new(config.vocab, config.dim, width)))
            }
            CompiledClassifier::Probabilities => HeadClassifier::Probabilities,
            CompiledClassifier::Gradients { loss, gradients } => HeadClassifier::Gradients {
                loss: binder.bind(loss, here)?,
                gradients: Box::new(binder.bind(gradients, here)?),
            },
        };
        let forward = binder.bind(self.forward, here)?;
        let evaluation = self.evaluation.map(|pieces| binder.bind(pieces, here)).transpose()?;
        let backward = binder.bind(self.backward, here)?;
        Ok(Head { forward, evaluation, backward, values, classifier, z_loss: 0.0 })
    }
}

impl Head {
    /// The kernels that hold weights, in the order in which a step needs them.
    pub(crate) fn layer_kernels(&self) -> impl Iterator<Item = &Arc<LayerKernel>> {
        self.forward.layer_kernels(0).chain(self.backward.layer_kernels(0))
    }

    /// Whether a step reads streamed weights whatever the kernels of layers do.
    pub(crate) fn streams(&self) -> bool {
        matches!(self.classifier, HeadClassifier::Gradients { .. })
    }

    /// Gives the z-loss a weight; 0 is none.
    pub(crate) fn set_z_loss(&mut self, weight: f64) {
        self.z_loss = weight;
        if let HeadClassifier::Host(classifier) = &mut self.classifier {
            classifier.set_z_loss(weight);
        }
    }

    /// The first gradient in the backward pass that overflowed: an op of it, or a surface.
    pub(crate) fn overflow(&self) -> Result<Option<&str>, RuntimeError> {
        let classifier = match &self.classifier {
            HeadClassifier::Gradients { gradients, .. } => Some(&**gradients),
            HeadClassifier::Host(_) | HeadClassifier::Probabilities => None,
        };
        for pass in classifier.into_iter().chain([&self.backward]) {
            let found = match pass.saturated.gradient(0, &self.forward.saturated) {
                Some(value) => Some(value),
                None => pass.overflow(0)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// What saturated since this was last asked.
    pub(crate) fn take_saturation(&mut self) -> Vec<Saturated> {
        let classifier = match &mut self.classifier {
            HeadClassifier::Gradients { loss, gradients } => vec![loss, gradients],
            HeadClassifier::Host(_) | HeadClassifier::Probabilities => Vec::new(),
        };
        let passes = [&mut self.forward, &mut self.backward].into_iter().chain(&mut self.evaluation);
        let passes = passes.chain(classifier);
        passes.flat_map(|pass| pass.saturated.take(false)).collect()
    }

    /// The gradient of each position's `log_sum`: 1, and that of the z-loss.
    fn seeds(&mut self) -> Result<Vec<f32>, RuntimeError> {
        let width = self.values[names::FINAL].shape()[3];
        if self.z_loss == 0.0 {
            return Ok(vec![1.0; width]);
        }
        match &mut self.classifier {
            HeadClassifier::Host(_) => return Ok(Vec::new()),
            HeadClassifier::Probabilities => {}
            // The z-loss needs the sum before its gradient.
            HeadClassifier::Gradients { loss, .. } => loss.run(0)?,
        }
        let z = 2.0 * self.z_loss;
        let gradient = |&log_sum: &f32| (1.0 + z * f64::from(log_sum)) as f32;
        Ok(self.values[names::LOG_SUM].read(|log_sum| log_sum.iter().map(gradient).collect())?)
    }

    /// Sum over positions of the negative log-likelihood of `targets`.
    pub(crate) fn loss(&mut self, weights: &Weights, targets: &[u32]) -> Result<f64, RuntimeError> {
        self.evaluation.as_mut().unwrap_or(&mut self.forward).run(0)?;
        let table = weights.table();
        let arena = weights.arena().read();
        let weight = &arena[table.classifier().range()];
        let hidden = &self.values[names::FINAL];
        match &mut self.classifier {
            HeadClassifier::Host(classifier) => {
                Ok(hidden.read(|hidden| classifier.forward(hidden, weight, targets))??)
            }
            HeadClassifier::Probabilities => {
                let targets = Targets::new(weight, targets, table.config().vocab)?;
                targets.loss(hidden, &self.values[names::LOG_SUM])
            }
            HeadClassifier::Gradients { loss, .. } => {
                loss.run(0)?;
                let targets = Targets::new(weight, targets, table.config().vocab)?;
                targets.loss(hidden, &self.values[names::LOG_SUM])
            }
        }
    }

    /// As [`Head::loss`]; and the gradients of `grad_scale` times that sum: that of `x` into `d_x`, those of the final norm's
    /// and the classifier's weights into `grads`.
    pub(crate) fn loss_and_gradients(
        &mut self,
        weights: &Weights,
        targets: &[u32],
        grad_scale: f32,
        grads: &mut [f32],
        write: Write,
    ) -> Result<f64, RuntimeError> {
        let width = self.values[names::FINAL].shape()[3];
        if targets.len() != width {
            return Err(RuntimeError::TokenCount { given: targets.len(), expected: width });
        }
        self.forward.run(0)?;
        let seeds = self.seeds()?;
        let table = weights.table();
        let range = table.classifier().range();
        let arena = weights.arena().read();
        let (weight, dweight) = (&arena[range.clone()], &mut grads[range]);
        let (hidden, d_hidden) = (&self.values[names::FINAL], &self.values["d_final"]);
        let sum = match &mut self.classifier {
            HeadClassifier::Host(classifier) => hidden.read(|x| {
                d_hidden.write(|dx| {
                    let gradients = Gradients { dx, dweight, write };
                    classifier.forward_backward(x, weight, targets, grad_scale, gradients)
                })
            })???,
            HeadClassifier::Probabilities => {
                let targets = Targets::new(weight, targets, table.config().vocab)?;
                let columns = seeds.iter().map(|d| d * grad_scale).collect::<Vec<_>>();
                let probs = &self.values[names::TOKEN_PROBS];
                targets.log_sum_gradients(probs, [hidden, d_hidden], dweight, &columns, write)?;
                targets.add_own([hidden, d_hidden], dweight, grad_scale)?;
                targets.loss(hidden, &self.values[names::LOG_SUM])?
            }
            HeadClassifier::Gradients { gradients, .. } => {
                self.values["d_log_sum"].write(|seed| seed.copy_from_slice(&seeds))?;
                gradients.run(0)?;
                let targets = Targets::new(weight, targets, table.config().vocab)?;
                accumulate(&self.values["d_classifier"], dweight, write, grad_scale)?;
                d_hidden.write(|dx| dx.iter_mut().for_each(|dx| *dx *= grad_scale))?;
                targets.add_own([hidden, d_hidden], dweight, grad_scale)?;
                targets.loss(hidden, &self.values[names::LOG_SUM])?
            }
        };
        drop(arena);
        self.backward.run(0)?;
        accumulate(&self.values["d_final_norm"], &mut grads[table.final_norm().range()], write, 1.0)?;
        Ok(sum)
    }
}

impl<'a> Targets<'a> {
    fn new(weight: &'a [f32], tokens: &'a [u32], vocab: usize) -> Result<Self, LossError> {
        match tokens.iter().position(|&token| token as usize >= vocab) {
            Some(position) => Err(LossError::Target { position, token: tokens[position], vocab }),
            None => Ok(Self { weight, tokens, dim: weight.len() / vocab }),
        }
    }

    /// The classifier's row of the target at `position`.
    fn row(&self, position: usize) -> std::ops::Range<usize> {
        let start = self.tokens[position] as usize * self.dim;
        start..start + self.dim
    }

    /// Σ log_sum − logit of the target. The logit is computed here, in fp32.
    fn loss(&self, hidden: &Surface, log_sum: &Surface) -> Result<f64, RuntimeError> {
        let width = hidden.shape()[3];
        let losses: Vec<f64> = hidden.read(|hidden| {
            log_sum.read(|log_sum| {
                let loss = |position: usize| {
                    let column = hidden.iter().skip(position).step_by(width);
                    let products = self.weight[self.row(position)].iter().zip(column);
                    let logit: f64 = products.map(|(&w, &h)| f64::from(w) * f64::from(h)).sum();
                    f64::from(log_sum[position]) - logit
                };
                (0..self.tokens.len()).map(loss).collect()
            })
        })??;
        match losses.iter().position(|loss| !loss.is_finite()) {
            Some(position) => {
                let finite =
                    hidden.read(|h| h.iter().skip(position).step_by(width).all(|h| h.is_finite()))?;
                let cause = if finite { NonFinite::Classifier } else { NonFinite::Hidden };
                Err(LossError::NonFinite { position, cause }.into())
            }
            None => Ok(losses.iter().sum()),
        }
    }

    /// Gradients of the sum of `log_sum`, each position's times its factor in `columns`, from the probabilities `[V, W]`.
    fn log_sum_gradients(
        &self,
        probs: &Surface,
        [hidden, d_hidden]: [&Surface; 2],
        dweight: &mut [f32],
        columns: &[f32],
        write: Write,
    ) -> Result<(), RuntimeError> {
        const ROWS: usize = 512;
        const CHANNELS: usize = 32;
        let [_, vocab, _, width] = probs.shape();
        let dim = self.dim;
        let scale = |rows: &mut [f32]| {
            let scale = |row: &mut [f32]| row.iter_mut().zip(columns).for_each(|(x, factor)| *x *= factor);
            rows.chunks_exact_mut(width).for_each(scale);
        };
        probs.read(|probs| {
            let mut scaled = hidden.read(<[f32]>::to_vec)?;
            scale(&mut scaled);
            let scaled = Matrix::row_major(&scaled, dim, width, width);
            let parts = dweight.chunks_mut(ROWS * dim).zip(probs.chunks(ROWS * width));
            ferrane_team::each_of(parts, |_, (dweight, probs)| {
                let rows = probs.len() / width;
                let probs = Matrix::row_major(probs, rows, width, width);
                matmul(MatrixMut::row_major(dweight, rows, dim, dim), write, probs, scaled.t());
            });
            d_hidden.write(|dx| {
                ferrane_team::each_of(dx.chunks_mut(CHANNELS * width), |part, dx| {
                    let channels = dx.len() / width;
                    let weight = Matrix::row_major(&self.weight[part * CHANNELS..], vocab, channels, dim);
                    let probs = Matrix::row_major(probs, vocab, width, width);
                    matmul(MatrixMut::row_major(dx, channels, width, width), Write::Set, weight.t(), probs);
                    scale(dx);
                });
            })
        })??;
        Ok(())
    }

    /// Adds the gradients of `grad_scale` times minus the targets' logits.
    fn add_own(
        &self,
        [hidden, d_hidden]: [&Surface; 2],
        dweight: &mut [f32],
        grad_scale: f32,
    ) -> Result<(), RuntimeError> {
        let width = hidden.shape()[3];
        hidden.read(|hidden| {
            d_hidden.write(|dx| {
                for position in 0..self.tokens.len() {
                    let row = self.row(position);
                    let weight = self.weight[row.clone()].iter();
                    for (channel, (weight, dweight)) in weight.zip(&mut dweight[row]).enumerate() {
                        let at = channel * width + position;
                        dx[at] -= grad_scale * weight;
                        *dweight -= grad_scale * hidden[at];
                    }
                }
            })
        })??;
        Ok(())
    }
}
