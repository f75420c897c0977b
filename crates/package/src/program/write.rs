//! Program → protobuf.

use std::collections::{BTreeMap, HashSet};

use ferrane_mil::{Arg, Attr, Constant, Function, Op, Opcode, Operand, Opset, Payload, Program, ValueId};

use super::types::write_type;
use super::value::{write_constant, write_list, write_string, write_value};
use super::{Fault, invalid, is_name};
use crate::PackageError;
use crate::error::{Place, shorten};
use crate::proto::mil::{self as proto, binding};
use crate::weights::Offsets;

/// The protobuf form of a program whose weights are at `offsets` of the package's weight file.
pub(crate) fn write_program(program: &Program, offsets: &Offsets) -> Result<proto::Program, PackageError> {
    let mut functions = BTreeMap::new();
    for function in &program.functions {
        let written = write_function(function, offsets)?;
        if functions.insert(function.name.clone(), written).is_some() {
            return Err(PackageError::invalid(Place::Function(&function.name), "there are two of this name"));
        }
    }
    if functions.is_empty() {
        return Err(PackageError::invalid(Place::Program, "it has no function"));
    }
    let attributes = attributes(&program.attrs, offsets).map_err(|fault| fault.at(Place::Program))?;
    Ok(proto::Program { version: 1, functions, attributes, ..proto::Program::default() })
}

/// The name of an op set in packages.
fn opset_name(opset: Opset) -> &'static str {
    match opset {
        Opset::Ios15 => "CoreML5",
        Opset::Ios16 => "CoreML6",
        Opset::Ios17 => "CoreML7",
        Opset::Ios18 => "CoreML8",
        Opset::Ios26 => "CoreML9",
    }
}

/// The version of the model format that came with an op set.
pub(crate) fn specification_version(opset: Opset) -> i32 {
    match opset {
        Opset::Ios15 => 6,
        Opset::Ios16 => 7,
        Opset::Ios17 => 8,
        Opset::Ios18 => 9,
        Opset::Ios26 => 10,
    }
}

fn attributes(attrs: &[(String, Attr)], offsets: &Offsets) -> Result<BTreeMap<String, proto::Value>, Fault> {
    let write = |(name, attr): &(String, Attr)| Ok((name.clone(), write_value(attr, offsets)?));
    attrs.iter().map(write).collect()
}

fn write_function(function: &Function, offsets: &Offsets) -> Result<proto::Function, PackageError> {
    let place = Place::Function(&function.name);
    let mut writer = Writer::new(function, offsets).map_err(|fault| fault.at(place))?;
    let named = |ids: &[ValueId]| ids.iter().map(|&id| writer.named(id)).collect::<Result<Vec<_>, _>>();
    let inputs = named(&function.inputs).map_err(|fault| fault.at(place))?;
    for op in &function.ops {
        let name = op.results.first().and_then(|r| function.values.get(r.index())).map_or("", |v| &v.name);
        writer.op(op).map_err(|fault| fault.at(Place::Op(&function.name, op.code.name(), name)))?;
    }
    let outputs =
        function.outputs.iter().map(|&id| writer.name(id).map(String::from)).collect::<Result<_, _>>();
    let block = proto::Block {
        outputs: outputs.map_err(|fault| fault.at(place))?,
        operations: writer.operations,
        ..proto::Block::default()
    };
    let opset = opset_name(function.opset).to_string();
    Ok(proto::Function {
        inputs,
        block_specializations: BTreeMap::from([(opset.clone(), block)]),
        opset,
        attributes: attributes(&function.attrs, offsets).map_err(|fault| fault.at(place))?,
    })
}

struct Writer<'a> {
    function: &'a Function,
    offsets: &'a Offsets,
    names: HashSet<String>,
    operations: Vec<proto::Operation>,
}

impl<'a> Writer<'a> {
    fn new(function: &'a Function, offsets: &'a Offsets) -> Result<Self, Fault> {
        for name in function.values.iter().map(|v| &v.name).chain([&function.name]) {
            if !is_name(name) {
                return invalid(format!("`{}` cannot be a name in a package", shorten(name)));
            }
        }
        let names = function.values.iter().map(|v| v.name.clone()).collect();
        Ok(Self { function, offsets, names, operations: Vec::new() })
    }

