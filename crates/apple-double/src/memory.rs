//! Objects in memory: counts of references, autorelease pools, and how many objects there are.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

use objc2::runtime::{AnyClass, AnyObject, Bool, ClassBuilder, Sel};
use objc2::{msg_send, sel};

use crate::runtime::Class;

/// In front of every object: its count of references, in as much room as keeps the object aligned.
const HEADER: usize = 16;

static OBJECTS: AtomicIsize = AtomicIsize::new(0);

/// How many objects there are.
pub(crate) fn objects() -> isize {
    OBJECTS.load(Ordering::SeqCst)
}

fn layout(class: &Class) -> Layout {
    Layout::from_size_align(HEADER + class.size(), HEADER).expect("objects are small")
}

/// # Safety
/// `object` is an object that is no class.
unsafe fn count<'a>(object: *mut AnyObject) -> &'a AtomicUsize {
    // SAFETY: the count lies in front of every object.
    unsafe { &*object.cast::<u8>().sub(HEADER).cast::<AtomicUsize>() }
}

/// Classes are objects for ever.
///
/// # Safety
/// `object` is an object.
unsafe fn is_class(object: *mut AnyObject) -> bool {
    // SAFETY: an object begins with the pointer to its class.
    unsafe { (**object.cast::<*const Class>()).is_meta() }
}

/// A new object of `class`, all zeros.
extern "C-unwind" fn alloc(class: &AnyClass, _: Sel) -> *mut AnyObject {
    let class = ptr::from_ref(class).cast::<Class>();
    // SAFETY: classes are of this runtime; the memory is as large and as aligned as the object and its header.
    unsafe {
        let layout = layout(&*class);
        let memory = alloc_zeroed(layout);
        if memory.is_null() {
            handle_alloc_error(layout);
        }
        memory.cast::<AtomicUsize>().write(AtomicUsize::new(1));
        let object = memory.add(HEADER);
        object.cast::<*const Class>().write(class);
        OBJECTS.fetch_add(1, Ordering::SeqCst);
        object.cast()
    }
}

extern "C-unwind" fn new(class: &AnyClass, _: Sel) -> *mut AnyObject {
    // SAFETY: every class has `alloc` and every object `init`, and `init` takes what `alloc` gives.
    unsafe {
        let object: *mut AnyObject = msg_send![class, alloc];
        msg_send![object, init]
    }
}

extern "C-unwind" fn init(this: *mut AnyObject, _: Sel) -> *mut AnyObject {
    this
}

extern "C-unwind" fn free(this: *mut AnyObject, _: Sel) {
    // SAFETY: `dealloc` is sent once, to an object that `alloc` made and nobody refers to.
    unsafe {
        let class = &**this.cast::<*const Class>();
        dealloc(this.cast::<u8>().sub(HEADER), layout(class));
    }
    OBJECTS.fetch_sub(1, Ordering::SeqCst);
}

extern "C-unwind" fn is_kind_of(this: &AnyObject, _: Sel, class: &AnyClass) -> Bool {
    let mut above = Some(this.class());
    while let Some(one) = above {
        if one == class {
            return Bool::YES;
        }
        above = one.superclass();
    }
    Bool::NO
}

extern "C-unwind" fn is_equal(this: *mut AnyObject, _: Sel, other: *mut AnyObject) -> Bool {
    Bool::new(this == other)
}

extern "C-unwind" fn initialize(_: &AnyClass, _: Sel) {}

/// Defines the root of all classes.
pub(crate) fn define_root() {
    let initialize: extern "C-unwind" fn(&AnyClass, Sel) = initialize;
    let Some(mut root) = ClassBuilder::root(c"NSObject", initialize as extern "C-unwind" fn(_, _)) else {
        return;
    };
    // SAFETY: the functions take and give what their selectors mean.
    unsafe {
        root.add_class_method(sel!(alloc), alloc as extern "C-unwind" fn(_, _) -> _);
        root.add_class_method(sel!(new), new as extern "C-unwind" fn(_, _) -> _);
        root.add_method::<AnyObject, _>(sel!(init), init as extern "C-unwind" fn(*mut AnyObject, Sel) -> _);
        root.add_method::<AnyObject, _>(sel!(dealloc), free as extern "C-unwind" fn(*mut AnyObject, Sel));
        root.add_method::<AnyObject, _>(
            sel!(isKindOfClass:),
            is_kind_of as extern "C-unwind" fn(_, _, _) -> _,
        );
        root.add_method::<AnyObject, _>(
            sel!(isEqual:),
            is_equal as extern "C-unwind" fn(*mut AnyObject, Sel, *mut AnyObject) -> _,
        );
    }
    root.register();
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn objc_retain(object: *mut AnyObject) -> *mut AnyObject {
    // SAFETY: the caller passes an object or nil.
    unsafe {
        if !object.is_null() && !is_class(object) {
            count(object).fetch_add(1, Ordering::Relaxed);
        }
    }
    object
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn objc_release(object: *mut AnyObject) {
    // SAFETY: the caller passes an object it has a reference to, or nil.
    unsafe {
        if object.is_null() || is_class(object) {
            return;
        }
        match count(object).fetch_sub(1, Ordering::AcqRel) {
            0 => panic!("an object was released more often than it was retained"),
            1 => msg_send![object, dealloc],
            _ => {}
        }
    }
}

thread_local! {
    /// Objects to release when the pool ends that they are in; the pools are nested in one list.
    static AUTORELEASED: RefCell<Vec<*mut AnyObject>> = const { RefCell::new(Vec::new()) };
}

#[unsafe(no_mangle)]
extern "C-unwind" fn objc_autoreleasePoolPush() -> *mut c_void {
    ptr::without_provenance_mut(AUTORELEASED.with_borrow(Vec::len))
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn objc_autoreleasePoolPop(pool: *mut c_void) {
    loop {
        let last = AUTORELEASED.with_borrow_mut(|all| if all.len() > pool.addr() { all.pop() } else { None });
        let Some(object) = last else { return };
        // SAFETY: the pool has a reference to each of its objects.
        unsafe { objc_release(object) };
    }
}

/// Without a pool, an object stays for ever, and the count of objects tells.
#[unsafe(no_mangle)]
extern "C-unwind" fn objc_autorelease(object: *mut AnyObject) -> *mut AnyObject {
    if !object.is_null() {
        AUTORELEASED.with_borrow_mut(|all| all.push(object));
    }
    object
}

#[unsafe(no_mangle)]
extern "C-unwind" fn objc_autoreleaseReturnValue(object: *mut AnyObject) -> *mut AnyObject {
    objc_autorelease(object)
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn objc_retainAutoreleasedReturnValue(object: *mut AnyObject) -> *mut AnyObject {
    // SAFETY: the caller passes an object or nil.
    unsafe { objc_retain(object) }
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn objc_retainAutoreleaseReturnValue(object: *mut AnyObject) -> *mut AnyObject {
    // SAFETY: the caller passes an object or nil.
    objc_autorelease(unsafe { objc_retain(object) })
}
