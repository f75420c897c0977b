//! What a caller can do wrong is an error, and never a crash.
#![allow(unsafe_code, reason = "calls what C calls, with what C might give")]

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use ferrane_capi::Status;
use ferrane_capi::abi::*;

const PROGRAM: &CStr =
    c"program(1.3) { func main<ios18>(tensor<fp16, [1, 2, 1, 64]> a, tensor<fp16, [1, 2, 1, 64]> b) {
    tensor<fp16, [1, 2, 1, 64]> y = sub(x = a, y = b); } -> (y); }";

fn last() -> String {
    // SAFETY: the words are a C string until the next call of this thread.
    unsafe { CStr::from_ptr(ferrane_last_error()) }.to_str().unwrap().to_owned()
}

fn engine() -> *mut EngineHandle {
    let mut engine = null_mut();
    // SAFETY: C strings, and a place for the handle.
    let status = unsafe { ferrane_engine_open(c"sim".as_ptr(), c"m4".as_ptr(), &raw mut engine) };
    assert_eq!(status, Status::Ok, "{}", last());
    engine
}

fn kernel(engine: *mut EngineHandle) -> *mut KernelHandle {
    let mut kernel = null_mut();
    // SAFETY: a C string, and a place for the handle.
    let status = unsafe { ferrane_kernel_compile(engine, PROGRAM.as_ptr(), null_mut(), &raw mut kernel) };
    assert_eq!(status, Status::Ok, "{}", last());
    kernel
}

fn surface(kernel: *mut KernelHandle, side: Side, index: usize) -> *mut SurfaceHandle {
    let mut surface = null_mut();
    // SAFETY: a place for the handle.
    let status = unsafe { ferrane_surface_new(kernel, side as u32, index, &raw mut surface) };
    assert_eq!(status, Status::Ok, "{}", last());
    surface
}

#[track_caller]
fn refused(status: Status, expected: Status, words: &str) {
    assert_eq!(status, expected, "{}", last());
    assert!(last().contains(words), "{words:?} in {:?}", last());
}

#[test]
fn handles_that_were_freed_or_are_of_another_kind_are_refused() {
    let engine = engine();
    let kernel = kernel(engine);
    let surface = surface(kernel, Side::Input, 0);
    refused(ferrane_kernel_free(surface.cast()), Status::InvalidArgument, "no handle of kind kernel");
    assert_eq!(ferrane_engine_free(engine), Status::Ok);
    refused(ferrane_engine_free(engine), Status::InvalidArgument, "it was freed");
    // Kernels and surfaces outlive their engine, and surfaces their kernel.
    assert_eq!(ferrane_kernel_ports(kernel, 0), 2);
    assert_eq!(ferrane_kernel_free(kernel), Status::Ok);
    refused(ferrane_kernel_free(kernel), Status::InvalidArgument, "it was freed");
    assert_eq!(ferrane_kernel_ports(kernel, 0), 0);
    assert!(last().contains("it was freed"));
    let zeros = [0.0; 128];
    // SAFETY: so many numbers.
    assert_eq!(unsafe { ferrane_surface_write(surface, zeros.as_ptr(), 128) }, Status::Ok);
    assert_eq!(ferrane_surface_free(surface), Status::Ok);
    // SAFETY: so many numbers.
    let status = unsafe { ferrane_surface_write(surface, zeros.as_ptr(), 128) };
    refused(status, Status::InvalidArgument, "it was freed");
    let statuses = [
        ferrane_engine_free(null_mut()),
        ferrane_kernel_free(null_mut()),
        ferrane_surface_free(null_mut()),
        ferrane_weights_free(null_mut()),
    ];
    assert_eq!(statuses, [Status::Ok; 4]);
}

#[test]
fn null_pointers_and_wrong_sizes_are_refused() {
    let engine = engine();
    let kernel = kernel(engine);
    let (a, y) = (surface(kernel, Side::Input, 0), surface(kernel, Side::Output, 0));
    let mut values = [0.0f32; 128];
    // SAFETY: null where the functions say that null is looked for; else memory of the size that is said.
    unsafe {
        refused(ferrane_engine_open(null(), null(), null_mut()), Status::InvalidArgument, "`name` is null");
        refused(
            ferrane_engine_open(c"cpu".as_ptr(), null(), null_mut()),
            Status::InvalidArgument,
            "`engine` is null",
        );
        refused(ferrane_engine_open(c"\xff".as_ptr(), null(), null_mut()), Status::InvalidArgument, "UTF-8");
        let mut other = null_mut();
        let status = ferrane_engine_open(c"sim".as_ptr(), c"m99".as_ptr(), &raw mut other);
        refused(status, Status::NotAvailable, "no profile `m99`");
        assert!(other.is_null());
        #[cfg(not(target_os = "macos"))]
        refused(
            ferrane_engine_open(c"ane".as_ptr(), null(), &raw mut other),
            Status::NotAvailable,
            "part of a Mac",
        );
        refused(ferrane_surface_write(a, values.as_ptr(), 127), Status::InvalidArgument, "has 128 elements");
        refused(ferrane_surface_write(a, null(), 128), Status::InvalidArgument, "`values` is null");
        refused(
            ferrane_surface_write(a, values.as_ptr(), usize::MAX),
            Status::InvalidArgument,
            "cannot have",
        );
        refused(
            ferrane_surface_read(y, values.as_mut_ptr(), 129),
            Status::InvalidArgument,
            "has 128 elements",
        );
        refused(ferrane_surface_read(y, null_mut(), 128), Status::InvalidArgument, "`values` is null");
        refused(ferrane_kernel_port(kernel, 0, 2, null_mut()), Status::InvalidArgument, "there are 2 ports");
        refused(ferrane_kernel_port(kernel, 7, 0, null_mut()), Status::InvalidArgument, "`side` is 7");
        refused(ferrane_kernel_port(kernel, 0, 0, null_mut()), Status::InvalidArgument, "`port` is null");
        let status = ferrane_kernel_evaluate(kernel, [a, null_mut()].as_ptr(), 2, [y].as_ptr(), 1);
        refused(status, Status::InvalidArgument, "`inputs[1]` is null");
        let status = ferrane_kernel_evaluate(kernel, [a].as_ptr(), 1, [y].as_ptr(), 1);
        refused(status, Status::Evaluate, "1 input surfaces for 2 ports");
        assert_eq!(ferrane_last_code(), 0x1d);
        let status = ferrane_weights_add_fp16(null_mut(), c"w".as_ptr(), values.as_ptr(), 4);
        refused(status, Status::InvalidArgument, "`weights` is null");
    }
}

