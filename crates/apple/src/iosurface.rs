//! IOSurfaces: memory that the host and the Neural Engine share.
#![allow(unsafe_code, reason = "each block says why it is sound")]

use std::any::Any;
use std::ffi::{c_int, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};

use ferrane_engine::{DeviceMemory, SurfaceError};
use ferrane_mil::DType;
use half::f16;
use half::slice::HalfFloatSliceExt;
use objc2::encode::{Encoding, RefEncode};
use objc2::rc::autoreleasepool;
use objc2_foundation::{NSDictionary, NSNumber, NSString};

use crate::object::Object;

/// What `IOSurfaceRef` points to.
#[repr(C)]
pub(crate) struct IoSurfaceRef {
    opaque: [u8; 0],
}

// SAFETY: this is how the runtime writes `IOSurfaceRef`.
unsafe impl RefEncode for IoSurfaceRef {
    const ENCODING_REF: Encoding = Encoding::Pointer(&Encoding::Struct("__IOSurface", &[]));
}

/// A dictionary, a Core Foundation one just as well.
type Properties = NSDictionary<NSString, NSNumber>;

#[cfg_attr(target_vendor = "apple", link(name = "IOSurface", kind = "framework"))]
unsafe extern "C" {
    static kIOSurfaceWidth: &'static NSString;
    static kIOSurfaceHeight: &'static NSString;
    static kIOSurfaceBytesPerElement: &'static NSString;
    static kIOSurfaceBytesPerRow: &'static NSString;
    static kIOSurfaceAllocSize: &'static NSString;
    static kIOSurfacePixelFormat: &'static NSString;

    fn IOSurfaceCreate(properties: *const Properties) -> *mut IoSurfaceRef;
    fn IOSurfaceGetAllocSize(surface: *mut IoSurfaceRef) -> usize;
    fn IOSurfaceGetBaseAddress(surface: *mut IoSurfaceRef) -> *mut c_void;
    fn IOSurfaceLock(surface: *mut IoSurfaceRef, options: u32, seed: *mut u32) -> c_int;
    fn IOSurfaceUnlock(surface: *mut IoSurfaceRef, options: u32, seed: *mut u32) -> c_int;
}

#[cfg_attr(target_vendor = "apple", link(name = "CoreFoundation", kind = "framework"))]
unsafe extern "C" {
    fn CFRelease(surface: *mut IoSurfaceRef);
}

/// Why the surface is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Read,
    Write,
}

impl Purpose {
    /// `kIOSurfaceLockReadOnly`, or nothing.
    fn options(self) -> u32 {
        match self {
            Purpose::Read => 1,
            Purpose::Write => 0,
        }
    }
}

/// An IOSurface: bytes without rows or padding.
pub(crate) struct IoSurface {
    surface: NonNull<IoSurfaceRef>,
    bytes: usize,
    /// Held while the surface is locked: one thread at a time has the memory.
    access: Mutex<()>,
}

// SAFETY: references to a surface are counted atomically and its functions can be called from any thread; the memory is touched
// under `access` alone.
unsafe impl Send for IoSurface {}
// SAFETY: as above.
unsafe impl Sync for IoSurface {}

impl IoSurface {
    /// A new surface of `bytes` bytes, all zero.
    ///
    /// # Errors
    /// When the system makes none, or a smaller one.
    pub(crate) fn new(bytes: usize) -> Result<Self, SurfaceError> {
        let refuse = |what: &str| SurfaceError::Device(format!("an IOSurface of {bytes} bytes {what}"));
        let made = autoreleasepool(|_| {
            let (size, one, zero) =
                (NSNumber::new_u64(bytes as u64), NSNumber::new_u64(1), NSNumber::new_u64(0));
            // SAFETY: these are strings from the start of the process to its end.
            let keys = unsafe {
                [
                    kIOSurfaceWidth,
                    kIOSurfaceHeight,
                    kIOSurfaceBytesPerElement,
                    kIOSurfaceBytesPerRow,
                    kIOSurfaceAllocSize,
                    kIOSurfacePixelFormat,
                ]
            };
            let properties = Properties::from_slices(&keys, &[&size, &one, &one, &size, &size, &zero]);
            // SAFETY: a Foundation dictionary is a Core Foundation one, and this one has the keys and types wanted.
            NonNull::new(unsafe { IOSurfaceCreate(&*properties) })
        });
        let surface = made.ok_or_else(|| refuse("cannot be made: there may be too little memory"))?;
        let made = Self { surface, bytes, access: Mutex::new(()) };
        // SAFETY: this is a surface.
        let there = unsafe { IOSurfaceGetAllocSize(surface.as_ptr()) };
        if there < bytes {
            return Err(refuse(&format!("came out with {there}")));
        }
        Ok(made)
    }

