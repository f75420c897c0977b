//! What the tests of both worlds share: on a Mac the real framework, elsewhere its double.
#![allow(dead_code, reason = "each test binary uses its part")]

use ferrane_apple::{AneEngine, Door, OpenError, Setup};
use ferrane_engine::{Engine, Kernel, Port, Profile, Surface, WeightFiles};
use ferrane_mil::{Builder, DType, Opset, Program, TensorType, Verified, blob::BlobWriter, verify};

#[cfg(not(target_vendor = "apple"))]
pub(crate) use ferrane_apple_double::World;

/// There is nothing to arrange, but for tests not to count each other's programs.
#[cfg(target_vendor = "apple")]
pub(crate) struct World(#[allow(dead_code, reason = "held")] std::sync::MutexGuard<'static, ()>);

#[cfg(target_vendor = "apple")]
impl World {
    pub(crate) fn enter() -> Self {
        static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
        Self(ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// Both ways in.
pub(crate) const DOORS: [Door; 2] = [Door::InMemory, Door::Client];

pub(crate) fn m4() -> Profile {
    Profile::built_in("m4").unwrap()
}

/// The tests of a process are more than a trainer may compile in one.
pub(crate) fn limitless() -> Profile {
    let mut profile = m4();
    ["compile-count", "slots"].into_iter().for_each(|rule| profile.assume(rule).unwrap());
    profile
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
    AneEngine::open(limitless(), &setup(door))
}

pub(crate) fn open(door: Door) -> AneEngine {
    try_open(door).unwrap()
}

/// Channels and width that every chip takes as far as is known: on a Mac, what fails should be the backend.
pub(crate) const C: usize = 256;
pub(crate) const W: usize = 64;

/// The bytes of a port in fp16.
pub(crate) const BYTES: usize = 2 * C * W;

/// A 1x1 convolution whose weights are in a file.
pub(crate) fn convolution() -> Verified {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::fp16([1, C, 1, W]));
    let w = b.weight("w", TensorType::fp16([C, C, 1, 1]));
    let y = b.linear(x, w).unwrap();
    verify(Program::single(b.finish(&[y]))).unwrap()
}

/// The weight from input `i` to output `o`. Sums of its products with eighths are exact in fp16.
fn weight(o: usize, i: usize) -> f32 {
    ((o + 2 * i) % 3) as f32 - 1.0
}

/// The file of the convolution's weights, times `factor`.
pub(crate) fn weights(factor: f32) -> WeightFiles {
    let mut writer = BlobWriter::new(std::io::Cursor::new(Vec::new())).unwrap();
    let values: Vec<f32> = (0..C * C).map(|at| factor * weight(at / C, at % C)).collect();
    writer.chunk_f32(DType::Fp16, &values).unwrap();
    let mut files = WeightFiles::none();
    files.insert("@model_path/weights/w.bin", writer.finish().unwrap().into_inner());
    files
}

/// `y = first − second`, inputs declared in that order.
pub(crate) fn difference(first: &str, second: &str, dtype: DType) -> Verified {
    let mut b = Builder::new("main", Opset::Ios18);
    let ty = TensorType::new(dtype, [1, C, 1, W]);
    let (p, q) = (b.input(first, ty.clone()), b.input(second, ty));
    let y = b.sub(p, q).unwrap();
    verify(Program::single(b.finish(&[y]))).unwrap()
}

/// Surfaces that claim as much as the largest port needs.
pub(crate) fn surfaces(engine: &dyn Engine, ports: &[Port]) -> Vec<Surface> {
    let most = ports.iter().map(Port::bytes).max().unwrap();
    ports.iter().map(|port| engine.surface(port, most).unwrap()).collect()
}

/// What the convolution's kernel makes of some eighths, and what it should.
pub(crate) fn convolve(engine: &dyn Engine, kernel: &mut dyn Kernel) -> (Vec<f32>, Vec<f32>) {
    let (inputs, outputs) = (surfaces(engine, kernel.inputs()), surfaces(engine, kernel.outputs()));
    let x: Vec<f32> = (0..C * W).map(|at| ((at / W + 3 * (at % W)) % 8) as f32 / 8.0).collect();
    inputs[0].write(|elements| elements.copy_from_slice(&x)).unwrap();
    kernel.evaluate(&[&inputs[0]], &[&outputs[0]]).unwrap();
    let y = outputs[0].read(<[f32]>::to_vec).unwrap();
    let sum = |o: usize, w: usize| (0..C).map(|i| weight(o, i) * x[i * W + w]).sum();
    (y, (0..C * W).map(|at| sum(at / W, at % W)).collect())
}
