//! The gate between a program someone wrote and one that engines accept.

use crate::{
    Call, CallError, Constant, Function, Op, Opcode, Operand, Opset, Program, TensorType, ValueId, infer, ops,
};

/// A program that passed [`verify`]. Engines take nothing else, so they need not check again.
#[derive(Clone, Debug)]
pub struct Verified {
    program: Program,
}

impl Verified {
    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The entry function.
    ///
    /// # Panics
    /// Never: a verified program has one.
    pub fn main(&self) -> &Function {
        self.program.main().expect("a verified program has an entry")
    }
}

/// One thing that is wrong with a program.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum VerifyError {
    /// No entry function.
    #[error("the program has no function `main`")]
    NoEntry,
    /// Two values of one function share a name.
    #[error("function `{function}`: the name `{name}` is defined twice")]
    DuplicateName {
        /// The function.
        function: String,
        /// The name.
        name: String,
    },
    /// A value is used before it is defined, or never is.
    #[error("function `{function}`, op `{op}`: `{name}` is used before it is defined")]
    Undefined {
        /// The function.
        function: String,
        /// The op, or `return`.
        op: String,
        /// The value.
        name: String,
    },
    /// A value is defined twice: by two ops, or by an op and as an input.
    #[error("function `{function}`: `{name}` is defined twice")]
    Redefined {
        /// The function.
        function: String,
        /// The value.
        name: String,
    },
    /// The elements of a constant are not of its element type.
    #[error("function `{function}`: the elements of the constant `{name}` are not {dtype}")]
    ConstantKind {
        /// The function.
        function: String,
        /// The constant.
        name: String,
        /// Its element type.
        dtype: crate::DType,
    },
    /// The arguments of an op do not fit.
    #[error("function `{function}`, `{result}`: {source}")]
    Call {
        /// The function.
        function: String,
        /// The first result of the op.
        result: String,
        /// What is wrong.
        source: CallError,
    },
    /// An op that came with a later op set than the function's.
    #[error("function `{function}`, `{result}`: `{op}` came with {}, but the function is written against {}", since.name(), opset.name())]
    Opset {
        /// The function.
        function: String,
        /// The first result of the op.
        result: String,
        /// The op.
        op: Opcode,
        /// The op set it came with.
        since: Opset,
        /// The op set of the function.
        opset: Opset,
    },
    /// A result is declared with another type than the op gives.
    #[error("function `{function}`: `{result}` is declared as {declared}, but `{op}` gives {inferred}")]
    ResultType {
        /// The function.
        function: String,
        /// The result.
        result: String,
        /// The op.
        op: Opcode,
        /// The declared type.
        declared: String,
        /// The type the op gives.
        inferred: String,
    },
    /// A constant's elements do not fit its type.
    #[error("function `{function}`: the constant `{name}` has {given} elements for {ty}")]
    Constant {
        /// The function.
        function: String,
        /// The constant.
        name: String,
        /// The number of elements given.
        given: usize,
        /// Its type.
        ty: String,
    },
    /// A function without outputs computes nothing.
    #[error("function `{function}` returns nothing")]
    NoOutputs {
        /// The function.
        function: String,
    },
    /// The extents of a tensor multiply to more than can be addressed.
    #[error("function `{function}`: `{name}` is {ty}, whose number of elements overflows")]
    TooLarge {
        /// The function.
        function: String,
        /// The value.
        name: String,
        /// Its type.
        ty: String,
    },
}

/// Checks a whole program and collects everything that is wrong with it.
///
/// # Errors
/// All errors found, in program order; never an empty list.
pub fn verify(program: Program) -> Result<Verified, Vec<VerifyError>> {
    let mut errors = Vec::new();
    if program.main().is_none() {
        errors.push(VerifyError::NoEntry);
    }
    for function in &program.functions {
        Checker::new(function, &mut errors).check();
    }
    if errors.is_empty() { Ok(Verified { program }) } else { Err(errors) }
}

/// Checks one function and collects everything that is wrong with it, in program order.
pub fn check(function: &Function) -> Vec<VerifyError> {
    let mut errors = Vec::new();
    Checker::new(function, &mut errors).check();
    errors
}

struct Checker<'a> {
    function: &'a Function,
    defined: Vec<bool>,
    errors: &'a mut Vec<VerifyError>,
}

impl<'a> Checker<'a> {
    fn new(function: &'a Function, errors: &'a mut Vec<VerifyError>) -> Self {
        Self { function, defined: vec![false; function.values.len()], errors }
    }

    fn check(mut self) {
        let f = self.function;
        self.names();
        for &v in &f.inputs {
            self.define(v);
        }
        for op in &f.ops {
            self.op(op);
        }
        if f.outputs.is_empty() {
            self.errors.push(VerifyError::NoOutputs { function: f.name.clone() });
        }
        for &v in &f.outputs {
            self.used(v, "return");
        }
    }

