//! The whole model's loss and gradients against an independent f64 model and its central differences.

mod common;

use std::sync::Arc;

use common::{config, configs, loss, noise, numeric_gradient, parameters, relative_error};
use ferrane_cpu::CpuEngine;
use ferrane_engine::{Engine, Profile};
use ferrane_model::{
    ModelConfig, ParamTable, Parameters,
    plan::{Plan, PlanKind},
    stage::Tokens,
};
use ferrane_runtime::{Evaluator, Generator, TrainingModel, Weights, Write};
use ferrane_sim::SimEngine;

const TOKENS: Tokens = Tokens { batch: 2, seq: 5 };

struct Case {
    table: ParamTable,
    data: Vec<f64>,
    inputs: Vec<u32>,
    targets: Vec<u32>,
}

impl Case {
    fn new(tied: bool, tokens: Tokens) -> Self {
        Self::of(&config(tied), tokens)
    }

    fn of(config: &ModelConfig, tokens: Tokens) -> Self {
        let table = ParamTable::new(config).unwrap();
        let data = parameters(&table);
        let token = |x: f64| ((x + 1.0) * 5.49) as u32;
        let inputs = noise(tokens.width(), 1, 1.0).into_iter().map(token).collect();
        let targets = noise(tokens.width(), 2, 1.0).into_iter().map(token).collect();
        Self { table, data, inputs, targets }
    }

    fn weights(&self) -> Weights {
        let data = self.data.iter().map(|&x| x as f32).collect();
        Weights::new(Parameters::from_parts(self.table.clone(), data).unwrap())
    }

    fn model(&self, engine: Arc<dyn Engine>, tokens: Tokens) -> TrainingModel {
        self.planned(PlanKind::Six, engine, tokens)
    }

    fn planned(&self, kind: PlanKind, engine: Arc<dyn Engine>, tokens: Tokens) -> TrainingModel {
        let plan = Plan::new(kind, self.table.config(), tokens).unwrap();
        TrainingModel::new(engine, self.weights(), plan, 2).unwrap()
    }
}

fn to_f64(v: &[f32]) -> Vec<f64> {
    v.iter().map(|&x| f64::from(x)).collect()
}

#[test]
fn every_gradient_is_the_central_difference_of_an_independent_model() {
    for config in configs() {
        let case = Case::of(&config, TOKENS);
        let f = |data: &[f64]| loss(&case.table, data, TOKENS.seq, &case.inputs, &case.targets);
        let expected = numeric_gradient(&case.data, f);
        for kind in PlanKind::ALL {
            let mut model = case.planned(kind, Arc::new(CpuEngine::new(2)), TOKENS);
            let mut grads = vec![f32::NAN; case.table.len()];
            // Scaled, as training with a loss scale does.
            let sum =
                model.loss_and_gradients(&case.inputs, &case.targets, 4.0, &mut grads, Write::Set).unwrap();
            assert!(
                (sum / f(&case.data) - 1.0).abs() < 1e-5,
                "{kind:?}: loss {sum} instead of {}",
                f(&case.data)
            );
            assert_eq!(model.loss(&case.inputs, &case.targets).unwrap(), sum, "{kind:?}");
            grads.iter_mut().for_each(|g| *g /= 4.0);
            for param in case.table.params() {
                let error = relative_error(&to_f64(&grads[param.range()]), &expected[param.range()]);
                assert!(error < 1e-4, "{kind:?}: {} of {config:?}: {error}", param.name);
            }
        }
    }
}

