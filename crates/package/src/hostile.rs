//! Models made to do harm: each is an error, soon and without much memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ferrane_mil::{Arg, BlobRef, Constant, DType, Function, Op, Opcode, Operand, Opset, Program, TensorType};
use prost::Message as _;

use crate::error::Feature;
use crate::proto::mil::{self, binding, dimension, immediate_value, tensor_value, value, value_type};
use crate::proto::model::Model;
use crate::weights::FILE;
use crate::{ExportOptions, Imported, PackageError, Weights, export, import, import_bytes};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

// Builders of models that need not be right.

fn tensor_type(data_type: i32, shape: &[u64]) -> Box<mil::ValueType> {
    let extent = |&size| mil::Dimension {
        dimension: Some(dimension::Dimension::Constant(mil::ConstantDimension { size })),
    };
    let tensor = mil::TensorType {
        data_type,
        rank: shape.len() as i64,
        dimensions: shape.iter().map(extent).collect(),
        ..mil::TensorType::default()
    };
    Box::new(mil::ValueType { r#type: Some(value_type::Type::Tensor(tensor)) })
}

fn named(name: &str, r#type: Box<mil::ValueType>) -> mil::NamedValueType {
    mil::NamedValueType { name: name.into(), r#type: Some(r#type) }
}

const FP16: i32 = 10;

fn bytes_value(shape: &[u64], values: Vec<u8>) -> mil::Value {
    let tensor = mil::TensorValue { value: Some(tensor_value::Value::Bytes(mil::Bytes { values })) };
    let immediate = mil::ImmediateValue { value: Some(immediate_value::Value::Tensor(tensor)) };
    mil::Value {
        r#type: Some(tensor_type(FP16, shape)),
        value: Some(value::Value::Immediate(immediate)),
        ..mil::Value::default()
    }
}

fn blob_value(shape: &[u64], file_name: &str, offset: u64) -> mil::Value {
    mil::Value {
        value: Some(value::Value::BlobFile(mil::BlobFileValue { file_name: file_name.into(), offset })),
        ..bytes_value(shape, Vec::new())
    }
}

fn const_op(name: &str, val: mil::Value) -> mil::Operation {
    mil::Operation {
        r#type: "const".into(),
        outputs: vec![mil::NamedValueType { name: name.into(), r#type: val.r#type.clone() }],
        attributes: BTreeMap::from([("val".into(), val)]),
        ..mil::Operation::default()
    }
}

fn unary(code: &str, name: &str, x: &str) -> mil::Operation {
    let binding = mil::Binding { binding: Some(binding::Binding::Name(x.into())) };
    mil::Operation {
        r#type: code.into(),
        inputs: BTreeMap::from([("x".into(), mil::Argument { arguments: vec![binding] })]),
        outputs: vec![named(name, tensor_type(FP16, &[1, 2]))],
        ..mil::Operation::default()
    }
}

/// A model with the input `x` of two fp16 elements.
fn model(operations: Vec<mil::Operation>) -> Model {
    let block = mil::Block { operations, outputs: vec!["x".into()], ..mil::Block::default() };
    let function = mil::Function {
        inputs: vec![named("x", tensor_type(FP16, &[1, 2]))],
        opset: "CoreML7".into(),
        block_specializations: BTreeMap::from([("CoreML7".into(), block)]),
        ..mil::Function::default()
    };
    let functions = BTreeMap::from([("main".into(), function)]);
    let program = mil::Program { version: 1, functions, ..mil::Program::default() };
    Model { specification_version: 8, ml_program: Some(program), ..Model::default() }
}

fn read(operations: Vec<mil::Operation>) -> std::result::Result<Imported, PackageError> {
    read_with(operations, Weights::none())
}

fn read_with(
    operations: Vec<mil::Operation>,
    weights: Weights,
) -> std::result::Result<Imported, PackageError> {
    import_bytes(&model(operations).encode_to_vec(), weights)
}

fn is_invalid(operations: Vec<mil::Operation>, words: &str) -> bool {
    match read(operations) {
        Err(error @ PackageError::Invalid { .. }) => error.to_string().contains(words),
        _ => false,
    }
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A weight file with one chunk of four fp16 elements.
fn weight_file() -> Result<Vec<u8>> {
    let mut writer = ferrane_mil::blob::BlobWriter::new(std::io::Cursor::new(Vec::new()))?;
    writer.chunk_f32(DType::Fp16, &[1.0, 2.0, 3.0, 4.0])?;
    Ok(writer.finish()?.into_inner())
}

// Models.

#[test]
fn the_builders_make_a_model_that_imports() -> Result {
    let model =
        read(vec![const_op("c", bytes_value(&[2], vec![0, 0x3c, 0, 0x40])), unary("relu", "y", "c")])?;
    let main = model.program.main().ok_or("no main")?;
    let c = main.find("c").map(|id| main.value(id)).and_then(|v| v.constant.as_ref());
    assert_eq!(c.and_then(Constant::data).and_then(ferrane_mil::Data::to_f64), Some(vec![1.0, 2.0]));
    Ok(())
}

#[test]
fn shapes_do_not_make_memory() {
    assert!(is_invalid(vec![const_op("c", bytes_value(&[1 << 40], Vec::new()))], "0 bytes"));
    assert!(is_invalid(vec![const_op("c", bytes_value(&[1 << 40, 1 << 40], Vec::new()))], "more elements"));
    assert!(is_invalid(vec![const_op("c", bytes_value(&[u64::MAX], Vec::new()))], "`c`"));
    let mut vast = unary("relu", "y", "x");
    vast.outputs[0].r#type = Some(tensor_type(FP16, &[1 << 33, 1 << 33]));
    assert!(is_invalid(vec![vast], "more elements"));
}

#[test]
fn names_are_defined_once_and_before_their_use() {
    assert!(is_invalid(vec![unary("relu", "y", "z")], "`z` is not defined above"));
    assert!(is_invalid(vec![unary("relu", "y", "y")], "`y` is not defined above"));
    assert!(is_invalid(vec![unary("relu", "x", "x")], "`x` is defined twice"));
    let long = "n".repeat(100_000) + "\n";
    for name in ["", "a b", "a\"", "é", "1a", "a\u{1b}[2J", &long] {
        assert!(is_invalid(vec![unary("relu", name, "x")], "is no name"), "{name:?}");
    }
    assert!(matches!(read(vec![unary("relu", &long, "x")]), Err(e) if e.to_string().len() < 1000));
}

#[test]
fn consts_have_a_value_of_their_type() {
    let mut wrong = const_op("c", bytes_value(&[2], vec![0; 4]));
    wrong.outputs[0].r#type = Some(tensor_type(FP16, &[1, 2]));
    assert!(is_invalid(vec![wrong], "its value is"));
    let mut none = const_op("c", bytes_value(&[2], vec![0; 4]));
    none.attributes.clear();
    assert!(is_invalid(vec![none], "has no value"));
    let mut two = const_op("c", bytes_value(&[2], vec![0; 4]));
    two.outputs.push(named("d", tensor_type(FP16, &[2])));
    assert!(is_invalid(vec![two], "one result"));
}

#[test]
fn unknown_ops_are_counted_all_at_once() {
    let ops = ["warp", "relu", "warp", "weft"].iter().enumerate();
    let ops = ops.map(|(i, code)| unary(code, &format!("y{i}"), "x")).collect();
    match read(ops) {
        Err(PackageError::UnknownOps { ops }) => {
            assert_eq!(ops, BTreeMap::from([("warp".into(), 2), ("weft".into(), 1)]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn deep_nesting_is_an_error() {
    // ValueType → ListType → ValueType → …: each level is a tag and a length around the last.
    let mut nested = Vec::new();
    for _ in 0..10_000 {
        let mut around = vec![0x0a];
        prost::encoding::encode_varint(nested.len() as u64, &mut around);
        around.append(&mut nested);
        nested = around;
    }
    for tag in [502, 2] {
        let mut bytes = Vec::new();
        prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut bytes);
        prost::encoding::encode_varint(nested.len() as u64, &mut bytes);
        bytes.extend_from_slice(&nested);
        assert!(import_bytes(&bytes, Weights::none()).is_err());
    }
    let mut ty = tensor_type(FP16, &[]);
    for _ in 0..60 {
        let list = mil::ListType { r#type: Some(ty), length: None };
        ty = Box::new(mil::ValueType { r#type: Some(value_type::Type::List(Box::new(list))) });
    }
    let mut deep = unary("relu", "y", "x");
    deep.outputs[0].r#type = Some(ty);
    assert!(matches!(read(vec![deep]), Err(PackageError::Protobuf { .. })));
}

#[test]
fn op_sets_versions_and_bodies_must_be_known() {
    let change = |f: fn(&mut mil::Program)| {
        let mut model = model(Vec::new());
        f(model.ml_program.get_or_insert_default());
        import_bytes(&model.encode_to_vec(), Weights::none())
    };
    let unsupported = |result, wanted| matches!(result, Err(PackageError::Unsupported { feature, .. }) if feature == wanted);
    assert!(unsupported(change(|p| p.version = 2), Feature::ProgramVersion));
    let future = |p: &mut mil::Program| p.functions.values_mut().for_each(|f| f.opset = "CoreML99".into());
    assert!(unsupported(change(future), Feature::Opset));
    let bodiless =
        |p: &mut mil::Program| p.functions.values_mut().for_each(|f| f.block_specializations.clear());
    assert!(matches!(change(bodiless), Err(PackageError::Invalid { .. })));
    assert!(matches!(change(|p| p.functions.clear()), Err(PackageError::Invalid { .. })));
    assert!(matches!(import_bytes(&[], Weights::none()), Err(PackageError::NotAModel { .. })));
}

#[test]
fn every_prefix_of_a_model_is_read_or_refused() -> Result {
    let bytes = fs::read(fixture("compressed_lut4_ios18.mlpackage/Data/com.apple.CoreML/model.mlmodel"))?;
    let weights = Weights::Folder(fixture("compressed_lut4_ios18.mlpackage/Data/com.apple.CoreML"));
    assert!(import_bytes(&bytes, weights.clone()).is_ok());
    for n in 0..bytes.len() {
        let _ = import_bytes(&bytes[..n], weights.clone());
    }
    Ok(())
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let _ = import_bytes(&bytes, Weights::none());
    }

    #[test]
    fn a_damaged_model_is_read_or_refused(
        damage in proptest::collection::vec((0.0..1.0f64, proptest::num::u8::ANY, 0..3u8), 1..6),
    ) {
        let mut bytes = fs::read(fixture("classifier.mlpackage/Data/com.apple.CoreML/model.mlmodel"))?;
        let weights = Weights::Folder(fixture("classifier.mlpackage/Data/com.apple.CoreML"));
        for (at, byte, kind) in damage {
            let at = (at * bytes.len() as f64) as usize;
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        if let Ok(model) = import_bytes(&bytes, weights) {
            let dir = tempfile::tempdir()?;
            let _ = export(&model.program, &model.weights, dir.path().join("m.mlpackage"), &ExportOptions::default());
        }
    }
}

// Weights.

#[test]
fn weights_must_be_where_the_program_says() -> Result {
    let weights = |bytes: Vec<u8>| Weights::Memory(BTreeMap::from([(FILE.into(), bytes)]));
    let at = |shape: &[u64], offset, bytes| {
        read_with(vec![const_op("c", blob_value(shape, FILE, offset))], weights(bytes))
    };
    assert!(at(&[4], 64, weight_file()?).is_ok());
    let damaged = |from: usize, with: &[u8]| -> Result<Vec<u8>> {
        let mut bytes = weight_file()?;
        bytes[from..from + with.len()].copy_from_slice(with);
        Ok(bytes)
    };
    let far = u64::MAX.to_le_bytes();
    for (what, result) in [
        ("a large shape", at(&[1 << 40], 64, weight_file()?)),
        ("another size", at(&[3], 64, weight_file()?)),
        ("offset past the end", at(&[4], 1 << 20, weight_file()?)),
        ("offset at the end of numbers", at(&[4], !63, weight_file()?)),
        ("offset of the data", at(&[4], 128, weight_file()?)),
        ("offset not aligned", at(&[4], 65, weight_file()?)),
        ("offset of the header", at(&[4], 0, weight_file()?)),
        ("no file", at(&[4], 64, Vec::new())),
        ("another version", at(&[4], 64, damaged(4, &[1])?)),
        ("no sentinel", at(&[4], 64, damaged(64, &[0])?)),
        ("a large size", at(&[4], 64, damaged(72, &far)?)),
        ("data past the end", at(&[4], 64, damaged(80, &far)?)),
        ("data cut off", at(&[4], 64, weight_file()?[..130].to_vec())),
    ] {
        assert!(matches!(result, Err(PackageError::Weight { .. })), "{what}: {result:?}");
    }
    let mislabelled = at(&[4], 64, damaged(68, &[3])?)?;
    assert_eq!(mislabelled.warnings.len(), 1);
    Ok(())
}

#[test]
fn weight_paths_stay_in_the_package() -> Result {
    let dir = tempfile::tempdir()?;
    let root = dir.path().join("package");
    fs::create_dir_all(root.join("weights"))?;
    fs::write(dir.path().join("outside.bin"), weight_file()?)?;
    fs::write(root.join("weights/weight.bin"), weight_file()?)?;
    let absolute = dir.path().join("outside.bin").to_string_lossy().into_owned();
    let after_prefix = format!("@model_path/{absolute}");
    let read = |path: &str| {
        read_with(vec![const_op("c", blob_value(&[4], path, 64))], Weights::Folder(root.clone()))
    };
    assert!(read(FILE).is_ok());
    for path in [
        "@model_path/../outside.bin",
        "@model_path/weights/../../outside.bin",
        "../outside.bin",
        "weights/weight.bin",
        "@model_path/",
        "@model_path/weights",
        "@model_path/absent.bin",
        "",
        &absolute,
        &after_prefix,
    ] {
        assert!(matches!(read(path), Err(PackageError::Path { .. })), "{path}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(dir.path().join("outside.bin"), root.join("weights/link.bin"))?;
        assert!(matches!(read("@model_path/weights/link.bin"), Err(PackageError::Path { .. })));
    }
    Ok(())
}

// Folders.

#[test]
fn manifests_are_not_trusted() -> Result {
    let dir = tempfile::tempdir()?;
    let package = dir.path().join("m.mlpackage");
    fs::create_dir_all(package.join("Data"))?;
    fs::write(dir.path().join("outside.mlmodel"), model(Vec::new()).encode_to_vec())?;
    let manifest = |path: &str, root: &str| {
        format!(
            r#"{{"fileFormatVersion":"1.0.0","itemInfoEntries":{{"A":{{"path":"{path}"}}}},"rootModelIdentifier":"{root}"}}"#
        )
    };
    let absolute = dir.path().join("outside.mlmodel").to_string_lossy().into_owned();
    assert!(matches!(import(&package), Err(PackageError::NotAModel { .. })));
    for path in ["../../outside.mlmodel", "../Manifest.json", "", ".", "absent", &absolute] {
        fs::write(package.join("Manifest.json"), manifest(path, "A"))?;
        assert!(matches!(import(&package), Err(PackageError::Path { .. })), "{path}");
    }
    for text in [manifest("m", "B"), String::new(), "[]".into(), "[".repeat(100_000), "{}".into()] {
        fs::write(package.join("Manifest.json"), text)?;
        assert!(matches!(import(&package), Err(PackageError::Manifest { .. })));
    }
    fs::write(package.join("Manifest.json"), vec![b' '; (1 << 20) + 1])?;
    assert!(matches!(import(&package), Err(PackageError::TooLarge { .. })));
    assert!(matches!(import(dir.path().join("absent")), Err(PackageError::Io { .. })));
    assert!(import(dir.path().join("outside.mlmodel")).is_ok());
    Ok(())
}

// Export.

/// `y = relu(x = …)` of a constant given as `operand`.
fn relu_of(operand: Constant) -> Program {
    let mut f = Function::new("main", Opset::Ios18);
    let x = f.add_value("x", TensorType::new(DType::Fp32, [1, 2]));
    let y = f.add_value("y", TensorType::new(DType::Fp32, [1, 2]));
    f.inputs.push(x);
    f.outputs.push(y);
    let arg = Arg::One(Operand::Literal(operand));
    let (name, attrs) = (String::new(), Vec::new());
    f.ops.push(Op { code: Opcode::Relu, name, args: vec![("x".into(), arg)], results: vec![y], attrs });
    Program::single(f)
}

#[test]
fn a_weight_in_place_of_an_argument_becomes_a_const() -> Result {
    let dir = tempfile::tempdir()?;
    let path = "@model_path/other.bin";
    let program = relu_of(Constant::blob(TensorType::fp16([4]), path, 64));
    let weights = Weights::Memory(BTreeMap::from([(path.into(), weight_file()?)]));
    let to = dir.path().join("m.mlpackage");
    let written = export(&program, &weights, &to, &ExportOptions::default())?;
    assert_eq!((written.weights, written.specification_version), (1, 9));
    let read = import(&to)?;
    let main = read.program.main().ok_or("no main")?;
    assert_eq!(main.ops.iter().map(|op| op.code).collect::<Vec<_>>(), [Opcode::Const, Opcode::Relu]);
    let blob = BlobRef { path: FILE.into(), offset: 64 };
    assert_eq!(main.constant_arg(&main.ops[1], "x").and_then(Constant::blob_ref), Some(&blob));
    assert_eq!(read.weights.bytes(&blob, &TensorType::fp16([4]))?.len(), 8);
    Ok(())
}

#[test]
fn a_failed_export_leaves_nothing_and_changes_nothing() -> Result {
    let dir = tempfile::tempdir()?;
    let entries = || -> Result<usize> { Ok(fs::read_dir(dir.path())?.count()) };
    let to = dir.path().join("m.mlpackage");
    let good = relu_of(Constant::fp32(1.0));
    let overwrite = ExportOptions { overwrite: true, ..ExportOptions::default() };
    let without_weights = relu_of(Constant::blob(TensorType::fp16([4]), FILE, 64));
    assert!(export(&without_weights, &Weights::none(), &to, &overwrite).is_err());
    assert_eq!(entries()?, 0);

    export(&good, &Weights::none(), &to, &ExportOptions::default())?;
    let before = fs::read(to.join("Data/com.apple.CoreML/model.mlmodel"))?;
    let again = export(&good, &Weights::none(), &to, &ExportOptions::default());
    assert!(matches!(again, Err(PackageError::Exists { .. })));
    assert!(export(&without_weights, &Weights::none(), &to, &overwrite).is_err());
    assert_eq!(fs::read(to.join("Data/com.apple.CoreML/model.mlmodel"))?, before);
    export(&good, &Weights::none(), &to, &overwrite)?;
    assert_eq!(entries()?, 1);

    let other = dir.path().join("folder.mlpackage");
    fs::create_dir(&other)?;
    fs::write(other.join("letter"), "dear")?;
    assert!(matches!(
        export(&good, &Weights::none(), &other, &overwrite),
        Err(PackageError::NotAModel { .. })
    ));
    assert!(other.join("letter").is_file());
    let misnamed = export(&good, &Weights::none(), dir.path().join("m.zip"), &overwrite);
    assert!(matches!(misnamed, Err(PackageError::NotAModel { .. })));
    Ok(())
}

#[test]
fn programs_that_contradict_themselves_are_not_exported() -> Result {
    let dir = tempfile::tempdir()?;
    let to = dir.path().join("m.mlpackage");
    let refused = |program: &Program| {
        let result = export(program, &Weights::none(), &to, &ExportOptions::default());
        matches!(result, Err(PackageError::Invalid { .. }))
    };
    let good = || relu_of(Constant::fp32(1.0));
    let change = |f: fn(&mut Program)| {
        let mut program = good();
        f(&mut program);
        program
    };
    assert!(refused(&change(|p| p.functions.clear())));
    assert!(refused(&change(|p| p.functions.push(p.functions[0].clone()))));
    assert!(refused(&change(|p| p.functions[0].outputs.push(ferrane_mil::ValueId(99)))));
    assert!(refused(&change(|p| p.functions[0].ops[0].results.push(ferrane_mil::ValueId(99)))));
    assert!(refused(&change(|p| p.functions[0].values[0].name = "a b".into())));
    assert!(refused(&change(|p| p.functions[0].values[0].ty = TensorType::new(DType::Bool, [1]).into())));
    let short = ferrane_mil::Data::Fp32(vec![1.0]);
    assert!(refused(&relu_of(Constant::inline(TensorType::new(DType::Fp32, [2]), short))));
    Ok(())
}