    fn name(&self, id: ValueId) -> Result<&'a str, Fault> {
        match self.function.values.get(id.index()) {
            Some(value) => Ok(&value.name),
            None => invalid(format!("the value {} does not exist", id.0)),
        }
    }

    fn named(&self, id: ValueId) -> Result<proto::NamedValueType, Fault> {
        let name = self.name(id)?.to_string();
        let ty = write_type(&self.function.value(id).ty);
        Ok(proto::NamedValueType { name, r#type: Some(Box::new(ty)) })
    }

    fn op(&mut self, op: &Op) -> Result<(), Fault> {
        let outputs = op.results.iter().map(|&id| self.named(id)).collect::<Result<Vec<_>, _>>()?;
        let mut written = proto::Operation {
            r#type: op.code.name().to_string(),
            attributes: attributes(&op.attrs, self.offsets)?,
            ..proto::Operation::default()
        };
        let first = outputs.first().map_or("", |o| o.name.as_str());
        let name = if op.name.is_empty() { first } else { &op.name };
        if !name.is_empty() {
            written.attributes.insert("name".into(), write_string(name));
        }
        if op.code == Opcode::Const {
            if let Some(constant) = op.results.first().and_then(|&r| self.function.value(r).constant.as_ref())
            {
                written.attributes.insert("val".into(), write_constant(constant, self.offsets)?);
            }
            if !written.attributes.contains_key("val") {
                return invalid("the const has no value");
            }
        }
        let as_attributes = self.has_attribute_arguments(op);
        for (arg_name, arg) in &op.args {
            let taken = if as_attributes {
                let value = self.only_literal(arg_name, arg)?;
                written.attributes.insert(arg_name.to_string(), value).is_some()
            } else {
                let argument = self.argument(op, arg_name, arg)?;
                written.inputs.insert(arg_name.to_string(), argument).is_some()
            };
            if taken {
                return invalid(format!("`{arg_name}` is given twice"));
            }
        }
        written.outputs = outputs;
        self.operations.push(written);
        Ok(())
    }

    /// True for the `constexpr_*` ops of op sets before ios18, whose arguments are attributes.
    fn has_attribute_arguments(&self, op: &Op) -> bool {
        self.function.opset < Opset::Ios18 && op.code.is_constexpr()
    }

    fn only_literal(&self, name: &str, arg: &Arg) -> Result<proto::Value, Fault> {
        let constant = match arg {
            Arg::One(Operand::Literal(c)) => Some(c),
            Arg::One(Operand::Value(v)) => {
                self.function.values.get(v.index()).and_then(|v| v.constant.as_ref())
            }
            Arg::Many(_) => None,
        };
        match constant {
            Some(constant) => write_constant(constant, self.offsets),
            None => invalid(format!("`{name}` must be a constant in op sets before ios18")),
        }
    }

    fn argument(&mut self, op: &Op, name: &str, arg: &Arg) -> Result<proto::Argument, Fault> {
        let mut arguments = Vec::new();
        for operand in arg.operands() {
            let binding = match operand {
                Operand::Value(id) => binding::Binding::Name(self.name(*id)?.to_string()),
                Operand::Literal(c) if op.code == Opcode::Classify && name == "classes" => {
                    binding::Binding::Value(Box::new(write_list(c)?))
                }
                Operand::Literal(c) if must_be_const(op, c) => {
                    binding::Binding::Name(self.add_const(op, name, c)?)
                }
                Operand::Literal(c) => binding::Binding::Value(Box::new(write_constant(c, self.offsets)?)),
            };
            arguments.push(proto::Binding { binding: Some(binding) });
        }
        Ok(proto::Argument { arguments })
    }

    /// Gives a literal a const op of its own, before the op that uses it.
    fn add_const(&mut self, op: &Op, argument: &str, constant: &Constant) -> Result<String, Fault> {
        let user = match op.results.first() {
            Some(&id) => self.name(id)?,
            None => op.code.name(),
        };
        let mut name = format!("{user}_{argument}");
        while !self.names.insert(name.clone()) {
            name.push('_');
        }
        let ty = write_type(&ferrane_mil::Type::Tensor(constant.ty.clone()));
        self.operations.push(proto::Operation {
            r#type: Opcode::Const.name().into(),
            attributes: BTreeMap::from([
                ("name".into(), write_string(&name)),
                ("val".into(), write_constant(constant, self.offsets)?),
            ]),
            outputs: vec![proto::NamedValueType { name: name.clone(), r#type: Some(Box::new(ty)) }],
            ..proto::Operation::default()
        });
        Ok(name)
    }
}

/// Readers take a weight in the place of an argument only in `constexpr_*` ops.
fn must_be_const(op: &Op, constant: &Constant) -> bool {
    matches!(constant.payload, Payload::Blob(_)) && !op.code.is_constexpr()
}
