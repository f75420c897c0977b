//! Packages made by coremltools: they import, and what is exported again imports as the same.
//!
//! `tools/mil/make_package_fixtures.py` makes them.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ferrane_mil::{Constant, DType, Data, Function, Opcode, Opset, Payload, Program};
use ferrane_package::{
    ArrayType, ColorSpace, ExportOptions, FeatureType, Imported, PackageError, UnsupportedFeature, Weights,
    export, import,
};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn imported(name: &str) -> Result<Imported> {
    Ok(import(fixture(&format!("{name}.mlpackage")))?)
}

fn accepted() -> Result<Vec<PathBuf>> {
    let mut found: Vec<_> =
        std::fs::read_dir(fixture(""))?.map(|e| e.map(|e| e.path())).collect::<std::io::Result<_>>()?;
    found.retain(|p| p.extension().is_some_and(|e| e == "mlpackage"));
    found.retain(|p| p.file_name().is_some_and(|n| !n.to_string_lossy().starts_with("refused")));
    found.sort();
    Ok(found)
}

fn main_of(program: &Program) -> Result<&Function> {
    Ok(program.main().ok_or("no main")?)
}

fn count(function: &Function, code: Opcode) -> usize {
    function.ops.iter().filter(|op| op.code == code).count()
}

fn named<'a>(function: &'a Function, name: &str) -> Result<&'a Constant> {
    let id = function.find(name).ok_or_else(|| format!("no value `{name}`"))?;
    Ok(function.value(id).constant.as_ref().ok_or_else(|| format!("`{name}` is no constant"))?)
}

/// The bytes of a weight, from its metadata.
fn weight(weights: &Weights, constant: &Constant) -> Result<Vec<u8>> {
    let Payload::Blob(blob) = &constant.payload else { return Err("not a weight".into()) };
    let mut file = weights.open(&blob.path)?;
    let mut number = |at: u64| -> Result<u64> {
        let mut bytes = [0; 8];
        file.seek(SeekFrom::Start(blob.offset + at))?;
        file.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    };
    let (size, start) = (number(8)?, number(16)?);
    let mut bytes = vec![0; usize::try_from(size)?];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Every weight's bytes, by function and value or op and argument.
fn all_weights(model: &Imported) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for f in &model.program.functions {
        for op in &f.ops {
            let result = op.results.first().map_or("", |&r| f.name_of(r));
            let own = op.results.first().and_then(|&r| f.value(r).constant.as_ref()).map(|c| ("", c));
            let args = op.args.iter().flat_map(|(name, arg)| {
                arg.operands().iter().filter_map(|o| match o {
                    ferrane_mil::Operand::Literal(c) => Some((name.as_ref(), c)),
                    ferrane_mil::Operand::Value(_) => None,
                })
            });
            for (arg, constant) in own.into_iter().chain(args) {
                if constant.blob_ref().is_some() {
                    let key = format!("{}/{result}/{arg}", f.name);
                    found.insert(key, weight(&model.weights, constant)?);
                }
            }
        }
    }
    Ok(found)
}

/// The program with every weight at the same place, to compare all the rest.
fn without_offsets(program: &Program) -> Program {
    let mut program = program.clone();
    let strip = |c: &mut Constant| {
        if let Payload::Blob(blob) = &mut c.payload {
            blob.offset = 0;
        }
    };
    for f in &mut program.functions {
        f.values.iter_mut().filter_map(|v| v.constant.as_mut()).for_each(strip);
        for (_, arg) in f.ops.iter_mut().flat_map(|op| &mut op.args) {
            for operand in arg.operands_mut() {
                if let ferrane_mil::Operand::Literal(c) = operand {
                    strip(c);
                }
            }
        }
    }
    program
}

#[test]
fn exported_packages_import_as_the_same() -> Result {
    let dir = tempfile::tempdir()?;
    let fixtures = accepted()?;
    assert!(fixtures.len() > 20, "fixtures are missing");
    for path in fixtures {
        let first = import(&path)?;
        assert_eq!(first.warnings, Vec::<String>::new(), "{}", path.display());
        let to = dir.path().join(path.file_name().unwrap_or_default());
        let options = ExportOptions {
            description: Some(first.description.clone()),
            metadata: first.metadata.clone(),
            ..ExportOptions::default()
        };
        let written = export(&first.program, &first.weights, &to, &options)?;
        let second = import(&to)?;
        assert_eq!(without_offsets(&second.program), without_offsets(&first.program), "{}", path.display());
        assert_eq!(second.description, first.description);
        assert_eq!(second.metadata, first.metadata);
        assert_eq!(second.specification_version, first.specification_version, "{}", path.display());
        assert_eq!(written.specification_version, first.specification_version);
        assert_eq!(all_weights(&second)?, all_weights(&first)?, "{}", path.display());
        // Exported once more, the bytes are the same.
        let again = dir.path().join("again.mlpackage");
        export(&second.program, &second.weights, &again, &ExportOptions { overwrite: true, ..options })?;
        for file in ["Manifest.json", "Data/com.apple.CoreML/model.mlmodel"] {
            assert_eq!(std::fs::read(to.join(file))?, std::fs::read(again.join(file))?, "{file}");
        }
    }
    Ok(())
}

