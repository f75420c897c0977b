//! Types.

use ferrane_mil::{DType, TensorType, Type};

use super::{Fault, invalid};
use crate::error::Feature;
use crate::proto::mil::{self as proto, dimension::Dimension, value_type};

/// Element types and their numbers in `MIL.proto`.
const NUMBERS: [(DType, i32); 22] = [
    (DType::Bool, 1),
    (DType::String, 2),
    (DType::Fp16, 10),
    (DType::Bf16, 13),
    (DType::Fp32, 11),
    (DType::Fp64, 12),
    (DType::Fp8E4M3, 40),
    (DType::Fp8E5M2, 41),
    (DType::Int4, 25),
    (DType::Int8, 21),
    (DType::Int16, 22),
    (DType::Int32, 23),
    (DType::Int64, 24),
    (DType::Uint1, 37),
    (DType::Uint2, 36),
    (DType::Uint3, 39),
    (DType::Uint4, 35),
    (DType::Uint6, 38),
    (DType::Uint8, 31),
    (DType::Uint16, 32),
    (DType::Uint32, 33),
    (DType::Uint64, 34),
];

pub(super) fn read_type(ty: Option<&proto::ValueType>) -> Result<Type, Fault> {
    use value_type::Type as P;
    match ty.and_then(|t| t.r#type.as_ref()) {
        Some(P::Tensor(t)) => Ok(Type::Tensor(read_tensor_type(t)?)),
        Some(P::List(l)) => {
            let length = match l.length.as_ref().and_then(|d| d.dimension.as_ref()) {
                Some(Dimension::Constant(c)) => Some(extent(c.size)?),
                _ => None,
            };
            Ok(Type::List(Box::new(read_type(l.r#type.as_deref())?), length))
        }
        Some(P::Tuple(t)) => {
            Ok(Type::Tuple(t.types.iter().map(|t| read_type(Some(t))).collect::<Result<_, _>>()?))
        }
        Some(P::Dictionary(d)) => {
            let (key, value) = (read_type(d.key_type.as_deref())?, read_type(d.value_type.as_deref())?);
            Ok(Type::Dict(Box::new(key), Box::new(value)))
        }
        Some(P::State(s)) => {
            let wrapped = read_type(s.wrapped_type.as_deref())?;
            Err(Fault::Unsupported(Feature::State, format!("the type is state<{wrapped}>")))
        }
        None => invalid("a type is missing"),
    }
}

fn read_tensor_type(ty: &proto::TensorType) -> Result<TensorType, Fault> {
    let Some(&(dtype, _)) = NUMBERS.iter().find(|row| row.1 == ty.data_type) else {
        return Err(Fault::Unsupported(Feature::ElementType, format!("its number is {}", ty.data_type)));
    };
    if ty.rank < 0 {
        return Err(Fault::Unsupported(Feature::UnknownRank, format!("the rank is {}", ty.rank)));
    }
    if i64::try_from(ty.dimensions.len()) != Ok(ty.rank) {
        return invalid(format!("a tensor type of rank {} has {} dimensions", ty.rank, ty.dimensions.len()));
    }
    let mut shape = Vec::with_capacity(ty.dimensions.len());
    for (axis, dimension) in ty.dimensions.iter().enumerate() {
        match dimension.dimension {
            Some(Dimension::Constant(c)) => shape.push(extent(c.size)?),
            Some(Dimension::Unknown(_)) => {
                let detail = format!("axis {axis} of a {dtype} tensor of rank {}", ty.rank);
                return Err(Fault::Unsupported(Feature::UnknownDimension, detail));
            }
            None => return invalid(format!("axis {axis} of a tensor type is neither known nor unknown")),
        }
    }
    let ty = TensorType { dtype, shape };
    // Bits are to be countable as well, so that later sums cannot overflow.
    if ty.checked_elements().and_then(|n| n.checked_mul(dtype.bits().max(1))).is_none() {
        return invalid(format!("{ty} has more elements than can be counted"));
    }
    Ok(ty)
}

fn extent(size: u64) -> Result<usize, Fault> {
    usize::try_from(size).map_err(|_| Fault::Invalid(format!("an extent of {size} is too large")))
}

pub(super) fn write_type(ty: &Type) -> proto::ValueType {
    use value_type::Type as P;
    let boxed = |t: &Type| Some(Box::new(write_type(t)));
    let ty = match ty {
        Type::Tensor(t) => P::Tensor(write_tensor_type(t)),
        Type::List(t, length) => {
            P::List(Box::new(proto::ListType { r#type: boxed(t), length: Some(dimension(*length)) }))
        }
        Type::Tuple(ts) => P::Tuple(proto::TupleType { types: ts.iter().map(write_type).collect() }),
        Type::Dict(k, v) => {
            P::Dictionary(Box::new(proto::DictionaryType { key_type: boxed(k), value_type: boxed(v) }))
        }
        Type::State(t) => P::State(Box::new(proto::StateType { wrapped_type: boxed(t) })),
    };
    proto::ValueType { r#type: Some(ty) }
}

fn write_tensor_type(ty: &TensorType) -> proto::TensorType {
    proto::TensorType {
        data_type: NUMBERS[ty.dtype as usize].1,
        rank: ty.rank() as i64,
        dimensions: ty.shape.iter().map(|&d| dimension(Some(d))).collect(),
        ..proto::TensorType::default()
    }
}

fn dimension(extent: Option<usize>) -> proto::Dimension {
    let dimension = match extent {
        Some(extent) => Dimension::Constant(proto::ConstantDimension { size: extent as u64 }),
        None => Dimension::Unknown(proto::UnknownDimension { variadic: false }),
    };
    proto::Dimension { dimension: Some(dimension) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_type_has_its_number() {
        for (i, dtype) in DType::all().enumerate() {
            assert_eq!(NUMBERS[i].0, dtype);
            let ty = Type::Tensor(TensorType::new(dtype, [2, 0, 3]));
            assert_eq!(read_type(Some(&write_type(&ty))).ok(), Some(ty));
        }
    }

    #[test]
    fn composite_types_read_back() {
        let string = || Box::new(Type::Tensor(TensorType::scalar(DType::String)));
        let ty = Type::Tuple(vec![
            Type::List(string(), None),
            Type::List(string(), Some(3)),
            Type::Dict(string(), string()),
        ]);
        assert_eq!(read_type(Some(&write_type(&ty))).ok(), Some(ty));
    }

    #[test]
    fn shapes_that_overflow_are_refused() {
        for shape in [vec![1 << 40, 1 << 40], vec![usize::MAX], vec![usize::MAX / 8]] {
            let ty = write_type(&Type::Tensor(TensorType::new(DType::Fp32, shape)));
            assert!(matches!(read_type(Some(&ty)), Err(Fault::Invalid(_))));
        }
    }
}
