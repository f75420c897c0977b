//! Selectors, classes, methods, and finding the method of a message.
//!
//! The functions have the names and types of the GNUstep 1.7 runtime, as the crate objc2 declares them.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};

use crate::world;

/// A method's code.
type Imp = unsafe extern "C-unwind" fn();

/// A selector: the address of its name, which is kept once and for ever.
type Selector = *const c_char;

/// A class. Objects begin with a pointer to theirs; a class begins with a pointer to its metaclass, which holds the methods of
/// the class itself.
#[repr(C)]
pub(crate) struct Class {
    isa: AtomicPtr<Class>,
    body: OnceLock<Body>,
}

struct Body {
    name: CString,
    superclass: Option<&'static Class>,
    is_meta: bool,
    methods: RwLock<Vec<&'static Method>>,
    ivars: RwLock<Vec<&'static Ivar>>,
    size: AtomicUsize,
}

/// A method.
pub(crate) struct Method {
    selector: CString,
    imp: Imp,
    types: CString,
}

/// An instance variable.
pub(crate) struct Ivar {
    name: CString,
    offset: usize,
    types: CString,
}

impl Class {
    const fn undefined() -> Self {
        Self { isa: AtomicPtr::new(ptr::null_mut()), body: OnceLock::new() }
    }

    fn body(&self) -> &Body {
        self.body.get().expect("the class is defined: enter a World first")
    }

    pub(crate) fn is_meta(&self) -> bool {
        self.body().is_meta
    }

    pub(crate) fn size(&self) -> usize {
        self.body().size.load(Ordering::Relaxed)
    }

    fn own_method(&self, selector: &CStr) -> Option<&'static Method> {
        let methods = self.body().methods.read().unwrap_or_else(PoisonError::into_inner);
        methods.iter().copied().find(|method| *method.selector == *selector)
    }

    fn method(&self, selector: &CStr) -> Option<&'static Method> {
        self.own_method(selector).or_else(|| self.body().superclass?.method(selector))
    }

    fn ivar(&self, name: &CStr) -> Option<&'static Ivar> {
        let ivars = self.body().ivars.read().unwrap_or_else(PoisonError::into_inner);
        let own = ivars.iter().copied().find(|ivar| *ivar.name == *name);
        own.or_else(|| self.body().superclass?.ivar(name))
    }

    /// As it is written in front of a method's name.
    fn sign(&self) -> char {
        if self.is_meta() { '+' } else { '-' }
    }
}

/// Classes that programs name when they are linked.
macro_rules! named_classes {
    ($($symbol:ident = $name:literal),* $(,)?) => {
        $(
            #[allow(non_upper_case_globals, reason = "the name is the linker's")]
            #[unsafe(no_mangle)]
            static $symbol: Class = Class::undefined();
        )*

        fn named_class(name: &CStr) -> Option<&'static Class> {
            $( if name.to_bytes() == $name.as_bytes() { return Some(&$symbol); } )*
            None
        }
    };
}

named_classes! {
    _OBJC_CLASS_NSArray = "NSArray",
    _OBJC_CLASS_NSData = "NSData",
    _OBJC_CLASS_NSDictionary = "NSDictionary",
    _OBJC_CLASS_NSError = "NSError",
    _OBJC_CLASS_NSNumber = "NSNumber",
    _OBJC_CLASS_NSObject = "NSObject",
    _OBJC_CLASS_NSString = "NSString",
    _OBJC_CLASS_NSURL = "NSURL",
}

static CLASSES: Mutex<Vec<&'static Class>> = Mutex::new(Vec::new());

fn registered(name: &CStr) -> Option<&'static Class> {
    let classes = CLASSES.lock().unwrap_or_else(PoisonError::into_inner);
    classes.iter().copied().find(|class| *class.body().name == *name)
}

/// # Safety
/// `text` is a C string.
unsafe fn text<'a>(text: *const c_char) -> &'a CStr {
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(text) }
}

