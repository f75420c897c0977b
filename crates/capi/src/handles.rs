//! What C holds: numbers that look like pointers.
//!
//! A number is never used twice, so a handle that was freed names nothing, and one of another kind names something else; either is
//! an error. What a handle names lives until it is freed and the calls that use it have ended.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};

use ferrane_engine::{Engine, Kernel, Port, Surface, WeightFiles};

use crate::outcome::Failure;

/// A kernel, the engine that makes its surfaces, and its ports with names that C can read.
pub(crate) struct HeldKernel {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) inputs: Vec<HeldPort>,
    pub(crate) outputs: Vec<HeldPort>,
    /// One evaluation at a time.
    pub(crate) kernel: Mutex<Box<dyn Kernel>>,
}

/// A port, and its name as a C string.
pub(crate) struct HeldPort {
    pub(crate) port: Port,
    pub(crate) name: std::ffi::CString,
}

/// What handles name.
#[derive(Clone)]
enum Held {
    Engine(Arc<dyn Engine>),
    Weights(Arc<Mutex<WeightFiles>>),
    Kernel(Arc<HeldKernel>),
    Surface(Arc<Surface>),
}

/// Something that a handle can name.
pub(crate) trait Nameable: Sized {
    /// What it is called in errors.
    const KIND: &'static str;

    fn hold(self) -> usize;

    fn find(handle: usize) -> Option<Self>;
}

static HELD: LazyLock<RwLock<HashMap<usize, Held>>> = LazyLock::new(RwLock::default);

/// Handles are multiples of this, so that none is mistaken for a small number or an address in use.
const STEP: usize = 16;

fn insert(held: Held) -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let handle = NEXT.fetch_add(1, Ordering::Relaxed) * STEP;
    HELD.write().unwrap_or_else(PoisonError::into_inner).insert(handle, held);
    handle
}

fn get(handle: usize) -> Option<Held> {
    HELD.read().unwrap_or_else(PoisonError::into_inner).get(&handle).cloned()
}

macro_rules! nameable {
    ($type:ty, $variant:ident, $kind:literal) => {
        impl Nameable for $type {
            const KIND: &'static str = $kind;

            fn hold(self) -> usize {
                insert(Held::$variant(self))
            }

            fn find(handle: usize) -> Option<Self> {
                match get(handle)? {
                    Held::$variant(held) => Some(held),
                    _ => None,
                }
            }
        }
    };
}

nameable!(Arc<dyn Engine>, Engine, "engine");
nameable!(Arc<Mutex<WeightFiles>>, Weights, "weights");
nameable!(Arc<HeldKernel>, Kernel, "kernel");
nameable!(Arc<Surface>, Surface, "surface");

/// What a handle names.
///
/// # Errors
/// For null, a handle that was freed, and one of another kind.
pub(crate) fn find<T: Nameable>(handle: usize, argument: &str) -> Result<T, Failure> {
    T::find(handle).ok_or_else(|| not_there::<T>(handle, argument))
}

/// Frees a handle; null is freed already.
///
/// # Errors
/// For a handle that was freed, and one of another kind.
pub(crate) fn free<T: Nameable>(handle: usize) -> Result<(), Failure> {
    if handle == 0 {
        return Ok(());
    }
    T::find(handle).ok_or_else(|| not_there::<T>(handle, T::KIND))?;
    let held = HELD.write().unwrap_or_else(PoisonError::into_inner).remove(&handle);
    // Dropped after the lock is released: what it frees may take its time.
    match held {
        Some(held) => drop(held),
        None => return Err(not_there::<T>(handle, T::KIND)),
    }
    Ok(())
}

fn not_there<T: Nameable>(handle: usize, argument: &str) -> Failure {
    let kind = T::KIND;
    Failure::argument(match handle {
        0 => format!("`{argument}` is null; give a handle of kind {kind}"),
        _ => format!("`{argument}` is no handle of kind {kind}: it was freed, or names something else"),
    })
}
