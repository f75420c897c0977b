//! The executor behind the `Engine` contract.

use ferrane_cpu::CpuEngine;
use ferrane_engine::{Engine, HostMemory, Port, Surface, WeightFiles};
use ferrane_mil::{Builder, DType, Function, Opset, Program, TensorType, Verified, blob::BlobWriter, verify};

fn linear() -> Function {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::new(DType::Fp32, [1, 2, 1, 3]));
    let w = b.weight("w", TensorType::new(DType::Fp32, [1, 2, 1, 1]));
    let y = b.linear(x, w).unwrap();
    b.rename(y, "y");
    b.finish(&[y])
}

fn program() -> Verified {
    verify(Program::single(linear())).unwrap()
}

fn files() -> WeightFiles {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = BlobWriter::new(&mut bytes).unwrap();
    assert_eq!(writer.chunk_f32(DType::Fp32, &[10.0, 1.0]).unwrap(), 64);
    writer.finish().unwrap();
    let mut files = WeightFiles::none();
    files.insert("@model_path/weights/w.bin", bytes.into_inner());
    files
}

fn surface(port: &Port) -> Surface {
    CpuEngine::new(1).surface(port, port.bytes()).unwrap()
}

#[test]
fn a_baked_weight_comes_from_its_file() {
    let mut kernel = CpuEngine::new(1).compile(&program(), &files()).unwrap();
    let (x, y) = (surface(&kernel.inputs()[0]), surface(&kernel.outputs()[0]));
    x.write(|x| x.copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])).unwrap();
    kernel.evaluate(&[&x], &[&y]).unwrap();
    y.read(|y| assert_eq!(y, [14.0, 25.0, 36.0])).unwrap();
}

#[test]
fn a_missing_or_damaged_weight_file_is_named() {
    let error = CpuEngine::new(1).compile(&program(), &WeightFiles::none()).err().unwrap().to_string();
    assert!(error.contains("@model_path/weights/w.bin") && error.contains("not among"), "{error}");
    let mut files = WeightFiles::none();
    files.insert("@model_path/weights/w.bin", vec![0u8; 70]);
    let error = CpuEngine::new(1).compile(&program(), &files).err().unwrap().to_string();
    assert!(error.contains("@model_path/weights/w.bin` at offset 64"), "{error}");
}

#[test]
fn surfaces_that_do_not_fit_are_refused() {
    let mut kernel = CpuEngine::new(1).compile(&program(), &files()).unwrap();
    let (x, y) = (surface(&kernel.inputs()[0]), surface(&kernel.outputs()[0]));
    let error = kernel.evaluate(&[&y], &[&y]).unwrap_err().to_string();
    assert!(error.contains("`x` is [1, 2, 1, 3]") && error.contains("[1, 1, 1, 3]"), "{error}");
    let error = kernel.evaluate(&[&x, &x], &[&y]).unwrap_err().to_string();
    assert!(error.contains("2 surfaces for 1 ports"), "{error}");
    let memory = HostMemory::zeros(9);
    let x = Surface::view(&memory, 0, [1, 2, 1, 3]).unwrap();
    let y = Surface::view(&memory, 6, [1, 1, 1, 3]).unwrap();
    let error = kernel.evaluate(&[&x], &[&y]).unwrap_err().to_string();
    assert!(error.contains("output `y` shares its memory"), "{error}");
}

#[test]
fn inputs_may_view_one_memory() {
    let mut b = Builder::new("main", Opset::Ios18);
    let ty = TensorType::new(DType::Fp32, [1, 1, 1, 3]);
    let (p, q) = (b.input("p", ty.clone()), b.input("q", ty));
    let y = b.sub(p, q).unwrap();
    let program = verify(Program::single(b.finish(&[y]))).unwrap();
    let mut kernel = CpuEngine::new(1).compile(&program, &WeightFiles::none()).unwrap();
    let memory = HostMemory::from_vec(vec![9.0, 8.0, 7.0, 1.0, 2.0, 3.0]);
    let p = Surface::view(&memory, 0, [1, 1, 1, 3]).unwrap();
    let q = Surface::view(&memory, 3, [1, 1, 1, 3]).unwrap();
    let y = surface(&kernel.outputs()[0]);
    kernel.evaluate(&[&p, &q], &[&y]).unwrap();
    y.read(|y| assert_eq!(y, [8.0, 6.0, 4.0])).unwrap();
}
