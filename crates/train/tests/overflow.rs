//! Gradients that overflow fp16: seen in surfaces as well as in the end, on engines with and without infinities.

mod common;

use std::sync::Arc;

use common::{noise, settings};
use ferrane_engine::{
    Engine, EngineError, Kernel, Port, Profile, ReloadWay, Surface, SurfaceError, WeightFiles,
};
use ferrane_mil::Verified;
use ferrane_model::{Parameters, Preset, stage::Tokens};
use ferrane_sim::SimEngine;
use ferrane_train::{
    data::BatchOrder,
    loss_scale::{LossScaleConfig, ScaleChange},
    trainer::{StepReport, StepSettings, TrainError, Trainer},
};

const SEQ: usize = 64;

/// The simulated engine with arithmetic that saturates: what would be an infinity is the largest number of its sign, so
/// that nothing computed from it is infinite either.
struct Saturating(SimEngine);

struct SaturatingKernel(Box<dyn Kernel>);

impl Engine for Saturating {
    fn name(&self) -> &str {
        "saturating"
    }

    fn profile(&self) -> &Profile {
        self.0.profile()
    }

    fn surface(&self, port: &Port, allocation: usize) -> Result<Surface, SurfaceError> {
        self.0.surface(port, allocation)
    }

    fn compile(&self, program: &Verified, weights: &WeightFiles) -> Result<Box<dyn Kernel>, EngineError> {
        Ok(Box::new(SaturatingKernel(self.0.compile(program, weights)?)))
    }
}

impl Kernel for SaturatingKernel {
    fn inputs(&self) -> &[Port] {
        self.0.inputs()
    }

    fn outputs(&self) -> &[Port] {
        self.0.outputs()
    }

    fn evaluate(&mut self, inputs: &[&Surface], outputs: &[&Surface]) -> Result<(), EngineError> {
        // The host writes the first gradient, and rounds it to fp16.
        for surface in inputs.iter().chain(outputs) {
            saturate(surface);
        }
        self.0.evaluate(inputs, outputs)?;
        outputs.iter().for_each(|surface| saturate(surface));
        Ok(())
    }

    fn reload(&mut self, weights: &WeightFiles, way: ReloadWay) -> Result<(), EngineError> {
        self.0.reload(weights, way)
    }
}

fn saturate(surface: &Surface) {
    let clamp = |x: f32| if x.is_nan() { 0.0 } else { x.clamp(-65_504.0, 65_504.0) };
    surface.write(|values| values.iter_mut().for_each(|x| *x = clamp(*x))).unwrap();
}

fn sim() -> SimEngine {
    SimEngine::new(Profile::built_in("m4").unwrap(), 1)
}

fn trainer(engine: Arc<dyn Engine>, loss_scale: LossScaleConfig) -> Trainer {
    let parameters = Parameters::init(&Preset::Stories260K.config(), 1).unwrap();
    let settings =
        StepSettings { micro_batches: 2, loss_scale, ..settings(Tokens { batch: 1, seq: SEQ }, 1e-3) };
    Trainer::new(engine, parameters, settings, 1).unwrap()
}

fn step(trainer: &mut Trainer, order: &mut BatchOrder) -> Result<StepReport, TrainError> {
    trainer.step(&mut |batch| order.next_batch(batch))
}

const TOO_LARGE: LossScaleConfig =
    LossScaleConfig { start: 16_777_216.0, min: 1.0, max: 16_777_216.0, growth_interval: 4 };

/// The published trainer looked at the loss alone, which is finite here, and never at gradients.
#[test]
fn an_overflow_drops_the_update_and_halves_the_scale_until_steps_are_good() {
    let engines: [Arc<dyn Engine>; 2] = [Arc::new(sim()), Arc::new(Saturating(sim()))];
    for engine in engines {
        let name = engine.name().to_owned();
        let (mut trainer, mut order) = (trainer(engine, TOO_LARGE), noise(512, SEQ));
        let weights = trainer.weights().clone();
        let before = weights.arena().read().to_vec();
        let mut scale = TOO_LARGE.start;
        let first = step(&mut trainer, &mut order).unwrap();
        assert!(first.loss.is_finite() && first.grad_norm.is_none(), "{name}: {first:?}");
        assert!(first.overflow.is_some(), "{name}: {first:?}");
        assert_eq!(*weights.arena().read(), before, "{name}: a dropped update changed the weights");

        let mut good = false;
        for _ in 0..24 {
            let report = step(&mut trainer, &mut order).unwrap();
            scale *= 0.5;
            assert_eq!(report.loss_scale, scale, "{name}");
            if report.overflow.is_none() {
                good = true;
                break;
            }
            assert_eq!(report.scale_change, ScaleChange::Halved);
        }
        assert!(good, "{name}: no scale was small enough");
        assert_ne!(*weights.arena().read(), before, "{name}: a good update changed nothing");
        let progress = trainer.progress();
        assert_eq!(progress.updates, 1, "{name}: dropped updates are not counted");
    }
}

/// Without looking at surfaces nothing would tell: sums over saturated values are finite.
#[test]
fn saturation_is_seen_in_a_surface_and_named() {
    let (mut trainer, mut order) = (trainer(Arc::new(Saturating(sim())), TOO_LARGE), noise(512, SEQ));
    let report = step(&mut trainer, &mut order).unwrap();
    let place = report.overflow.unwrap();
    assert!(place.contains("`d_") && place.contains("layer"), "{place}");
}

#[test]
fn an_overflow_at_the_lowest_scale_stops_with_its_place() {
    let fixed = LossScaleConfig { min: TOO_LARGE.start, ..TOO_LARGE };
    let (mut trainer, mut order) = (trainer(Arc::new(sim()), fixed), noise(512, SEQ));
    let error = step(&mut trainer, &mut order).unwrap_err().to_string();
    assert!(error.contains("step 1") && error.contains("`d_") && error.contains("16777216"), "{error}");
    assert_eq!(trainer.steps_done(), 0);
}

#[test]
fn the_scale_grows_after_good_steps() {
    let small = LossScaleConfig { start: 2.0, min: 1.0, max: 8.0, growth_interval: 2 };
    let (mut trainer, mut order) = (trainer(Arc::new(sim()), small), noise(512, SEQ));
    let scales: Vec<f32> = (0..7).map(|_| step(&mut trainer, &mut order).unwrap().loss_scale).collect();
    assert_eq!(scales, [2.0, 2.0, 4.0, 4.0, 8.0, 8.0, 8.0]);
}
