//! Derivatives of convolutions with kernels of any extent, and of their transposes.

use super::tape::Tape;
use crate::{
    Arg, Call, CallError, Constant,
    Opcode::*,
    ValueId,
    infer::linear::{ConvGeometry, TransposedGeometry},
};

type Result<T> = std::result::Result<T, CallError>;

fn vector(v: &[usize]) -> Arg {
    let v: Vec<i32> = v.iter().map(|&n| i32::try_from(n).unwrap_or(i32::MAX)).collect();
    Constant::ints(&v).into()
}

/// `before[0], after[0], before[1], …`
fn pads(before: &[usize], after: &[usize]) -> Arg {
    vector(&before.iter().zip(after).flat_map(|(&b, &a)| [b, a]).collect::<Vec<_>>())
}

/// A convolution, or with `output` extents a transposed one.
pub(super) struct Window<'a> {
    pub(super) strides: &'a [usize],
    pub(super) dilations: &'a [usize],
    pub(super) before: &'a [usize],
    pub(super) after: &'a [usize],
    pub(super) groups: usize,
    pub(super) output: Option<&'a [usize]>,
}

impl Window<'_> {
    pub(super) fn over(&self, tape: &mut Tape<'_>, x: ValueId, weight: ValueId) -> Result<ValueId> {
        let mut args = vec![
            ("dilations", vector(self.dilations)),
            ("groups", Constant::int(self.groups as i32).into()),
            ("pad", pads(self.before, self.after)),
            ("pad_type", Constant::string("custom").into()),
            ("strides", vector(self.strides)),
            ("weight", weight.into()),
            ("x", x.into()),
        ];
        args.extend(self.output.map(|shape| ("output_shape", vector(shape))));
        tape.b.op(if self.output.is_some() { ConvTranspose } else { Conv }, args)
    }
}

/// Axes 0 and 1 exchanged.
fn swapped(tape: &mut Tape<'_>, x: ValueId) -> Result<ValueId> {
    swapped_groups(tape, x, 1)
}

/// `[N, G·C, ..]` → `[C, G·N, ..]`: batch and channels exchanged within each of G groups.
fn swapped_groups(tape: &mut Tape<'_>, x: ValueId, groups: usize) -> Result<ValueId> {
    let shape = tape.b.shape(x).to_vec();
    let (batch, channels) = (shape[0], shape[1] / groups);
    let mut perm: Vec<usize> = (0..shape.len()).collect();
    if groups == 1 {
        perm.swap(0, 1);
        return tape.b.transpose(x, &perm);
    }
    perm.push(shape.len());
    perm.swap(0, 2);
    let split = tape.b.reshape(x, &[&[batch, groups, channels], &shape[2..]].concat())?;
    let exchanged = tape.b.transpose(split, &perm)?;
    tape.b.reshape(exchanged, &[&[channels, groups * batch], &shape[2..]].concat())
}

/// The first elements of each axis, so that `x` has `shape`.
fn cut(tape: &mut Tape<'_>, mut x: ValueId, shape: &[usize]) -> Result<ValueId> {
    for (axis, &d) in shape.iter().enumerate() {
        if tape.b.shape(x)[axis] != d {
            x = tape.b.slice_axis(x, axis, 0, d)?;
        }
    }
    Ok(x)
}

/// dx is the transposed convolution of dy. dW correlates x with dy: a convolution with batch and channels exchanged, and
/// strides and dilations.
pub(super) fn conv(tape: &mut Tape<'_>, call: Call<'_>, dy: ValueId) -> Result<()> {
    let (x, weight) = (tape.operand(call, "x")?, tape.operand(call, "weight")?);
    let (x_shape, w_shape) = (tape.b.shape(x).to_vec(), tape.b.shape(weight).to_vec());
    let g = ConvGeometry::read(call, &x_shape[2..], &w_shape[2..])?;
    if let Some(v) = tape.wants(call, "x")? {
        let window = Window {
            strides: &g.strides,
            dilations: &g.dilations,
            before: &g.pad_before,
            after: &g.pad_after,
            groups: g.groups,
            output: Some(&x_shape),
        };
        let dx = window.over(tape, dy, weight)?;
        tape.give(v, dx);
    }
    if let Some(v) = tape.wants(call, "weight")? {
        let (x, dy) = (swapped_groups(tape, x, g.groups)?, swapped(tape, dy)?);
        let window = Window {
            strides: &g.dilations,
            dilations: &g.strides,
            before: &g.pad_before,
            after: &g.pad_after,
            groups: g.groups,
            output: None,
        };
        let dw = window.over(tape, x, dy)?;
        let dw = swapped(tape, dw)?;
        let dw = cut(tape, dw, &w_shape)?;
        tape.give(v, dw);
    }
    Ok(())
}

/// dx is the convolution of dy. dW correlates dy with x.
pub(super) fn conv_transpose(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let dy = tape.full_dy(call)?;
    super::linear::bias(tape, call, dy, 1)?;
    let (x, weight) = (tape.operand(call, "x")?, tape.operand(call, "weight")?);
    let (x_shape, w_shape) = (tape.b.shape(x).to_vec(), tape.b.shape(weight).to_vec());
    let g = TransposedGeometry::read(call, &x_shape[2..], &w_shape[2..])?;
    let after: Vec<usize> = (0..g.out.len())
        .map(|i| {
            let full = (x_shape[2 + i] - 1) * g.strides[i] + (w_shape[2 + i] - 1) * g.dilations[i] + 1;
            full.saturating_sub(g.out[i] + g.pad_before[i])
        })
        .collect();
    let window = |strides, dilations, groups| Window {
        strides,
        dilations,
        before: &g.pad_before,
        after: &after,
        groups,
        output: None,
    };
    if let Some(v) = tape.wants(call, "x")? {
        let dx = window(&g.strides, &g.dilations, g.groups).over(tape, dy, weight)?;
        let dx = cut(tape, dx, &x_shape)?;
        tape.give(v, dx);
    }
    if let Some(v) = tape.wants(call, "weight")? {
        let (x, dy) = (swapped(tape, x)?, swapped_groups(tape, dy, g.groups)?);
        let dw = window(&g.dilations, &g.strides, g.groups).over(tape, dy, x)?;
        let dw = swapped(tape, dw)?;
        let dw = cut(tape, dw, &w_shape)?;
        tape.give(v, dw);
    }
    Ok(())
}
