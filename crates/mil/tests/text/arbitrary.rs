//! Programs of every shape the text can hold, for property tests. They follow the grammar, not the meaning of the ops.

use ferrane_mil::text::Dialect;
use ferrane_mil::{
    Arg, Attr, Constant, DType, Data, Function, Op, Opcode, Operand, Opset, Program, TensorType, Type,
    ValueId,
};
use half::{bf16, f16};
use proptest::collection::vec;
use proptest::prelude::*;

/// A program that `dialect` can say.
pub(crate) fn program(dialect: Dialect) -> impl Strategy<Value = Program> {
    let versions = match dialect {
        Dialect::Modern => prop_oneof![Just((1, 3)), Just((1, 5)), Just((1, 0)), Just((1, 77))].boxed(),
        Dialect::Verbose => Just((1, 0)).boxed(),
    };
    (versions, attrs(dialect), vec(function(dialect), 1..3)).prop_map(|(version, attrs, mut functions)| {
        for (i, function) in functions.iter_mut().enumerate() {
            function.name = format!("f{i}");
        }
        Program { version, attrs, functions }
    })
}

fn dtypes(dialect: Dialect) -> Vec<DType> {
    use DType::*;
    let modern = [Int4, Uint1, Uint2, Uint3, Uint4, Uint6, Fp8E4M3, Fp8E5M2];
    DType::all().filter(|d| dialect == Dialect::Modern || !modern.contains(d)).collect()
}

fn opcodes(dialect: Dialect) -> Vec<Opcode> {
    use Opcode::*;
    let modern = [
        ScaledDotProductAttention,
        ConstexprBlockwiseShiftScale,
        ConstexprLutToSparse,
        ConstexprSparseBlockwiseShiftScale,
        ReadState,
        WriteState,
        CoremlUpdateState,
        SliceUpdate,
        ConstexprLutToDense,
        ConstexprSparseToDense,
    ];
    Opcode::all().filter(|c| dialect == Dialect::Modern || !modern.contains(c)).collect()
}

fn name() -> impl Strategy<Value = String> {
    // Words of the language are names too.
    prop_oneof![
        4 => "[A-Za-z_][A-Za-z0-9_]{0,8}",
        1 => prop::sample::select(vec!["tensor", "fp16", "func", "program", "true", "inf", "nan", "BLOBFILE", "val"])
            .prop_map(String::from),
    ]
}

fn tensor_type(dialect: Dialect) -> impl Strategy<Value = TensorType> {
    let shape = prop_oneof![Just(vec![]), vec(0usize..4, 1..4), vec(1usize..3, 1..6)];
    (prop::sample::select(dtypes(dialect)), shape).prop_map(|(dtype, shape)| TensorType { dtype, shape })
}

/// Types of inputs and results, tensors for the most part.
fn ty(dialect: Dialect) -> BoxedStrategy<Type> {
    let tensor = tensor_type(dialect).prop_map(Type::Tensor);
    match dialect {
        Dialect::Verbose => tensor.boxed(),
        Dialect::Modern => tensor
            .prop_recursive(2, 6, 3, |inner| {
                prop_oneof![
                    (inner.clone(), prop::option::of(0usize..5))
                        .prop_map(|(t, n)| Type::List(Box::new(t), n)),
                    vec(inner.clone(), 0..3).prop_map(Type::Tuple),
                    (inner.clone(), inner.clone()).prop_map(|(k, v)| Type::Dict(Box::new(k), Box::new(v))),
                    inner.prop_map(|t| Type::State(Box::new(t))),
                ]
            })
            .boxed(),
    }
}

