//! The functions that C calls.
//!
//! The comments on them are those of the header. Whatever is passed as a pointer to memory is trusted to be what its comment says;
//! handles are not trusted.
#![allow(unsafe_code, reason = "C is called and calls; each block says why it is sound")]

use std::ffi::{CStr, CString, c_char};
use std::io::Cursor;
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};

use ferrane_cpu::CpuEngine;
use ferrane_engine::{Engine, Port, Profile, ReloadWay, Surface, WeightFiles};
use ferrane_mil::blob::BlobWriter;
use ferrane_mil::{DType, text, verify};
use ferrane_sim::{Numerics, SimEngine};

use crate::handles::{self, HeldKernel, HeldPort, Nameable};
use crate::outcome::{self, Failure, Status, call};

/// An engine: something that compiles and evaluates programs.
pub enum EngineHandle {}
/// Weight files.
pub enum WeightsHandle {}
/// A compiled program, loaded.
pub enum KernelHandle {}
/// Memory of one input or output.
pub enum SurfaceHandle {}

/// A side of a kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Inputs.
    Input = 0,
    /// Outputs.
    Output = 1,
}

/// One input or output of a kernel, of shape [1, channels, 1, width].
#[repr(C)]
pub struct PortInfo {
    /// Its name, for as long as the kernel is not freed.
    pub name: *const c_char,
    /// Channels.
    pub channels: usize,
    /// Width.
    pub width: usize,
    /// Its size on the engine, in bytes.
    pub bytes: usize,
}

/// The version of Ferrane, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn ferrane_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Why this thread's last call failed: what, where and what to do. Empty if it succeeded. Good until this thread's next call.
#[unsafe(no_mangle)]
pub extern "C" fn ferrane_last_error() -> *const c_char {
    outcome::last_message()
}

/// The status code that the Neural Engine's framework gave in this thread's last call, such as 0x1d. 0 if it gave none.
#[unsafe(no_mangle)]
pub extern "C" fn ferrane_last_code() -> u32 {
    outcome::last_code()
}

/// Opens an engine. `name` is "cpu", "sim", "sim:faithful" (the chip's own arithmetic), "ane" or "auto" (ane where there
/// is one, else sim). `chip` names the chip that is simulated or present, such as "m4"; null is the default. Free the engine with ferrane_engine_free.
///
/// # Safety
/// `name` and `chip` are C strings or null, and `engine` points to memory for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrane_engine_open(
    name: *const c_char,
    chip: *const c_char,
    engine: *mut *mut EngineHandle,
) -> Status {
    call(|| {
        // SAFETY: the caller's promise.
        let (name, chip) = unsafe { (string(name, "name")?, optional(chip, "chip")?) };
        let opened = open(name, chip)?;
        // SAFETY: the caller's promise.
        unsafe { give(engine, "engine", opened) }
    })
}

fn open(name: &str, chip: Option<&str>) -> Result<Arc<dyn Engine>, Failure> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let simulated = |numerics| -> Result<Arc<dyn Engine>, Failure> {
        let profile = Profile::built_in(chip.unwrap_or("m4"))
            .map_err(|error| Failure::new(Status::NotAvailable, error.to_string()))?;
        Ok(Arc::new(SimEngine::new(profile, threads).with_numerics(numerics)))
    };
    match name {
        "cpu" if chip.is_some() => Err(Failure::argument("engine cpu is no chip: `chip` must be null")),
        "cpu" => Ok(Arc::new(CpuEngine::new(threads))),
        "auto" if chip.is_none() => ane(None).or_else(|_| simulated(Numerics::Fast)),
        "sim" | "auto" => simulated(Numerics::Fast),
        "sim:faithful" => simulated(Numerics::Faithful),
        "ane" => ane(chip),
        _ => Err(Failure::new(
            Status::NotAvailable,
            format!("there is no engine `{name}`; there are auto, ane, sim, sim:faithful, cpu"),
        )),
    }
}

/// The real Neural Engine, by the in-memory door.
#[cfg(target_os = "macos")]
fn ane(chip: Option<&str>) -> Result<Arc<dyn Engine>, Failure> {
    use ferrane_apple::{AneEngine, Machine, Setup};
    let absent = |error: String| Failure::new(Status::NotAvailable, format!("engine ane: {error}"));
    let chip = chip.or_else(|| Machine::this().profile()).unwrap_or("m4");
    let profile = Profile::built_in(chip).map_err(|error| absent(error.to_string()))?;
    let engine = AneEngine::open(profile, &Setup::default()).map_err(|error| absent(error.to_string()))?;
    Ok(Arc::new(engine))
}

