//! What the simulated engine refuses, and how it binds surfaces.

use ferrane_engine::{Engine, Kernel, Port, Profile, ReloadWay, Surface, WeightFiles};
use ferrane_mil::{Builder, DType, Function, Opset, Program, TensorType, blob::BlobWriter, verify};
use ferrane_sim::SimEngine;

fn m4() -> SimEngine {
    SimEngine::new(Profile::built_in("m4").unwrap(), 1)
}

fn program(f: Function) -> ferrane_mil::Verified {
    verify(Program::single(f)).unwrap()
}

/// `y = first − second`, inputs declared in that order.
fn difference(first: &str, second: &str, width: usize, dtype: DType) -> Function {
    let mut b = Builder::new("main", Opset::Ios18);
    let ty = TensorType::new(dtype, [1, 4, 1, width]);
    let (p, q) = (b.input(first, ty.clone()), b.input(second, ty));
    let y = b.sub(p, q).unwrap();
    b.finish(&[y])
}

fn compile(f: Function) -> Result<Box<dyn Kernel>, String> {
    m4().compile(&program(f), &WeightFiles::none()).map_err(|e| e.to_string())
}

fn surfaces(ports: &[Port]) -> Vec<Surface> {
    ports.iter().map(|p| m4().surface(p, p.bytes()).unwrap()).collect()
}

#[test]
fn every_result_is_rounded_to_fp16() {
    let mut kernel = compile(difference("a", "b", 64, DType::Fp16)).unwrap();
    let (inputs, outputs) = (surfaces(kernel.inputs()), surfaces(kernel.outputs()));
    inputs[0].write(|x| x.fill(2048.0)).unwrap();
    inputs[1].write(|x| x.fill(-1.0)).unwrap();
    kernel.evaluate(&inputs.iter().collect::<Vec<_>>(), &[&outputs[0]]).unwrap();
    outputs[0].read(|y| assert_eq!(y[0], 2048.0)).unwrap();
}

#[test]
fn surfaces_are_bound_in_alphabetical_order_whatever_was_declared() {
    let mut kernel = compile(difference("z", "a", 64, DType::Fp16)).unwrap();
    let (inputs, outputs) = (surfaces(kernel.inputs()), surfaces(kernel.outputs()));
    inputs[0].write(|x| x.fill(5.0)).unwrap();
    inputs[1].write(|x| x.fill(3.0)).unwrap();
    kernel.evaluate(&inputs.iter().collect::<Vec<_>>(), &[&outputs[0]]).unwrap();
    // The first surface went to `a`, so the caller who meant z − a = 2 gets its opposite, without an error.
    outputs[0].read(|y| assert_eq!(y[0], -2.0)).unwrap();
}

#[test]
fn an_input_below_the_least_width_compiles_but_is_not_evaluated() {
    let mut kernel = compile(difference("a", "b", 32, DType::Fp16)).unwrap();
    let (inputs, outputs) = (surfaces(kernel.inputs()), surfaces(kernel.outputs()));
    let error = kernel.evaluate(&inputs.iter().collect::<Vec<_>>(), &[&outputs[0]]).unwrap_err().to_string();
    assert!(error.contains("0x1d") && error.contains("32 wide"), "{error}");
}

#[test]
fn surfaces_of_a_side_must_claim_the_same() {
    let mut kernel = compile(difference("a", "b", 64, DType::Fp16)).unwrap();
    let outputs = surfaces(kernel.outputs());
    let a = m4().surface(&kernel.inputs()[0], 512).unwrap();
    let b = m4().surface(&kernel.inputs()[1], 1024).unwrap();
    let error = kernel.evaluate(&[&a, &b], &[&outputs[0]]).unwrap_err().to_string();
    assert!(error.contains("0x1d") && error.contains("512 to 1024 bytes"), "{error}");
}

#[test]
fn fp32_arithmetic_is_refused() {
    let error = compile(difference("a", "b", 64, DType::Fp32)).err().unwrap();
    assert!(error.contains("ANECCompile() FAILED") && error.contains("fp16"), "{error}");
}

#[test]
fn a_convolution_by_an_input_is_refused() {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::fp16([1, 8, 1, 64]));
    let w = b.input("w", TensorType::fp16([4, 8, 1, 1]));
    let y = b.linear(x, w).unwrap();
    let error = compile(b.finish(&[y])).err().unwrap();
    assert!(error.contains("InvalidMILProgram") && error.contains("`w`"), "{error}");
}

#[test]
fn extents_beyond_the_limit_are_refused() {
    let error = compile(difference("a", "b", 65_537, DType::Fp16)).err().unwrap();
    assert!(error.contains("ANECCompile() FAILED") && error.contains("65537 is over 65536"), "{error}");
}