/// # Safety
/// `object` is an object.
unsafe fn class_of(object: *const c_void) -> &'static Class {
    // SAFETY: an object begins with the pointer to its class, and classes live for ever.
    unsafe { &**object.cast::<*const Class>() }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sel_registerName(name: *const c_char) -> Selector {
    static NAMES: Mutex<Option<HashMap<&'static CStr, ()>>> = Mutex::new(None);
    // SAFETY: selectors are registered by C strings.
    let name = unsafe { text(name) };
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    if let Some((known, ())) = names.get_key_value(name) {
        return known.as_ptr();
    }
    let kept: &'static CStr = Box::leak(name.to_owned().into_boxed_c_str());
    names.insert(kept, ());
    kept.as_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn sel_getName(selector: Selector) -> *const c_char {
    selector
}

#[unsafe(no_mangle)]
extern "C" fn sel_isEqual(a: Selector, b: Selector) -> bool {
    a == b
}

#[unsafe(no_mangle)]
unsafe extern "C" fn objc_allocateClassPair(
    superclass: *const Class,
    name: *const c_char,
    _extra: usize,
) -> *mut Class {
    // SAFETY: the caller passes a class, or none for a root, and a C string.
    let (superclass, name) = unsafe { (superclass.as_ref(), text(name)) };
    if registered(name).is_some() {
        return ptr::null_mut();
    }
    let body = |superclass: Option<&'static Class>, is_meta| Body {
        name: name.to_owned(),
        superclass,
        is_meta,
        methods: RwLock::default(),
        ivars: RwLock::default(),
        size: AtomicUsize::new(superclass.map_or(size_of::<*const Class>(), Class::size)),
    };
    let class: &'static Class = named_class(name).unwrap_or_else(|| Box::leak(Box::new(Class::undefined())));
    let meta: &'static Class = Box::leak(Box::new(Class::undefined()));
    if class.body.set(body(superclass, false)).is_err() {
        return ptr::null_mut();
    }
    // The root's metaclass inherits from the root, so that classes have the methods of objects.
    let above = superclass.map_or(class, |superclass| {
        // SAFETY: the superclass was made here, and has a metaclass that lives for ever.
        unsafe { &*superclass.isa.load(Ordering::Acquire) }
    });
    if meta.body.set(body(Some(above), true)).is_err() {
        return ptr::null_mut();
    }
    meta.isa.store(ptr::from_ref(meta).cast_mut(), Ordering::Release);
    class.isa.store(ptr::from_ref(meta).cast_mut(), Ordering::Release);
    ptr::from_ref(class).cast_mut()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn objc_registerClassPair(class: *mut Class) {
    // SAFETY: the class comes from `objc_allocateClassPair` and lives for ever.
    let class: &'static Class = unsafe { &*class };
    CLASSES.lock().unwrap_or_else(PoisonError::into_inner).push(class);
}

/// Classes are for ever. A class that could not be finished has no name yet by which it could be found.
#[unsafe(no_mangle)]
extern "C" fn objc_disposeClassPair(_class: *mut Class) {}

#[unsafe(no_mangle)]
unsafe extern "C" fn objc_getClass(name: *const c_char) -> *const Class {
    // SAFETY: classes are looked up by C strings.
    let name = unsafe { text(name) };
    match registered(name) {
        Some(class) if !world::is_hidden_class(name) => class,
        _ => ptr::null(),
    }
}

#[unsafe(no_mangle)]
extern "C" fn objc_getProtocol(_name: *const c_char) -> *const c_void {
    ptr::null()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn class_addMethod(
    class: *mut Class,
    selector: Selector,
    imp: Imp,
    types: *const c_char,
) -> bool {
    // SAFETY: the caller passes a class of ours and C strings.
    let (class, selector, types) = unsafe { (&*class, text(selector), text(types)) };
    if class.own_method(selector).is_some() {
        return false;
    }
    let method = Method { selector: selector.to_owned(), imp, types: types.to_owned() };
    let mut methods = class.body().methods.write().unwrap_or_else(PoisonError::into_inner);
    methods.push(Box::leak(Box::new(method)));
    true
}

#[unsafe(no_mangle)]
unsafe extern "C" fn class_addIvar(
    class: *mut Class,
    name: *const c_char,
    size: usize,
    log2_alignment: u8,
    types: *const c_char,
) -> bool {
    // SAFETY: the caller passes a class of ours and C strings.
    let (class, name, types) = unsafe { (&*class, text(name), text(types)) };
    let offset = class.size().next_multiple_of(1 << log2_alignment);
    class.body().size.store(offset + size, Ordering::Relaxed);
    let ivar = Ivar { name: name.to_owned(), offset, types: types.to_owned() };
    let mut ivars = class.body().ivars.write().unwrap_or_else(PoisonError::into_inner);
    ivars.push(Box::leak(Box::new(ivar)));
    true
}

#[unsafe(no_mangle)]
extern "C" fn class_addProtocol(_class: *mut Class, _protocol: *const c_void) -> bool {
    true
}

#[unsafe(no_mangle)]
unsafe extern "C" fn class_getName(class: *const Class) -> *const c_char {
    // SAFETY: the caller passes a class.
    unsafe { &*class }.body().name.as_ptr()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn class_getSuperclass(class: *const Class) -> *const Class {
    // SAFETY: the caller passes a class or nil.
    let superclass = unsafe { class.as_ref() }.and_then(|class| class.body().superclass);
    superclass.map_or(ptr::null(), ptr::from_ref)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn class_isMetaClass(class: *const Class) -> bool {
    // SAFETY: the caller passes a class.
    unsafe { &*class }.is_meta()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn class_getInstanceSize(class: *const Class) -> usize {
    // SAFETY: the caller passes a class.
    unsafe { &*class }.size()
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn class_getInstanceMethod(
    class: *const Class,
    selector: Selector,
) -> *const Method {
    // SAFETY: the caller passes a class and a selector, which is a C string.
    let (class, selector) = unsafe { (&*class, text(selector)) };
    let Some(method) = class.method(selector) else { return ptr::null() };
    let written = || format!("{}[{} {}]", class.sign(), lossy(&class.body().name), lossy(selector));
    match world::distorted(written) {
        None => method,
        Some(None) => ptr::null(),
        Some(Some(types)) => {
            let Method { selector, imp, .. } = method;
            Box::leak(Box::new(Method { selector: selector.clone(), imp: *imp, types }))
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn class_getClassMethod(class: *const Class, selector: Selector) -> *const Method {
    // SAFETY: the caller passes a class and a selector; a class has a metaclass.
    unsafe { class_getInstanceMethod((*class).isa.load(Ordering::Acquire), selector) }
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn class_respondsToSelector(class: *const Class, selector: Selector) -> bool {
    // SAFETY: as the caller's.
    !unsafe { class_getInstanceMethod(class, selector) }.is_null()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn class_getInstanceVariable(class: *const Class, name: *const c_char) -> *const Ivar {
    // SAFETY: the caller passes a class and a C string.
    unsafe { (*class).ivar(text(name)) }.map_or(ptr::null(), ptr::from_ref)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ivar_getOffset(ivar: *const Ivar) -> isize {
    // SAFETY: the caller passes an instance variable, which lives for ever.
    unsafe { (*ivar).offset as isize }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ivar_getTypeEncoding(ivar: *const Ivar) -> *const c_char {
    // SAFETY: the caller passes an instance variable, which lives for ever.
    unsafe { (*ivar).types.as_ptr() }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn method_getName(method: *const Method) -> Selector {
    // SAFETY: the caller passes a method, whose selector was registered when it was added.
    unsafe { sel_registerName((*method).selector.as_ptr()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn method_getTypeEncoding(method: *const Method) -> *const c_char {
    // SAFETY: the caller passes a method, which lives for ever.
    unsafe { (*method).types.as_ptr() }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn method_getNumberOfArguments(method: *const Method) -> c_int {
    // SAFETY: the caller passes a method, which lives for ever.
    let colons = unsafe { &(*method).selector }.as_bytes().iter().filter(|&&b| b == b':').count();
    // The receiver and the selector are arguments too.
    colons as c_int + 2
}

#[unsafe(no_mangle)]
unsafe extern "C" fn object_getClass(object: *const c_void) -> *const Class {
    // SAFETY: the caller passes an object or nil.
    if object.is_null() { ptr::null() } else { unsafe { class_of(object) } }
}

/// A message to the superclass.
#[repr(C)]
pub(crate) struct Super {
    receiver: *mut c_void,
    superclass: *const Class,
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn objc_msg_lookup(receiver: *mut c_void, selector: Selector) -> Imp {
    // SAFETY: the caller passes an object, never nil: objc2 answers for nil itself.
    unsafe { find(class_of(receiver), text(selector)) }
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn objc_msg_lookup_super(message: *const Super, selector: Selector) -> Imp {
    // SAFETY: the caller passes an object and a class above its own, or the metaclasses of both.
    unsafe {
        let receiver = class_of((*message).receiver);
        let superclass = &*(*message).superclass;
        let meta = receiver.is_meta() && !superclass.is_meta();
        find(if meta { class_of((*message).superclass.cast()) } else { superclass }, text(selector))
    }
}

fn find(class: &'static Class, selector: &CStr) -> Imp {
    match class.method(selector) {
        Some(method) => method.imp,
        None => panic!(
            "{}[{} {}]: unrecognized selector",
            class.sign(),
            lossy(&class.body().name),
            lossy(selector)
        ),
    }
}

fn lossy(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}
