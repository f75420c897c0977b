//! IOSurfaces: memory with a size and a lock.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicIsize, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use objc2::rc::Retained;
use objc2::runtime::AnyObject;
use objc2::{Encoding, RefEncode};
use objc2_foundation::{NSDictionary, NSNumber, NSString};

use crate::world::{self, Fault};

/// A surface.
pub(crate) struct IoSurface {
    references: AtomicUsize,
    memory: *mut u8,
    bytes: usize,
    /// Locks held, and whether one of them is for writing.
    locks: Mutex<(usize, bool)>,
}

// SAFETY: objc2 passes pointers to it as what they are.
unsafe impl RefEncode for IoSurface {
    const ENCODING_REF: Encoding = Encoding::Pointer(&Encoding::Struct("__IOSurface", &[]));
}

static SURFACES: AtomicIsize = AtomicIsize::new(0);

/// How many surfaces there are.
pub(crate) fn surfaces() -> isize {
    SURFACES.load(Ordering::SeqCst)
}

const PAGE: usize = 4096;

/// `kIOReturnError`.
const REFUSED: c_int = 0xe000_02bc_u32 as c_int;

/// The option of a lock that writes nothing.
const READ_ONLY: u32 = 1;

macro_rules! keys {
    ($($symbol:ident = $text:literal),* $(,)?) => {
        $(
            #[allow(non_upper_case_globals, reason = "the name is the framework's")]
            #[unsafe(no_mangle)]
            static $symbol: AtomicPtr<AnyObject> = AtomicPtr::new(ptr::null_mut());
        )*

        /// Makes the names of properties, which are strings for ever.
        pub(crate) fn define() {
            $( define_key(&$symbol, $text); )*
        }

        const KEYS: [&str; [$($text),*].len()] = [$($text),*];
    };
}

keys! {
    kIOSurfaceWidth = "IOSurfaceWidth",
    kIOSurfaceHeight = "IOSurfaceHeight",
    kIOSurfaceBytesPerElement = "IOSurfaceBytesPerElement",
    kIOSurfaceBytesPerRow = "IOSurfaceBytesPerRow",
    kIOSurfaceAllocSize = "IOSurfaceAllocSize",
    kIOSurfacePixelFormat = "IOSurfacePixelFormat",
}

fn define_key(symbol: &AtomicPtr<AnyObject>, text: &str) {
    symbol.store(Retained::into_raw(NSString::from_str(text)).cast(), Ordering::Release);
}

impl IoSurface {
    /// Its size in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Calls `f` with its memory, unless somebody holds a lock: the engine works on unlocked surfaces.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut [u8]) -> R) -> Option<R> {
        let locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the memory is as long as that, and nobody else may touch it without a lock.
        (locks.0 == 0).then(|| f(unsafe { std::slice::from_raw_parts_mut(self.memory, self.bytes) }))
    }

    fn layout(&self) -> Layout {
        Layout::from_size_align(self.bytes, PAGE).expect("surfaces fit into memory")
    }
}

/// The properties must be those that every published program sets, and fit each other.
#[unsafe(no_mangle)]
unsafe extern "C" fn IOSurfaceCreate(properties: *const NSDictionary<NSString, AnyObject>) -> *mut IoSurface {
    // SAFETY: the caller passes a dictionary.
    let properties = unsafe { &*properties };
    let values = KEYS.map(|key| {
        let value = properties.objectForKey(&NSString::from_str(key));
        value.and_then(|value| value.downcast::<NSNumber>().ok()).map(|number| number.as_u64() as usize)
    });
    let [Some(width), Some(1), Some(1), Some(row), Some(bytes), Some(0)] = values else {
        return ptr::null_mut();
    };
    if properties.count() != KEYS.len()
        || width != bytes
        || row != bytes
        || bytes == 0
        || world::fails(Fault::Create)
    {
        return ptr::null_mut();
    }
    let mut surface = Box::new(IoSurface {
        references: AtomicUsize::new(1),
        memory: ptr::null_mut(),
        bytes,
        locks: Mutex::default(),
    });
    // SAFETY: there are bytes to allocate.
    surface.memory = unsafe { alloc_zeroed(surface.layout()) };
    if surface.memory.is_null() {
        return ptr::null_mut();
    }
    SURFACES.fetch_add(1, Ordering::SeqCst);
    Box::into_raw(surface)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn IOSurfaceGetAllocSize(surface: *const IoSurface) -> usize {
    // SAFETY: the caller passes a surface.
    unsafe { (*surface).bytes }
}

/// Memory is to be had by those alone who hold a lock.
#[unsafe(no_mangle)]
unsafe extern "C" fn IOSurfaceGetBaseAddress(surface: *const IoSurface) -> *mut c_void {
    // SAFETY: the caller passes a surface.
    let surface = unsafe { &*surface };
    let locks = surface.locks.lock().unwrap_or_else(PoisonError::into_inner);
    if locks.0 == 0 { ptr::null_mut() } else { surface.memory.cast() }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn IOSurfaceLock(surface: *const IoSurface, options: u32, _seed: *mut u32) -> c_int {
    // SAFETY: the caller passes a surface.
    let surface = unsafe { &*surface };
    let mut locks = surface.locks.lock().unwrap_or_else(PoisonError::into_inner);
    let writes = options & READ_ONLY == 0;
    if world::fails(Fault::Lock) || locks.1 || (writes && locks.0 > 0) {
        return REFUSED;
    }
    *locks = (locks.0 + 1, writes);
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn IOSurfaceUnlock(surface: *const IoSurface, options: u32, _seed: *mut u32) -> c_int {
    // SAFETY: the caller passes a surface.
    let surface = unsafe { &*surface };
    let mut locks = surface.locks.lock().unwrap_or_else(PoisonError::into_inner);
    let writes = options & READ_ONLY == 0;
    if locks.0 == 0 || writes != locks.1 {
        return REFUSED;
    }
    *locks = (locks.0 - 1, false);
    0
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn CFRetain(surface: *const IoSurface) -> *const IoSurface {
    // SAFETY: the caller passes a surface; nothing else of Core Foundation is here.
    unsafe { (*surface).references.fetch_add(1, Ordering::Relaxed) };
    surface
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn CFRelease(surface: *mut IoSurface) {
    // SAFETY: the caller passes a surface it has a reference to; with the last one, memory and surface go.
    unsafe {
        if (*surface).references.fetch_sub(1, Ordering::AcqRel) == 1 {
            dealloc((*surface).memory, (*surface).layout());
            drop(Box::from_raw(surface));
            SURFACES.fetch_sub(1, Ordering::SeqCst);
        }
    }
}
