//! Derivatives of ops with windows: convolutions with kernels of any extent, their transposes, and means.

use super::tape::Tape;
use crate::{
    Arg, Call, CallError, Constant,
    Opcode::{self, *},
    TensorType, ValueId,
    infer::{
        linear::{ConvGeometry, TransposedGeometry},
        pool::PoolGeometry,
    },
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
struct Window<'a> {
    strides: &'a [usize],
    dilations: &'a [usize],
    before: &'a [usize],
    after: &'a [usize],
    groups: usize,
    output: Option<&'a [usize]>,
}

impl Window<'_> {
    fn over(&self, tape: &mut Tape<'_>, x: ValueId, weight: ValueId) -> Result<ValueId> {
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
    let mut perm: Vec<usize> = (0..tape.b.shape(x).len()).collect();
    perm.swap(0, 1);
    tape.b.transpose(x, &perm)
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
        if g.groups != 1 {
            return Err(call.invalid("is differentiated by its weight in one group only"));
        }
        let (x, dy) = (swapped(tape, x)?, swapped(tape, dy)?);
        let window = Window {
            strides: &g.dilations,
            dilations: &g.strides,
            before: &g.pad_before,
            after: &g.pad_after,
            groups: 1,
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
        if g.groups != 1 {
            return Err(call.invalid("is differentiated by its weight in one group only"));
        }
        let (x, dy) = (swapped(tape, x)?, swapped(tape, dy)?);
        let dw = window(&g.dilations, &g.strides, 1).over(tape, dy, x)?;
        let dw = swapped(tape, dw)?;
        let dw = cut(tape, dw, &w_shape)?;
        tape.give(v, dw);
    }
    Ok(())
}

/// A transposed convolution, channel by channel, with a kernel that is constant.
pub(super) fn avg_pool(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let g = PoolGeometry::read(call)?;
    let padded = g.pad_before.iter().chain(&g.pad_after).any(|&p| p != 0);
    if call.bool("ceil_mode")? || (padded && call.bool("exclude_padding_from_average")?) {
        return Err(call.invalid("is differentiated only if every window has the same number of elements"));
    }
    let dy = tape.full_dy(call)?;
    let shape = tape.b.shape(x).to_vec();
    let ty = TensorType::new(tape.b.ty(x).dtype, [&[shape[1], 1], g.kernel.as_slice()].concat());
    let elements: usize = g.kernel.iter().product();
    let zeros = tape.b.constant("zeros", super::tape::zeros(ty));
    let weight = tape.b.with_scalar(Opcode::Add, zeros, 1.0 / elements as f64)?;
    let dilations = vec![1; g.kernel.len()];
    let window = Window {
        strides: &g.strides,
        dilations: &dilations,
        before: &g.pad_before,
        after: &g.pad_after,
        groups: shape[1],
        output: Some(&shape),
    };
    let dx = window.over(tape, dy, weight)?;
    tape.give(x, dx);
    Ok(())
}

/// Each pixel's copies summed.
pub(super) fn upsample_nearest(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let mut dx = tape.full_dy(call)?;
    let shape = tape.b.shape(x).to_vec();
    for axis in [shape.len() - 2, shape.len() - 1] {
        let large = tape.b.shape(dx).to_vec();
        if !large[axis].is_multiple_of(shape[axis]) {
            return Err(call.invalid("is differentiated for whole factors only"));
        }
        let mut split = large.clone();
        split[axis] = shape[axis];
        split.insert(axis + 1, large[axis] / shape[axis]);
        let copies = tape.b.reshape(dx, &split)?;
        let sum = tape.b.reduce(ReduceSum, copies, &[axis as i32 + 1])?;
        let mut summed = large;
        summed[axis] = shape[axis];
        dx = tape.b.reshape(sum, &summed)?;
    }
    tape.give(x, dx);
    Ok(())
}
