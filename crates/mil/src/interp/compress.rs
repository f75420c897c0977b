//! Quantisation and compressed weights.

use super::{Operands, Tensor, tensor::for_each_index};
use crate::{CallError, DType, infer::compress::table};

/// A number for all, or one a slice of an axis.
struct Scales {
    data: Vec<f64>,
    axis: usize,
}

impl Scales {
    fn read(o: Operands<'_>, name: &'static str, rank: usize, absent: f64) -> Result<Self, CallError> {
        let data = o.optional(name)?.map_or_else(|| vec![absent], |t| t.data.clone());
        let axis = if data.len() == 1 { 0 } else { o.call.axis(o.call.int("axis")?.unwrap_or(0), rank)? };
        Ok(Self { data, axis })
    }

    fn at(&self, index: &[usize]) -> f64 {
        match self.data.as_slice() {
            [only] => *only,
            all => all[index[self.axis]],
        }
    }
}

/// round(x / scale) + zero_point, held in the range of the type.
pub(super) fn quantize(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("input")?;
    let (scale, zero) =
        (Scales::read(o, "scale", x.rank(), 1.0)?, Scales::read(o, "zero_point", x.rank(), 0.0)?);
    let (low, high) = match o.call.dtype("output_dtype")? {
        DType::Int8 => (-128.0, 127.0),
        _ => (0.0, 255.0),
    };
    Ok(Tensor::from_fn(x.shape.clone(), |i| {
        ((x.at(i) / scale.at(i)).round_ties_even() + zero.at(i)).clamp(low, high)
    }))
}

/// scale · (x − zero_point)
pub(super) fn dequantize(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor(if o.call.has("input") { "input" } else { "quantized_data" })?;
    let (scale, zero) =
        (Scales::read(o, "scale", x.rank(), 1.0)?, Scales::read(o, "zero_point", x.rank(), 0.0)?);
    Ok(Tensor::from_fn(x.shape.clone(), |i| scale.at(i) * (x.at(i) - zero.at(i))))
}

/// The element of a tensor with one element a block at the block that `index` of a tensor of `shape` is in.
fn of_block(blocks: &Tensor, shape: &[usize], index: &[usize]) -> f64 {
    let at = index.iter().zip(shape.iter().zip(&blocks.shape)).map(|(&i, (&d, &b))| i / (d / b));
    blocks.at(&at.collect::<Vec<_>>())
}

/// scale · (x − offset) at `index`, with the scale and offset of its block.
fn shift_scale(scale: &Tensor, offset: Option<&Tensor>, shape: &[usize], index: &[usize], x: f64) -> f64 {
    of_block(scale, shape, index) * (x - offset.map_or(0.0, |t| of_block(t, shape, index)))
}

pub(super) fn blockwise(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (data, scale, offset) = (o.tensor("data")?, o.tensor("scale")?, o.optional("offset")?);
    Ok(Tensor::from_fn(data.shape.clone(), |i| {
        shift_scale(&scale, offset.as_deref(), &data.shape, i, data.at(i))
    }))
}

/// Bit fields of `bits` bits packed into bytes from the lowest bit up.
fn unpack(bytes: &[f64], bits: usize, count: usize) -> Vec<usize> {
    let bit = |n: usize| bytes.get(n / 8).map_or(0, |&byte| (byte as usize >> (n % 8)) & 1);
    (0..count).map(|i| (0..bits).map(|k| bit(i * bits + k) << k).sum()).collect()
}

/// Element `part` of the vector that `entry` names in the table of the group that `index` is in.
fn look_up(lut: &Tensor, shape: &[usize], index: &[usize], entry: f64, part: usize) -> f64 {
    let rank = shape.len();
    let mut at: Vec<usize> =
        index.iter().zip(shape.iter().zip(&lut.shape)).map(|(&i, (&d, &g))| i / (d / g)).collect();
    at.extend([(entry.max(0.0) as usize).min(lut.shape[rank] - 1), part]);
    lut.at(&at)
}

