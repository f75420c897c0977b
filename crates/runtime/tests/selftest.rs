//! The self-test passes on engines that are right, and on no engine that is wrong.

use std::sync::Arc;

use ferrane_cpu::CpuEngine;
use ferrane_engine::{
    Clock, Engine, EngineError, Kernel, Port, Profile, ReloadWay, Surface, SurfaceError, WeightFiles,
};
use ferrane_mil::Verified;
use ferrane_model::{
    ModelConfig, Parameters, Preset,
    plan::{Plan, PlanKind},
    stage::Tokens,
};
use ferrane_runtime::{
    Weights, WeightsMode,
    selftest::{KernelTest, selftest},
};
use ferrane_sim::{Numerics, SimEngine};

fn config() -> ModelConfig {
    ModelConfig {
        layers: 2,
        dim: 32,
        hidden: 48,
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        vocab: 64,
        ..Preset::Nano.config()
    }
}

fn sim(chip: &str, numerics: Numerics) -> Arc<dyn Engine> {
    Arc::new(SimEngine::new(Profile::built_in(chip).unwrap(), 2).with_numerics(numerics))
}

fn test(engine: &Arc<dyn Engine>, kind: PlanKind, mode: WeightsMode) -> Vec<KernelTest> {
    let weights = Weights::new(Parameters::init(&config(), 1).unwrap());
    let plan = Plan::new(kind, &config(), Tokens { batch: 1, seq: 64 }).unwrap();
    let mut told = 0;
    let tests = selftest(engine, &weights, &plan, mode, 0..1, |_| told += 1).unwrap();
    assert_eq!(told, tests.len());
    tests
}

#[track_caller]
fn assert_passes(tests: &[KernelTest], what: &str) {
    for test in tests {
        assert!(test.passes(), "{what} {}: {:#?}", test.kernel, test.result);
    }
}

#[test]
fn the_simulated_chips_pass_every_plan_and_mode() {
    for numerics in [Numerics::Fast, Numerics::Faithful] {
        for kind in PlanKind::ALL {
            for mode in [WeightsMode::Streamed, WeightsMode::Baked] {
                let tests = test(&sim("m4", numerics), kind, mode);
                assert_passes(&tests, &format!("{} {mode} {numerics:?}", kind.name()));
                let least = if kind == PlanKind::Six { 6 } else { 4 };
                assert!(tests.len() >= least, "{}: {}", kind.name(), tests.len());
            }
        }
    }
    assert_passes(&test(&sim("m1", Numerics::Faithful), PlanKind::Fused, WeightsMode::Streamed), "m1");
}

/// Kernels whose weights are inputs are compiled once for all layers, others for each.
#[test]
fn every_layer_is_tested_with_its_own_weights() {
    for (mode, compiles) in [(WeightsMode::Streamed, 6), (WeightsMode::Baked, 11)] {
        let weights = Weights::new(Parameters::init(&config(), 1).unwrap());
        let plan = Plan::new(PlanKind::Six, &config(), Tokens { batch: 1, seq: 64 }).unwrap();
        let engine = sim("m4", Numerics::Fast);
        let tests = selftest(&engine, &weights, &plan, mode, 0..2, |_| ()).unwrap();
        assert_eq!(
            tests.iter().map(|test| test.layer).collect::<Vec<_>>(),
            [[Some(0); 6], [Some(1); 6]].concat()
        );
        assert_passes(&tests, "both layers");
        // Equal inputs, other weights.
        assert_ne!(tests[0].result, tests[6].result);
        assert_eq!(engine.usage().compiles, compiles, "{mode}");
    }
}

#[test]
fn the_host_is_right_by_its_own_measure() {
    let cpu: Arc<dyn Engine> = Arc::new(CpuEngine::new(2));
    for test in test(&cpu, PlanKind::Extras, WeightsMode::Baked) {
        for (output, difference) in test.result.unwrap() {
            assert!(difference.relative < 1e-3, "{} {output}: {difference:?}", test.kernel);
        }
    }
}

#[test]
fn a_reload_that_is_ignored_fails() {
    let tests = test(&sim("m4", Numerics::Fast), PlanKind::Six, WeightsMode::Reload);
    let failed: Vec<_> = tests.iter().filter(|test| !test.passes()).map(|test| test.kernel).collect();
    assert!(failed.contains(&"attn_fwd") && failed.contains(&"ffn_fwd"), "{failed:?}");
    let mut profile = Profile::built_in("m4").unwrap();
    profile.assume("weight-file-ignored").unwrap();
    let heeding: Arc<dyn Engine> = Arc::new(SimEngine::new(profile, 2));
    assert_passes(&test(&heeding, PlanKind::Six, WeightsMode::Reload), "reload");
}

#[test]
fn a_refusal_is_a_failure_of_the_kernel_alone() {
    let mut profile = Profile::built_in("m4").unwrap();
    profile.limits.compiles.as_mut().unwrap().value = 2;
    let engine: Arc<dyn Engine> = Arc::new(SimEngine::new(profile, 2));
    let tests = test(&engine, PlanKind::Six, WeightsMode::Streamed);
    assert_eq!(tests.iter().filter(|test| test.passes()).count(), 2);
    assert!(tests[2].result.as_ref().unwrap_err().contains("compile-count"));
}

/// An engine that spoils its results in one way.
struct Wrong(SimEngine, Spoil);

struct WrongKernel(Box<dyn Kernel>, Spoil);

type Spoil = fn(&mut [f32]);

impl Engine for Wrong {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn profile(&self) -> &Profile {
        self.0.profile()
    }

    fn surface(&self, port: &Port, allocation: usize) -> Result<Surface, SurfaceError> {
        self.0.surface(port, allocation)
    }

    fn compile(&self, program: &Verified, weights: &WeightFiles) -> Result<Box<dyn Kernel>, EngineError> {
        Ok(Box::new(WrongKernel(self.0.compile(program, weights)?, self.1)))
    }

    fn clock(&self) -> Option<Clock> {
        self.0.clock()
    }
}

impl Kernel for WrongKernel {
    fn inputs(&self) -> &[Port] {
        self.0.inputs()
    }

    fn outputs(&self) -> &[Port] {
        self.0.outputs()
    }

    fn evaluate(&mut self, inputs: &[&Surface], outputs: &[&Surface]) -> Result<(), EngineError> {
        self.0.evaluate(inputs, outputs)?;
        outputs.iter().try_for_each(|output| Ok(output.write(self.1)?))
    }

    fn reload(&mut self, weights: &WeightFiles, way: ReloadWay) -> Result<(), EngineError> {
        self.0.reload(weights, way)
    }
}

#[test]
fn engines_that_are_wrong_in_whatever_way_fail() {
    let ways: [(&str, Spoil); 6] = [
        ("zeros", |y| y.fill(0.0)),
        ("a tenth too much", |y| y.iter_mut().for_each(|y| *y *= 1.1)),
        ("the first element of the largest", |y| {
            y[0] = y.iter().fold(0.0, |m: f32, y| m.max(y.abs())) * 2.0 + 1.0
        }),
        ("neighbours exchanged", |y| y.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1))),
        ("an infinity", |y| y[3] = f32::INFINITY),
        ("not a number", |y| y[3] = f32::NAN),
    ];
    for (way, spoil) in ways {
        let sim = SimEngine::new(Profile::built_in("m4").unwrap(), 2);
        let engine: Arc<dyn Engine> = Arc::new(Wrong(sim, spoil));
        for test in test(&engine, PlanKind::Six, WeightsMode::Streamed) {
            assert!(!test.passes(), "{way}: {} {:#?}", test.kernel, test.result);
        }
    }
}
