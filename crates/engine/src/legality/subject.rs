//! What conditions look at, and places in it.

use ferrane_mil::diagnostic::{FunctionSpans, Span};
use ferrane_mil::{Function, Op, Operand, Program, ValueId};

use crate::Profile;

/// A function on a chip.
pub(super) struct Subject<'a> {
    pub(super) program: &'a Program,
    pub(super) f: &'a Function,
    pub(super) profile: &'a Profile,
    definitions: Vec<Option<usize>>,
}

/// A part of a function.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// The whole function.
    Function,
    /// The definition of a value.
    Value(ValueId),
    /// The name of an op, by index.
    Op(usize),
    /// An argument of an op.
    Arg(usize, usize),
    /// A name in the return tuple.
    Output(usize),
}

impl Place {
    pub(super) fn span(self, spans: &FunctionSpans) -> Option<Span> {
        match self {
            Place::Function => Some(spans.name),
            Place::Value(v) => spans.value(v),
            Place::Op(op) => spans.code(op),
            Place::Arg(op, arg) => spans.arg(op, arg),
            Place::Output(i) => spans.outputs.get(i).copied(),
        }
    }
}

impl<'a> Subject<'a> {
    pub(super) fn new(program: &'a Program, f: &'a Function, profile: &'a Profile) -> Self {
        Self { program, f, profile, definitions: f.definitions() }
    }

    /// The op that defines a value.
    pub(super) fn definition(&self, v: ValueId) -> Option<&'a Op> {
        self.definitions[v.index()].map(|i| &self.f.ops[i])
    }

    /// The op that defines an operand.
    pub(super) fn producer(&self, operand: &Operand) -> Option<&'a Op> {
        match operand {
            Operand::Value(v) => self.definition(*v),
            Operand::Literal(_) => None,
        }
    }

    /// The ops with their indices.
    pub(super) fn ops(&self) -> impl Iterator<Item = (usize, &'a Op)> {
        self.f.ops.iter().enumerate()
    }

    /// `name` in quotes: the first result of an op.
    pub(super) fn name(&self, op: &Op) -> &'a str {
        op.results.first().map_or("?", |r| self.f.name_of(*r))
    }
}