    fn names(&mut self) {
        let mut seen = std::collections::HashSet::new();
        for v in &self.function.values {
            let function = self.function.name.clone();
            if !seen.insert(v.name.as_str()) {
                self.errors
                    .push(VerifyError::DuplicateName { function: function.clone(), name: v.name.clone() });
            }
            if let Some(ty) = v.ty.as_tensor().filter(|t| overflows(t)) {
                self.errors.push(VerifyError::TooLarge {
                    function,
                    name: v.name.clone(),
                    ty: ty.to_string(),
                });
            }
        }
    }

    fn define(&mut self, v: ValueId) {
        let f = self.function;
        match self.defined.get_mut(v.index()) {
            Some(defined) if !*defined => *defined = true,
            Some(_) => self
                .errors
                .push(VerifyError::Redefined { function: f.name.clone(), name: f.name_of(v).into() }),
            None => self.used(v, "result"),
        }
    }

    fn used(&mut self, v: ValueId, op: &str) {
        if !self.defined.get(v.index()).copied().unwrap_or(false) {
            let name = self.function.values.get(v.index()).map_or("?", |v| &v.name);
            self.errors.push(VerifyError::Undefined {
                function: self.function.name.clone(),
                op: op.into(),
                name: name.into(),
            });
        }
    }

    fn op(&mut self, op: &Op) {
        let f = self.function;
        for v in op.uses() {
            self.used(v, op.code.name());
        }
        for (name, arg) in &op.args {
            for operand in arg.operands() {
                if let Operand::Literal(c) = operand {
                    self.constant(name, c);
                }
            }
        }
        if op.results.iter().all(|r| r.index() < f.values.len()) && self.operands_exist(op) {
            self.results(op);
        }
        for &r in &op.results {
            self.define(r);
            let value = f.values.get(r.index()).filter(|_| op.code == Opcode::Const);
            if let Some((v, c)) = value.and_then(|v| Some((v, v.constant.as_ref()?))) {
                self.constant(&v.name, c);
            }
        }
    }

    fn results(&mut self, op: &Op) {
        let f = self.function;
        let first = op.results.first().map_or("?", |r| f.name_of(*r));
        if let Some(since) = ops::spec(op.code).map(|spec| spec.since).filter(|since| *since > f.opset) {
            self.errors.push(VerifyError::Opset {
                function: f.name.clone(),
                result: first.into(),
                op: op.code,
                since,
                opset: f.opset,
            });
        }
        match infer::result_types(Call::new(f, op)) {
            Err(source) => {
                self.errors.push(VerifyError::Call {
                    function: f.name.clone(),
                    result: first.into(),
                    source,
                });
            }
            Ok(types) if types.len() != op.results.len() => {
                let reason = format!("has {} results, but {} are named", types.len(), op.results.len());
                let source = CallError::Invalid { op: op.code, reason };
                self.errors.push(VerifyError::Call {
                    function: f.name.clone(),
                    result: first.into(),
                    source,
                });
            }
            Ok(types) => {
                for (r, ty) in op.results.iter().zip(types).filter(|(r, ty)| f.value(**r).ty != *ty) {
                    self.errors.push(VerifyError::ResultType {
                        function: f.name.clone(),
                        result: f.name_of(*r).into(),
                        op: op.code,
                        declared: f.value(*r).ty.to_string(),
                        inferred: ty.to_string(),
                    });
                }
            }
        }
    }

    /// Types are looked up by id: an id outside the arena, reported already, would have none.
    fn operands_exist(&self, op: &Op) -> bool {
        op.uses().all(|v| v.index() < self.function.values.len())
    }

    fn constant(&mut self, name: &str, c: &Constant) {
        let Some(data) = c.data() else { return };
        let function = || self.function.name.clone();
        if !data.matches(c.ty.dtype) {
            let error =
                VerifyError::ConstantKind { function: function(), name: name.into(), dtype: c.ty.dtype };
            self.errors.push(error);
        }
        if Some(data.len()) != c.ty.checked_elements() {
            let error = VerifyError::Constant {
                function: function(),
                name: name.into(),
                given: data.len(),
                ty: c.ty.to_string(),
            };
            self.errors.push(error);
        }
    }
}

