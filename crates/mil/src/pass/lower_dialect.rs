//! From one dialect of MIL text to the other.

use crate::{Opset, Program, text::Dialect};

/// `program` with the version and op set of `dialect`: `program(1.0)` and at most ios16 for [`Dialect::Verbose`], `program(1.3)`
/// and at least ios17 for [`Dialect::Modern`]. Ops that the older dialect lacks stay; [`Dialect::misfits`] names what is
/// left, and [`decompose`](super::decompose) removes attention.
pub fn lower_dialect(program: &Program, dialect: Dialect) -> Program {
    let mut program = program.clone();
    match dialect {
        Dialect::Verbose => program.version = (1, 0),
        Dialect::Modern if program.version < (1, 3) => program.version = (1, 3),
        Dialect::Modern => {}
    }
    for function in &mut program.functions {
        function.opset = match dialect {
            Dialect::Verbose => function.opset.min(Opset::Ios16),
            Dialect::Modern => function.opset.max(Opset::Ios17),
        };
    }
    program
}