#[test]
fn the_z_loss_is_the_same_whoever_computes_the_classifier() {
    let case = Case::new(false, TOKENS);
    let gradients = |kind, z_loss| {
        let mut model = case.planned(kind, Arc::new(CpuEngine::new(2)), TOKENS);
        model.set_z_loss(z_loss);
        let mut grads = vec![f32::NAN; case.table.len()];
        model.loss_and_gradients(&case.inputs, &case.targets, 2.0, &mut grads, Write::Set).unwrap();
        to_f64(&grads)
    };
    let expected = gradients(PlanKind::Six, 0.05);
    assert!(relative_error(&gradients(PlanKind::Six, 0.0), &expected) > 1e-2, "the z-loss cannot be seen");
    for kind in PlanKind::ALL {
        let error = relative_error(&gradients(kind, 0.05), &expected);
        assert!(error < 1e-5, "{kind:?}: {error}");
    }
}

#[test]
fn gradients_of_micro_batches_add_up() {
    let case = Case::new(true, TOKENS);
    let single = Tokens { batch: 1, ..TOKENS };
    for kind in PlanKind::ALL {
        let mut both = case.planned(kind, Arc::new(CpuEngine::new(1)), TOKENS);
        let mut one = case.planned(kind, Arc::new(CpuEngine::new(1)), single);
        let mut together = vec![0.0; case.table.len()];
        let mut added = vec![f32::NAN; case.table.len()];
        both.loss_and_gradients(&case.inputs, &case.targets, 0.5, &mut together, Write::Set).unwrap();
        for (i, write) in [Write::Set, Write::Add].into_iter().enumerate() {
            let part = i * TOKENS.seq..(i + 1) * TOKENS.seq;
            let (inputs, targets) = (&case.inputs[part.clone()], &case.targets[part]);
            one.loss_and_gradients(inputs, targets, 0.5, &mut added, write).unwrap();
        }
        let error = relative_error(&to_f64(&added), &to_f64(&together));
        assert!(error < 1e-5, "{kind:?}: {error}");
    }
}

#[test]
fn the_simulated_engine_agrees_to_fp16_rounding() {
    let tokens = Tokens { batch: 16, seq: 8 };
    for config in configs() {
        let case = Case::of(&config, tokens);
        let mut exact = case.model(Arc::new(CpuEngine::new(2)), tokens);
        let mut a = vec![0.0; case.table.len()];
        let loss_a = exact.loss_and_gradients(&case.inputs, &case.targets, 1.0, &mut a, Write::Set).unwrap();
        for (kind, kernels) in PlanKind::ALL.into_iter().zip([6, 11, 5, 6, 6]) {
            let sim = SimEngine::new(Profile::built_in("m4").unwrap(), 2);
            let mut rounded = case.planned(kind, Arc::new(sim.clone()), tokens);
            assert_eq!(sim.usage().loaded, kernels + usize::from(config.qk_norm && kind == PlanKind::Extras));
            let mut b = vec![0.0; case.table.len()];
            let loss_b =
                rounded.loss_and_gradients(&case.inputs, &case.targets, 1.0, &mut b, Write::Set).unwrap();
            assert!((loss_a / loss_b - 1.0).abs() < 2e-3, "{kind:?}: {loss_a} and {loss_b}");
            assert_ne!(loss_a, loss_b, "nothing was rounded");
            let error = relative_error(&to_f64(&b), &to_f64(&a));
            assert!(error < 2e-2, "{kind:?}: {error} of {config:?}");
        }
    }
}

/// The embeddings of a model that was never trained are small: what the norms' backward passes multiply by, one over their
/// root mean square, is large. As an engine sees it, with a loss scale.
#[test]
fn small_hidden_states_do_not_overflow_the_norms_of_any_plan() {
    let tokens = Tokens { batch: 16, seq: 8 };
    let mut case = Case::new(false, tokens);
    let range = case.table.embedding().range();
    case.data[range].iter_mut().for_each(|x| *x *= 0.01);
    let gradients = |kind, engine: Arc<dyn Engine>| {
        let mut grads = vec![f32::NAN; case.table.len()];
        let mut model = case.planned(kind, engine, tokens);
        model.loss_and_gradients(&case.inputs, &case.targets, 1.0, &mut grads, Write::Set).unwrap();
        assert_eq!(model.overflow(), None, "{kind:?}");
        to_f64(&grads)
    };
    let expected = gradients(PlanKind::Six, Arc::new(CpuEngine::new(2)));
    for kind in PlanKind::ALL {
        let sim = SimEngine::new(Profile::built_in("m4").unwrap(), 2);
        let error = relative_error(&gradients(kind, Arc::new(sim)), &expected);
        assert!(error < 2e-2, "{kind:?}: {error}");
    }
}

