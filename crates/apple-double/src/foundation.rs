//! As much of Foundation as the backend and the double's own classes use.

use std::ffi::{CString, c_char, c_void};
use std::ptr::NonNull;
use std::slice;

use objc2::rc::{Allocated, Retained};
use objc2::runtime::{AnyObject, NSObject};
use objc2::{AnyThread, ClassType, DefinedClass, Message, define_class, msg_send};
use objc2_foundation::{NSArray, NSString};

/// Defines the classes of this module.
pub(crate) fn define() {
    Text::class();
    Data::class();
    Number::class();
    Array::class();
    Dictionary::class();
    Failure::class();
    Url::class();
}

/// An object of a class of the double.
pub(crate) fn make<T>(ivars: T::Ivars) -> Retained<T>
where
    T: DefinedClass + AnyThread,
    T::Super: ClassType,
{
    init(T::alloc(), ivars)
}

fn init<T>(this: Allocated<T>, ivars: T::Ivars) -> Retained<T>
where
    T: DefinedClass,
    T::Super: ClassType,
{
    // SAFETY: the classes of the double inherit from NSObject, whose `init` takes nothing.
    unsafe { msg_send![super(this.set_ivars(ivars)), init] }
}

/// Leaves an object to the pool of whoever lets go of another, as the classes of the framework may.
pub(crate) fn leave_behind() {
    let _ = Retained::autorelease_ptr(NSString::from_str("left behind"));
}

/// The encoding every string is given and asked for in.
const UTF8: i32 = 4;

/// # Safety
/// `bytes` points to `len` bytes, unless there are none.
unsafe fn copied(bytes: *const c_void, len: usize) -> Vec<u8> {
    match NonNull::new(bytes.cast_mut().cast::<u8>()) {
        // SAFETY: as the caller says.
        Some(bytes) => unsafe { slice::from_raw_parts(bytes.as_ptr(), len) }.to_vec(),
        None => Vec::new(),
    }
}

/// # Safety
/// `objects` points to `len` objects, unless there are none.
unsafe fn retained(objects: *const NonNull<AnyObject>, len: usize) -> Vec<Retained<AnyObject>> {
    if len == 0 {
        return Vec::new();
    }
    // SAFETY: as the caller says; a reference to an object can be retained.
    unsafe { slice::from_raw_parts(objects, len).iter().map(|object| object.as_ref().retain()).collect() }
}

define_class!(
    // SAFETY: NSObject asks nothing of its subclasses.
    #[unsafe(super(NSObject))]
    #[name = "NSString"]
    #[ivars = CString]
    struct Text;

    impl Text {
        #[unsafe(method_id(initWithBytes:length:encoding:))]
        fn init_with_bytes(
            this: Allocated<Self>,
            bytes: *const c_void,
            len: usize,
            encoding: i32,
        ) -> Option<Retained<Self>> {
            assert_eq!(encoding, UTF8, "strings are UTF-8");
            // SAFETY: the sender passes `len` bytes.
            let text = CString::new(unsafe { copied(bytes, len) }).ok();
            text.map(|text| init(this, text))
        }

        #[unsafe(method(UTF8String))]
        fn utf8_string(&self) -> *const c_char {
            self.ivars().as_ptr()
        }

        #[unsafe(method(lengthOfBytesUsingEncoding:))]
        fn length_of_bytes(&self, encoding: i32) -> usize {
            assert_eq!(encoding, UTF8, "strings are UTF-8");
            self.ivars().as_bytes().len()
        }

        #[unsafe(method(isEqual:))]
        fn is_equal(&self, other: Option<&AnyObject>) -> bool {
            let other = other.and_then(AnyObject::downcast_ref::<NSString>);
            other.is_some_and(|other| other.to_string().as_bytes() == self.ivars().as_bytes())
        }
    }
);

define_class!(
    // SAFETY: NSObject asks nothing of its subclasses.
    #[unsafe(super(NSObject))]
    #[name = "NSData"]
    #[ivars = Vec<u8>]
    struct Data;

    impl Data {
        #[unsafe(method_id(initWithBytes:length:))]
        fn init_with_bytes(this: Allocated<Self>, bytes: *const c_void, len: usize) -> Retained<Self> {
            // SAFETY: the sender passes `len` bytes.
            init(this, unsafe { copied(bytes, len) })
        }

        #[unsafe(method(bytes))]
        fn bytes(&self) -> *const c_void {
            self.ivars().as_ptr().cast()
        }

        #[unsafe(method(length))]
        fn length(&self) -> usize {
            self.ivars().len()
        }
    }
);

define_class!(
    // SAFETY: NSObject asks nothing of its subclasses.
    #[unsafe(super(NSObject))]
    #[name = "NSNumber"]
    #[ivars = u64]
    struct Number;

    impl Number {
        #[unsafe(method_id(numberWithUnsignedLongLong:))]
        fn of(value: u64) -> Retained<Self> {
            make(value)
        }

        #[unsafe(method(unsignedLongLongValue))]
        fn value(&self) -> u64 {
            *self.ivars()
        }
    }
);

