//! Every way in which the framework can be other than expected, or refuse, ends in a sentence.
#![cfg(not(target_vendor = "apple"))]

mod common;

use std::fs;

use common::*;
use ferrane_apple::{AneEngine, Door, OpenError, Setup};
use ferrane_apple_double::Fault;
use ferrane_engine::{
    Engine, EngineError, Port, Profile, ReloadWay, RemarkKind, Status, Surface, WeightFiles,
};
use ferrane_mil::{Builder, DType, Opset, Program, TensorType, verify};

fn refusal(door: Door) -> String {
    let error = try_open(door).err().unwrap();
    assert!(matches!(error, OpenError::Framework(_)));
    error.to_string()
}

#[test]
fn a_framework_that_is_not_there_is_named() {
    let _world = World::enter();
    let setup = Setup { door: Door::InMemory, image: "/no/such/framework".into() };
    let error = AneEngine::open(m4(), &setup).err().unwrap().to_string();
    assert!(error.starts_with("cannot open /no/such/framework: ") && error.contains("engine sim"), "{error}");
}

#[test]
fn a_class_that_is_gone_is_named() {
    for (door, class) in [
        (Door::InMemory, c"_ANEInMemoryModelDescriptor"),
        (Door::InMemory, c"_ANEInMemoryModel"),
        (Door::InMemory, c"_ANERequest"),
        (Door::InMemory, c"_ANEIOSurfaceObject"),
        (Door::Client, c"_ANEClient"),
        (Door::Client, c"_ANEModel"),
        (Door::Client, c"_ANERequest"),
    ] {
        let world = World::enter();
        world.hide_class(class);
        let (error, name) = (refusal(door), class.to_str().unwrap());
        assert!(error.contains(&format!("has no class `{name}`")), "{error}");
        assert!(error.contains("this version of macOS differs"), "{error}");
    }
}

/// Everything that is sent is checked before anything is sent.
#[test]
fn a_method_that_is_gone_or_has_other_types_is_named() {
    let common = [
        "+[_ANERequest requestWithInputs:inputIndices:outputs:outputIndices:weightsBuffer:perfStats:procedureIndex:]",
        "+[_ANEIOSurfaceObject objectWithIOSurface:]",
    ];
    let in_memory = [
        "+[_ANEInMemoryModelDescriptor modelWithMILText:weights:optionsPlist:]",
        "+[_ANEInMemoryModel inMemoryModelWithDescriptor:]",
        "-[_ANEInMemoryModel hexStringIdentifier]",
        "-[_ANEInMemoryModel compileWithQoS:options:error:]",
        "-[_ANEInMemoryModel loadWithQoS:options:error:]",
        "-[_ANEInMemoryModel evaluateWithQoS:options:request:error:]",
        "-[_ANEInMemoryModel unloadWithQoS:error:]",
    ];
    let client = [
        "+[_ANEClient sharedConnection]",
        "+[_ANEModel modelAtURL:key:]",
        "-[_ANEClient compileModel:options:qos:error:]",
        "-[_ANEClient loadModel:options:qos:error:]",
        "-[_ANEClient evaluateWithModel:options:request:qos:error:]",
        "-[_ANEClient unloadModel:options:qos:error:]",
    ];
    let through = |door, methods: &[&'static str]| -> Vec<(Door, &'static str)> {
        methods.iter().chain(&common).map(|method| (door, *method)).collect()
    };
    for (door, method) in
        through(Door::InMemory, &in_memory).into_iter().chain(through(Door::Client, &client))
    {
        let world = World::enter();
        world.hide_method(method);
        let error = refusal(door);
        assert!(error.contains(&format!("has no method `{method}`")), "{error}");
        drop(world);

        let world = World::enter();
        world.retype_method(method, c"v16@0:8");
        let error = refusal(door);
        assert!(error.contains(&format!("the method `{method}` of")), "{error}");
        assert!(error.contains("has changed: expected"), "{error}");
        assert!(world.take_sent().is_empty(), "{method}");
    }
}

fn compile(engine: &AneEngine) -> Result<Box<dyn ferrane_engine::Kernel>, EngineError> {
    engine.compile(&convolution(), &weights(1.0))
}

/// Names of models' folders in the folder for temporary files.
fn models(world: &World) -> Vec<String> {
    let names =
        fs::read_dir(world.temporary()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with("ferrane-ane-")).collect()
}

