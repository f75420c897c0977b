//! Programs, functions, ops and values: plain data with public fields.
//!
//! A [`Function`] owns an arena of [`Value`]s addressed by [`ValueId`]; ops refer to values by id. Ops are in execution
//! order and every value is defined (by an input or an op) before it is used; the verifier checks it.

use crate::{BlobRef, Constant, Opcode, TensorType, Type};

/// Index of a value in its function's arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub u32);

impl ValueId {
    /// The arena index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A named result of an op, or a function input.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Name, unique in its function.
    pub name: String,
    /// Type.
    pub ty: Type,
    /// The constant, when a `const` op defines this value.
    pub constant: Option<Constant>,
}

/// What an op's argument is given.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A value of the function.
    Value(ValueId),
    /// A literal written in the argument's place. Some compiler doors refuse these for some arguments (facts A-3).
    Literal(Constant),
}

impl From<ValueId> for Operand {
    fn from(v: ValueId) -> Self {
        Operand::Value(v)
    }
}

impl From<Constant> for Operand {
    fn from(c: Constant) -> Self {
        Operand::Literal(c)
    }
}

/// One argument of an op.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// `x = a`
    One(Operand),
    /// `values = (a, b)`
    Many(Vec<Operand>),
}

impl Arg {
    /// The operands, one or more.
    pub fn operands(&self) -> &[Operand] {
        match self {
            Arg::One(o) => std::slice::from_ref(o),
            Arg::Many(os) => os,
        }
    }

    /// The operands, one or more, for rewriting.
    pub fn operands_mut(&mut self) -> &mut [Operand] {
        match self {
            Arg::One(o) => std::slice::from_mut(o),
            Arg::Many(os) => os,
        }
    }
}

impl<T: Into<Operand>> From<T> for Arg {
    fn from(o: T) -> Self {
        Arg::One(o.into())
    }
}

/// An argument or attribute name. Names of the catalogue borrow from it; unknown ones, which the verifier reports, own.
pub type Name = std::borrow::Cow<'static, str>;

/// The value of an attribute in brackets other than `name` and `val`.
#[derive(Clone, Debug, PartialEq)]
pub enum Attr {
    /// A tensor or scalar.
    Constant(Constant),
    /// `dict<K, V>({{k, v}, …})`
    Dict(Type, Vec<(Constant, Attr)>),
    /// A list or tuple.
    List(Type, Vec<Attr>),
}

/// One statement: `results = code(args)[name = …, attrs]`.
///
/// A `const` op has no arguments here: its constant is in [`Value::constant`] of its result. The arguments of
/// `constexpr_*` ops, which the text writes as attributes, are [`Op::args`] like those of any other op.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// Which op.
    pub code: Opcode,
    /// The `name` attribute; empty means "the name of the first result".
    pub name: String,
    /// Arguments in the order written.
    pub args: Vec<(Name, Arg)>,
    /// Values it defines.
    pub results: Vec<ValueId>,
    /// Further attributes.
    pub attrs: Vec<(String, Attr)>,
}

impl Op {
    /// The argument called `name`.
    pub fn arg(&self, name: &str) -> Option<&Arg> {
        self.args.iter().find(|(n, _)| n == name).map(|(_, a)| a)
    }

    /// The values this op reads.
    pub fn uses(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.args.iter().flat_map(|(_, a)| a.operands()).filter_map(|o| match o {
            Operand::Value(v) => Some(*v),
            Operand::Literal(_) => None,
        })
    }

    /// The single result. Every op but `split`, `topk` and a few others has exactly one.
    pub fn result(&self) -> ValueId {
        self.results[0]
    }
}

/// The op set a function is written against: `func main<ios18>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Opset {
    /// iOS 15, macOS 12
    Ios15,
    /// iOS 16, macOS 13
    Ios16,
    /// iOS 17, macOS 14
    Ios17,
    /// iOS 18, macOS 15
    Ios18,
    /// iOS 26, macOS 26
    Ios26,
}

