//! The two spellings of MIL text, and what the older one cannot say.

use crate::{Arg, Attr, Constant, DType, Function, Op, Opcode, Operand, Opset, Program, Type};

/// How scalars are written.
///
/// Both spellings are read everywhere. The compilers of M1 and M2 take only the verbose one (facts A-13), with
/// `program(1.0)` and op sets up to ios17.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// `string("x")`, `fp16(0.5)`: `program(1.3)` and later.
    #[default]
    Modern,
    /// `tensor<string, []>("x")`, `tensor<fp16, []>(0.5)`: `program(1.0)`.
    Verbose,
}

/// Something in a program that a dialect has no words for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Where: ``version``, `` function `main` ``, `` op `sdpa_0` in function `main` ``.
    pub place: String,
    /// What does not fit.
    pub what: String,
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl Dialect {
    /// The dialect a program is meant for, by its version.
    pub fn of(program: &Program) -> Self {
        if program.version == (1, 0) { Dialect::Verbose } else { Dialect::Modern }
    }

    /// Everything in `program` that this dialect cannot say; empty when the program can be printed in it.
    pub fn misfits(self, program: &Program) -> Vec<Misfit> {
        let mut found = Vec::new();
        if self == Dialect::Modern {
            return found;
        }
        if program.version != (1, 0) {
            let (major, minor) = program.version;
            let what = format!("program({major}.{minor}) is not program(1.0)");
            found.push(Misfit { place: "version".into(), what });
        }
        for function in &program.functions {
            check_function(function, &mut found);
        }
        found
    }
}

fn check_function(function: &Function, found: &mut Vec<Misfit>) {
    let place = format!("function `{}`", function.name);
    if function.opset > Opset::Ios17 {
        let what = format!("op set {} is later than ios17", function.opset.name());
        found.push(Misfit { place: place.clone(), what });
    }
    for &input in &function.inputs {
        let value = function.value(input);
        if let Some(what) = modern_type(&value.ty) {
            found.push(Misfit { place: format!("input `{}` of {place}", value.name), what });
        }
    }
    for op in &function.ops {
        let name = op.results.first().map_or(op.code.name(), |r| function.name_of(*r));
        let place = || format!("op `{name}` in {place}");
        if modern_op(op) {
            found.push(Misfit { place: place(), what: format!("`{}` needs ios18", op.code) });
        }
        let results = op.results.iter().map(|r| &function.value(*r).ty).find_map(modern_type);
        let literals = op.args.iter().flat_map(|(_, arg)| arg.operands()).find_map(|o| match o {
            Operand::Literal(c) => modern_constant(c),
            Operand::Value(_) => None,
        });
        let attrs = || op.attrs.iter().find_map(|(_, attr)| modern_attr(attr));
        found.extend(results.or(literals).or_else(attrs).map(|what| Misfit { place: place(), what }));
    }
}

/// Ops that the op sets up to ios17 do not have, in the form given.
fn modern_op(op: &Op) -> bool {
    match op.code {
        Opcode::ScaledDotProductAttention
        | Opcode::ConstexprBlockwiseShiftScale
        | Opcode::ConstexprLutToSparse
        | Opcode::ConstexprSparseBlockwiseShiftScale
        | Opcode::ReadState
        | Opcode::WriteState
        | Opcode::CoremlUpdateState
        | Opcode::SliceUpdate => true,
        // The ios16 forms say the shape, the ios18 ones have it from the operands.
        Opcode::ConstexprLutToDense | Opcode::ConstexprSparseToDense => op.arg("shape").is_none(),
        _ => false,
    }
}

fn modern_type(ty: &Type) -> Option<String> {
    match ty {
        Type::Tensor(t) => modern_dtype(t.dtype),
        Type::List(t, _) => modern_type(t),
        Type::Tuple(ts) => ts.iter().find_map(modern_type),
        Type::Dict(k, v) => modern_type(k).or_else(|| modern_type(v)),
        Type::State(_) => Some("states need ios18".into()),
    }
}

fn modern_dtype(dtype: DType) -> Option<String> {
    use DType::*;
    let modern = matches!(dtype, Int4 | Uint1 | Uint2 | Uint3 | Uint4 | Uint6 | Fp8E4M3 | Fp8E5M2);
    modern.then(|| format!("element type {dtype} needs ios18"))
}

fn modern_constant(constant: &Constant) -> Option<String> {
    modern_dtype(constant.ty.dtype)
}

fn modern_attr(attr: &Attr) -> Option<String> {
    match attr {
        Attr::Constant(c) => modern_constant(c),
        Attr::Dict(ty, entries) => {
            modern_type(ty).or_else(|| entries.iter().find_map(|(_, v)| modern_attr(v)))
        }
        Attr::List(ty, elements) => modern_type(ty).or_else(|| elements.iter().find_map(modern_attr)),
    }
}

/// True when the arguments of `op` are written as attributes, in the brackets: the `constexpr_*` ops of ios16.
pub(super) fn args_in_brackets(op: &Op) -> bool {
    let ios16 = match op.code {
        Opcode::ConstexprAffineDequantize | Opcode::ConstexprCast => true,
        Opcode::ConstexprLutToDense | Opcode::ConstexprSparseToDense => op.arg("shape").is_some(),
        _ => false,
    };
    ios16 && op.args.iter().all(|(name, arg)| name != "name" && matches!(arg, Arg::One(Operand::Literal(_))))
}