pub(super) fn lut_to_dense(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (indices, lut) = (o.tensor("indices")?, o.tensor("lut")?);
    let shape = o.result_shape()?;
    if o.call.has("shape") {
        let bits = lut.data.len().trailing_zeros() as usize;
        let entries = unpack(&indices.data, bits, shape.iter().product());
        return Ok(Tensor::new(shape, entries.iter().map(|&e| lut.data[e]).collect::<Vec<_>>()));
    }
    let vectors = table(o.call, &indices.shape)?;
    let mut at = vec![0; shape.len()];
    Ok(Tensor::from_fn(shape, |i| {
        at.copy_from_slice(i);
        let mut part = 0;
        if let Some(along) = at.get_mut(vectors.axis) {
            (part, *along) = (*along % vectors.size, *along / vectors.size);
        }
        look_up(&lut, &indices.shape, &at, indices.at(&at), part)
    }))
}

/// The elements that a mask of `shape` has, by place; `None` where it has none. `mask` has an element a place.
fn places(o: Operands<'_>, mask: &[f64], data: &[f64]) -> Result<Vec<Option<f64>>, CallError> {
    let set = mask.iter().filter(|&&m| m != 0.0).count();
    if set != data.len() {
        return Err(o
            .call
            .invalid(format!("the mask has {set} places, but there are {} elements", data.len())));
    }
    let mut rest = data.iter().copied();
    Ok(mask.iter().map(|&m| if m != 0.0 { rest.next() } else { None }).collect())
}

pub(super) fn sparse_to_dense(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (data, mask) = (o.tensor("nonzero_data")?, o.tensor("mask")?);
    let shape = o.result_shape()?;
    let mask: Vec<f64> = match o.call.has("shape") {
        true => unpack(&mask.data, 1, shape.iter().product()).iter().map(|&b| b as f64).collect(),
        false => mask.data.clone(),
    };
    let dense: Vec<f64> = places(o, &mask, &data.data)?.iter().map(|p| p.unwrap_or(0.0)).collect();
    Ok(Tensor::new(shape, dense))
}

/// The mask with each place repeated for a vector, and the looked-up elements in the order of the places.
pub(super) fn lut_to_sparse(o: Operands<'_>) -> Result<Vec<Tensor>, CallError> {
    let (mask, data) = (o.tensor("indices_mask")?, o.tensor("indices_nonzero_data")?);
    let lut = o.tensor("lut")?;
    let vectors = table(o.call, &mask.shape)?;
    let entries = places(o, &mask.data, &data.data)?;
    let shapes = o.result_shapes()?;
    let mut at = vec![0; mask.rank()];
    let mut found = Vec::with_capacity(shapes[1].iter().product());
    let wide = Tensor::from_fn(shapes[0].clone(), |i| {
        at.copy_from_slice(i);
        let mut part = 0;
        if let Some(along) = at.get_mut(vectors.axis) {
            (part, *along) = (*along % vectors.size, *along / vectors.size);
        }
        match entries[mask.offset_of(&at)] {
            Some(entry) => {
                found.push(look_up(&lut, &mask.shape, &at, entry, part));
                1.0
            }
            None => 0.0,
        }
    });
    Ok(vec![wide, Tensor::new(shapes[1].clone(), found)])
}

pub(super) fn sparse_blockwise(o: Operands<'_>) -> Result<Vec<Tensor>, CallError> {
    let (mask, data) = (o.tensor("data_mask")?, o.tensor("nonzero_data")?);
    let (scale, offset) = (o.tensor("scale")?, o.optional("offset")?);
    let elements = places(o, &mask.data, &data.data)?;
    let mut scaled = Vec::with_capacity(data.data.len());
    let mut element = elements.iter();
    for_each_index(&mask.shape, |i| {
        if let Some(Some(x)) = element.next() {
            scaled.push(shift_scale(&scale, offset.as_deref(), &mask.shape, i, *x));
        }
    });
    Ok(vec![mask.into_owned(), Tensor::new(data.shape.clone(), scaled)])
}
