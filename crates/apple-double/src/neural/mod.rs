//! The classes of the Neural Engine framework.
//!
//! A refusal that the real classes are known to make is nil or an error here too. What a caller of the real ones must never
//! do, though nothing is known of what happens then, is a panic.

mod client;
mod in_memory;
mod program;
mod request;

use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Mutex, PoisonError};

use ferrane_engine::Profile;
use ferrane_sim::SimEngine;
use objc2::rc::Retained;
use objc2::runtime::{AnyObject, NSObject};
use objc2::{ClassType, define_class};
use objc2_foundation::{NSDictionary, NSString};

use crate::foundation;
use crate::world::{self, Fault};

/// Defines the classes of this module.
pub(crate) fn define() {
    in_memory::define();
    client::define();
    request::define();
    DeviceInfo::class();
    Kind::class();
}

static CHIP: Mutex<Option<SimEngine>> = Mutex::new(None);

/// The chip, by default an M4 that compiles and holds as many programs as are asked for.
fn chip() -> SimEngine {
    let mut chip = CHIP.lock().unwrap_or_else(PoisonError::into_inner);
    chip.get_or_insert_with(|| {
        let mut m4 = Profile::built_in("m4").expect("the built-in profile loads");
        for rule in ["compile-count", "slots"] {
            m4.assume(rule).expect("the rule is known");
        }
        SimEngine::new(m4, 1)
    })
    .clone()
}

pub(crate) fn set_chip(profile: Profile) {
    *CHIP.lock().unwrap_or_else(PoisonError::into_inner) = Some(SimEngine::new(profile, 1));
}

static LOADED: AtomicIsize = AtomicIsize::new(0);

/// How many models are loaded.
pub(crate) fn loaded() -> isize {
    LOADED.load(Ordering::SeqCst)
}

fn check_qos(qos: u64) {
    assert_eq!(qos, world::qos(), "the quality of service");
}

/// Options must be a dictionary, though an empty one.
fn check_no_options(options: Option<&AnyObject>) {
    let options = options.expect("options must not be nil");
    let options = options.downcast_ref::<NSDictionary>().expect("options must be an NSDictionary");
    assert_eq!(options.count(), 0, "options are empty");
}

/// Why the framework does not do something.
#[derive(Clone, Debug)]
struct Refusal {
    code: isize,
    words: String,
    /// The words of the error beneath, if there is one.
    cause: Option<String>,
}

impl Refusal {
    fn new(code: isize, words: impl Into<String>) -> Self {
        Self { code, words: words.into(), cause: None }
    }
}

/// Gives the sender its answer and, if that is no, the error, which belongs to the sender's pool.
fn answer(result: Result<(), Refusal>, error: Option<&mut *mut AnyObject>) -> bool {
    let Err(refusal) = result else { return true };
    if let Some(error) = error.filter(|_| !world::fails(Fault::Reason)) {
        let domain = "com.apple.appleneuralengine";
        let cause = refusal.cause.map(|cause| foundation::error(domain, refusal.code, &cause, None));
        let object = foundation::error(domain, refusal.code, &refusal.words, cause);
        *error = Retained::autorelease_ptr(object);
    }
    false
}

define_class!(
    // SAFETY: NSObject asks nothing of its subclasses.
    #[unsafe(super(NSObject))]
    #[name = "_ANEDeviceInfo"]
    struct DeviceInfo;

    impl DeviceInfo {
        #[unsafe(method_id(aneSubType))]
        fn sub_type() -> Retained<Kind> {
            foundation::make(())
        }
    }
);

define_class!(
    // SAFETY: NSObject asks nothing of its subclasses.
    #[unsafe(super(NSObject))]
    #[name = "FerraneDoubleKind"]
    struct Kind;

    impl Kind {
        #[unsafe(method_id(description))]
        fn description(&self) -> Retained<NSString> {
            NSString::from_str("h16g")
        }
    }
);