/// Elsewhere there is none.
#[cfg(not(target_os = "macos"))]
fn ane(_chip: Option<&str>) -> Result<Arc<dyn Engine>, Failure> {
    let system = std::env::consts::OS;
    let why = format!("engine ane: a Neural Engine is part of a Mac, and this is {system}; use sim or cpu");
    Err(Failure::new(Status::NotAvailable, why))
}

/// Frees an engine. Its kernels and surfaces stay good. Null is no error.
#[unsafe(no_mangle)]
pub extern "C" fn ferrane_engine_free(engine: *mut EngineHandle) -> Status {
    call(|| handles::free::<Arc<dyn Engine>>(engine.addr()))
}

/// Makes a set of weight files, which is empty. Free it with ferrane_weights_free.
///
/// # Safety
/// `weights` points to memory for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrane_weights_new(weights: *mut *mut WeightsHandle) -> Status {
    // SAFETY: the caller's promise.
    call(|| unsafe { give(weights, "weights", Arc::new(Mutex::new(WeightFiles::none()))) })
}

/// Adds a whole weight file, version 2 of the blob format. `path` is what the program calls it, such as
/// "@model_path/weights/w.bin". The bytes are copied.
///
/// # Safety
/// `path` is a C string, and `bytes` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrane_weights_add_file(
    weights: *mut WeightsHandle,
    path: *const c_char,
    bytes: *const u8,
    length: usize,
) -> Status {
    call(|| {
        // SAFETY: the caller's promise.
        let (path, bytes) = unsafe { (string(path, "path")?, array(bytes, length, "bytes")?) };
        add(weights, path, bytes.to_vec())
    })
}

/// Adds a weight file of one fp16 weight, which is at offset 64: numbers are rounded to nearest.
///
/// # Safety
/// `path` is a C string, and `values` points to `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrane_weights_add_fp16(
    weights: *mut WeightsHandle,
    path: *const c_char,
    values: *const f32,
    count: usize,
) -> Status {
    call(|| {
        // SAFETY: the caller's promise.
        let (path, values) = unsafe { (string(path, "path")?, array(values, count, "values")?) };
        let file = || {
            let mut writer = BlobWriter::new(Cursor::new(Vec::new()))?;
            writer.chunk_f32(DType::Fp16, values)?;
            Ok(writer.finish()?.into_inner())
        };
        let written: Result<Vec<u8>, ferrane_mil::blob::BlobError> = file();
        add(weights, path, written.map_err(|error| Failure::new(Status::Weights, error.to_string()))?)
    })
}

fn add(weights: *mut WeightsHandle, path: &str, file: Vec<u8>) -> Result<(), Failure> {
    let weights: Arc<Mutex<WeightFiles>> = handles::find(weights.addr(), "weights")?;
    weights.lock().unwrap_or_else(PoisonError::into_inner).insert(path, file);
    Ok(())
}

/// Frees weight files. Kernels compiled with them keep what they need. Null is no error.
#[unsafe(no_mangle)]
pub extern "C" fn ferrane_weights_free(weights: *mut WeightsHandle) -> Status {
    call(|| handles::free::<Arc<Mutex<WeightFiles>>>(weights.addr()))
}

/// Compiles and loads MIL text. `weights` holds the files that the program names; null if it names none. Free the kernel with
/// ferrane_kernel_free, which frees its slot on the engine.
///
/// # Safety
/// `mil` is a C string, and `kernel` points to memory for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrane_kernel_compile(
    engine: *mut EngineHandle,
    mil: *const c_char,
    weights: *mut WeightsHandle,
    kernel: *mut *mut KernelHandle,
) -> Status {
    call(|| {
        let engine: Arc<dyn Engine> = handles::find(engine.addr(), "engine")?;
        // SAFETY: the caller's promise.
        let mil = unsafe { string(mil, "mil")? };
        let files = if weights.is_null() { WeightFiles::none() } else { files(weights)? };
        let compiled = compile(engine, mil, &files)?;
        // SAFETY: the caller's promise.
        unsafe { give(kernel, "kernel", Arc::new(compiled)) }
    })
}

