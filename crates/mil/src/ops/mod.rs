//! The op catalogue: for each op what it does, the names, kinds and defaults of its arguments, the op set it appeared
//! in, and where it stands on the Neural Engine.

mod activation;
mod compress;
mod elementwise;
mod linear;
mod movement;
mod order;
mod page;
mod rest;

use std::sync::LazyLock;

pub use page::markdown;

use crate::{Opcode, Opset};

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
    /// A constant vector of truth values.
    Bools,
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

/// Where an op stands on the Neural Engine: facts §E1, the sweep of 166 ops that ANEForge 0.4.0 publishes
/// (`full_mil_vocabulary_sweep.json`), compiled for the engine alone and measured on an M5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EngineStatus {
    /// Compiles, and its values were found right.
    Correct,
    /// Compiles; its values were not checked.
    Compiles,
    /// Core ML has it, but not on the Neural Engine.
    NotOnEngine,
    /// Does not compile at all when written by hand.
    DoesNotCompile,
    /// Not in the sweep.
    Unknown,
}

impl EngineStatus {
    /// A few words for tables.
    pub fn name(self) -> &'static str {
        match self {
            EngineStatus::Correct => "correct",
            EngineStatus::Compiles => "compiles, values unchecked",
            EngineStatus::NotOnEngine => "not on the engine",
            EngineStatus::DoesNotCompile => "does not compile",
            EngineStatus::Unknown => "unknown",
        }
    }
}

/// What the elements of an op's first tensor argument must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Anything but strings.
    Any,
    /// Floating-point or integer numbers.
    Numbers,
    /// Floating-point numbers.
    Floats,
}

/// One op of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct OpSpec {
    /// Which op.
    pub code: Opcode,
    /// What it does, in one line.
    pub summary: &'static str,
    /// The op set it appeared in. Arguments added later are not told apart.
    pub since: Opset,
    /// Where it stands on the Neural Engine.
    pub engine: EngineStatus,
    /// What the elements of its first tensor argument must be.
    pub domain: Domain,
    /// False for ops that are only read, checked in part and printed: their results have the types they are declared
    /// with, and executing them is an error that says so.
    pub executed: bool,
    /// Its arguments.
    pub args: &'static [ArgSpec],
}

impl OpSpec {
    /// The argument called `name`.
    pub fn arg(&self, name: &str) -> Option<&'static ArgSpec> {
        self.args.iter().find(|a| a.name == name)
    }
}

/// The catalogue row of an op.
pub fn spec(code: Opcode) -> Option<&'static OpSpec> {
    static BY_CODE: LazyLock<Vec<Option<&'static OpSpec>>> = LazyLock::new(|| {
        let mut rows = vec![None; Opcode::all().count()];
        for row in TABLES.iter().copied().flatten() {
            rows[row.code as usize] = Some(row);
        }
        rows
    });
    BY_CODE.get(code as usize).copied().flatten()
}

/// Every row, in the order of [`Opcode`].
pub fn all() -> impl Iterator<Item = &'static OpSpec> {
    Opcode::all().filter_map(spec)
}

const TABLES: [&[OpSpec]; 7] = [
    elementwise::ROWS,
    activation::ROWS,
    linear::ROWS,
    movement::ROWS,
    order::ROWS,
    compress::ROWS,
    rest::ROWS,
];

const fn arg(name: &'static str, kind: ArgKind, default: Default) -> ArgSpec {
    ArgSpec { name, kind, default }
}

const fn tensor(name: &'static str) -> ArgSpec {
    arg(name, ArgKind::Tensor, Default::Required)
}

const fn maybe(name: &'static str) -> ArgSpec {
    arg(name, ArgKind::Tensor, Default::None)
}

const fn required(name: &'static str, kind: ArgKind) -> ArgSpec {
    arg(name, kind, Default::Required)
}

const fn row(
    code: Opcode,
    since: Opset,
    engine: EngineStatus,
    args: &'static [ArgSpec],
    summary: &'static str,
) -> OpSpec {
    OpSpec { code, summary, since, engine, domain: Domain::Any, executed: true, args }
}

/// A row of an op that is only parsed.
const fn parsed(
    code: Opcode,
    since: Opset,
    engine: EngineStatus,
    args: &'static [ArgSpec],
    summary: &'static str,
) -> OpSpec {
    OpSpec { executed: false, ..row(code, since, engine, args, summary) }
}

impl OpSpec {
    const fn floats(self) -> Self {
        Self { domain: Domain::Floats, ..self }
    }

    const fn numbers(self) -> Self {
        Self { domain: Domain::Numbers, ..self }
    }
}

const X: ArgSpec = tensor("x");
const Y: ArgSpec = tensor("y");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_op_has_one_row_with_a_summary() {
        let rows = TABLES.iter().map(|t| t.len()).sum::<usize>();
        assert_eq!(rows, Opcode::all().count());
        for code in Opcode::all() {
            let row = spec(code).unwrap_or_else(|| panic!("no row for {code}"));
            assert!(row.summary.ends_with('.') && !row.summary.contains('\n'), "{code}");
            for (i, arg) in row.args.iter().enumerate() {
                assert!(row.args[..i].iter().all(|a| a.name != arg.name), "{code}: {}", arg.name);
            }
        }
    }

    #[test]
    fn the_sweep_is_told_as_it_was_measured() {
        let count = |status| all().filter(|row| row.engine == status).count();
        // The 97 of the sweep, the EXACT mode of `gelu` among them, and `const`.
        assert_eq!(count(EngineStatus::Correct), 98);
        // 19 rows of the sweep, two of them other modes of `gelu`; `softmax` and `cast` between floats besides.
        assert_eq!(count(EngineStatus::Compiles), 19);
        assert_eq!(count(EngineStatus::NotOnEngine), 35);
        assert_eq!(count(EngineStatus::DoesNotCompile), 14);
    }
}