#[test]
fn a_refused_program_is_explained_in_the_frameworks_words() {
    for door in DOORS {
        let world = World::enter();
        let engine = open(door);
        let loaded = engine.usage().loaded;
        world.fail_next(Fault::Compile);
        let error = compile(&engine).err().unwrap();
        assert!(matches!(error, EngineError::Compile { .. }), "{error:?}");
        let error = error.to_string();
        assert!(
            error.contains("ane cannot compile `main`: _ANECompiler : ANECCompile() FAILED (com.apple."),
            "{error}"
        );
        assert!(error.contains("code 1): a fault on purpose (com.apple."), "{error}");
        assert!(error.contains("the profile m4 knows of nothing against it"), "{error}");
        assert_eq!(engine.usage().loaded, loaded);
        compile(&engine).unwrap();
        // No is an answer, even without an error.
        world.fail_next(Fault::Compile);
        world.fail_next(Fault::Reason);
        let error = compile(&engine).err().unwrap().to_string();
        assert!(error.contains("compile `main`: it refuses, and gives no reason"), "{error}");
    }
}

/// What the profile has against a program is the likely cause of a refusal.
#[test]
fn a_refused_program_that_breaks_a_rule_is_told_which() {
    let _world = World::enter();
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::new(DType::Fp32, [1, C, 1, W]));
    let y = b.scale(x, 2.0).unwrap();
    let program = verify(Program::single(b.finish(&[y]))).unwrap();
    let error = open(Door::InMemory).compile(&program, &WeightFiles::none()).err().unwrap().to_string();
    assert!(error.contains("ANECCompile() FAILED") && error.matches("fp16").count() >= 2, "{error}");
}

#[test]
fn a_descriptor_that_comes_out_nil_is_an_error() {
    let world = World::enter();
    world.fail_next(Fault::Descriptor);
    let error = compile(&open(Door::InMemory)).err().unwrap().to_string();
    assert!(error.contains("no descriptor was made of the text"), "{error}");
}

#[test]
fn loading_is_tried_twice() {
    for door in DOORS {
        let world = World::enter();
        let engine = open(door);
        let loaded = engine.usage().loaded;
        world.fail_next(Fault::Load);
        let kernel = compile(&engine).unwrap();
        let remarks = engine.remarks();
        assert_eq!(
            remarks.iter().map(|r| r.kind).collect::<Vec<_>>(),
            [RemarkKind::Fault, RemarkKind::Recovery]
        );
        assert!(remarks[0].message.contains("0x50004"), "{remarks:?}");
        assert_eq!(engine.usage().loaded, loaded + 1);
        drop(kernel);

        world.fail_next(Fault::Load);
        world.fail_next(Fault::Load);
        let error = compile(&engine).err().unwrap();
        assert!(matches!(error, EngineError::Load { status: Status::LOAD, .. }), "{error:?}");
        assert!(
            error.to_string().contains("Program load failure") && error.to_string().contains("drop some")
        );
        assert_eq!(engine.usage().loaded, loaded);
    }
}

#[test]
fn a_failed_evaluation_has_the_status_of_the_framework() {
    for door in DOORS {
        let world = World::enter();
        let engine = open(door);
        let mut kernel = compile(&engine).unwrap();
        let (x, y) = (surfaces(&engine, kernel.inputs()), surfaces(&engine, kernel.outputs()));
        world.fail_next(Fault::Evaluate);
        let error = kernel.evaluate(&[&x[0]], &[&y[0]]).unwrap_err();
        assert!(matches!(error, EngineError::Evaluate { status: Status::INFERENCE, .. }), "{error:?}");
        assert!(error.to_string().contains("ferrane doctor"), "{error}");
        kernel.evaluate(&[&x[0]], &[&y[0]]).unwrap();
    }
}

#[test]
fn surfaces_that_do_not_fit_are_refused_before_anything_is_sent() {
    let world = World::enter();
    let engine = open(Door::InMemory);
    let mut kernel = compile(&engine).unwrap();
    let (x, y) = (surfaces(&engine, kernel.inputs()), surfaces(&engine, kernel.outputs()));
    let other =
        engine.surface(&Port { name: "n".into(), shape: [1, C, 1, 32], dtype: DType::Fp16 }, BYTES).unwrap();
    let host = Surface::host("x", [1, C, 1, W], DType::Fp16, BYTES).unwrap();
    world.take_sent();
    let mut refused = |inputs: &[&Surface]| {
        let error = kernel.evaluate(inputs, &[&y[0]]).unwrap_err();
        assert!(matches!(error, EngineError::Binding { .. }), "{error:?}");
        error.to_string()
    };
    let error = refused(&[&other]);
    assert!(
        error.contains("input `x` is [1, 256, 1, 64] of fp16 but its surface [1, 256, 1, 32] of fp16"),
        "{error}"
    );
    let error = refused(&[&host]);
    assert!(error.contains("is not memory of this engine"), "{error}");
    let error = refused(&[&x[0], &x[0]]);
    assert!(error.contains("2 input surfaces for 1 ports"), "{error}");
    assert!(world.take_sent().is_empty());
}