fn files(weights: *mut WeightsHandle) -> Result<WeightFiles, Failure> {
    let weights: Arc<Mutex<WeightFiles>> = handles::find(weights.addr(), "weights")?;
    Ok(weights.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

fn compile(engine: Arc<dyn Engine>, mil: &str, weights: &WeightFiles) -> Result<HeldKernel, Failure> {
    let invalid = |message: String| Failure::new(Status::InvalidProgram, message);
    let parsed = text::parse(mil).map_err(|errors| invalid(errors.to_string()))?;
    let program = verify(parsed.program)
        .map_err(|errors| invalid(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    let kernel = engine.compile(&program, weights)?;
    let held = |ports: &[Port]| ports.iter().map(held).collect();
    let (inputs, outputs) = (held(kernel.inputs()), held(kernel.outputs()));
    Ok(HeldKernel { engine, inputs, outputs, kernel: Mutex::new(kernel) })
}

fn held(port: &Port) -> HeldPort {
    // MIL's names hold no zero byte.
    HeldPort { port: port.clone(), name: CString::new(port.name.as_str()).unwrap_or_default() }
}

/// The number of inputs or outputs of a kernel; 0 if it is none.
#[unsafe(no_mangle)]
pub extern "C" fn ferrane_kernel_ports(kernel: *mut KernelHandle, side: u32) -> usize {
    let mut count = 0;
    call(|| {
        let kernel: Arc<HeldKernel> = handles::find(kernel.addr(), "kernel")?;
        count = ports(&kernel, side)?.len();
        Ok(())
    });
    count
}

/// Describes an input or output of a kernel.
///
/// # Safety
/// `port` points to memory for the description.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrane_kernel_port(
    kernel: *mut KernelHandle,
    side: u32,
    index: usize,
    port: *mut PortInfo,
) -> Status {
    call(|| {
        let kernel: Arc<HeldKernel> = handles::find(kernel.addr(), "kernel")?;
        let held = at(&kernel, side, index)?;
        let [_, channels, _, width] = held.port.shape;
        let info = PortInfo { name: held.name.as_ptr(), channels, width, bytes: held.port.bytes() };
        if port.is_null() {
            return Err(Failure::argument("`port` is null"));
        }
        // SAFETY: the caller's promise.
        unsafe { port.write(info) };
        Ok(())
    })
}

fn ports(kernel: &HeldKernel, side: u32) -> Result<&[HeldPort], Failure> {
    match side {
        side if side == Side::Input as u32 => Ok(&kernel.inputs),
        side if side == Side::Output as u32 => Ok(&kernel.outputs),
        _ => Err(Failure::argument(format!("`side` is {side}; give 0 for inputs or 1 for outputs"))),
    }
}

fn at(kernel: &HeldKernel, side: u32, index: usize) -> Result<&HeldPort, Failure> {
    let ports = ports(kernel, side)?;
    ports.get(index).ok_or_else(|| {
        Failure::argument(format!("`index` is {index}, and there are {} ports on that side", ports.len()))
    })
}

/// Makes memory for an input or output of a kernel, all zero. It claims as many bytes as the largest port of its side, as some
/// engines want. Free it with ferrane_surface_free. It stays good when the kernel is freed.
///
/// # Safety
/// `surface` points to memory for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrane_surface_new(
    kernel: *mut KernelHandle,
    side: u32,
    index: usize,
    surface: *mut *mut SurfaceHandle,
) -> Status {
    call(|| {
        let kernel: Arc<HeldKernel> = handles::find(kernel.addr(), "kernel")?;
        let port = &at(&kernel, side, index)?.port;
        let most = ports(&kernel, side)?.iter().map(|held| held.port.bytes()).max().unwrap_or(0);
        let made = kernel.engine.surface(port, most)?;
        // SAFETY: the caller's promise.
        unsafe { give(surface, "surface", Arc::new(made)) }
    })
}

/// Writes all elements of a surface, row by row: element (c, w) is number c * width + w. They are rounded to the surface's type.
///
/// # Safety
/// `values` points to `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrane_surface_write(
    surface: *mut SurfaceHandle,
    values: *const f32,
    count: usize,
) -> Status {
    call(|| {
        let surface: Arc<Surface> = handles::find(surface.addr(), "surface")?;
        // SAFETY: the caller's promise.
        let values = unsafe { array(values, count, "values")? };
        fits(&surface, count)?;
        Ok(surface.write(|elements| elements.copy_from_slice(values))?)
    })
}

/// Reads all elements of a surface, in the order of ferrane_surface_write.
///
/// # Safety
/// `values` points to memory for `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrane_surface_read(
    surface: *mut SurfaceHandle,
    values: *mut f32,
    count: usize,
) -> Status {
    call(|| {
        let surface: Arc<Surface> = handles::find(surface.addr(), "surface")?;
        fits(&surface, count)?;
        if values.is_null() {
            return Err(Failure::argument("`values` is null"));
        }
        // SAFETY: the caller's promise; the elements are in memory of their own.
        Ok(surface.read(|elements| unsafe { values.copy_from_nonoverlapping(elements.as_ptr(), count) })?)
    })
}

