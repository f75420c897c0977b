//! The framework, opened at run time, and what of it is called.
#![allow(unsafe_code, reason = "each block says why it is sound")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

use objc2::encode::{EncodeArguments, EncodeReturn};
use objc2::rc::Retained;
use objc2::runtime::{AnyClass, AnyObject, Sel};
use objc2::{msg_send, sel};
use objc2_foundation::{NSArray, NSError, NSNumber};

use crate::iosurface::IoSurfaceRef;
use crate::object::{Object, guarded};

/// Where macOS has the framework.
pub const FRAMEWORK: &str = "/System/Library/PrivateFrameworks/AppleNeuralEngine.framework/AppleNeuralEngine";

/// Why the framework cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameworkError {
    /// It cannot be opened.
    #[error("cannot open {}: {reason}; the Neural Engine needs macOS on Apple silicon (use engine sim)", .image.display())]
    Image {
        /// The file.
        image: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A class is gone.
    #[error("the Neural Engine framework has no class `{class}`; {CHANGED}")]
    Class {
        /// The class.
        class: String,
    },
    /// A method is gone.
    #[error("the Neural Engine framework has no method `{method}`; {CHANGED}")]
    Method {
        /// The method, as `-[Class selector]`.
        method: String,
    },
    /// A method takes or gives other types.
    #[error("the method `{method}` of the Neural Engine framework has changed: {reason}; {CHANGED}")]
    Signature {
        /// The method, as `-[Class selector]`.
        method: String,
        /// How.
        reason: String,
    },
}

const CHANGED: &str = "this version of macOS differs from those Ferrane knows: use engine sim, and please report \
                       what `ferrane doctor` says";

unsafe extern "C" {
    fn dlopen(path: *const c_char, mode: c_int) -> *mut c_void;
    fn dlerror() -> *mut c_char;
}

/// `RTLD_NOW`, the same on every system.
const NOW: c_int = 2;

/// Opens the framework for the rest of the process: its classes cannot be taken out again.
///
/// # Errors
/// [`FrameworkError::Image`].
pub(crate) fn open(image: &Path) -> Result<(), FrameworkError> {
    let refuse = |reason: String| FrameworkError::Image { image: image.to_owned(), reason };
    let path = CString::new(image.as_os_str().as_encoded_bytes()).map_err(|e| refuse(e.to_string()))?;
    // SAFETY: the path is a C string; what opening runs is the framework's own initialisation.
    if unsafe { dlopen(path.as_ptr(), NOW) }.is_null() {
        // SAFETY: after a failure this is a C string or null.
        let reason =
            unsafe { dlerror().as_ref().map(|text| CStr::from_ptr(text).to_string_lossy().into_owned()) };
        return Err(refuse(reason.unwrap_or_default()));
    }
    Ok(())
}

/// A class by its name.
///
/// # Errors
/// [`FrameworkError::Class`].
pub(crate) fn class(name: &CStr) -> Result<&'static AnyClass, FrameworkError> {
    let missing = || FrameworkError::Class { class: name.to_string_lossy().into_owned() };
    AnyClass::get(name).ok_or_else(missing)
}

/// Checks that objects of `class` have a method that takes `A` and gives `R`.
///
/// # Errors
/// [`FrameworkError::Method`] and [`FrameworkError::Signature`].
pub(crate) fn check<A: EncodeArguments, R: EncodeReturn>(
    class: &AnyClass,
    selector: Sel,
) -> Result<(), FrameworkError> {
    let sign = if class.is_metaclass() { '+' } else { '-' };
    let method = format!("{sign}[{} {selector}]", class.name().to_string_lossy());
    if class.instance_method(selector).is_none() {
        return Err(FrameworkError::Method { method });
    }
    class
        .verify_sel::<A, R>(selector)
        .map_err(|changed| FrameworkError::Signature { method, reason: changed.to_string() })
}

/// An object as a method takes or gives it, nil included.
pub(crate) type Id = *mut AnyObject;

/// Where a method puts its error.
pub(crate) type ErrorOut = *mut *mut NSError;

/// The quality of service that methods are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Qos {
    pub(crate) class: u32,
    pub(crate) width: QosWidth,
}

