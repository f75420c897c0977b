//! Result types of quantisation and of compressed weights.

use super::{has_shape, product, sizes};
use crate::{
    DType, TensorType,
    call::{Call, CallError},
};

/// `scale` and `zero_point` are numbers, or vectors along `axis` of a tensor of `shape`.
fn check_scales(call: Call<'_>, shape: &[usize]) -> Result<(), CallError> {
    for name in ["scale", "zero_point"] {
        let Some(operand) = call.operand(name)? else { continue };
        let given = call.function.operand_type(operand).map(|t| t.shape.clone()).unwrap_or_default();
        if product(&given) == 1 {
            continue;
        }
        let axis = call.int("axis")?.ok_or(CallError::Missing { op: call.code(), arg: "axis" })?;
        let axis = call.axis(axis, shape.len())?;
        if given != [shape[axis]] {
            return Err(call.invalid(format!(
                "{name} has shape {given:?}; it must be a number or {} numbers, one a slice of axis {axis}",
                shape[axis]
            )));
        }
    }
    Ok(())
}

pub(super) fn quantize(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("input")?;
    check_scales(call, &x.shape)?;
    match call.dtype("output_dtype")? {
        dtype @ (DType::Int8 | DType::Uint8) => Ok(TensorType::new(dtype, x.shape.clone())),
        other => Err(call.invalid(format!("output_dtype is {other}; it must be int8 or uint8"))),
    }
}

/// `dequantize` and `constexpr_affine_dequantize`: elements become of the type of `scale`.
pub(super) fn dequantize(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = match call.has("input") {
        true => call.tensor("input")?,
        false => call.tensor("quantized_data")?,
    };
    if !x.dtype.is_int() {
        return Err(call.invalid(format!("the data is {x}; it must hold integers")));
    }
    check_scales(call, &x.shape)?;
    Ok(TensorType::new(call.tensor("scale")?.dtype, x.shape.clone()))
}

/// Checks that `scale` has a number a block of a tensor of `shape`, and `offset` as many.
fn check_blocks(call: Call<'_>, shape: &[usize]) -> Result<DType, CallError> {
    let scale = call.tensor("scale")?;
    let divides = |(&d, &s): (&usize, &usize)| s > 0 && d.is_multiple_of(s);
    if scale.rank() != shape.len() || !shape.iter().zip(&scale.shape).all(divides) {
        return Err(call.invalid(format!(
            "scale has shape {:?}, whose extents must divide those of the data, {shape:?}",
            scale.shape
        )));
    }
    has_shape(call, "offset", &scale.shape)?;
    Ok(scale.dtype)
}

pub(super) fn blockwise(call: Call<'_>) -> Result<TensorType, CallError> {
    let data = call.tensor("data")?;
    Ok(TensorType::new(check_blocks(call, &data.shape)?, data.shape.clone()))
}

pub(super) fn cast(call: Call<'_>) -> Result<TensorType, CallError> {
    Ok(TensorType::new(call.dtype("output_dtype")?, call.tensor("source_val")?.shape.clone()))
}

/// How vectors of a look-up table fill the result: as many elements along an axis.
pub(crate) struct Vectors {
    pub(crate) size: usize,
    pub(crate) axis: usize,
}

/// Checks a table `[*groups, entries, vector]` for indices of `shape`.
pub(crate) fn table(call: Call<'_>, shape: &[usize]) -> Result<Vectors, CallError> {
    let lut = call.tensor("lut")?;
    let wrong = |why: &str| call.invalid(format!("lut has shape {:?}: {why}", lut.shape));
    if lut.rank() != shape.len() + 2 {
        return Err(wrong(&format!("it must have two axes more than the indices, {shape:?}")));
    }
    let (groups, entries) = lut.shape.split_at(shape.len());
    if groups.iter().zip(shape).any(|(&g, &d)| g == 0 || !d.is_multiple_of(g)) {
        return Err(wrong(&format!("its first extents must divide those of the indices, {shape:?}")));
    }
    let [count, size] = [entries[0], entries[1]];
    if count == 0 || size == 0 {
        return Err(wrong("it holds nothing"));
    }
    let axis = match call.int("vector_axis")? {
        Some(axis) => call.axis(axis, shape.len())?,
        None if size == 1 => 0,
        None => return Err(wrong("vectors of more than one element need vector_axis")),
    };
    Ok(Vectors { size, axis })
}

/// Indices of the rank of the result; before iOS 18, bytes in which they are packed, and `shape`.
pub(super) fn lut_to_dense(call: Call<'_>) -> Result<TensorType, CallError> {
    let (indices, lut) = (call.tensor("indices")?, call.tensor("lut")?);
    if !call.has("shape") {
        let vectors = table(call, &indices.shape)?;
        let mut shape = indices.shape.clone();
        if let Some(d) = shape.get_mut(vectors.axis) {
            *d = d.saturating_mul(vectors.size);
        }
        return Ok(TensorType::new(lut.dtype, shape));
    }
    let shape = sizes(call, "shape")?;
    let bits = match lut.shape[..] {
        [n @ (2 | 4 | 16 | 64 | 256)] => n.trailing_zeros() as usize,
        _ => {
            return Err(
                call.invalid(format!("lut has shape {:?}; it must hold 2, 4, 16, 64 or 256", lut.shape))
            );
        }
    };
    has_shape(call, "indices", &[product(&shape).saturating_mul(bits).div_ceil(8)])?;
    Ok(TensorType::new(lut.dtype, shape))
}

pub(super) fn sparse_to_dense(call: Call<'_>) -> Result<TensorType, CallError> {
    let (data, mask) = (call.tensor("nonzero_data")?, call.tensor("mask")?);
    if !call.has("shape") {
        return Ok(TensorType::new(data.dtype, mask.shape.clone()));
    }
    let shape = sizes(call, "shape")?;
    has_shape(call, "mask", &[product(&shape).div_ceil(8)])?;
    Ok(TensorType::new(data.dtype, shape))
}

/// The mask, each bit repeated for a vector, and the looked-up elements.
pub(super) fn lut_to_sparse(call: Call<'_>) -> Result<Vec<TensorType>, CallError> {
    let (mask, data) = (call.tensor("indices_mask")?, call.tensor("indices_nonzero_data")?);
    let vectors = table(call, &mask.shape)?;
    let mut shape = mask.shape.clone();
    if let Some(d) = shape.get_mut(vectors.axis) {
        *d = d.saturating_mul(vectors.size);
    }
    let count = data.elements().saturating_mul(vectors.size);
    Ok(vec![TensorType::new(mask.dtype, shape), TensorType::new(call.tensor("lut")?.dtype, [count])])
}

pub(super) fn sparse_blockwise(call: Call<'_>) -> Result<Vec<TensorType>, CallError> {
    let (mask, data) = (call.tensor("data_mask")?, call.tensor("nonzero_data")?);
    let dtype = check_blocks(call, &mask.shape)?;
    Ok(vec![mask.clone(), TensorType::new(dtype, data.shape.clone())])
}
