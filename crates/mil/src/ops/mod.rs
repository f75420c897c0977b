//! The op catalogue: for each op the names, kinds and defaults of its arguments.

mod table;

use std::{collections::HashMap, sync::LazyLock};

use crate::Opcode;

/// What an argument must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgKind {
    /// A tensor, computed or constant.
    Tensor,
    /// A tuple of tensors: `values = (a, b)`.
    Tensors,
    /// A constant integer.
    Int,
    /// A constant vector of integers.
    Ints,
    /// A constant truth value.
    Bool,
    /// A constant number.
    Float,
    /// A constant string.
    Str,
}

/// The value an absent argument has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Default {
    /// No value: the argument must be given.
    Required,
    /// No value: the op does without, or derives it from the shapes.
    None,
    /// An integer.
    Int(i64),
    /// A vector of integers.
    Ints(&'static [i64]),
    /// A truth value.
    Bool(bool),
    /// A number.
    Float(f64),
    /// A string.
    Str(&'static str),
}

/// One argument of an op.
#[derive(Clone, Copy, Debug)]
pub struct ArgSpec {
    /// Name in MIL text.
    pub name: &'static str,
    /// What it must be.
    pub kind: ArgKind,
    /// Its value when absent.
    pub default: Default,
}

/// One op of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct OpSpec {
    /// Which op.
    pub code: Opcode,
    /// Its arguments.
    pub args: &'static [ArgSpec],
}

impl OpSpec {
    /// The argument called `name`.
    pub fn arg(&self, name: &str) -> Option<&'static ArgSpec> {
        self.args.iter().find(|a| a.name == name)
    }
}

/// The catalogue row of an op, or `None` when the catalogue does not have it.
pub fn spec(code: Opcode) -> Option<&'static OpSpec> {
    static BY_CODE: LazyLock<HashMap<Opcode, &'static OpSpec>> =
        LazyLock::new(|| table::ROWS.iter().map(|row| (row.code, row)).collect());
    BY_CODE.get(&code).copied()
}
