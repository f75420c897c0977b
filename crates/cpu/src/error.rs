//! Why a function cannot be compiled or run.

use ferrane_mil::{CallError, Opcode};

/// Why a function cannot be compiled for the CPU.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CompileError {
    /// The op is in the language, but nothing here computes it.
    #[error(
        "`{value}`: `{op}` is parsed, but has no CPU kernel; rewrite it with other ops or run it elsewhere"
    )]
    NoKernel {
        /// The op.
        op: Opcode,
        /// The value it defines.
        value: String,
    },
    /// The op has a kernel, but not for these arguments.
    #[error("`{value}`: the CPU kernel of `{op}` does not take {what}")]
    Unsupported {
        /// The op.
        op: Opcode,
        /// The value it defines.
        value: String,
        /// What it does not take.
        what: String,
    },
    /// The arguments of an op do not fit. Verified functions never have this.
    #[error("`{value}`: {source}; verify the program before compiling it")]
    Call {
        /// The value it defines.
        value: String,
        /// What is wrong.
        source: CallError,
    },
    /// An integer that fp32, in which all values are held, does not tell from its neighbours.
    #[error("`{value}` has the integer {number}; integers are exact here below 16777216")]
    LargeInteger {
        /// The value it is in.
        value: String,
        /// The integer.
        number: f64,
    },
    /// Compressed weights that cannot be decoded.
    #[error("`{value}`: {source}; the compressed weight is damaged, write it again")]
    Decode {
        /// The value it defines.
        value: String,
        /// What is wrong.
        source: CallError,
    },
    /// A value that is not a tensor of numbers.
    #[error("`{value}` is {ty}, which the CPU cannot hold; only tensors of numbers are executed")]
    NotNumeric {
        /// The value.
        value: String,
        /// Its type.
        ty: String,
    },
    /// A value that no op or input defines.
    #[error("`{value}` is used but never defined; verify the program before compiling it")]
    Undefined {
        /// The value.
        value: String,
    },
    /// The weights do not have a blob, or not with so many elements.
    #[error(
        "the weight `{value}` ({path} at {offset}) {what}; check that the weight file belongs to this program"
    )]
    Weight {
        /// The constant.
        value: String,
        /// Path of the weight file.
        path: String,
        /// Offset in it.
        offset: u64,
        /// "is missing" or what is wrong with it.
        what: String,
    },
    /// The plan contradicts itself: a bug of this crate.
    #[error(
        "the plan of `{value}` reaches outside its memory; this is a bug in ferrane-cpu, please report it"
    )]
    Plan {
        /// The function.
        value: String,
    },
}

/// Why a compiled function cannot be run on the slices given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The wrong number of inputs or outputs.
    #[error("the function has {expected} {side}s, but {given} were given; pass them in declared order")]
    Count {
        /// "input" or "output".
        side: &'static str,
        /// How many the function declares.
        expected: usize,
        /// How many were given.
        given: usize,
    },
    /// A slice of the wrong length.
    #[error("{side} `{name}` has {expected} elements, but a slice of {given} was given")]
    Length {
        /// "input" or "output".
        side: &'static str,
        /// Its name.
        name: String,
        /// Number of its elements.
        expected: usize,
        /// Length of the slice.
        given: usize,
    },
}