fn fits(surface: &Surface, count: usize) -> Result<(), Failure> {
    match surface.elements() {
        elements if elements == count => Ok(()),
        elements => {
            Err(Failure::argument(format!("`count` is {count}, and the surface has {elements} elements")))
        }
    }
}

/// Frees a surface. Null is no error.
#[unsafe(no_mangle)]
pub extern "C" fn ferrane_surface_free(surface: *mut SurfaceHandle) -> Status {
    call(|| handles::free::<Arc<Surface>>(surface.addr()))
}

/// Evaluates a kernel once and waits for it. Surfaces are given in the order of the ports.
///
/// # Safety
/// `inputs` and `outputs` point to as many handles as their counts say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrane_kernel_evaluate(
    kernel: *mut KernelHandle,
    inputs: *const *mut SurfaceHandle,
    input_count: usize,
    outputs: *const *mut SurfaceHandle,
    output_count: usize,
) -> Status {
    call(|| {
        let kernel: Arc<HeldKernel> = handles::find(kernel.addr(), "kernel")?;
        // SAFETY: the caller's promise.
        let (inputs, outputs) =
            unsafe { (array(inputs, input_count, "inputs")?, array(outputs, output_count, "outputs")?) };
        let (inputs, outputs) = (surfaces(inputs, "inputs")?, surfaces(outputs, "outputs")?);
        let inputs: Vec<&Surface> = inputs.iter().map(Arc::as_ref).collect();
        let outputs: Vec<&Surface> = outputs.iter().map(Arc::as_ref).collect();
        let mut loaded = kernel.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(loaded.evaluate(&inputs, &outputs)?)
    })
}

fn surfaces(all: &[*mut SurfaceHandle], argument: &str) -> Result<Vec<Arc<Surface>>, Failure> {
    let find =
        |(i, handle): (usize, &*mut SurfaceHandle)| handles::find(handle.addr(), &format!("{argument}[{i}]"));
    all.iter().enumerate().map(find).collect()
}

/// Puts other weight files under a kernel and loads it again, without compiling it. `weights` holds every file that the program
/// names, of the same sizes as before. Success does not say that the kernel computes with them: cpu does, while no Neural Engine is known to,
/// nor does its simulation. Compare what it computes.
#[unsafe(no_mangle)]
pub extern "C" fn ferrane_kernel_reload(kernel: *mut KernelHandle, weights: *mut WeightsHandle) -> Status {
    call(|| {
        let kernel: Arc<HeldKernel> = handles::find(kernel.addr(), "kernel")?;
        let files = files(weights)?;
        let mut loaded = kernel.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(loaded.reload(&files, ReloadWay::Files)?)
    })
}

/// Frees a kernel and its slot on the engine. Null is no error.
#[unsafe(no_mangle)]
pub extern "C" fn ferrane_kernel_free(kernel: *mut KernelHandle) -> Status {
    call(|| handles::free::<Arc<HeldKernel>>(kernel.addr()))
}

/// A C string as text.
///
/// # Safety
/// It is a C string or null.
unsafe fn string<'a>(text: *const c_char, argument: &str) -> Result<&'a str, Failure> {
    // SAFETY: the caller's promise.
    unsafe { optional(text, argument)? }.ok_or_else(|| Failure::argument(format!("`{argument}` is null")))
}

/// A C string as text, if there is one.
///
/// # Safety
/// It is a C string or null.
unsafe fn optional<'a>(text: *const c_char, argument: &str) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) }.to_str();
    text.map(Some).map_err(|error| Failure::argument(format!("`{argument}` is not UTF-8: {error}")))
}

/// What a pointer and a count stand for.
///
/// # Safety
/// The pointer is to so many elements, or null.
unsafe fn array<'a, T>(first: *const T, count: usize, argument: &str) -> Result<&'a [T], Failure> {
    match (first.is_null(), count) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Failure::argument(format!("`{argument}` is null, and not empty"))),
        (false, _) if count.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize) => {
            Err(Failure::argument(format!("`{argument}` cannot have {count} elements")))
        }
        // SAFETY: the caller's promise, and the size is one that memory can have.
        (false, _) => Ok(unsafe { slice::from_raw_parts(first, count) }),
    }
}

/// Gives the caller a handle for something new.
///
/// # Safety
/// `to` points to memory for a handle, or is null.
unsafe fn give<T: Nameable, H>(to: *mut *mut H, argument: &str, new: T) -> Result<(), Failure> {
    if to.is_null() {
        return Err(Failure::argument(format!("`{argument}` is null; give a place for the handle")));
    }
    // SAFETY: the caller's promise.
    unsafe { to.write(std::ptr::without_provenance_mut(new.hold())) };
    Ok(())
}
