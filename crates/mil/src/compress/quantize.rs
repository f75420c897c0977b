//! Weights as integers with scales.

use super::{Blocks, CompressError, Compressed, floats, integers, nearest};
use crate::{Constant, DType, Opcode, TensorType};

/// One scale for all (a scalar) or one a slice of `axis` (a vector).
pub(super) fn affine(
    values: &[f32],
    ty: &TensorType,
    dtype: DType,
    axis: Option<usize>,
    symmetric: bool,
) -> Result<Compressed, CompressError> {
    let code = Opcode::ConstexprAffineDequantize;
    if !matches!(dtype, DType::Int8 | DType::Uint8) {
        return Err(CompressError::Integer { op: code, dtype, expected: "int8 or uint8" });
    }
    let mut counts = vec![1; ty.rank()];
    let mut scale_shape = Vec::new();
    if let Some(axis) = axis {
        let extent = ty.shape.get(axis).copied();
        let extent = extent.ok_or_else(|| CompressError::Axis { axis, shape: ty.shape.clone() })?;
        counts[axis] = extent;
        scale_shape.push(extent);
    }
    let blocks = Blocks::new(&ty.shape, &counts, "slices")?;
    let steps = steps(values, ty.dtype, dtype, &blocks, symmetric);
    let args = vec![
        ("quantized_data", quantized(values, &ty.shape, dtype, &blocks, &steps)),
        ("zero_point", zeros(&scale_shape, dtype, &steps)),
        ("scale", scales(&scale_shape, ty.dtype, &steps)),
        ("axis", Constant::int(axis.unwrap_or(0) as i32)),
    ];
    Ok(Compressed { code, args, ty: ty.clone() })
}

/// One scale a block.
pub(super) fn blockwise(
    values: &[f32],
    ty: &TensorType,
    dtype: DType,
    counts: &[usize],
    symmetric: bool,
) -> Result<Compressed, CompressError> {
    let code = Opcode::ConstexprBlockwiseShiftScale;
    if !matches!(dtype, DType::Int4 | DType::Uint4 | DType::Int8 | DType::Uint8) {
        return Err(CompressError::Integer { op: code, dtype, expected: "int4, uint4, int8 or uint8" });
    }
    let blocks = Blocks::new(&ty.shape, counts, "blocks")?;
    let steps = steps(values, ty.dtype, dtype, &blocks, symmetric);
    let mut args = vec![
        ("data", quantized(values, &ty.shape, dtype, &blocks, &steps)),
        ("scale", scales(&blocks.counts, ty.dtype, &steps)),
    ];
    if steps.iter().any(|step| step.zero != 0) {
        args.push(("offset", zeros(&blocks.counts, dtype, &steps)));
    }
    Ok(Compressed { code, args, ty: ty.clone() })
}

/// What the integers of one block mean: x = scale · (q − zero).
#[derive(Clone, Copy)]
struct Step {
    scale: f32,
    zero: i64,
}

/// The least and the greatest integer in use. Symmetric ones have as many above zero as below it.
fn range(dtype: DType, symmetric: bool) -> (i64, i64) {
    let levels = 1i64 << dtype.bits();
    match (dtype >= DType::Uint1, symmetric) {
        (true, false) => (0, levels - 1),
        (true, true) => (0, levels - 2),
        (false, false) => (-levels / 2, levels / 2 - 1),
        (false, true) => (1 - levels / 2, levels / 2 - 1),
    }
}

fn steps(values: &[f32], dtype: DType, integer: DType, blocks: &Blocks, symmetric: bool) -> Vec<Step> {
    // Zero is always a value of the grid, for zeros are what networks have most of.
    let mut extremes = vec![(0f64, 0f64); blocks.len()];
    for (&x, &block) in values.iter().zip(&blocks.of) {
        let (low, high) = &mut extremes[block];
        (*low, *high) = (low.min(x.into()), high.max(x.into()));
    }
    let (least, greatest) = range(integer, symmetric);
    let middle = (least + greatest) / 2;
    let step = |(low, high): (f64, f64)| match symmetric {
        // No range: any scale will do.
        _ if low == high => Step { scale: 1.0, zero: if symmetric { middle } else { 0 } },
        true => Step { scale: not_below(high.max(-low) / (greatest - middle) as f64, dtype), zero: middle },
        false => {
            let scale = not_below((high - low) / (greatest - least) as f64, dtype);
            let zero = least - (low / f64::from(scale)).round_ties_even() as i64;
            Step { scale, zero: zero.clamp(least, greatest) }
        }
    };
    extremes.into_iter().map(step).collect()
}

/// The least number of `dtype` that is not below `x` > 0: with a smaller scale the extremes would be outside the range.
fn not_below(x: f64, dtype: DType) -> f32 {
    let near = nearest(x, dtype);
    if f64::from(near) >= x {
        return near;
    }
    match dtype {
        DType::Fp16 => half::f16::from_bits(half::f16::from_f32(near).to_bits() + 1).to_f32(),
        _ => near.next_up(),
    }
}

fn quantized(values: &[f32], shape: &[usize], dtype: DType, blocks: &Blocks, steps: &[Step]) -> Constant {
    let (least, greatest) = range(dtype, false);
    let integer = |(&x, &block): (&f32, &usize)| {
        let Step { scale, zero } = steps[block];
        let q = (f64::from(x) / f64::from(scale)).round_ties_even() as i64 + zero;
        q.clamp(least, greatest)
    };
    let data = integers(values.iter().zip(&blocks.of).map(integer), dtype);
    Constant::inline(TensorType::new(dtype, shape), data)
}

fn scales(shape: &[usize], dtype: DType, steps: &[Step]) -> Constant {
    Constant::inline(TensorType::new(dtype, shape), floats(steps.iter().map(|s| s.scale), dtype))
}

fn zeros(shape: &[usize], dtype: DType, steps: &[Step]) -> Constant {
    Constant::inline(TensorType::new(dtype, shape), integers(steps.iter().map(|s| s.zero), dtype))
}