/// How wide methods take the quality of service. Sources disagree about the client's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum QosWidth {
    Bits32,
    Bits64,
}

impl Qos {
    /// `class` in the width with which `check` finds all methods as expected.
    ///
    /// # Errors
    /// What is wrong with the usual width.
    pub(crate) fn find(
        class: u32,
        usual: QosWidth,
        check: impl Fn(QosWidth) -> Result<(), FrameworkError>,
    ) -> Result<Self, FrameworkError> {
        let other = match usual {
            QosWidth::Bits32 => QosWidth::Bits64,
            QosWidth::Bits64 => QosWidth::Bits32,
        };
        let width = match check(usual) {
            Ok(()) => usual,
            Err(wrong) => check(other).map(|()| other).map_err(|_| wrong)?,
        };
        Ok(Self { class, width })
    }
}

/// The quality of service of every published program, `QOS_CLASS_DEFAULT`. Others make no difference that was measured.
pub(crate) const QOS: u32 = 21;

/// Evaluates `$body` with `$class` as wide as the methods take it.
macro_rules! with_qos {
    ($qos:expr, |$class:ident| $body:expr) => {
        match $qos.width {
            $crate::framework::QosWidth::Bits32 => {
                let $class = $qos.class;
                $body
            }
            $crate::framework::QosWidth::Bits64 => {
                let $class = u64::from($qos.class);
                $body
            }
        }
    };
}
pub(crate) use with_qos;

/// The classes that both doors use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requests {
    request: &'static AnyClass,
    wrapper: &'static AnyClass,
}

impl Requests {
    /// # Errors
    /// When a class or method is not as expected.
    pub(crate) fn find() -> Result<Self, FrameworkError> {
        let request = class(c"_ANERequest")?;
        check::<(Id, Id, Id, Id, Id, Id, Id), Id>(
            request.metaclass(),
            sel!(requestWithInputs:inputIndices:outputs:outputIndices:weightsBuffer:perfStats:procedureIndex:),
        )?;
        let wrapper = class(c"_ANEIOSurfaceObject")?;
        check::<(*mut IoSurfaceRef,), Id>(wrapper.metaclass(), sel!(objectWithIOSurface:))?;
        Ok(Self { request, wrapper })
    }

    /// The framework's reference to a surface; none if it makes none.
    ///
    /// # Errors
    /// An exception.
    pub(crate) fn wrap(&self, surface: &IoSurfaceRef) -> Result<Option<Object>, String> {
        let surface = std::ptr::from_ref(surface).cast_mut();
        // SAFETY: the method was checked to take a surface and give an object.
        let wrapped: Option<Retained<AnyObject>> =
            guarded(|| unsafe { msg_send![self.wrapper, objectWithIOSurface: surface] })?;
        Ok(wrapped.map(Object::new))
    }

    /// A request for evaluations with these surfaces; none if the framework makes none.
    ///
    /// # Errors
    /// An exception.
    pub(crate) fn request(&self, inputs: &[&Object], outputs: &[&Object]) -> Result<Option<Object>, String> {
        let made: Option<Retained<AnyObject>> = guarded(|| {
            let nil: Option<&AnyObject> = None;
            let (in_surfaces, in_indices) = side(inputs);
            let (out_surfaces, out_indices) = side(outputs);
            let procedure = NSNumber::new_u64(0);
            // SAFETY: the method was checked to take seven objects and give one.
            unsafe {
                msg_send![
                    self.request,
                    requestWithInputs: &*in_surfaces,
                    inputIndices: &*in_indices,
                    outputs: &*out_surfaces,
                    outputIndices: &*out_indices,
                    weightsBuffer: nil,
                    perfStats: nil,
                    procedureIndex: &*procedure,
                ]
            }
        })?;
        Ok(made.map(Object::new))
    }
}

/// The surfaces of a side and their indices, 0, 1, 2 …
fn side(surfaces: &[&Object]) -> (Retained<NSArray<AnyObject>>, Retained<NSArray<NSNumber>>) {
    let objects: Vec<&AnyObject> = surfaces.iter().map(|surface| &***surface).collect();
    let indices: Vec<_> = (0..surfaces.len() as u64).map(NSNumber::new_u64).collect();
    (NSArray::from_slice(&objects), NSArray::from_retained_slice(&indices))
}
