//! Buffers and where their elements are while a function runs.

use crate::view::elements;

/// What a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The slice of an input.
    Input(usize),
    /// The slice of an output.
    Output(usize),
    /// A constant.
    Constant(usize),
    /// Part of the arena, from this element on.
    Arena(usize),
}

/// One buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Buffer {
    pub(crate) origin: Origin,
    /// Number of elements.
    pub(crate) len: usize,
}

/// A strided tensor in a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// Index of the buffer.
    pub(crate) buffer: usize,
    /// Its first element.
    pub(crate) offset: usize,
    /// Distance of neighbours along each axis.
    pub(crate) strides: Vec<usize>,
}

impl Access {
    /// True when a tensor of `shape` lies within a buffer of `len` elements.
    pub(crate) fn fits(&self, shape: &[usize], len: usize) -> bool {
        if elements(shape) == 0 {
            return true;
        }
        let reach = shape.iter().zip(&self.strides).map(|(&d, &s)| (d - 1).checked_mul(s));
        let last = reach.into_iter().try_fold(self.offset, |at, r| at.checked_add(r?));
        shape.len() == self.strides.len() && last.is_some_and(|last| last < len)
    }
}

/// The first element of every buffer during one run.
#[derive(Default)]
pub(crate) struct Bases(pub(crate) Vec<*mut f32>);

#[allow(unsafe_code, reason = "the addresses are only used within `Executable::run`, which holds the memory")]
// SAFETY: the pointers are filled in at the start of a run from slices and vectors that the run borrows, and are not
// read outside it. Threads of the run write disjoint elements: each step gives every element to one thread.
unsafe impl Send for Bases {}

#[allow(unsafe_code, reason = "see `Send`")]
// SAFETY: as above.
unsafe impl Sync for Bases {}

impl Bases {
    /// Address of an element of a buffer.
    pub(crate) fn at(&self, buffer: usize, element: usize) -> *mut f32 {
        self.0[buffer].wrapping_add(element)
    }
}