#[test]
fn a_llama_has_its_ops_shapes_and_weights() -> Result {
    for (name, opset, version, attention) in [
        ("llama_ios16_fp32", Opset::Ios16, (1, 0), 0),
        ("llama_ios17_fp16", Opset::Ios17, (1, 0), 0),
        ("llama_ios18_fp16", Opset::Ios18, (1, 3), 1),
    ] {
        let model = imported(name)?;
        let main = main_of(&model.program)?;
        assert_eq!((main.opset, model.program.version), (opset, version), "{name}");
        assert_eq!(main.inputs.len(), 1);
        assert_eq!(main.value(main.inputs[0]).ty.to_string(), "tensor<int32, [1, 8]>");
        let half = if name.ends_with("fp16") { "fp16" } else { "fp32" };
        assert_eq!(main.value(main.outputs[0]).ty.to_string(), format!("tensor<{half}, [1, 8, 32]>"));
        assert_eq!(main.name_of(main.outputs[0]), "y");
        assert_eq!(count(main, Opcode::ScaledDotProductAttention), attention, "{name}");
        assert_eq!(count(main, Opcode::Linear), 8, "{name}");
        assert_eq!(count(main, Opcode::Gather), 1, "{name}");
        let embedding = main.ops.iter().find(|op| op.code == Opcode::Gather).and_then(|op| op.arg("x"));
        let embedding = embedding.and_then(|a| main.constant(&a.operands()[0])).ok_or("no embedding")?;
        assert_eq!(embedding.ty.shape, [32, 16]);
        assert_eq!(weight(&model.weights, embedding)?.len(), embedding.ty.bytes());
        assert!(model.program.attrs.iter().any(|(n, _)| n == "buildInfo"));
        assert_eq!(model.metadata.description, "a llama in miniature");
        assert_eq!(model.metadata.user_defined.get("target").map(String::as_str), name.split('_').nth(1));
    }
    Ok(())
}

#[test]
fn concat_keeps_its_tuple_and_consts_their_literals() -> Result {
    let model = imported("vit_ios18_fp16")?;
    let main = main_of(&model.program)?;
    let concat = main.ops.iter().find(|op| op.code == Opcode::Concat).ok_or("no concat")?;
    let values = concat.arg("values").ok_or("no values")?;
    assert!(matches!(values, ferrane_mil::Arg::Many(v) if v.len() == 2));
    assert_eq!(main.constant_arg(concat, "axis").and_then(Constant::as_int), Some(1));
    assert_eq!(main.constant_arg(concat, "interleave").and_then(Constant::as_bool), Some(false));
    let gelu = main.ops.iter().find(|op| op.code == Opcode::Gelu).ok_or("no gelu")?;
    assert_eq!(main.constant_arg(gelu, "mode").and_then(Constant::as_str), Some("EXACT"));
    Ok(())
}

#[test]
fn elements_have_the_values_coremltools_wrote() -> Result {
    let model = imported("element_types")?;
    let main = main_of(&model.program)?;
    for (name, dtype) in [
        ("int8", DType::Int8),
        ("uint8", DType::Uint8),
        ("int16", DType::Int16),
        ("uint16", DType::Uint16),
        ("int32", DType::Int32),
        ("float16", DType::Fp16),
    ] {
        let few = named(main, &format!("few_{name}"))?;
        assert_eq!((few.ty.dtype, few.ty.shape.as_slice()), (dtype, &[2, 3][..]), "{name}");
        let values = few.data().and_then(Data::to_f64);
        assert_eq!(values, Some(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), "{name}");
    }
    let few = named(main, "few_bool")?;
    assert_eq!(few.data(), Some(&Data::Bool(vec![false, true, true, true, true, true])));
    let floats: Vec<u8> = (0..24).flat_map(|i| (i as f32).to_le_bytes()).collect();
    assert_eq!(weight(&model.weights, named(main, "many_float32")?)?, floats);
    let words: Vec<u8> = (-12..0i16).flat_map(i16::to_le_bytes).collect();
    assert_eq!(weight(&model.weights, named(main, "many_int16")?)?, words);
    Ok(())
}

