//! Programs as text: canonical, and without losing a bit.

use super::dialect::{Dialect, Misfit, args_in_brackets};
use super::lexer::is_name;
use super::number;
use crate::{Arg, Attr, Constant, Data, Function, Op, Opcode, Operand, Payload, Program, TensorType, Type};

/// Why a program has no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrintError {
    /// The dialect cannot say it.
    #[error("the program cannot be written in the verbose dialect: {}{}; lower it to program(1.0) and ios16 first", .0[0], more(.0.len()))]
    Dialect(Vec<Misfit>),
    /// A name that is not a word of letters, digits and `_`.
    #[error(
        "{what} `{name}` cannot be written: names are letters, digits and `_` and do not begin with a digit; rename it"
    )]
    Name {
        /// What is called so.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The elements of a constant do not match its type.
    #[error("{place}: a constant of type `{ty}` has {length} elements of another number or kind")]
    Constant {
        /// Where it is.
        place: String,
        /// Its type.
        ty: TensorType,
        /// Number of its elements.
        length: usize,
    },
    /// A `const` op whose result has no constant.
    #[error("`{name}` is defined by a `const` op but has no constant")]
    ConstValue {
        /// The result's name.
        name: String,
    },
    /// An attribute that is written otherwise.
    #[error("{place}: `{name}` cannot be among the further attributes of an op; it is part of the op itself")]
    Reserved {
        /// Where it is.
        place: String,
        /// The attribute.
        name: String,
    },
    /// A list, tuple or dictionary whose elements do not match its type.
    #[error("{place}: an attribute does not match its type `{ty}`")]
    Attribute {
        /// Where it is.
        place: String,
        /// The type it claims.
        ty: String,
    },
}

fn more(misfits: usize) -> String {
    if misfits > 1 { format!(" (and {} more)", misfits - 1) } else { String::new() }
}

type Print = Result<(), PrintError>;

/// The program as text. Reading the text gives the same program again, bit for bit.
///
/// # Errors
/// What cannot be written: see [`PrintError`]. Verified programs can always be written in [`Dialect::Modern`].
pub fn print(program: &Program, dialect: Dialect) -> Result<String, PrintError> {
    let misfits = dialect.misfits(program);
    if !misfits.is_empty() {
        return Err(PrintError::Dialect(misfits));
    }
    let mut printer = Printer { out: String::new(), dialect, place: String::new() };
    printer.program(program)?;
    Ok(printer.out)
}

struct Printer {
    out: String,
    dialect: Dialect,
    /// The statement being written, for errors.
    place: String,
}

impl Printer {
    fn program(&mut self, program: &Program) -> Print {
        let (major, minor) = program.version;
        self.out.push_str(&format!("program({major}.{minor})\n"));
        if !program.attrs.is_empty() {
            self.attributes(&program.attrs)?;
            self.out.push('\n');
        }
        self.out.push_str("{\n");
        for function in &program.functions {
            self.function(function)?;
        }
        self.out.push_str("}\n");
        Ok(())
    }

    fn function(&mut self, function: &Function) -> Print {
        self.out.push_str("    func ");
        self.name("function", &function.name)?;
        self.out.push('<');
        self.out.push_str(function.opset.name());
        self.out.push_str(">(");
        self.list(&function.inputs, |p, id| p.typed_name(function, *id))?;
        self.out.push(')');
        if !function.attrs.is_empty() {
            self.out.push(' ');
            self.attributes(&function.attrs)?;
        }
        self.out.push_str(" {\n");
        for op in &function.ops {
            self.out.push_str("        ");
            self.statement(function, op)?;
            self.out.push_str(";\n");
        }
        self.out.push_str("    } -> (");
        self.list(&function.outputs, |p, id| p.name("value", function.name_of(*id)))?;
        self.out.push_str(");\n");
        Ok(())
    }

    fn statement(&mut self, function: &Function, op: &Op) -> Print {
        let first = op.results.first().map(|id| function.name_of(*id));
        self.place.clear();
        self.place.push_str(first.unwrap_or(op.code.name()));
        self.list(&op.results, |p, id| p.typed_name(function, *id))?;
        if first.is_some() {
            self.out.push_str(" = ");
        }
        self.out.push_str(op.code.name());
        self.out.push('(');
        let in_brackets = args_in_brackets(op);
        if !in_brackets {
            self.list(&op.args, |p, (name, arg)| {
                p.name("argument", name)?;
                p.out.push_str(" = ");
                p.arg(function, arg)
            })?;
        }
        self.out.push(')');
        self.op_attributes(function, op, first, in_brackets)
    }

