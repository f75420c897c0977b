//! Result types of ops that lay elements out anew or make them from nothing.

use super::{has_rank, has_shape, positive, product, sizes};
use crate::{
    Arg, DType, Opcode, TensorType,
    call::{Call, CallError},
};

/// A new axis along which the values lie; all have one type.
pub(super) fn stack(call: Call<'_>) -> Result<TensorType, CallError> {
    let values = call.tensors("values")?;
    let [first, rest @ ..] = values.as_slice() else { return Err(call.invalid("values is empty")) };
    if let Some((i, t)) = rest.iter().enumerate().find(|(_, t)| *t != first) {
        return Err(
            call.invalid(format!("value {} is {t} and value 0 is {first}; they must be alike", i + 1))
        );
    }
    let axis = call.int("axis")?.ok_or(CallError::Missing { op: call.code(), arg: "axis" })?;
    let axis = call.axis(axis, first.rank() + 1)?;
    let mut shape = first.shape.clone();
    shape.insert(axis, values.len());
    Ok(TensorType::new(first.dtype, shape))
}

pub(super) fn flatten2d(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    // An axis may stand behind the last one: everything is before it.
    let axis = match call.int("axis")?.unwrap_or(1) {
        a if a == x.rank() as i64 => x.rank(),
        a => call.axis(a, x.rank())?,
    };
    Ok(TensorType::new(x.dtype, [product(&x.shape[..axis]), product(&x.shape[axis..])]))
}

/// The extents `begins[i]..ends[i]` of each reference, to its last where `end_masks[i]`.
pub(super) fn reshape_like(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    let references = call.tensors("ref_tensors")?;
    let (begins, ends) = (numbers(call, "begins")?, numbers(call, "ends")?);
    let masks = numbers(call, "end_masks")?;
    if [begins.len(), ends.len(), masks.len()] != [references.len(); 3] {
        return Err(call.invalid("ref_tensors, begins, ends and end_masks must be of one length"));
    }
    let mut shape = Vec::new();
    for (i, t) in references.iter().enumerate() {
        let at = |n: f64| if n < 0.0 { n + t.rank() as f64 } else { n } as usize;
        let end = if masks[i] != 0.0 { t.rank() } else { at(ends[i]) };
        let part = t.shape.get(at(begins[i])..end);
        shape.extend(part.ok_or_else(|| {
            call.invalid(format!("begin {} and end {} are not axes of {t}", begins[i], ends[i]))
        })?);
    }
    match product(&shape) == x.elements() {
        true => Ok(TensorType::new(x.dtype, shape)),
        false => {
            Err(call.invalid(format!("the shape {shape:?} does not hold the elements of x {:?}", x.shape)))
        }
    }
}

/// A tuple of constant scalars.
fn numbers(call: Call<'_>, name: &'static str) -> Result<Vec<f64>, CallError> {
    let operands = call.op.arg(name).map(Arg::operands).unwrap_or_default();
    let number = |o| call.function.constant(o).and_then(crate::Constant::as_f64);
    operands
        .iter()
        .map(|o| number(o).ok_or_else(|| call.invalid(format!("{name} must be a tuple of constant scalars"))))
        .collect()
}

fn image<'a>(call: Call<'a>) -> Result<&'a TensorType, CallError> {
    let x = call.tensor("x")?;
    has_rank(call, "x", x, 4..=4)?;
    Ok(x)
}

/// The side of the blocks of `depth_to_space` and its kin.
pub(crate) fn block(call: Call<'_>) -> Result<usize, CallError> {
    positive(
        call,
        match call.code() {
            Opcode::PixelShuffle => "upscale_factor",
            Opcode::PixelUnshuffle => "downscale_factor",
            _ => "block_size",
        },
    )
}

/// `[N, C, H, W]` → `[N, C/b², H·b, W·b]`
pub(super) fn to_space(call: Call<'_>) -> Result<TensorType, CallError> {
    let (x, b) = (image(call)?, block(call)?);
    let [n, c, h, w] = [x.shape[0], x.shape[1], x.shape[2], x.shape[3]];
    let area = b.saturating_mul(b);
    match c.is_multiple_of(area) {
        true => Ok(TensorType::new(x.dtype, [n, c / area, h.saturating_mul(b), w.saturating_mul(b)])),
        false => Err(call.invalid(format!("x has {c} channels, which {b}·{b} does not divide"))),
    }
}

/// `[N, C, H, W]` → `[N, C·b², H/b, W/b]`
pub(super) fn to_depth(call: Call<'_>) -> Result<TensorType, CallError> {
    let (x, b) = (image(call)?, block(call)?);
    let [n, c, h, w] = [x.shape[0], x.shape[1], x.shape[2], x.shape[3]];
    match h.is_multiple_of(b) && w.is_multiple_of(b) {
        true => Ok(TensorType::new(x.dtype, [n, c.saturating_mul(b.saturating_mul(b)), h / b, w / b])),
        false => Err(call.invalid(format!("x has images of {h}·{w}, which {b} does not divide"))),
    }
}

