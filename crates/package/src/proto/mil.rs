//! `MIL.proto`: programs.

use std::collections::BTreeMap;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Program {
    #[prost(int64, tag = "1")]
    pub(crate) version: i64,
    #[prost(btree_map = "string, message", tag = "2")]
    pub(crate) functions: BTreeMap<String, Function>,
    #[prost(string, tag = "3")]
    pub(crate) doc_string: String,
    #[prost(btree_map = "string, message", tag = "4")]
    pub(crate) attributes: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Function {
    #[prost(message, repeated, tag = "1")]
    pub(crate) inputs: Vec<NamedValueType>,
    #[prost(string, tag = "2")]
    pub(crate) opset: String,
    #[prost(btree_map = "string, message", tag = "3")]
    pub(crate) block_specializations: BTreeMap<String, Block>,
    #[prost(btree_map = "string, message", tag = "4")]
    pub(crate) attributes: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Block {
    #[prost(message, repeated, tag = "1")]
    pub(crate) inputs: Vec<NamedValueType>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) outputs: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) operations: Vec<Operation>,
    #[prost(btree_map = "string, message", tag = "4")]
    pub(crate) attributes: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Operation {
    #[prost(string, tag = "1")]
    pub(crate) r#type: String,
    #[prost(btree_map = "string, message", tag = "2")]
    pub(crate) inputs: BTreeMap<String, Argument>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) outputs: Vec<NamedValueType>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) blocks: Vec<Block>,
    #[prost(btree_map = "string, message", tag = "5")]
    pub(crate) attributes: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Argument {
    #[prost(message, repeated, tag = "1")]
    pub(crate) arguments: Vec<Binding>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Binding {
    #[prost(oneof = "binding::Binding", tags = "1, 2")]
    pub(crate) binding: Option<binding::Binding>,
}

pub(crate) mod binding {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(crate) enum Binding {
        #[prost(string, tag = "1")]
        Name(String),
        #[prost(message, tag = "2")]
        Value(Box<super::Value>),
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct NamedValueType {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, boxed, tag = "2")]
    pub(crate) r#type: Option<Box<ValueType>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ValueType {
    #[prost(oneof = "value_type::Type", tags = "1, 2, 3, 4, 5")]
    pub(crate) r#type: Option<value_type::Type>,
}

pub(crate) mod value_type {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(crate) enum Type {
        #[prost(message, tag = "1")]
        Tensor(super::TensorType),
        #[prost(message, tag = "2")]
        List(Box<super::ListType>),
        #[prost(message, tag = "3")]
        Tuple(super::TupleType),
        #[prost(message, tag = "4")]
        Dictionary(Box<super::DictionaryType>),
        #[prost(message, tag = "5")]
        State(Box<super::StateType>),
    }
}

/// The numbers of `DataType` are in `types.rs`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TensorType {
    #[prost(int32, tag = "1")]
    pub(crate) data_type: i32,
    #[prost(int64, tag = "2")]
    pub(crate) rank: i64,
    #[prost(message, repeated, tag = "3")]
    pub(crate) dimensions: Vec<Dimension>,
    #[prost(btree_map = "string, message", tag = "4")]
    pub(crate) attributes: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TupleType {
    #[prost(message, repeated, tag = "1")]
    pub(crate) types: Vec<ValueType>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ListType {
    #[prost(message, optional, boxed, tag = "1")]
    pub(crate) r#type: Option<Box<ValueType>>,
    #[prost(message, optional, tag = "2")]
    pub(crate) length: Option<Dimension>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DictionaryType {
    #[prost(message, optional, boxed, tag = "1")]
    pub(crate) key_type: Option<Box<ValueType>>,
    #[prost(message, optional, boxed, tag = "2")]
    pub(crate) value_type: Option<Box<ValueType>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StateType {
    #[prost(message, optional, boxed, tag = "1")]
    pub(crate) wrapped_type: Option<Box<ValueType>>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Dimension {
    #[prost(oneof = "dimension::Dimension", tags = "1, 2")]
    pub(crate) dimension: Option<dimension::Dimension>,
}

pub(crate) mod dimension {
    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub(crate) enum Dimension {
        #[prost(message, tag = "1")]
        Constant(super::ConstantDimension),
        #[prost(message, tag = "2")]
        Unknown(super::UnknownDimension),
    }
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct ConstantDimension {
    #[prost(uint64, tag = "1")]
    pub(crate) size: u64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct UnknownDimension {
    #[prost(bool, tag = "1")]
    pub(crate) variadic: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Value {
    #[prost(string, tag = "1")]
    pub(crate) doc_string: String,
    #[prost(message, optional, boxed, tag = "2")]
    pub(crate) r#type: Option<Box<ValueType>>,
    #[prost(oneof = "value::Value", tags = "3, 5")]
    pub(crate) value: Option<value::Value>,
}

pub(crate) mod value {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(crate) enum Value {
        #[prost(message, tag = "3")]
        Immediate(super::ImmediateValue),
        #[prost(message, tag = "5")]
        BlobFile(super::BlobFileValue),
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ImmediateValue {
    #[prost(oneof = "immediate_value::Value", tags = "1, 2, 3, 4")]
    pub(crate) value: Option<immediate_value::Value>,
}

pub(crate) mod immediate_value {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(crate) enum Value {
        #[prost(message, tag = "1")]
        Tensor(super::TensorValue),
        /// A tuple.
        #[prost(message, tag = "2")]
        Tuple(super::Values),
        #[prost(message, tag = "3")]
        List(super::Values),
        #[prost(message, tag = "4")]
        Dictionary(super::DictionaryValue),
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct BlobFileValue {
    #[prost(string, tag = "1")]
    pub(crate) file_name: String,
    #[prost(uint64, tag = "2")]
    pub(crate) offset: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TensorValue {
    #[prost(oneof = "tensor_value::Value", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(crate) value: Option<tensor_value::Value>,
}

pub(crate) mod tensor_value {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(crate) enum Value {
        #[prost(message, tag = "1")]
        Floats(super::Floats),
        #[prost(message, tag = "2")]
        Ints(super::Ints),
        #[prost(message, tag = "3")]
        Bools(super::Bools),
        #[prost(message, tag = "4")]
        Strings(super::Strings),
        #[prost(message, tag = "5")]
        LongInts(super::LongInts),
        #[prost(message, tag = "6")]
        Doubles(super::Doubles),
        #[prost(message, tag = "7")]
        Bytes(super::Bytes),
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Floats {
    #[prost(float, repeated, tag = "1")]
    pub(crate) values: Vec<f32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Doubles {
    #[prost(double, repeated, tag = "1")]
    pub(crate) values: Vec<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Ints {
    #[prost(int32, repeated, tag = "1")]
    pub(crate) values: Vec<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LongInts {
    #[prost(int64, repeated, tag = "1")]
    pub(crate) values: Vec<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Bools {
    #[prost(bool, repeated, tag = "1")]
    pub(crate) values: Vec<bool>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Strings {
    #[prost(string, repeated, tag = "1")]
    pub(crate) values: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Bytes {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) values: Vec<u8>,
}

/// `TupleValue` and `ListValue`, which are alike.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Values {
    #[prost(message, repeated, tag = "1")]
    pub(crate) values: Vec<Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DictionaryValue {
    #[prost(message, repeated, tag = "1")]
    pub(crate) values: Vec<KeyValuePair>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct KeyValuePair {
    #[prost(message, optional, boxed, tag = "1")]
    pub(crate) key: Option<Box<Value>>,
    #[prost(message, optional, boxed, tag = "2")]
    pub(crate) value: Option<Box<Value>>,
}
