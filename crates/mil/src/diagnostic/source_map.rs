//! Where in the text the parts of a program are, kept beside the program and not in it.

use super::Span;
use crate::ValueId;

/// Places of everything in a parsed program. Functions are addressed by their index in `Program::functions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceMap {
    /// One entry a function, in program order.
    pub functions: Vec<FunctionSpans>,
}

/// Places in one function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionSpans {
    /// The name in the header.
    pub name: Span,
    /// The name of each value where it is defined, by [`ValueId`].
    pub values: Vec<Span>,
    /// The ops, by index in `Function::ops`.
    pub ops: Vec<OpSpans>,
    /// The names in the return tuple.
    pub outputs: Vec<Span>,
    /// The arguments of all ops one after another; see [`FunctionSpans::arg`].
    pub args: Vec<Span>,
}

/// Places in one op.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpSpans {
    /// The whole statement, `;` included.
    pub statement: Span,
    /// The op's name.
    pub code: Span,
    /// Index in [`FunctionSpans::args`] of the first argument.
    pub first_arg: u32,
    /// Number of arguments.
    pub args: u32,
}

impl SourceMap {
    /// Places in the function with this index.
    pub fn function(&self, index: usize) -> Option<&FunctionSpans> {
        self.functions.get(index)
    }
}

impl FunctionSpans {
    /// The statement of the op with this index.
    pub fn statement(&self, op: usize) -> Option<Span> {
        self.ops.get(op).map(|o| o.statement)
    }

    /// The name of the op with this index.
    pub fn code(&self, op: usize) -> Option<Span> {
        self.ops.get(op).map(|o| o.code)
    }

    /// Argument `arg` (its index in `Op::args`) of op `op`: `x = a`.
    pub fn arg(&self, op: usize, arg: usize) -> Option<Span> {
        let op = self.ops.get(op)?;
        let index = (arg < op.args as usize).then_some(op.first_arg as usize + arg)?;
        self.args.get(index).copied()
    }

    /// The definition of a value.
    pub fn value(&self, value: ValueId) -> Option<Span> {
        self.values.get(value.index()).copied()
    }
}