/// The two extents of `block_shape` and the margins before and after each of the two axes.
pub(crate) fn blocks(call: Call<'_>, margins: &'static str) -> Result<([usize; 2], [usize; 4]), CallError> {
    let (block, margin) = (sizes(call, "block_shape")?, sizes(call, margins)?);
    match (<[usize; 2]>::try_from(block), <[usize; 4]>::try_from(margin)) {
        (Ok(b), Ok(m)) if b[0] > 0 && b[1] > 0 => Ok((b, m)),
        _ => Err(call.invalid(format!("block_shape must be 2 positive integers, {margins} 2 pairs"))),
    }
}

pub(super) fn space_to_batch(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = image(call)?;
    let (b, m) = blocks(call, "paddings")?;
    let padded = [
        x.shape[2].saturating_add(m[0]).saturating_add(m[1]),
        x.shape[3].saturating_add(m[2]).saturating_add(m[3]),
    ];
    if !padded[0].is_multiple_of(b[0]) || !padded[1].is_multiple_of(b[1]) {
        return Err(call.invalid(format!("block_shape {b:?} does not divide the padded image {padded:?}")));
    }
    let batch = product(&[x.shape[0], b[0], b[1]]);
    Ok(TensorType::new(x.dtype, [batch, x.shape[1], padded[0] / b[0], padded[1] / b[1]]))
}

pub(super) fn batch_to_space(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = image(call)?;
    let (b, m) = blocks(call, "crops")?;
    let whole = [x.shape[2].saturating_mul(b[0]), x.shape[3].saturating_mul(b[1])];
    let height = whole[0].checked_sub(m[0].saturating_add(m[1]));
    let width = whole[1].checked_sub(m[2].saturating_add(m[3]));
    match (height, width) {
        (Some(h), Some(w)) if x.shape[0].is_multiple_of(product(&b)) => {
            Ok(TensorType::new(x.dtype, [x.shape[0] / product(&b), x.shape[1], h, w]))
        }
        _ => Err(call.invalid(format!(
            "block_shape {b:?} must divide the batch of x {:?}, and crops {m:?} leave something of {whole:?}",
            x.shape
        ))),
    }
}

/// `[.., d, ..]` → `[.., (d − size)/stride + 1, size, ..]`
pub(super) fn sliding_windows(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    let axis = call.int("axis")?.ok_or(CallError::Missing { op: call.code(), arg: "axis" })?;
    let axis = call.axis(axis, x.rank())?;
    let (size, stride) = (positive(call, "size")?, positive(call, "stride")?);
    let room = x.shape[axis].checked_sub(size).ok_or_else(|| {
        call.invalid(format!("size is {size}, more than the extent {} of axis {axis}", x.shape[axis]))
    })?;
    let mut shape = x.shape.clone();
    shape.splice(axis..=axis, [room / stride + 1, size]);
    Ok(TensorType::new(x.dtype, shape))
}

/// The element type of a constant, or another when it is absent.
fn dtype_of(call: Call<'_>, name: &'static str, absent: DType) -> Result<DType, CallError> {
    call.float(name)?;
    Ok(call.constant(name)?.map_or(absent, |c| c.ty.dtype))
}

pub(super) fn fill(call: Call<'_>) -> Result<TensorType, CallError> {
    Ok(TensorType::new(dtype_of(call, "value", DType::Fp32)?, sizes(call, "shape")?))
}

pub(super) fn fill_like(call: Call<'_>) -> Result<TensorType, CallError> {
    let dtype = dtype_of(call, "value", DType::Fp32)?;
    Ok(TensorType::new(dtype, call.tensor("ref_tensor")?.shape.clone()))
}

pub(super) fn range(call: Call<'_>) -> Result<TensorType, CallError> {
    let number = |name| call.float(name)?.ok_or(CallError::Missing { op: call.code(), arg: name });
    let (start, end, step) = (number("start")?, number("end")?, number("step")?);
    let dtype = dtype_of(call, "start", DType::Int32)?;
    let count = ((end - start) / step).ceil().max(0.0);
    match count.is_finite() && count <= f64::from(u32::MAX) {
        true => Ok(TensorType::new(dtype, [count as usize])),
        false => Err(call.invalid(format!("{start} to {end} in steps of {step} has no end"))),
    }
}

pub(super) fn reverse(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    call.reduced_axes(x.rank())?;
    Ok(x.clone())
}

pub(super) fn reverse_sequence(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    let axis = |name| call.axis(call.int(name)?.unwrap_or(0), x.rank());
    axis("seq_axis")?;
    has_shape(call, "lengths", &[x.shape[axis("batch_axis")?]])?;
    call.required("lengths")?;
    Ok(x.clone())
}

pub(super) fn band_part(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    has_rank(call, "x", x, 2..=5)?;
    call.int("lower")?;
    call.int("upper")?;
    Ok(x.clone())
}
