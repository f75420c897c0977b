//! The virtual clock.

use std::sync::Mutex;

use ferrane_engine::{Clock, Engine, Kernel, Port, Profile, Surface, WeightFiles, cost};
use ferrane_mil::{Builder, Opset, Program, TensorType, Verified, verify};
use ferrane_sim::{Numerics, SimEngine};

fn products() -> Verified {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::fp16([1, 4, 1, 64]));
    let y = b.input("y", TensorType::fp16([1, 4, 1, 64]));
    let z = b.matmul(x, y, true, false).unwrap();
    let z = b.reshape(z, &[1, 256, 1, 64]).unwrap();
    verify(Program::single(b.finish(&[z]))).unwrap()
}

fn evaluate(engine: &SimEngine, kernel: &mut dyn Kernel) {
    let surfaces = |ports: &[Port]| -> Vec<Surface> {
        ports.iter().map(|port| engine.surface(port, port.bytes()).unwrap()).collect()
    };
    let (inputs, outputs) = (surfaces(kernel.inputs()), surfaces(kernel.outputs()));
    kernel.evaluate(&inputs.iter().collect::<Vec<_>>(), &outputs.iter().collect::<Vec<_>>()).unwrap();
}

/// The clock after compiling once and evaluating so many times, each on a thread of its own.
fn clock(chip: &str, evaluations: usize) -> Option<Clock> {
    let engine = SimEngine::new(Profile::built_in(chip).unwrap(), 1);
    let kernel = Mutex::new(engine.compile(&products(), &WeightFiles::none()).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..evaluations {
            scope.spawn(|| evaluate(&engine, &mut **kernel.lock().unwrap()));
        }
    });
    engine.clock()
}

#[test]
fn it_adds_up_what_the_cost_model_says_of_each_evaluation() {
    let cost = cost::estimate(products().main(), &Profile::built_in("m4").unwrap()).unwrap();
    let time = clock("m4", 3).unwrap();
    assert_eq!(time.evaluations, 3);
    assert!((time.milliseconds() - 3e3 * cost.seconds).abs() < 1e-5);
    assert!((time.joules() - 3.0 * cost.joules).abs() < 1e-8);
    assert!((time.utilisation() - cost.of_peak).abs() < 1e-4);
    assert_eq!(clock("m4", 3), Some(time), "it is the same in every run");
}

/// Where nothing is computed, time passes all the same, and outputs stay as they are.
#[test]
fn what_is_not_computed_takes_as_long() {
    let engine = SimEngine::new(Profile::built_in("m4").unwrap(), 1).with_numerics(Numerics::Skipped);
    let mut kernel = engine.compile(&products(), &WeightFiles::none()).unwrap();
    evaluate(&engine, &mut *kernel);
    assert_eq!(engine.clock(), clock("m4", 1));
    let surface = |port: &Port| engine.surface(port, port.bytes()).unwrap();
    let (x, y, z) =
        (surface(&kernel.inputs()[0]), surface(&kernel.inputs()[1]), surface(&kernel.outputs()[0]));
    z.write(|z| z.fill(7.0)).unwrap();
    kernel.evaluate(&[&x, &y], &[&z]).unwrap();
    assert!(z.read(|z| z.iter().all(|z| *z == 7.0)).unwrap());
}

#[test]
fn compiling_takes_time_but_no_evaluations() {
    let time = clock("m4", 0).unwrap();
    assert_eq!((time.evaluations, time.nanoseconds), (0, 0));
    assert!(time.compile_nanoseconds > 1_000_000);
}

#[test]
fn readings_can_be_subtracted() {
    let (one, three) = (clock("m4", 1).unwrap(), clock("m4", 3).unwrap());
    assert_eq!((three - one).nanoseconds, 2 * one.nanoseconds);
    assert_eq!((three - one).compile_nanoseconds, 0);
}

#[test]
fn a_profile_without_figures_has_no_clock() {
    assert_eq!(clock("cpu", 1), None);
}