    pub(crate) fn as_ref(&self) -> &IoSurfaceRef {
        // SAFETY: the surface lives as long as this reference to it.
        unsafe { self.surface.as_ref() }
    }

    /// Calls `f` with the address of the memory, locked.
    fn locked(&self, purpose: Purpose, f: impl FnOnce(NonNull<u8>)) -> Result<(), SurfaceError> {
        let refuse = |what: &str, code: c_int| {
            SurfaceError::Device(format!(
                "an IOSurface of {} bytes cannot be {what} (code {code:#x}): another process or the engine may \
                 have it",
                self.bytes
            ))
        };
        let _alone = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        let surface = self.surface.as_ptr();
        // SAFETY: this is a surface; the seed is not asked for.
        match unsafe { IOSurfaceLock(surface, purpose.options(), ptr::null_mut()) } {
            0 => {}
            code => return Err(refuse("locked", code)),
        }
        // SAFETY: the surface is locked.
        let base = NonNull::new(unsafe { IOSurfaceGetBaseAddress(surface) }.cast::<u8>());
        if let Some(base) = base {
            f(base);
        }
        // SAFETY: it was locked with the same options.
        match unsafe { IOSurfaceUnlock(surface, purpose.options(), ptr::null_mut()) } {
            0 if base.is_some() => Ok(()),
            0 => Err(refuse("addressed", 0)),
            code => Err(refuse("unlocked", code)),
        }
    }
}

impl Drop for IoSurface {
    fn drop(&mut self) {
        // SAFETY: this is our own reference.
        unsafe { CFRelease(self.surface.as_ptr()) };
    }
}

/// The type of a surface's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Half,
    Single,
}

/// Memory of a kernel's port.
pub(crate) struct AneMemory {
    shared: Arc<Shared>,
    element: Element,
    elements: usize,
}

/// What a request refers to.
pub(crate) struct Shared {
    /// The framework's reference to the surface, before which it goes: nothing says that it keeps the surface.
    wrapper: Object,
    surface: IoSurface,
}

impl Shared {
    pub(crate) fn wrapper(&self) -> &Object {
        &self.wrapper
    }
}

impl AneMemory {
    /// Memory in `surface` for `elements` elements, which it is large enough for.
    ///
    /// # Errors
    /// For a type that surfaces do not have.
    pub(crate) fn new(
        surface: IoSurface,
        wrapper: Object,
        dtype: DType,
        elements: usize,
    ) -> Result<Self, SurfaceError> {
        let element = match dtype {
            DType::Fp16 => Element::Half,
            DType::Fp32 => Element::Single,
            other => {
                let what = format!("elements of type {} have no surface: use fp16 or fp32", other.name());
                return Err(SurfaceError::Device(what));
            }
        };
        let needed = dtype.packed_bytes(elements);
        if surface.bytes < needed {
            return Err(SurfaceError::Device(format!("{} bytes are too few for {needed}", surface.bytes)));
        }
        Ok(Self { shared: Arc::new(Shared { surface, wrapper }), element, elements })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn check(&self, elements: usize) -> Result<(), SurfaceError> {
        match elements == self.elements {
            true => Ok(()),
            false => Err(SurfaceError::Range { first: 0, end: elements, len: self.elements }),
        }
    }
}

impl DeviceMemory for AneMemory {
    fn read(&self, elements: &mut [f32]) -> Result<(), SurfaceError> {
        self.check(elements.len())?;
        self.shared.surface.locked(Purpose::Read, |base| match self.element {
            // SAFETY: `new` saw that so many elements fit, IOSurfaces begin at pages, and the surface is locked.
            Element::Half => unsafe { slice::from_raw_parts(base.cast::<f16>().as_ptr(), elements.len()) }
                .convert_to_f32_slice(elements),
            // SAFETY: as above.
            Element::Single => elements.copy_from_slice(unsafe {
                slice::from_raw_parts(base.cast::<f32>().as_ptr(), elements.len())
            }),
        })
    }

    fn write(&self, elements: &[f32]) -> Result<(), SurfaceError> {
        self.check(elements.len())?;
        self.shared.surface.locked(Purpose::Write, |base| match self.element {
            // SAFETY: as in `read`; with the lock and `access`, nobody else has the memory.
            Element::Half => {
                unsafe { slice::from_raw_parts_mut(base.cast::<f16>().as_ptr(), elements.len()) }
                    .convert_from_f32_slice(elements)
            }
            // SAFETY: as above.
            Element::Single => {
                unsafe { slice::from_raw_parts_mut(base.cast::<f32>().as_ptr(), elements.len()) }
                    .copy_from_slice(elements);
            }
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl fmt::Debug for AneMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shared, element, elements } = self;
        write!(f, "AneMemory({elements} x {element:?} in {} bytes)", shared.surface.bytes)
    }
}