/// Elements with odd values among them: any bit pattern of the floating-point types, extremes of the integers.
fn data(ty: &TensorType) -> BoxedStrategy<Data> {
    let n = ty.elements();
    let bits = ty.dtype.bits();
    match ty.dtype {
        DType::Bool => vec(any::<bool>(), n).prop_map(Data::Bool).boxed(),
        DType::String => vec(text(), n).prop_map(Data::String).boxed(),
        DType::Fp16 => {
            vec(any::<u16>(), n).prop_map(|v| Data::Fp16(v.into_iter().map(f16::from_bits).collect())).boxed()
        }
        DType::Bf16 => vec(any::<u16>(), n)
            .prop_map(|v| Data::Bf16(v.into_iter().map(bf16::from_bits).collect()))
            .boxed(),
        DType::Fp32 => vec(prop_oneof![any::<u32>().prop_map(f32::from_bits), -2f32..2.0], n)
            .prop_map(Data::Fp32)
            .boxed(),
        DType::Fp64 => vec(prop_oneof![any::<u64>().prop_map(f64::from_bits), -2f64..2.0], n)
            .prop_map(Data::Fp64)
            .boxed(),
        DType::Int4 | DType::Int8 | DType::Int16 | DType::Int32 | DType::Int64 => {
            let top = i64::MAX >> (64 - bits);
            vec(prop_oneof![Just(-top - 1), Just(top), -top..=top], n).prop_map(Data::Int).boxed()
        }
        _ => {
            let top = u64::MAX >> (64 - bits);
            vec(prop_oneof![Just(top), 0..=top], n).prop_map(Data::Uint).boxed()
        }
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,6}", any::<String>(), "[\"\\\\\n\t\r\u{0}-\u{1f}/*é]{0,6}"]
}

fn constant_of(ty: TensorType) -> BoxedStrategy<Constant> {
    let blob = (text(), any::<u64>());
    let of_type = ty.clone();
    prop_oneof![
        4 => data(&ty).prop_map(move |d| Constant::inline(ty.clone(), d)),
        1 => blob.prop_map(move |(path, offset)| Constant::blob(of_type.clone(), path, offset)),
    ]
    .boxed()
}

fn constant(dialect: Dialect) -> impl Strategy<Value = Constant> {
    tensor_type(dialect).prop_flat_map(constant_of)
}

fn attr(dialect: Dialect) -> impl Strategy<Value = Attr> {
    let scalar = prop::sample::select(dtypes(dialect)).prop_map(TensorType::scalar);
    let leaf = constant(dialect).prop_map(Attr::Constant);
    leaf.prop_recursive(3, 12, 3, move |inner| {
        let key = scalar.clone().prop_flat_map(constant_of);
        prop_oneof![
            // Elements of the declared type and of others.
            (scalar.clone(), inner.clone(), vec((key, inner.clone()), 0..3)).prop_map(
                |(key, value, entries)| {
                    let ty = Type::Dict(Box::new(key.into()), Box::new(type_of(&value)));
                    Attr::Dict(ty, entries)
                }
            ),
            (any::<bool>(), vec(inner.clone(), 0..3), inner.clone()).prop_map(|(sized, elements, other)| {
                let element = elements.first().map_or(type_of(&other), type_of);
                let length = sized.then_some(elements.len());
                Attr::List(Type::List(Box::new(element), length), elements)
            }),
            (any::<bool>(), vec(inner, 0..3)).prop_map(|(empty, elements)| {
                let types = elements.iter().map(type_of).collect();
                Attr::List(Type::Tuple(types), if empty { vec![] } else { elements })
            }),
        ]
    })
}

fn type_of(attr: &Attr) -> Type {
    match attr {
        Attr::Constant(c) => c.ty.clone().into(),
        Attr::Dict(ty, _) | Attr::List(ty, _) => ty.clone(),
    }
}

fn attrs(dialect: Dialect) -> impl Strategy<Value = Vec<(String, Attr)>> {
    vec((name(), attr(dialect)), 0..3).prop_map(|mut attrs| {
        distinct(&mut attrs, |(n, _)| n);
        attrs
    })
}

/// Makes names different from each other and from `name` and `val`.
fn distinct<T>(items: &mut [T], name: impl Fn(&mut T) -> &mut String) {
    for (i, item) in items.iter_mut().enumerate() {
        name(item).push_str(&i.to_string());
    }
}

