//! Where weights are makes no difference to what is computed, and none is ever stale.

mod common;

use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;

use common::{config, noise, parameters, relative_error};
use ferrane_cpu::CpuEngine;
use ferrane_engine::{
    Engine, EngineError, Kernel, Port, Profile, ReloadWay, Surface, SurfaceError, Usage, WeightFiles,
};
use ferrane_mil::Verified;
use ferrane_model::{
    ParamTable, Parameters,
    plan::{Plan, PlanKind},
    stage::Tokens,
};
use ferrane_runtime::{RuntimeError, TrainingModel, Weights, WeightsMode, Write};
use ferrane_sim::SimEngine;

const TOKENS: Tokens = Tokens { batch: 16, seq: 8 };
const MODES: [WeightsMode; 3] = [WeightsMode::Streamed, WeightsMode::Baked, WeightsMode::Reload];

fn model(engine: Arc<dyn Engine>, mode: WeightsMode) -> Result<TrainingModel, RuntimeError> {
    planned(PlanKind::Six, engine, mode)
}

fn planned(
    kind: PlanKind,
    engine: Arc<dyn Engine>,
    mode: WeightsMode,
) -> Result<TrainingModel, RuntimeError> {
    let table = ParamTable::new(&config(true)).unwrap();
    let data = parameters(&table).into_iter().map(|x| x as f32).collect();
    let plan = Plan::new(kind, table.config(), TOKENS).unwrap();
    let weights = Weights::new(Parameters::from_parts(table, data).unwrap());
    TrainingModel::with_mode(engine, weights, plan, 2, mode)
}

/// The chip, and the chip as it would be if it heeded new weight files.
fn m4(reloads: bool) -> SimEngine {
    let mut profile = Profile::built_in("m4").unwrap();
    if reloads {
        profile.assume("weight-file-ignored").unwrap();
    }
    SimEngine::new(profile, 2)
}

fn tokens(seed: u64) -> Vec<u32> {
    noise(TOKENS.width(), seed, 1.0).into_iter().map(|x| ((x + 1.0) * 5.49) as u32).collect()
}

/// The loss and the gradients.
fn pass(model: &mut TrainingModel) -> Result<(f64, Vec<f32>), RuntimeError> {
    let mut grads = vec![0.0; model.weights().table().len()];
    let loss = model.loss_and_gradients(&tokens(1), &tokens(2), 1e-2, &mut grads, Write::Set)?;
    Ok((loss, grads))
}

/// Steps of plain gradient descent, large enough that stale weights show.
fn descend(model: &mut TrainingModel, steps: usize) -> Result<Vec<(f64, Vec<f32>)>, RuntimeError> {
    let mut passes = Vec::new();
    for _ in 0..steps {
        let (loss, grads) = pass(model)?;
        model.weights().arena().write().iter_mut().zip(&grads).for_each(|(w, g)| *w -= 0.3 * g);
        model.weights_changed()?;
        passes.push((loss, grads));
    }
    Ok(passes)
}