    fn op_attributes(
        &mut self,
        function: &Function,
        op: &Op,
        first: Option<&str>,
        in_brackets: bool,
    ) -> Print {
        let start = self.out.len();
        let name = if op.name.is_empty() { first.unwrap_or_default() } else { &op.name };
        if !name.is_empty() {
            self.attribute_name(start, "name")?;
            self.constant(&Constant::string(name))?;
        }
        if op.code == Opcode::Const {
            let constant = op.results.first().and_then(|id| function.value(*id).constant.as_ref());
            if let Some(constant) = constant {
                self.attribute_name(start, "val")?;
                self.constant(constant)?;
            } else if !op.attrs.iter().any(|(n, _)| n == "val") {
                return Err(PrintError::ConstValue { name: first.unwrap_or_default().to_string() });
            }
        }
        if in_brackets {
            for (name, arg) in &op.args {
                self.attribute_name(start, name)?;
                self.arg(function, arg)?;
            }
        }
        for (name, attr) in &op.attrs {
            let constant = op.code == Opcode::Const && name == "val" && matches!(attr, Attr::Constant(_));
            if name == "name" || constant {
                return Err(PrintError::Reserved { place: self.place.clone(), name: name.clone() });
            }
            self.attribute_name(start, name)?;
            self.attr(attr)?;
        }
        if self.out.len() > start {
            self.out.push(']');
        }
        Ok(())
    }

    /// Begins an attribute; the first one opens the bracket that began at `start`.
    fn attribute_name(&mut self, start: usize, name: &str) -> Print {
        self.out.push_str(if self.out.len() == start { "[" } else { ", " });
        self.name("attribute", name)?;
        self.out.push_str(" = ");
        Ok(())
    }

    fn attributes(&mut self, attrs: &[(String, Attr)]) -> Print {
        self.place.clear();
        self.place.push_str("attributes");
        self.out.push('[');
        self.list(attrs, |p, (name, attr)| {
            p.name("attribute", name)?;
            p.out.push_str(" = ");
            p.attr(attr)
        })?;
        self.out.push(']');
        Ok(())
    }

    fn typed_name(&mut self, function: &Function, id: crate::ValueId) -> Print {
        let value = function.value(id);
        self.ty(&value.ty);
        self.out.push(' ');
        self.name("value", &value.name)
    }

    fn name(&mut self, what: &'static str, name: &str) -> Print {
        if !is_name(name) {
            return Err(PrintError::Name { what, name: name.to_string() });
        }
        self.out.push_str(name);
        Ok(())
    }

    fn arg(&mut self, function: &Function, arg: &Arg) -> Print {
        match arg {
            Arg::One(operand) => self.operand(function, operand),
            Arg::Many(operands) => {
                self.out.push('(');
                self.list(operands, |p, o| p.operand(function, o))?;
                self.out.push(')');
                Ok(())
            }
        }
    }

    fn operand(&mut self, function: &Function, operand: &Operand) -> Print {
        match operand {
            Operand::Value(id) => self.name("value", function.name_of(*id)),
            Operand::Literal(constant) => self.constant(constant),
        }
    }

    // Types.

    fn ty(&mut self, ty: &Type) {
        match ty {
            Type::Tensor(t) => self.tensor_type(t),
            Type::List(t, length) => {
                self.out.push_str("list<");
                self.ty(t);
                self.out.push_str(", ");
                match length {
                    Some(n) => self.out.push_str(&n.to_string()),
                    None => self.out.push('?'),
                }
                self.out.push('>');
            }
            Type::Tuple(types) => {
                self.out.push_str("tuple<");
                for (i, t) in types.iter().enumerate() {
                    self.comma(i);
                    self.ty(t);
                }
                self.out.push('>');
            }
            Type::Dict(key, value) => {
                self.out.push_str("dict<");
                self.ty(key);
                self.out.push_str(", ");
                self.ty(value);
                self.out.push('>');
            }
            Type::State(t) => {
                self.out.push_str("state<");
                self.ty(t);
                self.out.push('>');
            }
        }
    }

    fn tensor_type(&mut self, ty: &TensorType) {
        if ty.shape.is_empty() && self.dialect == Dialect::Modern {
            return self.out.push_str(ty.dtype.name());
        }
        self.out.push_str("tensor<");
        self.out.push_str(ty.dtype.name());
        self.out.push_str(", [");
        for (i, extent) in ty.shape.iter().enumerate() {
            self.comma(i);
            self.out.push_str(&extent.to_string());
        }
        self.out.push_str("]>");
    }