/// An operand before the values are known: one of those defined so far, or a literal.
#[derive(Clone, Debug)]
enum Draft {
    Value(prop::sample::Index),
    Literal(Constant),
}

fn draft(dialect: Dialect) -> impl Strategy<Value = Draft> {
    prop_oneof![
        3 => any::<prop::sample::Index>().prop_map(Draft::Value),
        1 => constant(dialect).prop_map(Draft::Literal),
    ]
}

/// An op before the values are known.
#[derive(Clone, Debug)]
struct Line {
    code: Opcode,
    name: String,
    args: Vec<(String, bool, Vec<Draft>)>,
    results: Vec<Type>,
    constant: Constant,
    attrs: Vec<(String, Attr)>,
}

fn line(dialect: Dialect) -> impl Strategy<Value = Line> {
    let code = prop_oneof![1 => Just(Opcode::Const), 3 => prop::sample::select(opcodes(dialect))];
    let args = vec((name(), any::<bool>(), vec(draft(dialect), 0..3)), 0..4);
    let names = prop_oneof![Just(String::new()), text()];
    (code, names, args, vec(ty(dialect), 0..3), constant(dialect), attrs(dialect)).prop_map(
        |(code, name, mut args, results, constant, mut attrs)| {
            distinct(&mut args, |(n, _, _)| n);
            if code.name().starts_with("constexpr_") {
                // Their attributes are arguments.
                attrs.retain(|(_, a)| !matches!(a, Attr::Constant(_)));
            }
            Line { code, name, args, results, constant, attrs }
        },
    )
}

fn function(dialect: Dialect) -> impl Strategy<Value = Function> {
    let opsets = match dialect {
        Dialect::Modern => vec![Opset::Ios15, Opset::Ios16, Opset::Ios17, Opset::Ios18, Opset::Ios26],
        Dialect::Verbose => vec![Opset::Ios15, Opset::Ios16, Opset::Ios17],
    };
    let inputs = vec((name(), ty(dialect)), 1..4);
    let outputs = vec(any::<prop::sample::Index>(), 0..3);
    (prop::sample::select(opsets), inputs, vec(line(dialect), 0..6), outputs, attrs(dialect), name())
        .prop_map(|(opset, inputs, lines, outputs, attrs, stem)| {
            let mut f = Function::new("", opset);
            // Arena order differs from the order of definition, which the text does not show.
            f.add_value("orphan", TensorType::fp16([1]));
            for (i, (name, ty)) in inputs.into_iter().enumerate() {
                let id = f.add_value(format!("{name}_{i}"), ty);
                f.inputs.push(id);
            }
            let mut defined = f.inputs.clone();
            for line in lines {
                add(&mut f, &mut defined, line, &stem);
            }
            f.outputs = outputs.into_iter().map(|i| defined[i.index(defined.len())]).collect();
            f.attrs = attrs;
            f
        })
}

fn add(f: &mut Function, defined: &mut Vec<ValueId>, line: Line, stem: &str) {
    let operand = |draft: &Draft| match draft {
        Draft::Value(i) => Operand::Value(defined[i.index(defined.len())]),
        Draft::Literal(c) => Operand::Literal(c.clone()),
    };
    let mut args: Vec<(ferrane_mil::Name, Arg)> = line
        .args
        .iter()
        .map(|(name, many, drafts)| match &drafts[..] {
            [one] if !many => (name.clone().into(), Arg::One(operand(one))),
            all => (name.clone().into(), Arg::Many(all.iter().map(operand).collect())),
        })
        .collect();
    let mut results = Vec::new();
    let n = f.values.len();
    if line.code == Opcode::Const {
        args.clear();
        let id = f.add_value(format!("{stem}{n}"), line.constant.ty.clone());
        f.values[id.index()].constant = Some(line.constant);
        results.push(id);
    } else {
        for (i, ty) in line.results.into_iter().enumerate() {
            results.push(f.add_value(format!("{stem}{n}_{i}"), ty));
        }
    }
    defined.extend(&results);
    f.ops.push(Op { code: line.code, name: line.name, args, results, attrs: line.attrs });
}
