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

/// `x [N, C, *spatial]`, `weight [C, O/groups, *kernel]` → `[N, O, *spatial']`.
pub(super) fn conv_transpose(call: Call<'_>) -> Result<TensorType, CallError> {
    let (x, w) = (call.tensor("x")?, call.tensor("weight")?);
    if x.rank() < 3 || x.rank() > 5 || w.rank() != x.rank() {
        return Err(call.invalid(format!(
            "x has shape {:?} and weight {:?}; both need rank 3, 4 or 5, and the same",
            x.shape, w.shape
        )));
    }
    let geometry = TransposedGeometry::read(call, &x.shape[2..], &w.shape[2..])?;
    let groups = geometry.groups;
    if groups == 0 || w.shape[0] != x.shape[1] || !x.shape[1].is_multiple_of(groups) {
        return Err(call.invalid(format!(
            "x has {} channels, weight {:?} and groups {groups}; weight must be [channels, out/groups, …] with \
             channels a multiple of groups",
            x.shape[1], w.shape
        )));
    }
    let out = w.shape[1].saturating_mul(groups);
    super::has_shape(call, "bias", &[out])?;
    Ok(TensorType::new(x.dtype, [&[x.shape[0], out], geometry.out.as_slice()].concat()))
}

/// Strides, padding and extents of a transposed convolution, one entry a spatial dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransposedGeometry {
    /// Distance of the spread kernels.
    pub strides: Vec<usize>,
    /// Spacing of the kernel's elements.
    pub dilations: Vec<usize>,
    /// Elements dropped before the first one kept.
    pub pad_before: Vec<usize>,
    /// Number of groups.
    pub groups: usize,
    /// Output extents. Elements no kernel reaches are zero, or the bias.
    pub out: Vec<usize>,
}

impl TransposedGeometry {
    /// Reads the arguments of a transposed convolution over `input` extents with a `kernel`.
    ///
    /// # Errors
    /// When an argument has the wrong length or sign, or nothing is left after cropping the padding.
    pub fn read(call: Call<'_>, input: &[usize], kernel: &[usize]) -> Result<Self, CallError> {
        let n = input.len();
        let vector = |name: &'static str, absent: usize, length: usize| -> Result<Vec<usize>, CallError> {
            let Some(v) = call.ints(name)? else { return Ok(vec![absent; length]) };
            let v: Vec<usize> = v.iter().filter_map(|&s| usize::try_from(s).ok()).collect();
            match v.len() == length && (absent == 0 || v.iter().all(|&s| s > 0)) {
                true => Ok(v),
                false => {
                    Err(call.invalid(format!("{name} must be {length} integers, at least {absent} each")))
                }
            }
        };
        let (strides, dilations) = (vector("strides", 1, n)?, vector("dilations", 1, n)?);
        let pad = vector("pad", 0, 2 * n)?;
        let groups = usize::try_from(call.int("groups")?.unwrap_or(1)).unwrap_or(0);
        let wanted = match call.ints("output_shape")? {
            Some(shape) if shape.len() == n + 2 => Some(
                shape[2..]
                    .iter()
                    .map(|&d| super::extent(call, "output_shape", d))
                    .collect::<Result<Vec<_>, _>>()?,
            ),
            Some(shape) => {
                return Err(call.invalid(format!("output_shape {shape:?} must hold {} extents", n + 2)));
            }
            None => None,
        };
        let pad_type = call.string("pad_type")?.unwrap_or("valid");
        let (mut pad_before, mut out) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for i in 0..n {
            let spread = input[i].saturating_sub(1).saturating_mul(strides[i]);
            let reach = kernel[i].saturating_sub(1).saturating_mul(dilations[i]);
            let full = spread.saturating_add(reach).saturating_add(1);
            let given = wanted.as_ref().map(|w: &Vec<usize>| w[i]);
            let (before, extent) = match pad_type {
                "valid" => (0, given.or(Some(full))),
                "custom" => {
                    let both = pad[2 * i].saturating_add(pad[2 * i + 1]);
                    (pad[2 * i], given.or(full.checked_sub(both)))
                }
                "same" | "same_lower" => {
                    let extent = given.unwrap_or(input[i].saturating_mul(strides[i]));
                    let both = full.saturating_sub(extent);
                    (if pad_type == "same" { both / 2 } else { both.div_ceil(2) }, Some(extent))
                }
                other => {
                    return Err(call.invalid(format!(
                        "pad_type is \"{other}\"; it must be valid, same, same_lower or custom"
                    )));
                }
            };
            pad_before.push(before);
            out.push(extent.filter(|&e| e > 0 && kernel[i] > 0 && input[i] > 0).ok_or_else(|| {
                call.invalid(format!("pad {pad:?} leaves nothing of the {full} elements along axis {i}"))
            })?);
        }
        Ok(Self { strides, dilations, pad_before, groups, out })
    }
}

/// `x [*batch, I]`, `weight [O, I]` → `[*batch, O]`
pub(super) fn linear(call: Call<'_>) -> Result<TensorType, CallError> {
    let (x, w) = (call.tensor("x")?, call.tensor("weight")?);
    let (Some((&inner, batch)), [out, columns]) = (x.shape.split_last(), w.shape.as_slice()) else {
        return Err(call.invalid(format!(
            "x has shape {:?} and weight {:?}; weight must be [out, in]",
            x.shape, w.shape
        )));
    };
    if inner != *columns {
        return Err(call.invalid(format!(
            "x has shape {:?} and weight {:?}; the last extents must agree",
            x.shape, w.shape
        )));
    }
    super::has_shape(call, "bias", &[*out])?;
    Ok(TensorType::new(x.dtype, [batch, &[*out]].concat()))
}

