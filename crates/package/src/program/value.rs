//! Values: tensors in the program or in a weight file, lists, tuples, dictionaries.

use ferrane_mil::{Attr, Constant, DType, Payload, TensorType, Type};

use super::tensor::{read_tensor, write_tensor};
use super::types::{read_type, write_type};
use super::{Fault, invalid};
use crate::error::{Feature, shorten};
use crate::proto::mil::{self as proto, immediate_value, value};
use crate::weights::Offsets;

pub(super) fn read_value(value: proto::Value) -> Result<Attr, Fault> {
    use immediate_value::Value as P;
    let ty = read_type(value.r#type.as_deref())?;
    let immediate = match value.value {
        Some(value::Value::BlobFile(blob)) => {
            let Type::Tensor(ty) = ty else { return invalid(format!("a {ty} cannot be in a weight file")) };
            if ty.dtype == DType::String {
                return invalid("strings cannot be in a weight file");
            }
            return Ok(Attr::Constant(Constant::blob(ty, blob.file_name, blob.offset)));
        }
        Some(value::Value::Immediate(immediate)) => immediate.value,
        None => None,
    };
    match (ty, immediate) {
        (Type::Tensor(ty), Some(P::Tensor(t))) => {
            let data = read_tensor(t, &ty)?;
            Ok(Attr::Constant(Constant::inline(ty, data)))
        }
        (ty @ Type::List(..), Some(P::List(l))) | (ty @ Type::Tuple(_), Some(P::Tuple(l))) => {
            let elements = l.values.into_iter().map(read_value).collect::<Result<_, _>>()?;
            Ok(Attr::List(ty, elements))
        }
        (ty @ Type::Dict(..), Some(P::Dictionary(d))) => {
            let entries = d.values.into_iter().map(read_entry).collect::<Result<_, _>>()?;
            Ok(Attr::Dict(ty, entries))
        }
        (ty, None) => invalid(format!("a {ty} has no value")),
        (ty, Some(_)) => invalid(format!("a {ty} has a value of another kind")),
    }
}

fn read_entry(entry: proto::KeyValuePair) -> Result<(Constant, Attr), Fault> {
    let (Some(key), Some(value)) = (entry.key, entry.value) else {
        return invalid("an entry of a dictionary lacks its key or its value");
    };
    Ok((constant(read_value(*key)?)?, read_value(*value)?))
}

/// A constant in the place of an argument. A list of scalars is taken as a vector, which is how the text writes it.
pub(super) fn read_literal(value: proto::Value) -> Result<Constant, Fault> {
    match read_value(value)? {
        Attr::List(Type::List(element, _), elements) => match *element {
            Type::Tensor(TensorType { dtype, shape }) if shape.is_empty() => vector(dtype, elements),
            _ => composite("a list"),
        },
        other => constant(other),
    }
}

fn vector(dtype: DType, elements: Vec<Attr>) -> Result<Constant, Fault> {
    // Every element was checked to fit its own type; joined through their written form they need no case by type.
    let n = elements.len();
    let mut strings = Vec::new();
    let mut ints = Vec::new();
    for element in elements {
        let element = constant(element)?;
        match (element.as_str(), element.as_int()) {
            (Some(s), _) => strings.push(s.to_string()),
            (_, Some(i)) => ints.push(i),
            _ => return composite("a list of other things than strings and integers"),
        }
    }
    let ty = TensorType::new(dtype, [n]);
    let data = match dtype {
        DType::String if ints.is_empty() => ferrane_mil::Data::String(strings),
        DType::Int32 | DType::Int64 if strings.is_empty() => ferrane_mil::Data::Int(ints),
        _ => return composite("a list of other things than strings and integers"),
    };
    Ok(Constant::inline(ty, data))
}

pub(super) fn constant(attr: Attr) -> Result<Constant, Fault> {
    match attr {
        Attr::Constant(c) => Ok(c),
        Attr::List(..) => composite("a list or tuple"),
        Attr::Dict(..) => composite("a dictionary"),
    }
}

fn composite<T>(what: &str) -> Result<T, Fault> {
    Err(Fault::Unsupported(Feature::CompositeArgument, format!("{what} where a tensor is expected")))
}

pub(super) fn write_value(attr: &Attr, offsets: &Offsets) -> Result<proto::Value, Fault> {
    use immediate_value::Value as P;
    let (ty, immediate) = match attr {
        Attr::Constant(c) => return write_constant(c, offsets),
        Attr::List(ty, elements) => {
            let values = elements.iter().map(|e| write_value(e, offsets)).collect::<Result<_, _>>()?;
            let values = proto::Values { values };
            (ty, if matches!(ty, Type::Tuple(_)) { P::Tuple(values) } else { P::List(values) })
        }
        Attr::Dict(ty, entries) => {
            let entry = |(k, v): &(Constant, Attr)| {
                Ok(proto::KeyValuePair {
                    key: Some(Box::new(write_constant(k, offsets)?)),
                    value: Some(Box::new(write_value(v, offsets)?)),
                })
            };
            let values = entries.iter().map(entry).collect::<Result<_, _>>()?;
            (ty, P::Dictionary(proto::DictionaryValue { values }))
        }
    };
    Ok(immediate_of(ty, immediate))
}

pub(super) fn write_constant(constant: &Constant, offsets: &Offsets) -> Result<proto::Value, Fault> {
    let ty = Type::Tensor(constant.ty.clone());
    match &constant.payload {
        Payload::Inline(data) => {
            let tensor = write_tensor(data, &constant.ty)?;
            Ok(immediate_of(&ty, immediate_value::Value::Tensor(tensor)))
        }
        Payload::Blob(blob) => {
            let Some(&offset) = offsets.get(blob) else {
                return invalid(format!(
                    "no weight is known at offset {} of `{}`",
                    blob.offset,
                    shorten(&blob.path)
                ));
            };
            let file_name = crate::weights::FILE.to_string();
            Ok(proto::Value {
                r#type: Some(Box::new(write_type(&ty))),
                value: Some(value::Value::BlobFile(proto::BlobFileValue { file_name, offset })),
                ..proto::Value::default()
            })
        }
    }
}

/// A vector as a list of scalars, as `classify` takes its labels.
pub(super) fn write_list(constant: &Constant) -> Result<proto::Value, Fault> {
    let scalar = TensorType::scalar(constant.ty.dtype);
    let element = |data| Attr::Constant(Constant::inline(scalar.clone(), data));
    let elements: Vec<Attr> = match constant.data() {
        Some(ferrane_mil::Data::String(v)) => {
            v.iter().map(|s| element(ferrane_mil::Data::String(vec![s.clone()]))).collect()
        }
        Some(ferrane_mil::Data::Int(v)) => {
            v.iter().map(|&i| element(ferrane_mil::Data::Int(vec![i]))).collect()
        }
        _ => return composite("something other than a vector of strings or integers"),
    };
    let ty = Type::List(Box::new(Type::Tensor(scalar)), Some(elements.len()));
    write_value(&Attr::List(ty, elements), &Offsets::new())
}

pub(super) fn write_string(text: &str) -> proto::Value {
    let ty = Type::Tensor(TensorType::scalar(DType::String));
    let strings = proto::Strings { values: vec![text.into()] };
    let value = proto::TensorValue { value: Some(proto::tensor_value::Value::Strings(strings)) };
    immediate_of(&ty, immediate_value::Value::Tensor(value))
}

fn immediate_of(ty: &Type, value: immediate_value::Value) -> proto::Value {
    proto::Value {
        r#type: Some(Box::new(write_type(ty))),
        value: Some(value::Value::Immediate(proto::ImmediateValue { value: Some(value) })),
        ..proto::Value::default()
    }
}