fn to_f64(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

#[track_caller]
fn assert_same(passes: &[(f64, Vec<f32>)], expected: &[(f64, Vec<f32>)], tolerance: f64, what: &str) {
    let falls = expected[0].0 - expected[expected.len() - 1].0;
    assert!(falls > 0.1 * expected[0].0, "the loss falls by {falls}: stale weights would not show");
    for (step, ((loss, grads), (e_loss, e_grads))) in passes.iter().zip(expected).enumerate() {
        assert!((loss / e_loss - 1.0).abs() < tolerance, "{what}, step {step}: {loss} instead of {e_loss}");
        let error = relative_error(&to_f64(grads), &to_f64(e_grads));
        assert!(error < 20.0 * tolerance, "{what}, step {step}: gradients differ by {error}");
    }
}

#[test]
fn all_modes_give_the_same_losses_and_gradients() {
    let engines: [(Arc<dyn Engine>, f64); 2] =
        [(Arc::new(CpuEngine::new(2)), 1e-5), (Arc::new(m4(true)), 1e-3)];
    for (engine, tolerance) in engines {
        let run = |mode| descend(&mut model(Arc::clone(&engine), mode).unwrap(), 6).unwrap();
        let expected = run(WeightsMode::Streamed);
        for mode in [WeightsMode::Baked, WeightsMode::Reload] {
            assert_same(&run(mode), &expected, tolerance, &format!("{mode} on {}", engine.name()));
        }
    }
}

#[test]
fn every_plan_computes_the_same_with_baked_weights() {
    for kind in PlanKind::ALL {
        let engine: Arc<dyn Engine> = Arc::new(CpuEngine::new(2));
        let run = |mode| {
            let mut model = planned(kind, Arc::clone(&engine), mode).unwrap();
            let passes = descend(&mut model, 6).unwrap();
            (passes, model.loss(&tokens(1), &tokens(2)).unwrap())
        };
        let ((expected, e_loss), (baked, loss)) = (run(WeightsMode::Streamed), run(WeightsMode::Baked));
        assert_same(&baked, &expected, 1e-5, &format!("{kind:?}"));
        assert!((loss / e_loss - 1.0).abs() < 1e-5, "{kind:?}: {loss} instead of {e_loss}");
    }
}

/// The same where programs take one input: everything shares it, side by side or, over the limit of an axis, in rows below
/// each other. The simulated chip refuses a second input and a wider axis.
#[test]
fn every_plan_and_mode_computes_the_same_in_one_shared_input() {
    for kind in PlanKind::ALL {
        let expected =
            descend(&mut planned(kind, Arc::new(m4(true)), WeightsMode::Streamed).unwrap(), 6).unwrap();
        for max_extent in [16_384, 256] {
            for mode in MODES {
                let mut profile = Profile::built_in("m4").unwrap();
                profile.assume("weight-file-ignored").unwrap();
                profile.quirks.get_mut("multiple-inputs").unwrap().holds.value = true;
                profile.limits.max_extent.value = max_extent;
                let mut model = planned(kind, Arc::new(SimEngine::new(profile, 2)), mode).unwrap();
                let what = format!("{kind:?}, {mode}, at most {max_extent} wide");
                assert_same(&descend(&mut model, 6).unwrap(), &expected, 1e-3, &what);
                let evaluated = model.loss(&tokens(1), &tokens(2)).unwrap();
                let (trained, _) = pass(&mut model).unwrap();
                assert!((evaluated / trained - 1.0).abs() < 1e-3, "{what}: {evaluated} and {trained}");
            }
        }
    }
}

#[test]
fn evaluation_sees_every_update_and_compiles_nothing() {
    for mode in MODES {
        let engine = m4(true);
        let mut model = model(Arc::new(engine.clone()), mode).unwrap();
        descend(&mut model, 2).unwrap();
        let compiles = engine.usage().compiles;
        let evaluated = model.loss(&tokens(1), &tokens(2)).unwrap();
        assert_eq!(engine.usage().compiles, compiles, "{mode}");
        let (trained, _) = pass(&mut model).unwrap();
        assert!((evaluated / trained - 1.0).abs() < 1e-3, "{mode}: {evaluated} and {trained}");
    }
}

#[test]
fn each_update_of_baked_weights_costs_a_compile_a_kernel_and_no_slot() {
    let engine = m4(false);
    let mut model = model(Arc::new(engine.clone()), WeightsMode::Baked).unwrap();
    // Two forward pieces for evaluation, and `sdpa_bwd2`, which holds no weights.
    assert_eq!((engine.usage().compiles, model.compiles_due()), (3, 10));
    for step in 0..3 {
        pass(&mut model).unwrap();
        assert_eq!((engine.usage().compiles, model.compiles_due()), (3 + 10 * (step + 1), 0));
        assert_eq!(engine.usage().loaded, 13);
        pass(&mut model).unwrap();
        assert_eq!(engine.usage().compiles, 3 + 10 * (step + 1), "a second micro-batch compiles nothing");
        model.weights_changed().unwrap();
        assert_eq!(model.compiles_due(), 10);
    }
    assert_eq!(model.compile_log().compiles(), 33);
    assert!(model.compile_log().time_spent() > Duration::ZERO);
}

/// As in the published fork: norms' backward kernels, the final norm and the classifier hold weights, too.
#[test]
fn the_head_of_extras_is_baked() {
    let engine = m4(false);
    let mut model = planned(PlanKind::Extras, Arc::new(engine.clone()), WeightsMode::Baked).unwrap();
    // Shared: `sdpa_bwd2`, `softmax`, and for evaluation two kernels of layers and three of the head.
    assert_eq!((engine.usage().compiles, model.compiles_due()), (7, 2 * (5 + 2) + 2));
    descend(&mut model, 2).unwrap();
    assert_eq!((engine.usage().compiles, model.compiles_due()), (7 + 2 * 16, 16));
}

#[test]
fn reloading_is_refused_where_the_engine_goes_on_with_old_weights() {
    let mut model = model(Arc::new(m4(false)), WeightsMode::Reload).unwrap();
    let error = pass(&mut model).unwrap_err();
    assert!(matches!(error, RuntimeError::ReloadIgnored { piece: "attn_fwd", layer: 0, .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("m4") && message.contains("--weights baked"), "{message}");
}

#[test]
fn a_reload_that_stops_working_is_noticed_at_the_first_use() {
    // Each kernel of the first layer is reloaded twice while that is tried; the first update is the third time.
    let engine = Watched { heeded: 3, ..Watched::new() };
    let mut model = model(Arc::new(engine), WeightsMode::Reload).unwrap();
    let error = descend(&mut model, 6).unwrap_err();
    assert!(matches!(error, RuntimeError::ReloadIgnored { .. }), "{error}");
}

#[test]
fn kernels_beyond_the_slots_or_compiles_of_a_process_are_refused_before_any_is_made() {
    let refusal = |change: fn(&mut Profile)| {
        let mut profile = Profile::built_in("m4").unwrap();
        change(&mut profile);
        model(Arc::new(SimEngine::new(profile, 1)), WeightsMode::Baked).err().unwrap().to_string()
    };
    let slots = refusal(|profile| profile.limits.slots.value = 12);
    assert!(slots.contains("needs 13 kernels") && slots.contains("holds at most 12"), "{slots}");
    let compiles = refusal(|profile| profile.limits.compiles.as_mut().unwrap().value = 12);
    assert!(compiles.contains("compiles in one process at most 12"), "{compiles}");
    assert!(compiles.contains("--weights streamed"), "{compiles}");
}

/// The first layer's kernels run before the last layer's are compiled: here no compile after the third ends before an
/// evaluation has been seen.
#[test]
fn the_forward_pass_begins_while_later_layers_compile() {
    let engine = Watched { compiles_before_an_evaluation: Some(3 + 3), ..Watched::new() };
    let mut model = model(Arc::new(engine), WeightsMode::Baked).unwrap();
    pass(&mut model).unwrap();
}

/// The CPU, watched and made worse.
struct Watched {
    engine: CpuEngine,
    compiles: AtomicUsize,
    compiles_before_an_evaluation: Option<usize>,
    /// Reloads of a kernel that have an effect.
    heeded: usize,
    evaluated: Arc<(Mutex<bool>, Condvar)>,
}

impl Watched {
    fn new() -> Self {
        Self {
            engine: CpuEngine::new(2),
            compiles: AtomicUsize::new(0),
            compiles_before_an_evaluation: None,
            heeded: usize::MAX,
            evaluated: Arc::default(),
        }
    }
}

impl Engine for Watched {
    fn name(&self) -> &str {
        "watched"
    }

    fn profile(&self) -> &Profile {
        self.engine.profile()
    }

    fn surface(&self, port: &Port, allocation: usize) -> Result<Surface, SurfaceError> {
        self.engine.surface(port, allocation)
    }

    fn compile(&self, program: &Verified, weights: &WeightFiles) -> Result<Box<dyn Kernel>, EngineError> {
        let number = self.compiles.fetch_add(1, Ordering::SeqCst);
        if self.compiles_before_an_evaluation.is_some_and(|most| number >= most) {
            let (seen, changed) = &*self.evaluated;
            let seen = seen.lock().unwrap();
            let (seen, _) = changed.wait_timeout_while(seen, Duration::from_secs(20), |seen| !*seen).unwrap();
            assert!(*seen, "nothing is evaluated until all is compiled");
        }
        let kernel = self.engine.compile(program, weights)?;
        let evaluated = Arc::clone(&self.evaluated);
        Ok(Box::new(WatchedKernel { kernel, evaluated, reloads_left: self.heeded }))
    }

    fn reads_host_memory(&self) -> bool {
        true
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

struct WatchedKernel {
    kernel: Box<dyn Kernel>,
    evaluated: Arc<(Mutex<bool>, Condvar)>,
    reloads_left: usize,
}

impl Kernel for WatchedKernel {
    fn inputs(&self) -> &[Port] {
        self.kernel.inputs()
    }

    fn outputs(&self) -> &[Port] {
        self.kernel.outputs()
    }

    fn evaluate(&mut self, inputs: &[&Surface], outputs: &[&Surface]) -> Result<(), EngineError> {
        let (seen, changed) = &*self.evaluated;
        *seen.lock().unwrap() = true;
        changed.notify_all();
        self.kernel.evaluate(inputs, outputs)
    }

    fn reload(&mut self, weights: &WeightFiles, way: ReloadWay) -> Result<(), EngineError> {
        if self.reloads_left == 0 {
            return Ok(());
        }
        self.reloads_left -= 1;
        self.kernel.reload(weights, way)
    }
}