#[test]
fn compressed_weights_are_arguments_in_every_op_set() -> Result {
    for (name, code, arguments) in [
        ("lut4_ios16", Opcode::ConstexprLutToDense, &["indices", "lut", "shape"][..]),
        ("int8_ios16", Opcode::ConstexprAffineDequantize, &["axis", "quantized_data", "scale", "zero_point"]),
        ("sparse_ios16", Opcode::ConstexprSparseToDense, &["mask", "nonzero_data", "shape"]),
        ("int4_ios18", Opcode::ConstexprBlockwiseShiftScale, &["data", "offset", "scale"]),
        ("sint4_ios18", Opcode::ConstexprBlockwiseShiftScale, &["data", "scale"]),
        ("sparse_ios18", Opcode::ConstexprSparseToDense, &["mask", "nonzero_data"]),
        ("lut1_ios18", Opcode::ConstexprLutToDense, &["indices", "lut"]),
        ("lut3_ios18", Opcode::ConstexprLutToDense, &["indices", "lut"]),
        ("lut8_ios18", Opcode::ConstexprLutToDense, &["indices", "lut"]),
    ] {
        let model = imported(&format!("compressed_{name}"))?;
        let main = main_of(&model.program)?;
        assert_eq!(count(main, code), 2, "{name}");
        for op in main.ops.iter().filter(|op| op.code == code) {
            let names: Vec<_> = op.args.iter().map(|(n, _)| n.as_ref()).collect();
            assert_eq!(names, arguments, "{name}");
            assert_eq!(op.attrs, [], "{name}");
        }
    }
    Ok(())
}

#[test]
fn sub_byte_weights_have_their_type() -> Result {
    for (bits, dtype) in
        [(1, DType::Uint1), (2, DType::Uint2), (3, DType::Uint3), (4, DType::Uint4), (6, DType::Uint6)]
    {
        let model = imported(&format!("compressed_lut{bits}_ios18"))?;
        let main = main_of(&model.program)?;
        let op = main.ops.iter().find(|op| op.code == Opcode::ConstexprLutToDense).ok_or("no op")?;
        let indices = main.constant_arg(op, "indices").ok_or("no indices")?;
        assert_eq!((indices.ty.dtype, indices.ty.shape.as_slice()), (dtype, &[24, 16][..]));
    }
    Ok(())
}

#[test]
fn a_classifier_has_its_image_and_labels() -> Result {
    let model = imported("classifier")?;
    let interface = &model.description.functions[0];
    let image = FeatureType::Image { width: 8, height: 8, color_space: ColorSpace::Bgr };
    assert_eq!(interface.inputs[0].ty, image);
    assert_eq!(interface.predicted_feature, "classLabel");
    assert!(interface.outputs.iter().any(|f| f.ty == FeatureType::String));
    assert!(interface.outputs.iter().any(|f| f.ty == FeatureType::Dictionary { int_keys: false }));
    let main = main_of(&model.program)?;
    let classify = main.ops.iter().find(|op| op.code == Opcode::Classify).ok_or("no classify")?;
    let labels = main.constant_arg(classify, "classes").and_then(Constant::data);
    assert_eq!(labels, Some(&Data::String(["cat", "dog", "näpärä"].map(String::from).to_vec())));
    Ok(())
}

#[test]
fn several_functions_share_their_weights() -> Result {
    let model = imported("two_functions")?;
    let names: Vec<_> = model.program.functions.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["once", "twice"]);
    assert_eq!(model.description.default_function, "twice");
    let feature = &model.description.functions[1].outputs[0];
    assert_eq!(feature.ty, FeatureType::MultiArray { shape: vec![1, 4], dtype: ArrayType::Float32 });
    let dir = tempfile::tempdir()?;
    let written =
        export(&model.program, &model.weights, dir.path().join("m.mlpackage"), &ExportOptions::default())?;
    assert_eq!(written.weights, 1);
    Ok(())
}

#[test]
fn what_cannot_be_represented_is_named() -> Result {
    let refusal = |name: &str| match import(fixture(name)) {
        Err(PackageError::Unsupported { feature, place, .. }) => Ok((feature, place)),
        other => Err(format!("{name}: {other:?}")),
    };
    for (name, feature, place) in [
        ("while_loop", UnsupportedFeature::ControlFlow, "`while_loop` op"),
        ("cond", UnsupportedFeature::ControlFlow, "`cond` op"),
        ("state", UnsupportedFeature::State, "input `s`"),
        ("range", UnsupportedFeature::UnknownDimension, "input `x`"),
    ] {
        let (found, at) = refusal(&format!("refused_{name}.mlpackage"))?;
        assert_eq!(found, feature, "{name}");
        assert!(at.starts_with("function `main`") && at.contains(place), "{at}");
    }
    match import(fixture("refused_neural_network.mlmodel")) {
        Err(PackageError::Kind { kind, .. }) => assert_eq!(kind, "neuralNetwork"),
        other => return Err(format!("{other:?}").into()),
    }
    Ok(())
}