/// True when a tensor's bytes cannot be counted in an `isize`, the most any allocation can have.
fn overflows(ty: &TensorType) -> bool {
    let bits = ty.checked_elements().and_then(|n| n.checked_mul(ty.dtype.bits().max(1)));
    bits.is_none_or(|b| b / 8 > isize::MAX as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, Opset};

    fn doubled() -> Function {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", TensorType::fp16([1, 4, 1, 8]));
        let y = b.scale(x, 2.0).unwrap();
        b.finish(&[y])
    }

    #[test]
    fn what_the_builder_makes_is_accepted() {
        assert_eq!(verify(Program::single(doubled())).unwrap().main().outputs.len(), 1);
    }

    #[test]
    fn ids_outside_the_arena_and_second_definitions_are_errors() {
        let mut f = doubled();
        f.inputs.push(ValueId(77));
        f.outputs.push(ValueId(78));
        let again = f.ops[1].clone();
        f.ops.push(again);
        let mut lost = f.ops[1].clone();
        lost.args[0].1 = ValueId(79).into();
        lost.results = vec![ValueId(80)];
        f.ops.push(lost);
        let errors = check(&f);
        let undefined = errors.iter().filter(|e| matches!(e, VerifyError::Undefined { .. })).count();
        let redefined = errors.iter().filter(|e| matches!(e, VerifyError::Redefined { .. })).count();
        assert_eq!((undefined, redefined), (4, 1), "{errors:#?}");
    }

    #[test]
    fn constants_hold_what_their_type_says() {
        let mut b = Builder::new("main", Opset::Ios18);
        let c = b.constant("c", Constant::inline(TensorType::fp16([3]), crate::Data::Fp32(vec![1.0, 2.0])));
        let y = b.add(c, c).unwrap();
        let errors = check(&b.finish(&[y]));
        assert!(matches!(errors[0], VerifyError::ConstantKind { .. }), "{errors:?}");
        assert!(matches!(errors[1], VerifyError::Constant { given: 2, .. }), "{errors:?}");
    }

    #[test]
    fn every_error_is_collected() {
        let mut f = doubled();
        f.ops.swap(0, 1);
        f.values[2].ty = TensorType::fp16([1, 5, 1, 8]).into();
        f.outputs.clear();
        let errors = verify(Program::single(f)).unwrap_err();
        assert!(matches!(errors[0], VerifyError::Undefined { .. }), "{errors:?}");
        assert!(matches!(errors[1], VerifyError::ResultType { .. }), "{errors:?}");
        assert!(matches!(errors[2], VerifyError::NoOutputs { .. }), "{errors:?}");
    }

    #[test]
    fn an_op_newer_than_the_op_set_is_an_error() {
        let mut f = doubled();
        f.ops[1].code = Opcode::Silu;
        f.ops[1].args.retain(|(name, _)| name == "x");
        assert_eq!(check(&f), []);
        f.ops[1].code = Opcode::ConstexprBlockwiseShiftScale;
        f.opset = Opset::Ios17;
        let errors = check(&f);
        assert_eq!(
            errors[0].to_string(),
            "function `main`, `mul`: `constexpr_blockwise_shift_scale` came with ios18, but the function is written \
             against ios17"
        );
        assert_eq!(errors[0].code().to_string(), "MIL0208");
    }

    #[test]
    fn arguments_an_op_does_not_have_are_errors() {
        let mut f = doubled();
        f.ops[1].args.push(("z".into(), ValueId(0).into()));
        let errors = check(&f);
        assert!(errors[0].to_string().ends_with("`mul` has no argument `z`; it takes x, y"), "{errors:?}");
    }

    #[test]
    fn every_argument_is_checked_not_the_first_tensor_alone() {
        let source = |opset: &str, gamma: &str, epsilon: &str| {
            format!(
                "program(1.3) {{ func main<{opset}>(tensor<fp16, [1, 4, 1, 8]> x) {{ tensor<fp16, [1, 4, 1, 8]> y = \
                 layer_norm(x = x, axes = tensor<int32, [1]>([3]), gamma = {gamma}, epsilon = {epsilon}); }} -> (y); }}"
            )
        };
        let wrong = |opset: &str, gamma: &str, epsilon: &str| {
            let parsed = crate::text::parse(&source(opset, gamma, epsilon)).unwrap_or_else(|e| panic!("{e}"));
            verify(parsed.program).err().map(|errors| errors[0].to_string())
        };
        let half = "tensor<fp16, [8]>([1, 1, 1, 1, 1, 1, 1, 1])";
        let single = half.replace("fp16", "fp32");
        assert_eq!(wrong("ios16", half, "fp16(0.1)"), None);
        assert_eq!(wrong("ios17", &single, "fp16(0.1)"), None);
        let old = wrong("ios16", &single, "fp16(0.1)").unwrap();
        assert!(old.contains("gamma is fp32, but x is fp16; before ios17"), "{old}");
        let int = wrong("ios18", &half.replace("fp16", "int32"), "fp16(0.1)").unwrap();
        assert!(int.contains("gamma is tensor<int32, [8]>, but x is fp16"), "{int}");
        let text = wrong("ios18", half, "string(\"a\")").unwrap();
        assert!(text.contains("`epsilon` of `layer_norm` must be a constant number"), "{text}");
    }
}