impl Opset {
    const NAMES: [(Opset, &'static str); 5] = [
        (Opset::Ios15, "ios15"),
        (Opset::Ios16, "ios16"),
        (Opset::Ios17, "ios17"),
        (Opset::Ios18, "ios18"),
        (Opset::Ios26, "ios26"),
    ];

    /// The name in MIL text, e.g. `ios18`.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].1
    }

    /// The op set with this name (`CoreML7`-style names of packages included).
    pub fn from_name(name: &str) -> Option<Opset> {
        let core_ml = name.strip_prefix("CoreML").and_then(|n| match n {
            "5" => Some(Opset::Ios15),
            "6" => Some(Opset::Ios16),
            "7" => Some(Opset::Ios17),
            "8" => Some(Opset::Ios18),
            "9" => Some(Opset::Ios26),
            _ => None,
        });
        core_ml.or_else(|| Self::NAMES.iter().find(|(_, n)| *n == name).map(|(o, _)| *o))
    }
}

/// A function: inputs, ops in execution order, outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Name; the entry of a program is `main`.
    pub name: String,
    /// Op set.
    pub opset: Opset,
    /// All values, inputs and op results.
    pub values: Vec<Value>,
    /// Inputs in declaration order. (The in-memory door binds ports by name, not by this order: facts A-53.)
    pub inputs: Vec<ValueId>,
    /// Ops in execution order.
    pub ops: Vec<Op>,
    /// Outputs in the order of the return tuple.
    pub outputs: Vec<ValueId>,
    /// Attributes of the function.
    pub attrs: Vec<(String, Attr)>,
}

impl Function {
    /// An empty function.
    pub fn new(name: impl Into<String>, opset: Opset) -> Self {
        Self {
            name: name.into(),
            opset,
            values: Vec::new(),
            inputs: Vec::new(),
            ops: Vec::new(),
            outputs: Vec::new(),
            attrs: Vec::new(),
        }
    }

    /// The value with this id.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// The name of a value.
    pub fn name_of(&self, id: ValueId) -> &str {
        &self.value(id).name
    }