/// The framework wants all surfaces of a side to be equally large.
#[test]
fn surfaces_of_unequal_size_are_refused_with_the_status() {
    let _world = World::enter();
    let engine = open(Door::InMemory);
    let mut kernel = engine.compile(&difference("a", "b", DType::Fp16), &WeightFiles::none()).unwrap();
    let ports = kernel.inputs().to_vec();
    let (a, b) = (engine.surface(&ports[0], BYTES).unwrap(), engine.surface(&ports[1], 2 * BYTES).unwrap());
    let y = surfaces(&engine, kernel.outputs());
    let error = kernel.evaluate(&[&a, &b], &[&y[0]]).unwrap_err();
    assert!(matches!(error, EngineError::Evaluate { status: Status::INFERENCE, .. }), "{error:?}");
}

#[test]
fn surfaces_that_cannot_be_made_or_locked_are_errors() {
    let world = World::enter();
    let engine = open(Door::InMemory);
    let port = Port { name: "x".into(), shape: [1, C, 1, W], dtype: DType::Fp16 };
    let error = engine.surface(&port, 100).unwrap_err().to_string();
    assert!(error.contains("`x` claims 100 bytes but its shape needs 32768"), "{error}");
    world.fail_next(Fault::Create);
    let error = engine.surface(&port, BYTES).unwrap_err().to_string();
    assert!(error.contains("an IOSurface of 32768 bytes cannot be made"), "{error}");
    let surface = engine.surface(&port, BYTES).unwrap();
    world.fail_next(Fault::Lock);
    let error = surface.read(|_| ()).unwrap_err().to_string();
    assert!(error.contains("cannot be locked (code 0xe00002bc)"), "{error}");
    let flags = Port { dtype: DType::Bool, ..port };
    let error = engine.surface(&flags, BYTES).unwrap_err().to_string();
    assert!(error.contains("type bool have no surface"), "{error}");
}

#[test]
fn a_missing_or_damaged_weight_file_is_named_before_anything_is_sent() {
    let world = World::enter();
    let engine = open(Door::InMemory);
    let error = engine.compile(&convolution(), &WeightFiles::none()).err().unwrap();
    assert!(
        matches!(error, EngineError::Weights(_)) && error.to_string().contains("weights/w.bin"),
        "{error}"
    );
    let mut kernel = compile(&engine).unwrap();
    world.take_sent();
    assert!(matches!(
        kernel.reload(&WeightFiles::none(), ReloadWay::Files).unwrap_err(),
        EngineError::Weights(_)
    ));
    assert!(world.take_sent().is_empty());
}

#[test]
fn a_process_that_has_compiled_all_it_can_is_told_so() {
    let world = World::enter();
    let before = open(Door::InMemory).usage().compiles;
    let mut profile = m4();
    profile.limits.compiles.as_mut().unwrap().value = before + 2;
    // Each with another engine: the limit is the process's.
    let open = || AneEngine::open(profile.clone(), &setup(Door::InMemory)).unwrap();
    for _ in 0..2 {
        compile(&open()).unwrap();
    }
    let engine = open();
    world.take_sent();
    let error = compile(&engine).err().unwrap().to_string();
    assert!(
        error
            .contains(&format!("compiled {} programs, which is all it can (rule compile-count)", before + 2)),
        "{error}"
    );
    assert!(world.take_sent().is_empty());
    assert_eq!(engine.usage().compiles_left(), Some(0));

    profile.assume("compile-count").unwrap();
    let engine = AneEngine::open(profile, &setup(Door::InMemory)).unwrap();
    for _ in 0..3 {
        compile(&engine).unwrap();
    }
}

#[test]
fn slots_that_are_taken_are_told_of_and_come_back() {
    let _world = World::enter();
    let mut profile: Profile = m4();
    let slots = open(Door::Client).usage().loaded + 1;
    profile.limits.slots.value = slots;
    profile.assume("compile-count").unwrap();
    let engine = AneEngine::open(profile, &setup(Door::Client)).unwrap();
    let kernel = compile(&engine).unwrap();
    let error = compile(&engine).err().unwrap().to_string();
    assert!(error.contains(&format!("all {slots} program slots are taken (rule slots)")), "{error}");
    drop(kernel);
    compile(&engine).unwrap();
}