define_class!(
    // SAFETY: NSObject asks nothing of its subclasses.
    #[unsafe(super(NSObject))]
    #[name = "NSArray"]
    #[ivars = Vec<Retained<AnyObject>>]
    struct Array;

    impl Array {
        #[unsafe(method_id(initWithObjects:count:))]
        fn init_with_objects(
            this: Allocated<Self>,
            objects: *mut NonNull<AnyObject>,
            count: usize,
        ) -> Retained<Self> {
            // SAFETY: the sender passes `count` objects.
            init(this, unsafe { retained(objects, count) })
        }

        #[unsafe(method(count))]
        fn count(&self) -> usize {
            self.ivars().len()
        }

        #[unsafe(method_id(objectAtIndex:))]
        fn object_at(&self, index: usize) -> Retained<AnyObject> {
            self.ivars()[index].clone()
        }
    }
);

define_class!(
    // SAFETY: NSObject asks nothing of its subclasses.
    #[unsafe(super(NSObject))]
    #[name = "NSDictionary"]
    #[ivars = Vec<(Retained<AnyObject>, Retained<AnyObject>)>]
    struct Dictionary;

    impl Dictionary {
        #[unsafe(method_id(init))]
        fn init(this: Allocated<Self>) -> Retained<Self> {
            init(this, Vec::new())
        }

        #[unsafe(method_id(initWithObjects:forKeys:count:))]
        fn init_with_objects(
            this: Allocated<Self>,
            objects: *mut NonNull<AnyObject>,
            keys: *mut NonNull<AnyObject>,
            count: usize,
        ) -> Retained<Self> {
            // SAFETY: the sender passes `count` objects and as many keys.
            let (keys, objects) = unsafe { (retained(keys, count), retained(objects, count)) };
            init(this, keys.into_iter().zip(objects).collect())
        }

        #[unsafe(method(count))]
        fn count(&self) -> usize {
            self.ivars().len()
        }

        #[unsafe(method_id(objectForKey:))]
        fn object_for(&self, key: &AnyObject) -> Option<Retained<AnyObject>> {
            // SAFETY: every object can be asked whether it equals another.
            let same = |own: &AnyObject| -> bool { unsafe { msg_send![own, isEqual: key] } };
            self.ivars().iter().find(|(own, _)| same(own)).map(|(_, object)| object.clone())
        }

        #[unsafe(method(getObjects:andKeys:))]
        fn get_all(&self, objects: *mut NonNull<AnyObject>, keys: *mut NonNull<AnyObject>) {
            for (i, (key, object)) in self.ivars().iter().enumerate() {
                // SAFETY: the sender has room for as many of each; the dictionary keeps them alive.
                unsafe {
                    keys.add(i).write(NonNull::from(&**key));
                    objects.add(i).write(NonNull::from(&**object));
                }
            }
        }
    }
);

/// What an error is made of.
struct Error {
    domain: Retained<NSString>,
    code: isize,
    description: Retained<NSString>,
    underlying: Option<Retained<AnyObject>>,
}

define_class!(
    // SAFETY: NSObject asks nothing of its subclasses.
    #[unsafe(super(NSObject))]
    #[name = "NSError"]
    #[ivars = Error]
    struct Failure;

    impl Failure {
        #[unsafe(method(code))]
        fn code(&self) -> isize {
            self.ivars().code
        }

        #[unsafe(method_id(domain))]
        fn domain(&self) -> Retained<NSString> {
            self.ivars().domain.clone()
        }

        #[unsafe(method_id(localizedDescription))]
        fn localized_description(&self) -> Retained<NSString> {
            self.ivars().description.clone()
        }

        #[unsafe(method_id(underlyingErrors))]
        fn underlying_errors(&self) -> Retained<NSArray<AnyObject>> {
            let errors: Vec<&AnyObject> = self.ivars().underlying.iter().map(|error| &**error).collect();
            NSArray::from_slice(&errors)
        }
    }
);

/// An error as the framework makes them.
pub(crate) fn error(
    domain: &str,
    code: isize,
    description: &str,
    underlying: Option<Retained<AnyObject>>,
) -> Retained<AnyObject> {
    let this: Retained<Failure> = make(Error {
        domain: NSString::from_str(domain),
        code,
        description: NSString::from_str(description),
        underlying,
    });
    Retained::into_super(Retained::into_super(this))
}

define_class!(
    // SAFETY: NSObject asks nothing of its subclasses.
    #[unsafe(super(NSObject))]
    #[name = "NSURL"]
    #[ivars = Retained<NSString>]
    struct Url;

    impl Url {
        #[unsafe(method_id(fileURLWithPath:isDirectory:))]
        fn of(path: &NSString, is_folder: bool) -> Retained<Self> {
            assert!(is_folder, "models are folders");
            make(path.retain())
        }

        #[unsafe(method_id(path))]
        fn path(&self) -> Retained<NSString> {
            self.ivars().clone()
        }
    }
);

/// The folder for temporary files, of the world that was entered.
#[unsafe(no_mangle)]
extern "C-unwind" fn NSTemporaryDirectory() -> *mut AnyObject {
    let path = NSString::from_str(&crate::world::temporary().display().to_string());
    Retained::autorelease_ptr(path).cast()
}
