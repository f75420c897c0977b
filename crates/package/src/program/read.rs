//! Protobuf → program.

use std::collections::{BTreeMap, HashMap};

use ferrane_mil::ops::{self, ArgKind};
use ferrane_mil::{Arg, Attr, Function, Op, Opcode, Operand, Opset, Program, Type, Value, ValueId};

use super::types::read_type;
use super::value::{constant, read_literal, read_value};
use super::{Fault, invalid, is_name};
use crate::PackageError;
use crate::error::{Feature, Place, shorten};
use crate::proto::mil::{self as proto, binding};

pub(crate) fn read_program(
    program: proto::Program,
    warnings: &mut Vec<String>,
) -> Result<Program, PackageError> {
    if program.version != 1 {
        let detail = format!("the program has version {}", program.version);
        return Err(PackageError::unsupported(Place::Program, Feature::ProgramVersion, detail));
    }
    refuse_unknown_ops(&program)?;
    warn_docs(&program.doc_string, Place::Program, warnings);
    let mut attrs = read_attributes(program.attributes, Place::Program)?;
    let functions = program
        .functions
        .into_iter()
        .map(|(name, function)| read_function(name, function, warnings))
        .collect::<Result<Vec<_>, _>>()?;
    let Some(newest) = functions.iter().map(|f| f.opset).max() else {
        return Err(PackageError::invalid(Place::Program, "it has no function"));
    };
    if !attrs.iter().any(|(name, _)| name == "buildInfo") {
        // The compilers insist on it; what it says does not matter.
        attrs.extend(Program::single(Function::new("main", newest)).attrs);
    }
    Ok(Program { version: text_version(newest), attrs, functions })
}

/// The version of MIL text for an op set. Packages say only `1`.
fn text_version(newest: Opset) -> (u32, u32) {
    if newest < Opset::Ios18 { (1, 0) } else { (1, 3) }
}

