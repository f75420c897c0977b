//! What another try cures leaves no trace in the results; what none cures is an error that says so.

use std::sync::Arc;

use ferrane_engine::{Engine, EngineError, Kernel, Profile, Recovering, RemarkKind, Surface, WeightFiles};
use ferrane_mil::{Builder, Opset, Program, TensorType, Verified, verify};
use ferrane_sim::SimEngine;

fn engine(faults: &str) -> Recovering {
    let mut profile = Profile::built_in("m4").unwrap();
    profile.limits.slots.value = 2;
    Recovering::new(Arc::new(SimEngine::new(profile, 1).with_faults(faults.parse().unwrap())))
}

/// `y = x + x`.
fn doubling() -> Verified {
    let mut b = Builder::new("double", Opset::Ios18);
    let x = b.input("x", TensorType::fp16([1, 4, 1, 64]));
    let y = b.add(x, x).unwrap();
    verify(Program::single(b.finish(&[y]))).unwrap()
}

fn compile(engine: &Recovering) -> Result<Box<dyn Kernel>, EngineError> {
    engine.compile(&doubling(), &WeightFiles::none())
}

fn run(engine: &Recovering, kernel: &mut dyn Kernel) -> Result<f32, EngineError> {
    let surface = |port| -> Surface { engine.surface(port, 512).unwrap() };
    let (x, y) = (surface(&kernel.inputs()[0]), surface(&kernel.outputs()[0]));
    x.write(|x| x.fill(3.0)).unwrap();
    let done = kernel.evaluate(&[&x], &[&y]);
    let [first, last] = y.read(|y| [y[0], y[255]]).unwrap();
    assert_eq!(first.to_bits(), last.to_bits());
    done.map(|()| first)
}

/// How many faults and how many recoveries were told of.
fn told(engine: &Recovering) -> (usize, usize) {
    let remarks = engine.remarks();
    let count = |kind| remarks.iter().filter(|remark| remark.kind == kind).count();
    (count(RemarkKind::Fault), count(RemarkKind::Recovery))
}

#[test]
fn single_failures_are_cured_and_told() {
    for (faults, expected) in [
        ("compile@1", (1, 1)),
        ("slow-compile@1", (1, 0)),
        ("load@1", (1, 1)),
        ("eval@1", (1, 1)),
        ("timeout@1", (1, 1)),
        ("eval@1x2", (2, 1)),
        ("eval@1x4", (4, 1)),
        // The kernel that is gone fails a second time before it is compiled anew.
        ("daemon-restart@1", (2, 1)),
        ("compile@1,load@1,eval@1", (3, 3)),
    ] {
        let engine = engine(faults);
        let mut kernel = compile(&engine).unwrap_or_else(|error| panic!("{faults}: {error}"));
        assert_eq!(run(&engine, &mut *kernel).unwrap(), 6.0, "{faults}");
        assert_eq!(told(&engine), expected, "{faults}");
        assert_eq!(run(&engine, &mut *kernel).unwrap(), 6.0);
        assert_eq!((told(&engine), engine.usage().loaded), ((0, 0), 1), "{faults}");
    }
}

#[test]
fn what_no_try_cures_is_an_error() {
    for (faults, needle) in [
        ("compile@1x2", "ANECCompile() FAILED"),
        ("load@1x2", "0x50004"),
        ("slots@1", "other processes hold all program slots"),
    ] {
        let error = compile(&engine(faults)).err().unwrap().to_string();
        assert!(error.contains(needle), "{faults}: {error}");
    }
    for (faults, needle) in [
        ("eval@1x5", "0x1d"),
        ("timeout@1x5", "0x11"),
        ("eval@1x2,compile@2x2", "ANECCompile() FAILED"),
        ("daemon-restart@1,slots@2", "0x50004"),
    ] {
        let engine = engine(faults);
        let mut kernel = compile(&engine).unwrap();
        let error = run(&engine, &mut *kernel).unwrap_err().to_string();
        assert!(error.contains(needle), "{faults}: {error}");
    }
}

#[test]
fn slow_compiles_and_time_outs_take_modelled_time_alone() {
    let time = |faults| {
        let engine = engine(faults);
        let mut kernel = compile(&engine).unwrap();
        run(&engine, &mut *kernel).unwrap();
        engine.clock().unwrap()
    };
    let usual = time("eval@9");
    assert_eq!(time("slow-compile@1").compile_nanoseconds, 100 * usual.compile_nanoseconds);
    assert_eq!(time("timeout@1").nanoseconds, usual.nanoseconds + 1_000_000_000);
}

#[test]
fn a_failed_evaluation_leaves_nothing_that_looks_like_a_result() {
    let sim = SimEngine::new(Profile::built_in("m4").unwrap(), 1).with_faults("eval@2".parse().unwrap());
    let mut kernel = sim.compile(&doubling(), &WeightFiles::none()).unwrap();
    let x = sim.surface(&kernel.inputs()[0], 512).unwrap();
    let y = sim.surface(&kernel.outputs()[0], 512).unwrap();
    kernel.evaluate(&[&x], &[&y]).unwrap();
    kernel.evaluate(&[&x], &[&y]).unwrap_err();
    y.read(|y| assert!(y.iter().all(|y| y.is_nan()))).unwrap();
}

#[test]
fn a_daemon_that_restarts_takes_every_kernel_with_it() {
    let engine = engine("daemon-restart@2");
    let (mut a, mut b) = (compile(&engine).unwrap(), compile(&engine).unwrap());
    for kernel in [&mut a, &mut b] {
        assert_eq!(run(&engine, &mut **kernel).unwrap(), 6.0);
    }
    assert_eq!(told(&engine), (2, 1), "b met the restart");
    assert_eq!(run(&engine, &mut *a).unwrap(), 6.0);
    assert_eq!(told(&engine), (2, 1), "and a is gone too");
    assert_eq!((engine.usage().loaded, engine.usage().compiles), (2, 4));
}
