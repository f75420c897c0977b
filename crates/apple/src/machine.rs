//! What macOS says of the machine, and whether its Neural Engine can be reached.
#![allow(unsafe_code, reason = "each block says why it is sound")]

use std::ffi::CStr;

use ferrane_engine::Profile;
use objc2::rc::Retained;
use objc2::runtime::AnyObject;
use objc2::{msg_send, sel};
use objc2_foundation::NSString;

use crate::Setup;
use crate::framework::{self, FrameworkError, Id, Requests};
use crate::object::guarded;

/// The machine this runs on. What the system does not say is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// As Apple sells it: `Apple M4 Pro`.
    pub chip: Option<String>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// The version of macOS: `26.3`.
    pub version: Option<String>,
    /// The build of macOS: `25D125`.
    pub build: Option<String>,
}

impl Machine {
    /// Asks the system.
    pub fn this() -> Self {
        Self {
            chip: control::text(c"machdep.cpu.brand_string"),
            memory: control::number(c"hw.memsize"),
            version: control::text(c"kern.osproductversion"),
            build: control::text(c"kern.osversion"),
        }
    }

    /// The name of the built-in profile that fits the chip: its own, or that of a chip of its generation.
    pub fn profile(&self) -> Option<&'static str> {
        profile_of(self.chip.as_deref()?)
    }
}

fn profile_of(chip: &str) -> Option<&'static str> {
    let name = chip.strip_prefix("Apple ")?.to_lowercase().replace(' ', "-");
    let generation = name.split('-').next()?;
    let of_generation = |known: &&str| known.split('-').next() == Some(generation);
    Profile::names().find(|known| *known == name).or_else(|| Profile::names().find(of_generation))
}

/// Opens the framework and looks up all that an engine would send, but makes no engine.
///
/// # Errors
/// When there is no Neural Engine, or this macOS is not as expected.
pub fn available(setup: &Setup) -> Result<(), FrameworkError> {
    framework::open(&setup.image)?;
    setup.door.open(framework::QOS)?;
    Requests::find().map(drop)
}

/// The framework and the classes of it that are sent messages, by name, and whether each is there.
pub fn pieces(setup: &Setup) -> Vec<(String, bool)> {
    let opened = framework::open(&setup.image).is_ok();
    let classes = CLASSES.map(|name| (name.to_string_lossy().into_owned(), framework::class(name).is_ok()));
    [("AppleNeuralEngine.framework".to_owned(), opened)].into_iter().chain(classes).collect()
}

const CLASSES: [&CStr; 7] = [
    c"_ANEInMemoryModelDescriptor",
    c"_ANEInMemoryModel",
    c"_ANEClient",
    c"_ANEModel",
    c"_ANERequest",
    c"_ANEIOSurfaceObject",
    c"_ANEDeviceInfo",
];

/// What the framework calls the Neural Engine's kind: `h16g`. None if it does not say.
///
/// # Errors
/// When the framework cannot be opened, or has no such method.
pub fn sub_type(setup: &Setup) -> Result<Option<String>, FrameworkError> {
    framework::open(&setup.image)?;
    let info = framework::class(c"_ANEDeviceInfo")?;
    framework::check::<(), Id>(info.metaclass(), sel!(aneSubType))?;
    let said = guarded(|| {
        // SAFETY: the method was checked to give an object, and every object gives a description.
        let said: Option<Retained<NSString>> = unsafe {
            let kind: Option<Retained<AnyObject>> = msg_send![info, aneSubType];
            msg_send![&*kind?, description]
        };
        Some(said?.to_string())
    });
    Ok(said.unwrap_or_default())
}

#[cfg(target_vendor = "apple")]
mod control {
    use std::ffi::{CStr, c_char, c_int, c_void};
    use std::ptr;

    unsafe extern "C" {
        fn sysctlbyname(
            name: *const c_char,
            old: *mut c_void,
            old_len: *mut usize,
            new: *mut c_void,
            new_len: usize,
        ) -> c_int;
    }

    pub(super) fn text(name: &CStr) -> Option<String> {
        let bytes = value(name)?;
        Some(CStr::from_bytes_until_nul(&bytes).ok()?.to_string_lossy().into_owned())
    }

    pub(super) fn number(name: &CStr) -> Option<u64> {
        Some(u64::from_le_bytes(value(name)?.try_into().ok()?))
    }

    fn value(name: &CStr) -> Option<Vec<u8>> {
        let mut len = 0;
        // SAFETY: with no place to put the value, its length is asked for.
        let asked = unsafe { sysctlbyname(name.as_ptr(), ptr::null_mut(), &mut len, ptr::null_mut(), 0) };
        let mut bytes = vec![0; if asked == 0 { len } else { return None }];
        // SAFETY: there is room for so many bytes.
        let got =
            unsafe { sysctlbyname(name.as_ptr(), bytes.as_mut_ptr().cast(), &mut len, ptr::null_mut(), 0) };
        bytes.truncate(len);
        (got == 0).then_some(bytes)
    }
}

/// No other system is asked.
#[cfg(not(target_vendor = "apple"))]
mod control {
    use std::ffi::CStr;

    pub(super) fn text(_name: &CStr) -> Option<String> {
        None
    }

    pub(super) fn number(_name: &CStr) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_has_its_profile_or_that_of_its_generation() {
        for (chip, profile) in [
            ("Apple M4", Some("m4")),
            ("Apple M4 Pro", Some("m4-pro")),
            ("Apple M3 Ultra", Some("m3-ultra")),
            ("Apple M2", Some("m2-pro")),
            ("Apple M1 Ultra", Some("m1")),
            ("Apple M40", None),
            ("Apple", None),
            ("Intel(R) Core(TM) i9-9880H CPU @ 2.30GHz", None),
        ] {
            assert_eq!(profile_of(chip), profile, "{chip}");
        }
    }
}