/// An equation of two operands: a letter an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equation {
    /// Axes of the operands.
    pub operands: [Vec<char>; 2],
    /// Axes of the result.
    pub result: Vec<char>,
    /// Every axis once with its extent: those of the result, then those summed over.
    pub extents: Vec<(char, usize)>,
}

impl Equation {
    /// Reads the equation and the extents of `einsum`. Operands of extent 1 repeat.
    ///
    /// # Errors
    /// When the equation is not of the form `ab,bc->ac`, or does not fit the operands.
    pub fn read(call: Call<'_>) -> Result<Self, CallError> {
        let text = call.string("equation")?.unwrap_or_default();
        let values = call.tensors("values")?;
        let wrong = |why: &str| call.invalid(format!("equation \"{text}\": {why}"));
        let form = || wrong("it must be of the form \"nchw,nwhu->nchu\", each letter at most once a term");
        let (left, right) = text.split_once("->").ok_or_else(form)?;
        let (first, second) = left.split_once(',').ok_or_else(form)?;
        let axes = |term: &str| -> Result<Vec<char>, CallError> {
            let axes: Vec<char> = term.chars().filter(|c| !c.is_whitespace()).collect();
            let once =
                axes.iter().enumerate().all(|(i, c)| c.is_ascii_alphabetic() && !axes[..i].contains(c));
            if once { Ok(axes) } else { Err(form()) }
        };
        let (operands, result) = ([axes(first)?, axes(second)?], axes(right)?);
        let [x, y] = values.as_slice() else { return Err(call.invalid("values must be two tensors")) };
        if x.dtype != y.dtype {
            return Err(call.invalid(format!("values are {} and {}; cast one of them", x.dtype, y.dtype)));
        }
        let mut known: Vec<(char, usize)> = Vec::new();
        for (axes, ty) in operands.iter().zip([x, y]) {
            if axes.len() != ty.rank() {
                return Err(wrong(&format!("an operand has shape {:?}", ty.shape)));
            }
            for (&c, &d) in axes.iter().zip(&ty.shape) {
                match known.iter_mut().find(|(k, _)| *k == c) {
                    None => known.push((c, d)),
                    Some((_, e)) if *e == 1 || *e == d => *e = d.max(*e),
                    Some(_) if d == 1 => {}
                    Some((_, e)) => return Err(wrong(&format!("`{c}` is both {e} and {d}"))),
                }
            }
        }
        let find = |c: &char| known.iter().find(|(k, _)| k == c).copied();
        let mut extents: Vec<(char, usize)> = result.iter().filter_map(find).collect();
        if extents.len() != result.len() {
            return Err(wrong("the result has an axis that no operand has"));
        }
        extents.extend(known.iter().filter(|(c, _)| !result.contains(c)));
        Ok(Self { operands, result, extents })
    }
}

pub(super) fn einsum(call: Call<'_>) -> Result<TensorType, CallError> {
    let equation = Equation::read(call)?;
    let shape: Vec<usize> = equation.extents[..equation.result.len()].iter().map(|e| e.1).collect();
    let dtype = call.tensors("values")?.first().map_or(crate::DType::Fp32, |t| t.dtype);
    Ok(TensorType::new(dtype, shape))
}

/// `query [*batch, L, E]`, `key [*batch, S, E]`, `value [*batch, S, V]` → `[*batch, L, V]`
pub(super) fn attention(call: Call<'_>) -> Result<TensorType, CallError> {
    let (q, k, v) = (call.tensor("query")?, call.tensor("key")?, call.tensor("value")?);
    let mismatch = || {
        call.invalid(format!(
            "query is {q}, key {k} and value {v}; they must be [*, L, E], [*, S, E] and [*, S, V]"
        ))
    };
    if q.rank() < 3
        || k.rank() != q.rank()
        || v.rank() != q.rank()
        || q.dtype != k.dtype
        || q.dtype != v.dtype
    {
        return Err(mismatch());
    }
    let (batch, last) = q.shape.split_at(q.rank() - 2);
    let fits = k.shape[..batch.len()] == *batch
        && v.shape[..batch.len()] == *batch
        && k.shape[batch.len() + 1] == last[1]
        && v.shape[batch.len()] == k.shape[batch.len()];
    if !fits {
        return Err(mismatch());
    }
    let scores = [batch, &[last[0], k.shape[batch.len()]]].concat();
    if let Some(mask) = call.operand("attn_mask")?.and_then(|o| call.function.operand_type(o)) {
        let known = mask.dtype == q.dtype || mask.dtype == crate::DType::Bool;
        if !known || broadcast(&mask.shape, &scores).as_ref() != Some(&scores) {
            return Err(call.invalid(format!(
                "attn_mask is {mask}; it must be bool or {} and broadcast to the scores {scores:?}",
                q.dtype
            )));
        }
    }
    Ok(TensorType::new(q.dtype, [batch, &[last[0], v.shape[batch.len() + 1]]].concat()))
}
