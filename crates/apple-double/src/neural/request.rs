//! `_ANEIOSurfaceObject` and `_ANERequest`.

use std::ptr::NonNull;

use objc2::rc::Retained;
use objc2::runtime::{AnyObject, NSObject};
use objc2::{ClassType, DefinedClass, define_class};
use objc2_foundation::{NSArray, NSNumber};

use crate::foundation::{self, make};
use crate::iosurface::{CFRelease, CFRetain, IoSurface};
use crate::world;

pub(super) fn define() {
    Wrapper::class();
    Request::class();
}

/// A reference to a surface.
struct Kept(NonNull<IoSurface>);

impl Drop for Kept {
    fn drop(&mut self) {
        foundation::leave_behind();
        // SAFETY: this is a reference of our own.
        unsafe { CFRelease(self.0.as_ptr()) };
    }
}

define_class!(
    // SAFETY: NSObject asks nothing of its subclasses.
    #[unsafe(super(NSObject))]
    #[name = "_ANEIOSurfaceObject"]
    #[ivars = Kept]
    struct Wrapper;

    impl Wrapper {
        #[unsafe(method_id(objectWithIOSurface:))]
        fn of(surface: *mut IoSurface) -> Option<Retained<Self>> {
            world::note("objectWithIOSurface:");
            NonNull::new(surface).map(|surface| {
                // SAFETY: the sender passes a surface.
                unsafe { CFRetain(surface.as_ptr()) };
                make(Kept(surface))
            })
        }
    }
);

/// A surface of a request.
pub(super) struct Bound(Retained<Wrapper>);

impl Bound {
    pub(super) fn surface(&self) -> &IoSurface {
        // SAFETY: the wrapper has a reference to the surface.
        unsafe { self.0.ivars().0.as_ref() }
    }
}

/// What a request is made of.
pub(super) struct Surfaces {
    inputs: Vec<Bound>,
    outputs: Vec<Bound>,
}

/// The wrappers of one side, whose indices must be 0, 1, 2 …
fn side(surfaces: Option<&AnyObject>, indices: Option<&AnyObject>) -> Option<Vec<Bound>> {
    let surfaces = surfaces?.downcast_ref::<NSArray>()?;
    let indices = indices?.downcast_ref::<NSArray>()?;
    assert_eq!(surfaces.count(), indices.count(), "an index for each surface");
    let at = |i: usize| {
        let index = indices.objectAtIndex(i).downcast::<NSNumber>().expect("an index is a number");
        assert_eq!(index.as_u64() as usize, i, "indices are in order");
        Some(Bound(surfaces.objectAtIndex(i).downcast::<Wrapper>().ok()?))
    };
    (0..surfaces.count()).map(at).collect()
}

define_class!(
    // SAFETY: NSObject asks nothing of its subclasses.
    #[unsafe(super(NSObject))]
    #[name = "_ANERequest"]
    #[ivars = Surfaces]
    pub(super) struct Request;

    impl Request {
        #[unsafe(method_id(requestWithInputs:inputIndices:outputs:outputIndices:weightsBuffer:perfStats:procedureIndex:))]
        fn with(
            inputs: Option<&AnyObject>,
            input_indices: Option<&AnyObject>,
            outputs: Option<&AnyObject>,
            output_indices: Option<&AnyObject>,
            weights: Option<&AnyObject>,
            statistics: Option<&AnyObject>,
            procedure: Option<&AnyObject>,
        ) -> Option<Retained<Self>> {
            world::note("requestWithInputs:…");
            assert!(weights.is_none() && statistics.is_none(), "neither weights nor statistics are asked for");
            let procedure = procedure.and_then(AnyObject::downcast_ref::<NSNumber>);
            assert_eq!(procedure.map(NSNumber::as_u64), Some(0), "the only procedure");
            let sides = side(inputs, input_indices).zip(side(outputs, output_indices));
            sides.map(|(inputs, outputs)| make(Surfaces { inputs, outputs }))
        }
    }
);

impl Request {
    pub(super) fn of(request: Option<&AnyObject>) -> &Self {
        request.and_then(AnyObject::downcast_ref::<Request>).expect("a request of the class _ANERequest")
    }

    pub(super) fn inputs(&self) -> &[Bound] {
        &self.ivars().inputs
    }

    pub(super) fn outputs(&self) -> &[Bound] {
        &self.ivars().outputs
    }
}
