//! Result types of convolutions and matrix products.

use super::broadcast;
use crate::{
    TensorType,
    call::{Call, CallError},
};

/// `x [N, C, *spatial]`, `weight [O, C/groups, *kernel]` → `[N, O, *spatial']`.
pub(super) fn conv(call: Call<'_>) -> Result<TensorType, CallError> {
    let (x, w) = (call.tensor("x")?, call.tensor("weight")?);
    let spatial = x.rank().saturating_sub(2);
    if spatial == 0 || w.rank() != x.rank() {
        return Err(call.invalid(format!(
            "x has shape {:?} and weight {:?}; both need rank 3, 4 or 5, and the same",
            x.shape, w.shape
        )));
    }
    let geometry = ConvGeometry::read(call, &x.shape[2..], &w.shape[2..])?;
    let groups = geometry.groups;
    if groups == 0 || !w.shape[0].is_multiple_of(groups) || w.shape[1].checked_mul(groups) != Some(x.shape[1])
    {
        return Err(call.invalid(format!(
            "x has {} channels, weight {:?} and groups {groups}; weight must be [out, channels/groups, …] with out a \
             multiple of groups",
            x.shape[1], w.shape
        )));
    }
    if let Some(bias) = call.operand("bias")? {
        let bias = call.function.operand_type(bias).map(|t| t.shape.clone()).unwrap_or_default();
        if bias != [w.shape[0]] {
            return Err(call.invalid(format!("bias has shape {bias:?}; it must be [{}]", w.shape[0])));
        }
    }
    let mut shape = vec![x.shape[0], w.shape[0]];
    shape.extend(&geometry.out);
    Ok(TensorType::new(x.dtype, shape))
}

/// True for a 1×1 convolution over two spatial axes with stride 1, no padding and one group: a matrix product over the
/// channels.
pub fn is_pointwise(call: Call<'_>) -> bool {
    let (Ok(x), Ok(w)) = (call.tensor("x"), call.tensor("weight")) else { return false };
    if call.code() != crate::Opcode::Conv || x.rank() != 4 || w.rank() != 4 || w.shape[2..] != [1, 1] {
        return false;
    }
    ConvGeometry::read(call, &x.shape[2..], &[1, 1]).is_ok_and(|g| {
        g.groups == 1 && g.strides == [1, 1] && g.pad_before == [0, 0] && g.pad_after == [0, 0]
    })
}

/// Strides, padding and extents of a convolution, one entry a spatial dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Step of the window.
    pub strides: Vec<usize>,
    /// Spacing of the kernel's elements.
    pub dilations: Vec<usize>,
    /// Zeros before the first element.
    pub pad_before: Vec<usize>,
    /// Zeros after the last element.
    pub pad_after: Vec<usize>,
    /// Number of groups.
    pub groups: usize,
    /// Output extents.
    pub out: Vec<usize>,
}

impl ConvGeometry {
    /// Reads the arguments of a convolution over `input` extents with a `kernel`.
    ///
    /// # Errors
    /// When an argument has the wrong length or sign, or the kernel does not fit the padded input.
    pub fn read(call: Call<'_>, input: &[usize], kernel: &[usize]) -> Result<Self, CallError> {
        let n = input.len();
        let positive = |name: &'static str| -> Result<Vec<usize>, CallError> {
            let Some(v) = call.ints(name)? else { return Ok(vec![1; n]) };
            let v: Vec<usize> =
                v.iter().filter_map(|&s| usize::try_from(s).ok()).filter(|&s| s > 0).collect();
            if v.len() == n {
                Ok(v)
            } else {
                Err(call.invalid(format!("{name} must be {n} positive integers")))
            }
        };
        let (strides, dilations) = (positive("strides")?, positive("dilations")?);
        let groups = usize::try_from(call.int("groups")?.unwrap_or(1)).unwrap_or(0);
        let extent = |i: usize| kernel[i].saturating_sub(1).saturating_mul(dilations[i]).saturating_add(1);
        let pad_type = call.string("pad_type")?.unwrap_or("valid");
        let (pad_before, pad_after) = match pad_type {
            "valid" => (vec![0; n], vec![0; n]),
            "custom" => {
                let pad = call.ints("pad")?.unwrap_or_else(|| vec![0; 2 * n]);
                let pad: Vec<usize> = pad.iter().filter_map(|&p| usize::try_from(p).ok()).collect();
                if pad.len() != 2 * n {
                    return Err(call.invalid(format!("pad must be {} integers, none negative", 2 * n)));
                }
                (pad.iter().step_by(2).copied().collect(), pad.iter().skip(1).step_by(2).copied().collect())
            }
            "same" | "same_lower" => {
                let total = |i: usize| {
                    let steps = input[i].div_ceil(strides[i]).saturating_sub(1);
                    steps.saturating_mul(strides[i]).saturating_add(extent(i)).saturating_sub(input[i])
                };
                let small: Vec<usize> = (0..n).map(|i| total(i) / 2).collect();
                let large: Vec<usize> = (0..n).map(|i| total(i).div_ceil(2)).collect();
                if pad_type == "same" { (small, large) } else { (large, small) }
            }
            other => {
                return Err(call.invalid(format!(
                    "pad_type is \"{other}\"; it must be valid, same, same_lower or custom"
                )));
            }
        };
        let mut out = Vec::with_capacity(n);
        for i in 0..n {
            let padded = input[i].saturating_add(pad_before[i]).saturating_add(pad_after[i]);
            let room = padded.checked_sub(extent(i)).filter(|_| kernel[i] > 0).ok_or_else(|| {
                call.invalid(format!("the kernel {kernel:?} does not fit the padded input {input:?}"))
            })?;
            out.push(room / strides[i] + 1);
        }
        Ok(Self { strides, dilations, pad_before, pad_after, groups, out })
    }
}

/// `x [*batch, m, k]`, `y [*batch, k, n]` → `[*batch, m, n]`, batch dimensions broadcast. Operands of rank 1 are not
/// taken.
pub(super) fn matmul(call: Call<'_>) -> Result<TensorType, CallError> {
    let (x, y) = (call.tensor("x")?, call.tensor("y")?);
    if x.rank() < 2 || y.rank() < 2 {
        return Err(
            call.invalid(format!("x has shape {:?} and y {:?}; both need rank 2 or more", x.shape, y.shape))
        );
    }
    if x.dtype != y.dtype {
        return Err(call.invalid(format!("x is {} but y is {}; cast one of them", x.dtype, y.dtype)));
    }
    let matrix = |t: &TensorType, transposed: bool| {
        let (rows, columns) = (t.shape[t.rank() - 2], t.shape[t.rank() - 1]);
        if transposed { (columns, rows) } else { (rows, columns) }
    };
    let (m, kx) = matrix(x, call.bool("transpose_x")?);
    let (ky, n) = matrix(y, call.bool("transpose_y")?);
    let batch = broadcast(&x.shape[..x.rank() - 2], &y.shape[..y.rank() - 2]);
    match batch {
        Some(mut shape) if kx == ky => {
            shape.extend([m, n]);
            Ok(TensorType::new(x.dtype, shape))
        }
        _ => Err(call.invalid(format!(
            "x is [{m}, {kx}] of {:?} and y is [{ky}, {n}] of {:?} after transposing; inner and batch extents must agree",
            x.shape, y.shape
        ))),
    }
}