/// A convolution of two channels with a weight file.
const CONVOLUTION: &CStr = c"program(1.3) { func main<ios18>(tensor<fp16, [1, 2, 1, 64]> x) {
    tensor<fp16, [2, 2, 1, 1]> w = const()[val = tensor<fp16, [2, 2, 1, 1]>(BLOBFILE(path = string(\"@model_path/w.bin\"), offset = uint64(64)))];
    tensor<fp16, [1, 2, 1, 64]> y = conv(weight = w, x = x); } -> (y); }";

fn weights(values: &[f32]) -> *mut WeightsHandle {
    let mut weights = null_mut();
    // SAFETY: a place for the handle, a C string, and so many numbers.
    unsafe {
        assert_eq!(ferrane_weights_new(&raw mut weights), Status::Ok);
        let (path, values) = (c"@model_path/w.bin".as_ptr(), values);
        assert_eq!(ferrane_weights_add_fp16(weights, path, values.as_ptr(), values.len()), Status::Ok);
    }
    weights
}

#[test]
fn weights_to_reload_must_be_all_there_and_as_large() {
    let mut kernel = null_mut();
    let (engine, whole) = (engine(), weights(&[1.0; 4]));
    // SAFETY: a C string, and a place for the handle.
    let status = unsafe { ferrane_kernel_compile(engine, CONVOLUTION.as_ptr(), whole, &raw mut kernel) };
    assert_eq!(status, Status::Ok, "{}", last());
    assert_eq!(ferrane_kernel_reload(kernel, whole), Status::Ok, "{}", last());
    refused(ferrane_kernel_reload(kernel, null_mut()), Status::InvalidArgument, "`weights` is null");
    refused(ferrane_kernel_reload(kernel, weights(&[1.0; 3])), Status::Weights, "@model_path/w.bin");
    let mut none = null_mut();
    // SAFETY: a place for the handle.
    assert_eq!(unsafe { ferrane_weights_new(&raw mut none) }, Status::Ok);
    refused(ferrane_kernel_reload(kernel, none), Status::Weights, "@model_path/w.bin");
    // It goes on with what it has.
    assert_eq!(ferrane_kernel_reload(kernel, whole), Status::Ok, "{}", last());
    assert_eq!(ferrane_kernel_free(kernel), Status::Ok);
    refused(ferrane_kernel_reload(kernel, whole), Status::InvalidArgument, "it was freed");
}

#[test]
fn refusals_of_the_engine_keep_their_kind() {
    let engine = engine();
    let compile = |mil: &CStr| {
        let mut kernel = null_mut();
        // SAFETY: a C string, and a place for the handle.
        unsafe { ferrane_kernel_compile(engine, mil.as_ptr(), null_mut(), &raw mut kernel) }
    };
    refused(compile(c"nonsense"), Status::InvalidProgram, "error[MIL");
    let fp32 = c"program(1.3) { func main<ios18>(tensor<fp32, [1, 2, 1, 64]> x) { tensor<fp32, [1, 2, 1, 64]> y = relu(x = x); } -> (y); }";
    refused(compile(fp32), Status::Compile, "ANECCompile() FAILED");
    let status = compile(CONVOLUTION);
    assert!(matches!(status, Status::Weights | Status::Compile), "{status:?}");
    assert!(last().contains("@model_path/w.bin"), "{}", last());
}

#[test]
fn many_threads_may_share_a_kernel() {
    let kernel = kernel(engine()) as usize;
    std::thread::scope(|scope| {
        for n in 0..4 {
            scope.spawn(move || {
                let kernel = std::ptr::with_exposed_provenance_mut::<KernelHandle>(kernel);
                let (a, b) = (surface(kernel, Side::Input, 0), surface(kernel, Side::Input, 1));
                let y = surface(kernel, Side::Output, 0);
                let (mine, mut found) = ([n as f32; 128], [0.0f32; 128]);
                for _ in 0..50 {
                    // SAFETY: memory of the sizes that are said.
                    unsafe {
                        assert_eq!(ferrane_surface_write(a, mine.as_ptr(), 128), Status::Ok);
                        let status = ferrane_kernel_evaluate(kernel, [a, b].as_ptr(), 2, [y].as_ptr(), 1);
                        assert_eq!(status, Status::Ok, "{}", last());
                        assert_eq!(ferrane_surface_read(y, found.as_mut_ptr(), 128), Status::Ok);
                    }
                    assert_eq!(found, mine);
                }
            });
        }
    });
}