/// All of them at once: whoever wants to support a model needs the whole list.
fn refuse_unknown_ops(program: &proto::Program) -> Result<(), PackageError> {
    let mut unknown = BTreeMap::new();
    for function in program.functions.values() {
        let Some(block) = function.block_specializations.get(&function.opset) else { continue };
        for op in &block.operations {
            if Opcode::from_name(&op.r#type).is_none() {
                *unknown.entry(op.r#type.clone()).or_insert(0) += 1;
            }
        }
    }
    if unknown.is_empty() { Ok(()) } else { Err(PackageError::UnknownOps { ops: unknown }) }
}

fn warn_docs(doc: &str, place: Place<'_>, warnings: &mut Vec<String>) {
    if !doc.is_empty() {
        warnings.push(format!("{place}: its documentation text is left out"));
    }
}

fn read_attributes(
    attributes: BTreeMap<String, proto::Value>,
    place: Place<'_>,
) -> Result<Vec<(String, Attr)>, PackageError> {
    let read = |(name, value): (String, proto::Value)| {
        if !is_name(&name) {
            return Err(bad_name(&name).at(place));
        }
        let value = read_value(value).map_err(|fault| fault.at(format!("{place}, attribute `{name}`")))?;
        Ok((name, value))
    };
    attributes.into_iter().map(read).collect()
}

fn bad_name(name: &str) -> Fault {
    Fault::Invalid(format!("`{}` is no name: only letters, digits and `_` make one", shorten(name)))
}

fn read_function(
    name: String,
    mut function: proto::Function,
    warnings: &mut Vec<String>,
) -> Result<Function, PackageError> {
    let place = Place::Function(&name);
    if !is_name(&name) {
        return Err(bad_name(&name).at(Place::Program));
    }
    let opset = Opset::from_name(&function.opset).ok_or_else(|| {
        PackageError::unsupported(place, Feature::Opset, format!("`{}`", shorten(&function.opset)))
    })?;
    let Some(block) = function.block_specializations.remove(&function.opset) else {
        let reason = format!("it has no body for its op set `{}`", shorten(&function.opset));
        return Err(PackageError::invalid(place, reason));
    };
    if !function.block_specializations.is_empty() {
        let others: Vec<_> = function.block_specializations.keys().map(|k| shorten(k)).collect();
        warnings.push(format!("{place}: its bodies for {} are left out", others.join(", ")));
    }
    if !block.inputs.is_empty() {
        return Err(PackageError::invalid(place, "its body has inputs of its own"));
    }
    if !block.attributes.is_empty() {
        warnings.push(format!("{place}: the attributes of its body are left out"));
    }
    let mut reader = Reader { function: Function::new(&name, opset), names: HashMap::new() };
    reader.function.attrs = read_attributes(function.attributes, place)?;
    for input in function.inputs {
        let input_name = input.name.clone();
        let id = reader.define(input).map_err(|fault| fault.at(Place::Input(&name, &input_name)))?;
        reader.function.inputs.push(id);
    }
    for op in block.operations {
        reader.op(op)?;
    }
    for output in &block.outputs {
        let id = reader.lookup(output).map_err(|fault| fault.at(format!("the outputs of {place}")))?;
        reader.function.outputs.push(id);
    }
    Ok(reader.function)
}

struct Reader {
    function: Function,
    names: HashMap<String, ValueId>,
}

impl Reader {
    fn define(&mut self, named: proto::NamedValueType) -> Result<ValueId, Fault> {
        if !is_name(&named.name) {
            return Err(bad_name(&named.name));
        }
        let ty = read_type(named.r#type.as_deref())?;
        let next = ValueId(self.function.values.len() as u32);
        if self.names.insert(named.name.clone(), next).is_some() {
            return invalid(format!("`{}` is defined twice", named.name));
        }
        Ok(self.function.add_value(named.name, ty))
    }

    fn lookup(&self, name: &str) -> Result<ValueId, Fault> {
        let found = self.names.get(name).copied();
        found.ok_or_else(|| Fault::Invalid(format!("`{}` is not defined above", shorten(name))))
    }

    fn op(&mut self, op: proto::Operation) -> Result<(), PackageError> {
        // The place names the op as users know it: by its first result.
        let name = op.outputs.first().map_or_else(String::new, |o| o.name.clone());
        let (code, function) = (op.r#type.clone(), self.function.name.clone());
        self.read_op(op).map_err(|fault| fault.at(Place::Op(&function, &code, &name)))
    }

    fn read_op(&mut self, op: proto::Operation) -> Result<(), Fault> {
        let Some(code) = Opcode::from_name(&op.r#type) else {
            return invalid("the op is not known");
        };
        if !op.blocks.is_empty() || matches!(code, Opcode::Cond | Opcode::WhileLoop) {
            return Err(Fault::Unsupported(Feature::ControlFlow, format!("`{code}` has nested blocks")));
        }
        let mut read =
            Op { code, name: String::new(), args: Vec::new(), results: Vec::new(), attrs: Vec::new() };
        for (name, argument) in op.inputs {
            if !is_name(&name) {
                return Err(bad_name(&name));
            }
            let arg = self.argument(code, &name, argument)?;
            read.args.push((name.into(), arg));
        }
        let first = op.outputs.first().map(|o| o.name.clone()).unwrap_or_default();
        let value = self.attributes(&mut read, op.attributes, &first)?;
        for output in op.outputs {
            let id = self.define(output)?;
            read.results.push(id);
        }
        self.give_value(&mut read, value)?;
        self.function.ops.push(read);
        Ok(())
    }

    fn argument(&self, code: Opcode, name: &str, argument: proto::Argument) -> Result<Arg, Fault> {
        let mut operands = argument
            .arguments
            .into_iter()
            .map(|b| self.operand(b).map_err(|fault| within(name, fault)))
            .collect::<Result<Vec<_>, _>>()?;
        // A tuple of one and a single operand look the same.
        let tuple = match ops::spec(code).and_then(|spec| spec.arg(name)) {
            Some(arg) => arg.kind == ArgKind::Tensors,
            None => name == "values",
        };
        match operands.len() {
            0 if !tuple => invalid(format!("the argument `{name}` is empty")),
            1 if !tuple => Ok(Arg::One(operands.remove(0))),
            _ => Ok(Arg::Many(operands)),
        }
    }

    fn operand(&self, binding: proto::Binding) -> Result<Operand, Fault> {
        match binding.binding {
            Some(binding::Binding::Name(name)) => Ok(Operand::Value(self.lookup(&name)?)),
            Some(binding::Binding::Value(value)) => Ok(Operand::Literal(read_literal(*value)?)),
            None => invalid("an operand is neither a name nor a value"),
        }
    }

    /// Sorts the attributes of an op into its name, its arguments (of `constexpr_*`), the value of a const, which is
    /// returned, and the rest.
    fn attributes(
        &self,
        op: &mut Op,
        attributes: BTreeMap<String, proto::Value>,
        first: &str,
    ) -> Result<Option<Attr>, Fault> {
        let constexpr = op.code.is_constexpr();
        let mut const_value = None;
        for (name, value) in attributes {
            if !is_name(&name) {
                return Err(bad_name(&name));
            }
            let value = read_value(value).map_err(|fault| within(&name, fault))?;
            if name == "name" {
                let text = constant(value)?;
                let Some(text) = text.as_str() else {
                    return invalid("its attribute `name` is not a string");
                };
                if text != first {
                    op.name = text.to_string();
                }
            } else if name == "val" && op.code == Opcode::Const {
                const_value = Some(value);
            } else if constexpr {
                if op.arg(&name).is_some() {
                    return invalid(format!("the argument `{name}` is given twice"));
                }
                op.args.push((name.into(), Arg::One(Operand::Literal(constant(value)?))));
            } else {
                op.attrs.push((name, value));
            }
        }
        Ok(const_value)
    }

    fn give_value(&mut self, op: &mut Op, value: Option<Attr>) -> Result<(), Fault> {
        if op.code != Opcode::Const {
            return Ok(());
        }
        let [result] = op.results[..] else {
            return invalid(format!("a const has one result, not {}", op.results.len()));
        };
        if !op.args.is_empty() {
            return invalid("a const has no arguments");
        }
        let defined: &mut Value = &mut self.function.values[result.index()];
        let own = match value {
            None => return invalid("a const has no value"),
            Some(Attr::Constant(c)) => {
                let own = Type::Tensor(c.ty.clone());
                defined.constant = Some(c);
                own
            }
            Some(Attr::List(ty, elements)) => {
                op.attrs.push(("val".into(), Attr::List(ty.clone(), elements)));
                ty
            }
            Some(Attr::Dict(ty, entries)) => {
                op.attrs.push(("val".into(), Attr::Dict(ty.clone(), entries)));
                ty
            }
        };
        if own != defined.ty {
            return invalid(format!("it is declared `{}`, its value is `{own}`", defined.ty));
        }
        Ok(())
    }
}

fn within(argument: &str, fault: Fault) -> Fault {
    match fault {
        Fault::Unsupported(feature, detail) => Fault::Unsupported(feature, format!("`{argument}`: {detail}")),
        Fault::Invalid(reason) => Fault::Invalid(format!("`{argument}`: {reason}")),
    }
}
