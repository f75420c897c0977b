//! What the tests of both worlds share: on a Mac the real framework, elsewhere its double.
#![allow(dead_code, reason = "each test binary uses its part")]

use ferrane_apple::{AneEngine, Door, OpenError, Setup};
use ferrane_engine::{Engine, Kernel, Port, Profile, Surface, WeightFiles};
use ferrane_mil::{Builder, DType, Opset, Program, TensorType, Verified, blob::BlobWriter, verify};

#[cfg(not(target_vendor = "apple"))]
pub(crate) use ferrane_apple_double::World;

/// There is nothing to arrange.
#[cfg(target_vendor = "apple")]
pub(crate) struct World;

#[cfg(target_vendor = "apple")]
impl World {
    pub(crate) fn enter() -> Self {
        Self
    }
}

/// Both ways in.
pub(crate) const DOORS: [Door; 2] = [Door::InMemory, Door::Client];

pub(crate) fn m4() -> Profile {
    Profile::built_in("m4").unwrap()
}

/// The double needs no file, but there must be one to open.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn setup(door: Door) -> Setup {
    Setup { door, image: "libc.so.6".into() }
}

#[cfg(target_vendor = "apple")]
pub(crate) fn setup(door: Door) -> Setup {
    Setup { door, ..Setup::default() }
}

pub(crate) fn try_open(door: Door) -> Result<AneEngine, OpenError> {
    AneEngine::open(m4(), &setup(door))
}

pub(crate) fn open(door: Door) -> AneEngine {
    try_open(door).unwrap()
}

/// A 1x1 convolution from 4 to 2 channels whose weights are in a file.
pub(crate) fn convolution() -> Verified {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::fp16([1, 4, 1, 64]));
    let w = b.weight("w", TensorType::fp16([2, 4, 1, 1]));
    let y = b.linear(x, w).unwrap();
    verify(Program::single(b.finish(&[y]))).unwrap()
}

pub(crate) const WEIGHTS: [f32; 8] = [1.0, -2.0, 0.5, 4.0, 0.25, 8.0, -1.0, 2.0];

/// The file of the convolution's weights, times `factor`.
pub(crate) fn weights(factor: f32) -> WeightFiles {
    let mut writer = BlobWriter::new(std::io::Cursor::new(Vec::new())).unwrap();
    writer.chunk_f32(DType::Fp16, &WEIGHTS.map(|w| w * factor)).unwrap();
    let mut files = WeightFiles::none();
    files.insert("@model_path/weights/w.bin", writer.finish().unwrap().into_inner());
    files
}

/// `y = first − second`, inputs declared in that order.
pub(crate) fn difference(first: &str, second: &str, dtype: DType) -> Verified {
    let mut b = Builder::new("main", Opset::Ios18);
    let ty = TensorType::new(dtype, [1, 4, 1, 64]);
    let (p, q) = (b.input(first, ty.clone()), b.input(second, ty));
    let y = b.sub(p, q).unwrap();
    verify(Program::single(b.finish(&[y]))).unwrap()
}

/// Surfaces that claim as much as the largest port needs.
pub(crate) fn surfaces(engine: &dyn Engine, ports: &[Port]) -> Vec<Surface> {
    let most = ports.iter().map(Port::bytes).max().unwrap();
    ports.iter().map(|port| engine.surface(port, most).unwrap()).collect()
}

/// What the convolution's kernel makes of `x[c, w] = c + (w mod 8) / 8`, and what it should. All of it is exact in fp16.
pub(crate) fn convolve(engine: &dyn Engine, kernel: &mut dyn Kernel) -> (Vec<f32>, Vec<f32>) {
    let (inputs, outputs) = (surfaces(engine, kernel.inputs()), surfaces(engine, kernel.outputs()));
    let x: Vec<f32> = (0..4 * 64).map(|i| (i / 64) as f32 + (i % 8) as f32 / 8.0).collect();
    inputs[0].write(|elements| elements.copy_from_slice(&x)).unwrap();
    kernel.evaluate(&[&inputs[0]], &[&outputs[0]]).unwrap();
    let y = outputs[0].read(<[f32]>::to_vec).unwrap();
    let expected =
        (0..2 * 64).map(|i| (0..4).map(|c| WEIGHTS[i / 64 * 4 + c] * x[c * 64 + i % 64]).sum()).collect();
    (y, expected)
}