#[test]
fn later_dialects_are_refused_and_older_ones_taken() {
    let m1 = SimEngine::new(Profile::built_in("m1").unwrap(), 1);
    let modern = program(difference("a", "b", 64, DType::Fp16));
    let error = m1.compile(&modern, &WeightFiles::none()).err().unwrap().to_string();
    assert!(error.contains("InvalidMILProgram") && error.contains("program(1.3)"), "{error}");
    let mut old = modern.program().clone();
    old.version = (1, 0);
    old.functions[0].opset = Opset::Ios16;
    let old = verify(old).unwrap();
    assert!(m1.compile(&old, &WeightFiles::none()).is_ok());
    assert!(m4().compile(&old, &WeightFiles::none()).is_ok());
}

#[test]
fn slots_run_out_and_come_back() {
    let mut profile = Profile::built_in("m4").unwrap();
    profile.limits.slots.value = 3;
    let engine = SimEngine::new(profile, 1);
    let f = program(difference("a", "b", 64, DType::Fp16));
    let mut kernels: Vec<_> = (0..3).map(|_| engine.compile(&f, &WeightFiles::none()).unwrap()).collect();
    let error = engine.compile(&f, &WeightFiles::none()).err().unwrap().to_string();
    assert!(
        error.contains("0x50004") && error.contains("all 3 program slots are taken (rule slots)"),
        "{error}"
    );
    kernels.pop();
    assert_eq!((engine.usage().loaded, engine.usage().slots_left()), (2, Some(1)));
    assert!(engine.compile(&f, &WeightFiles::none()).is_ok());
}

#[test]
fn a_process_can_compile_so_many_programs_whatever_it_drops() {
    let engine = m4();
    let f = program(difference("a", "b", 64, DType::Fp16));
    for done in 0..119 {
        assert_eq!(engine.usage().compiles_left(), Some(119 - done));
        engine.compile(&f, &WeightFiles::none()).unwrap();
    }
    assert_eq!(engine.usage().loaded, 0);
    let error = engine.compile(&f, &WeightFiles::none()).err().unwrap().to_string();
    assert!(error.contains("ANECCompile() FAILED") && error.contains("(rule compile-count)"), "{error}");
}

/// `y = W·x` for a 1×1 convolution by the blob `w`.
fn baked() -> ferrane_mil::Verified {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::fp16([1, 64, 1, 64]));
    let w = b.weight("w", TensorType::fp16([64, 64, 1, 1]));
    let y = b.linear(x, w).unwrap();
    program(b.finish(&[y]))
}

/// The file of `baked` with `gain` times the unit matrix.
fn gain(gain: f32) -> WeightFiles {
    let unit: Vec<f32> = (0..64 * 64).map(|i| if i % 65 == 0 { gain } else { 0.0 }).collect();
    let mut blob = BlobWriter::new(std::io::Cursor::new(Vec::new())).unwrap();
    blob.chunk_f32(DType::Fp16, &unit).unwrap();
    let mut files = WeightFiles::none();
    files.insert("@model_path/weights/w.bin", blob.finish().unwrap().into_inner());
    files
}

fn first_of_ones(kernel: &mut dyn Kernel) -> f32 {
    let (inputs, outputs) = (surfaces(kernel.inputs()), surfaces(kernel.outputs()));
    inputs[0].write(|x| x.fill(1.0)).unwrap();
    kernel.evaluate(&[&inputs[0]], &[&outputs[0]]).unwrap();
    outputs[0].read(|y| y[0]).unwrap()
}

#[test]
fn weights_are_those_of_the_compile_and_reloading_is_silent_about_it() {
    let mut files = gain(2.0);
    let mut kernel = m4().compile(&baked(), &files).unwrap();
    files.insert("@model_path/weights/w.bin", gain(5.0).file("@model_path/weights/w.bin").unwrap().clone());
    assert_eq!(first_of_ones(&mut *kernel), 2.0);
    kernel.reload(&files, ReloadWay::Files).unwrap();
    assert_eq!(first_of_ones(&mut *kernel), 2.0);
    let error = kernel.reload(&WeightFiles::none(), ReloadWay::Files).unwrap_err().to_string();
    assert!(error.contains("@model_path/weights/w.bin"), "{error}");
}

#[test]
fn reloading_works_where_the_profile_says_so() {
    let mut profile = Profile::built_in("m4").unwrap();
    profile.assume("weight-file-ignored").unwrap();
    let mut kernel = SimEngine::new(profile, 1).compile(&baked(), &gain(2.0)).unwrap();
    kernel.reload(&gain(5.0), ReloadWay::Files).unwrap();
    assert_eq!(first_of_ones(&mut *kernel), 5.0);
    let error = kernel.reload(&WeightFiles::none(), ReloadWay::Files).unwrap_err().to_string();
    assert!(error.contains("@model_path/weights/w.bin"), "{error}");
    assert_eq!(first_of_ones(&mut *kernel), 5.0);
}