/// A kernel that cannot be loaded again says so at every evaluation, and is not unloaded twice.
#[test]
fn a_kernel_that_was_lost_while_loading_again_says_so() {
    let world = World::enter();
    let engine = open(Door::InMemory);
    let mut kernel = compile(&engine).unwrap();
    let (x, y) = (surfaces(&engine, kernel.inputs()), surfaces(&engine, kernel.outputs()));
    world.fail_next(Fault::Load);
    world.fail_next(Fault::Load);
    assert!(matches!(kernel.reload(&weights(2.0), ReloadWay::Files).unwrap_err(), EngineError::Load { .. }));
    let error = kernel.evaluate(&[&x[0]], &[&y[0]]).unwrap_err().to_string();
    assert!(error.contains("loading it again failed"), "{error}");
    kernel.reload(&weights(2.0), ReloadWay::Files).unwrap();
    kernel.evaluate(&[&x[0]], &[&y[0]]).unwrap();

    // Of a model that should have taken its place there is nothing to load.
    world.fail_next(Fault::Descriptor);
    let error = kernel.reload(&weights(2.0), ReloadWay::Data).unwrap_err().to_string();
    assert!(error.contains("no descriptor"), "{error}");
    for way in ReloadWay::ALL {
        let error = kernel.reload(&weights(2.0), way).unwrap_err().to_string();
        assert!(error.contains("loading it again failed"), "{error}");
    }
    assert!(kernel.evaluate(&[&x[0]], &[&y[0]]).is_err());
}

#[test]
fn a_data_file_has_place_for_one_weight_file() {
    let world = World::enter();
    let engine = open(Door::InMemory);
    let mut kernel = compile(&engine).unwrap();
    let mut files = weights(2.0);
    files.insert("@model_path/weights/other.bin", *b"other");
    world.take_sent();
    let error = kernel.reload(&files, ReloadWay::Data).unwrap_err().to_string();
    assert!(error.contains("there are 2"), "{error}");
    assert!(world.take_sent().is_empty());
    let (x, y) = (surfaces(&engine, kernel.inputs()), surfaces(&engine, kernel.outputs()));
    kernel.evaluate(&[&x[0]], &[&y[0]]).unwrap();
}

/// A model that cannot be unloaded is told of, and its slot stays taken.
#[test]
fn a_model_that_cannot_be_unloaded_keeps_its_slot() {
    let world = World::enter();
    let engine = open(Door::InMemory);
    let kernel = compile(&engine).unwrap();
    let loaded = engine.usage().loaded;
    world.fail_next(Fault::Unload);
    drop(kernel);
    let remarks = engine.remarks();
    assert!(remarks[0].message.contains("it stays in its slot"), "{remarks:?}");
    assert_eq!(engine.usage().loaded, loaded);
}

#[test]
fn the_quality_of_service_may_be_of_either_width() {
    // Types as they would be with 64 bits in memory: `I` becomes `Q`. Only seen, not called.
    let world = World::enter();
    for (method, types) in [
        ("-[_ANEInMemoryModel compileWithQoS:options:error:]", c"C@:Q@^@"),
        ("-[_ANEInMemoryModel loadWithQoS:options:error:]", c"C@:Q@^@"),
        ("-[_ANEInMemoryModel evaluateWithQoS:options:request:error:]", c"C@:Q@@^@"),
        ("-[_ANEInMemoryModel unloadWithQoS:error:]", c"C@:Q^@"),
    ] {
        world.retype_method(method, types);
    }
    open(Door::InMemory);
    world.retype_method("-[_ANEInMemoryModel unloadWithQoS:error:]", c"C@:d^@");
    let error = refusal(Door::InMemory);
    assert!(error.contains("to have type code"), "{error}");
}

/// Compiling, loading, evaluating and unloading.
#[test]
fn everything_is_asked_for_in_the_class_that_was_chosen() {
    let world = World::enter();
    for door in DOORS {
        let engine = open(door);
        for class in [0, 33, 63] {
            let engine = engine.with_qos(class).unwrap();
            world.expect_qos(class.into());
            let mut kernel = engine.compile(&convolution(), &weights(1.0)).unwrap();
            convolve(&*engine, &mut *kernel);
        }
        world.expect_qos(21);
        compile(&engine).unwrap();
    }
}

#[test]
fn every_program_has_a_folder_of_its_own_that_goes_with_it() {
    let world = World::enter();
    let engine = open(Door::InMemory);
    let kernels = [compile(&engine).unwrap(), compile(&engine).unwrap()];
    let there = models(&world);
    let whole = |name: &String| fs::read(world.temporary().join(name).join("weights/w.bin")).is_ok();
    assert!(there.len() == 2 && there.iter().all(whole), "{there:?}");
    drop(kernels);
    assert!(models(&world).is_empty());
}

/// The daemon knows programs by their folders, and may give back an earlier one of the same name.
#[test]
fn no_folder_is_that_of_an_earlier_program() {
    let _world = World::enter();
    for door in DOORS {
        let mut kernel = compile(&open(door)).unwrap();
        drop(kernel);
        let engine = open(door);
        kernel = engine.compile(&convolution(), &weights(2.0)).unwrap();
        let (y, once) = convolve(&engine, &mut *kernel);
        assert!(y.iter().zip(&once).all(|(y, once)| *y == 2.0 * once), "{door}");
    }
}
