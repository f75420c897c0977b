//! Programs through both doors: on a Mac the real ones.

mod common;

use common::*;
use ferrane_engine::{Engine, Kernel, ReloadWay, WeightFiles};
use ferrane_mil::DType;

#[test]
fn a_convolution_is_compiled_loaded_and_evaluated() {
    let _world = World::enter();
    for door in DOORS {
        let engine = open(door);
        let mut kernel = engine.compile(&convolution(), &weights(1.0)).unwrap();
        let (y, expected) = convolve(&engine, &mut *kernel);
        assert_eq!(y, expected, "{door}");
    }
}

/// Declared out of order: the engine puts surfaces into the order in which the framework binds them.
#[test]
fn a_surface_goes_to_the_port_it_is_given_for() {
    let _world = World::enter();
    for door in DOORS {
        let engine = open(door);
        let mut kernel = engine.compile(&difference("z", "a", DType::Fp16), &WeightFiles::none()).unwrap();
        let (inputs, outputs) = (surfaces(&engine, kernel.inputs()), surfaces(&engine, kernel.outputs()));
        inputs[0].write(|z| z.fill(5.0)).unwrap();
        inputs[1].write(|a| a.fill(3.0)).unwrap();
        kernel.evaluate(&[&inputs[0], &inputs[1]], &[&outputs[0]]).unwrap();
        outputs[0].read(|y| assert!(y.iter().all(|&y| y == 2.0), "{door}: {y:?}")).unwrap();
    }
}

/// A kernel serves other surfaces, and one surface serves several kernels.
#[test]
fn kernels_and_surfaces_are_used_again() {
    let _world = World::enter();
    let engine = open(ferrane_apple::Door::InMemory);
    let compile = || engine.compile(&difference("a", "b", DType::Fp16), &WeightFiles::none()).unwrap();
    let (mut first, mut second) = (compile(), compile());
    let [x, y, z, u] =
        [0, 1, 2, 3].map(|i| surfaces(&engine, first.inputs()).into_iter().nth(i % 2).unwrap());
    x.write(|e| e.fill(8.0)).unwrap();
    y.write(|e| e.fill(1.0)).unwrap();
    for expected in [6.0, 4.0] {
        first.evaluate(&[&x, &y], &[&z]).unwrap();
        second.evaluate(&[&z, &y], &[&u]).unwrap();
        u.read(|u| assert!(u.iter().all(|&u| u == expected), "{u:?}")).unwrap();
        y.write(|e| e.iter_mut().for_each(|e| *e += 1.0)).unwrap();
    }
}

#[test]
fn what_is_written_to_a_surface_is_rounded_to_its_type() {
    let _world = World::enter();
    let engine = open(ferrane_apple::Door::InMemory);
    let port = |dtype| ferrane_engine::Port { name: "x".into(), shape: [1, 1, 1, 64], dtype };
    let values = [0.1, 2049.0, 70000.0, -1e-9, -65504.0, 1.0 / 3.0];
    for dtype in [DType::Fp16, DType::Fp32] {
        let device = engine.surface(&port(dtype), 4096).unwrap();
        let host = ferrane_engine::Surface::host("x", [1, 1, 1, 64], dtype, 4096).unwrap();
        for surface in [&device, &host] {
            surface.write(|e| e[..values.len()].copy_from_slice(&values)).unwrap();
        }
        assert_eq!(device.read(<[f32]>::to_vec).unwrap(), host.read(<[f32]>::to_vec).unwrap());
    }
}

/// What is known of real engines: the weights are part of the compiled program.
#[test]
fn loading_again_goes_on_with_the_weights_it_was_compiled_with() {
    let _world = World::enter();
    for door in DOORS {
        let engine = open(door);
        let mut kernel = engine.compile(&convolution(), &weights(1.0)).unwrap();
        kernel.reload(&weights(3.0), ReloadWay::Files).unwrap();
        let (y, expected) = convolve(&engine, &mut *kernel);
        assert_eq!(y, expected, "{door}");
    }
}

/// What was published of one convolution: the compiler's own copy is what is loaded.
#[test]
fn loading_again_with_another_data_file_goes_on_with_its_weights() {
    let _world = World::enter();
    for door in DOORS {
        let engine = open(door);
        let before = engine.usage();
        let mut kernel = engine.compile(&convolution(), &weights(1.0)).unwrap();
        // The same again has the same name.
        for factor in [2.0, 0.5, 0.5] {
            kernel.reload(&weights(factor), ReloadWay::Data).unwrap();
            let (y, expected) = convolve(&engine, &mut *kernel);
            let expected: Vec<f32> = expected.iter().map(|y| y * factor).collect();
            assert_eq!(y, expected, "{door}");
        }
        let usage = engine.usage();
        assert_eq!((usage.compiles, usage.loaded), (before.compiles + 1, before.loaded + 1));
    }
}

#[test]
fn slots_and_compiles_are_counted() {
    let _world = World::enter();
    let engine = ferrane_apple::AneEngine::open(m4(), &setup(ferrane_apple::Door::Client)).unwrap();
    let before = engine.usage();
    let kernels: Vec<Box<dyn Kernel>> =
        (0..3).map(|_| engine.compile(&convolution(), &weights(1.0)).unwrap()).collect();
    let usage = engine.usage();
    assert_eq!((usage.compiles, usage.loaded), (before.compiles + 3, before.loaded + 3));
    assert_eq!((usage.max_compiles, usage.slots), (Some(119), Some(119)));
    drop(kernels);
    assert_eq!((engine.usage().compiles, engine.usage().loaded), (before.compiles + 3, before.loaded));
    // The process's, not the engine's.
    assert_eq!(open(ferrane_apple::Door::InMemory).usage().compiles, before.compiles + 3);
}

#[test]
fn the_neural_engine_is_found_and_says_its_kind() {
    let _world = World::enter();
    let pieces = ferrane_apple::pieces(&setup(DOORS[0]));
    assert!(pieces.len() == 8 && pieces.iter().all(|(_, there)| *there), "{pieces:?}");
    for door in DOORS {
        ferrane_apple::available(&setup(door)).unwrap();
        let kind = ferrane_apple::sub_type(&setup(door)).unwrap().unwrap();
        assert!(kind.to_lowercase().starts_with('h'), "{kind}");
    }
}