#[test]
fn next_token_logits_are_those_of_the_loss() {
    let tokens = Tokens { batch: 1, seq: 5 };
    let case = Case::new(true, tokens);
    let mut model = case.model(Arc::new(CpuEngine::new(1)), tokens);
    let mut generator = Generator::new(Arc::new(CpuEngine::new(1)), case.weights(), 1);
    let mut sum = 0.0;
    for (i, &target) in case.targets.iter().enumerate() {
        let logits = to_f64(generator.logits(&case.inputs[..=i]).unwrap());
        sum += logits.iter().map(|x| x.exp()).sum::<f64>().ln() - logits[target as usize];
    }
    let expected = model.loss(&case.inputs, &case.targets).unwrap();
    assert!((sum / expected - 1.0).abs() < 1e-5, "{sum} instead of {expected}");
}

#[test]
fn an_evaluator_gives_the_trainers_loss_and_takes_part_of_a_batch() {
    for config in configs() {
        let case = Case::of(&config, TOKENS);
        let engine = || Arc::new(CpuEngine::new(1));
        let mut evaluator = Evaluator::new(engine(), case.weights(), TOKENS, 1).unwrap();
        let mut model = case.model(engine(), TOKENS);
        let whole = model.loss(&case.inputs, &case.targets).unwrap();
        let loss = evaluator.loss(&case.inputs, &case.targets).unwrap();
        assert!((loss / whole - 1.0).abs() < 1e-6, "{loss} instead of {whole}");
        for len in [1, 5, 7] {
            let (inputs, targets) = (&case.inputs[..len], &case.targets[..len]);
            let expected = common::loss(&case.table, &case.data, TOKENS.seq, inputs, targets);
            let loss = evaluator.loss(inputs, targets).unwrap();
            assert!((loss / expected - 1.0).abs() < 1e-5, "{len} tokens: {loss} instead of {expected}");
        }
        assert!(evaluator.loss(&[1; 11], &[1; 11]).is_err());
    }
}

#[test]
fn tokens_outside_the_vocabulary_or_the_window_are_named() {
    let tokens = Tokens { batch: 1, seq: 5 };
    let case = Case::new(true, tokens);
    let mut model = case.model(Arc::new(CpuEngine::new(1)), tokens);
    let error = model.loss(&[1, 2, 11, 0, 0], &case.targets).unwrap_err().to_string();
    assert_eq!(error, "token 11 at position 2 is outside the vocabulary of 11");
    let error = model.loss(&[1, 2], &case.targets[..2]).unwrap_err().to_string();
    assert_eq!(error, "2 tokens were given to kernels compiled for 5");
    let mut generator = Generator::new(Arc::new(CpuEngine::new(1)), case.weights(), 1);
    let error = generator.logits(&[1; 9]).unwrap_err().to_string();
    assert_eq!(error, "9 tokens exceed the model's 8 positions");
}

#[test]
fn a_micro_batch_too_narrow_for_the_chip_says_what_to_do() {
    let tokens = Tokens { batch: 2, seq: 8 };
    let case = Case::new(true, tokens);
    let sim: Arc<dyn Engine> = Arc::new(SimEngine::new(Profile::built_in("m4").unwrap(), 1));
    let plan = Plan::new(PlanKind::Six, case.table.config(), tokens).unwrap();
    let error = TrainingModel::new(sim, case.weights(), plan, 1).err().unwrap().to_string();
    assert!(error.contains("16 wide") && error.contains("narrower than 64"), "{error}");
}