#[test]
fn a_replaced_data_file_takes_effect_unless_the_profile_denies_it() {
    let profile = Profile::built_in("m4").unwrap();
    let mut kernel = SimEngine::new(profile.clone(), 1).compile(&baked(), &gain(2.0)).unwrap();
    kernel.reload(&gain(5.0), ReloadWay::Data).unwrap();
    assert_eq!(first_of_ones(&mut *kernel), 5.0);
    let mut two = gain(2.0);
    two.insert("@model_path/weights/v.bin", *b"v");
    let error = kernel.reload(&two, ReloadWay::Data).unwrap_err().to_string();
    assert!(error.contains("there are 2"), "{error}");

    let mut profile = profile;
    profile.quirks.get_mut("data-file-ignored").unwrap().holds.value = true;
    let mut kernel = SimEngine::new(profile, 1).compile(&baked(), &gain(2.0)).unwrap();
    kernel.reload(&gain(5.0), ReloadWay::Data).unwrap();
    assert_eq!(first_of_ones(&mut *kernel), 2.0);
}

#[test]
fn a_weight_whose_header_lies_is_refused() {
    let mut bytes = gain(2.0).file("@model_path/weights/w.bin").unwrap().to_vec();
    // The size the published benchmarks write, whatever the weight's is.
    bytes[72..80].copy_from_slice(&0x0008_0000u64.to_le_bytes());
    let mut files = WeightFiles::none();
    files.insert("@model_path/weights/w.bin", bytes);
    let error = m4().compile(&baked(), &files).err().unwrap().to_string();
    assert!(error.contains("ANECCompile() FAILED") && error.contains("(rule weight-header)"), "{error}");
}

#[test]
fn what_is_turned_off_or_only_reported_is_not_refused() {
    let mut profile = Profile::built_in("m4").unwrap();
    profile.limits.slots.value = 1;
    let lenient = SimEngine::new(profile.clone(), 1).lenient(true);
    ["slots-ok", "port-order", "port-sizes"].iter().for_each(|rule| profile.assume(rule).unwrap());
    let engine = SimEngine::new(profile, 1);
    let f = program(difference("z", "a", 64, DType::Fp16));
    for engine in [&engine, &lenient] {
        let mut kernels: Vec<_> = (0..3).map(|_| engine.compile(&f, &WeightFiles::none()).unwrap()).collect();
        let small = engine.surface(&kernels[0].inputs()[0], 512).unwrap();
        let large = engine.surface(&kernels[0].inputs()[1], 1024).unwrap();
        let outputs = surfaces(kernels[0].outputs());
        kernels[0].evaluate(&[&small, &large], &[&outputs[0]]).unwrap();
    }
    assert_eq!(engine.usage().slots_left(), None);
    assert_eq!(engine.remarks(), []);
    let said: Vec<_> = lenient.remarks().into_iter().map(|r| r.message).collect();
    assert_eq!(said.len(), 3, "each once: {said:?}");
    assert!(said[0].contains("port-order") && said[1].contains("slots") && said[2].contains("port-sizes"));
}

#[test]
fn a_program_that_poisons_fails_every_later_evaluation_of_its_process() {
    let mut profile = Profile::built_in("m4").unwrap();
    profile.quirks.get_mut("tile-poisons").unwrap().holds.value = true;
    let engine = SimEngine::new(profile, 1);
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::fp16([1, 2, 1, 64]));
    let reps = b.constant("reps", ferrane_mil::Constant::ints(&[1, 2, 1, 1]));
    let y = b.op(ferrane_mil::Opcode::Tile, vec![("x", x.into()), ("reps", reps.into())]).unwrap();
    let tile = program(b.finish(&[y]));
    let mut plain =
        engine.compile(&program(difference("a", "b", 64, DType::Fp16)), &WeightFiles::none()).unwrap();
    let mut tile = engine.compile(&tile, &WeightFiles::none()).unwrap();
    let run = |kernel: &mut dyn Kernel| {
        let (inputs, outputs) = (surfaces(kernel.inputs()), surfaces(kernel.outputs()));
        kernel.evaluate(&inputs.iter().collect::<Vec<_>>(), &[&outputs[0]])
    };
    run(&mut *plain).unwrap();
    run(&mut *tile).unwrap();
    let error = run(&mut *plain).unwrap_err().to_string();
    assert!(error.contains("0x1d") && error.contains("tile-poisons-process"), "{error}");
}