    // Values.

    fn attr(&mut self, attr: &Attr) -> Print {
        match attr {
            Attr::Constant(constant) => self.constant(constant),
            Attr::Dict(ty, _) | Attr::List(ty, _) => {
                self.ty(ty);
                self.out.push('(');
                self.attr_value(attr)?;
                self.out.push(')');
                Ok(())
            }
        }
    }

    /// The value without its type.
    fn attr_value(&mut self, attr: &Attr) -> Print {
        match attr {
            Attr::Constant(constant) => self.constant_value(constant),
            Attr::Dict(Type::Dict(key, value), entries) => {
                self.out.push('{');
                self.list(entries, |p, (k, v)| {
                    p.out.push('{');
                    if key.as_tensor() == Some(&k.ty) {
                        p.constant_value(k)?
                    } else {
                        p.constant(k)?
                    }
                    p.out.push_str(", ");
                    p.element(value, v)?;
                    p.out.push('}');
                    Ok(())
                })?;
                self.out.push('}');
                Ok(())
            }
            Attr::List(Type::List(element, length), elements)
                if length.is_none_or(|n| n == elements.len()) =>
            {
                self.out.push('[');
                self.list(elements, |p, e| p.element(element, e))?;
                self.out.push(']');
                Ok(())
            }
            Attr::List(Type::Tuple(types), elements) if types.len() == elements.len() => {
                self.out.push('(');
                self.list(&elements.iter().zip(types).collect::<Vec<_>>(), |p, (e, t)| p.element(t, e))?;
                self.out.push(')');
                Ok(())
            }
            // `type()` suits every type.
            Attr::List(Type::Tuple(_) | Type::List(..), elements) if elements.is_empty() => Ok(()),
            Attr::Dict(ty, _) | Attr::List(ty, _) => {
                Err(PrintError::Attribute { place: self.place.clone(), ty: ty.to_string() })
            }
        }
    }

    /// An element of a list or dictionary of `ty`: with its own type where that differs.
    fn element(&mut self, ty: &Type, attr: &Attr) -> Print {
        let bare = match attr {
            Attr::Constant(c) => ty.as_tensor() == Some(&c.ty),
            Attr::Dict(own, _) => own == ty,
            Attr::List(own, elements) => own == ty && !elements.is_empty(),
        };
        if bare { self.attr_value(attr) } else { self.attr(attr) }
    }

    fn constant(&mut self, constant: &Constant) -> Print {
        self.tensor_type(&constant.ty);
        self.out.push('(');
        self.constant_value(constant)?;
        self.out.push(')');
        Ok(())
    }

    fn constant_value(&mut self, constant: &Constant) -> Print {
        match &constant.payload {
            Payload::Blob(blob) => {
                self.out.push_str("BLOBFILE(path = ");
                self.constant(&Constant::string(blob.path.as_str()))?;
                self.out.push_str(", offset = ");
                let offset = Data::Uint(vec![blob.offset]);
                self.constant(&Constant::inline(TensorType::scalar(crate::DType::Uint64), offset))?;
                self.out.push(')');
                Ok(())
            }
            Payload::Inline(data) => self.data(&constant.ty, data),
        }
    }

    fn data(&mut self, ty: &TensorType, data: &Data) -> Print {
        if Some(data.len()) != ty.checked_elements() || !data.matches(ty.dtype) {
            let (place, ty, length) = (self.place.clone(), ty.clone(), data.len());
            return Err(PrintError::Constant { place, ty, length });
        }
        if data.is_empty() {
            // One form for every empty shape, however many empty lists it would nest.
            self.out.push_str("[]");
            return Ok(());
        }
        let mut index = 0;
        self.nest(ty, &ty.shape, data, &mut index);
        Ok(())
    }

    /// Elements as lists nested along `axes`.
    fn nest(&mut self, ty: &TensorType, axes: &[usize], data: &Data, index: &mut usize) {
        let Some((&extent, inner)) = axes.split_first() else {
            number::write(&mut self.out, data, ty.dtype, *index);
            *index += 1;
            return;
        };
        self.out.push('[');
        for i in 0..extent {
            self.comma(i);
            self.nest(ty, inner, data, index);
        }
        self.out.push(']');
    }

    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T) -> Print) -> Print {
        for (i, item) in items.iter().enumerate() {
            self.comma(i);
            write(self, item)?;
        }
        Ok(())
    }

    fn comma(&mut self, index: usize) {
        if index > 0 {
            self.out.push_str(", ");
        }
    }
}