    /// The value called `name`. Linear; passes that look up many names build their own map.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.values.iter().position(|v| v.name == name).map(|i| ValueId(i as u32))
    }

    /// Adds a value to the arena without defining it.
    pub fn add_value(&mut self, name: impl Into<String>, ty: impl Into<Type>) -> ValueId {
        self.values.push(Value { name: name.into(), ty: ty.into(), constant: None });
        ValueId((self.values.len() - 1) as u32)
    }

    /// `base`, or with the first number behind it that makes it a name no value has.
    pub fn unused_name(&self, base: &str) -> String {
        let used = |name: &str| self.values.iter().any(|v| v.name == name);
        let numbered = (1..).map(|n| format!("{base}_{n}"));
        std::iter::once(base.to_owned()).chain(numbered).find(|name| !used(name)).unwrap_or_default()
    }

    /// The tensor type of a value, or `None` for a list, dict or state.
    pub fn tensor_type(&self, id: ValueId) -> Option<&TensorType> {
        self.value(id).ty.as_tensor()
    }

    /// The constant an operand stands for: a literal, or a value that a `const` op defines.
    pub fn constant<'a>(&'a self, operand: &'a Operand) -> Option<&'a Constant> {
        match operand {
            Operand::Literal(c) => Some(c),
            Operand::Value(v) => self.value(*v).constant.as_ref(),
        }
    }

    /// The tensor type of an operand.
    pub fn operand_type<'a>(&'a self, operand: &'a Operand) -> Option<&'a TensorType> {
        match operand {
            Operand::Literal(c) => Some(&c.ty),
            Operand::Value(v) => self.tensor_type(*v),
        }
    }

    /// The constant given for argument `name` of `op`.
    pub fn constant_arg<'a>(&'a self, op: &'a Op, name: &str) -> Option<&'a Constant> {
        match op.arg(name)? {
            Arg::One(o) => self.constant(o),
            Arg::Many(_) => None,
        }
    }

    /// Every constant, with the value it defines or, for one written in an argument's place, the op's first result.
    pub fn constants(&self) -> impl Iterator<Item = (ValueId, &Constant)> {
        let defined = self.values.iter().enumerate();
        let defined = defined.filter_map(|(i, v)| Some((ValueId(i as u32), v.constant.as_ref()?)));
        let written =
            self.ops.iter().filter_map(|op| Some((*op.results.first()?, op))).flat_map(|(result, op)| {
                let operands = op.args.iter().flat_map(|(_, arg)| arg.operands());
                operands.filter_map(move |o| match o {
                    Operand::Literal(c) => Some((result, c)),
                    Operand::Value(_) => None,
                })
            });
        defined.chain(written)
    }

    /// Every constant, for rewriting.
    pub fn constants_mut(&mut self) -> impl Iterator<Item = &mut Constant> {
        let defined = self.values.iter_mut().filter_map(|v| v.constant.as_mut());
        let operands =
            self.ops.iter_mut().flat_map(|op| &mut op.args).flat_map(|(_, arg)| arg.operands_mut());
        let written = operands.filter_map(|o| match o {
            Operand::Literal(c) => Some(c),
            Operand::Value(_) => None,
        });
        defined.chain(written)
    }

    /// The weights: constants whose elements are in weight files, each with its value as [`Function::constants`] says.
    pub fn weights(&self) -> impl Iterator<Item = (ValueId, &BlobRef, &TensorType)> {
        self.constants().filter_map(|(v, c)| Some((v, c.blob_ref()?, &c.ty)))
    }

    /// For every value, the index in [`Function::ops`] of the op that defines it; `None` for inputs and orphans.
    pub fn definitions(&self) -> Vec<Option<usize>> {
        let mut defs = vec![None; self.values.len()];
        for (i, op) in self.ops.iter().enumerate() {
            for r in &op.results {
                defs[r.index()] = Some(i);
            }
        }
        defs
    }
}

/// A program: version, attributes, functions.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// `program(major.minor)`
    pub version: (u32, u32),
    /// Attributes of the program, `buildInfo` among them.
    pub attrs: Vec<(String, Attr)>,
    /// Functions; the entry is `main`.
    pub functions: Vec<Function>,
}

impl Program {
    /// A `program(1.3)` with the standard `buildInfo` and one function.
    pub fn single(function: Function) -> Self {
        let mut program = Self { version: (1, 3), attrs: Vec::new(), functions: vec![function] };
        program.require_build_info();
        program
    }

    /// Adds the standard `buildInfo`, without which no compiler takes the text, if there is none.
    pub fn require_build_info(&mut self) {
        if self.attrs.iter().all(|(name, _)| name != "buildInfo") {
            self.attrs.push(("buildInfo".into(), build_info()));
        }
    }

    /// The entry function: `main`, or the only function there is.
    pub fn main(&self) -> Option<&Function> {
        let named = self.functions.iter().find(|f| f.name == "main");
        named.or(match self.functions.as_slice() {
            [only] => Some(only),
            _ => None,
        })
    }
}

/// The `buildInfo` the compiler is known to accept. It must be present; the version strings are not checked (facts A-12).
fn build_info() -> Attr {
    use crate::DType;
    let pairs = [
        ("coremlc-component-MIL", "3510.2.1"),
        ("coremlc-version", "3505.4.1"),
        ("coremltools-component-milinternal", ""),
        ("coremltools-version", "9.0"),
    ];
    let string = || Type::Tensor(TensorType::scalar(DType::String));
    let entries =
        pairs.iter().map(|(k, v)| (Constant::string(*k), Attr::Constant(Constant::string(*v)))).collect();
    Attr::Dict(Type::Dict(Box::new(string()), Box::new(string())), entries)
}
