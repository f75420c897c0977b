//! Derivatives of pools.

use super::{tape::Tape, window::Window};
use crate::{Call, CallError, Constant, Opcode::*, TensorType, ValueId, infer::pool::PoolGeometry};

type Result<T> = std::result::Result<T, CallError>;

/// Most elements of a constant that stands for windows.
const MOST: usize = 1 << 24;

/// The windows of a pool over `x [N, C, *spatial]`, as convolutions of each channel by itself.
struct Windows {
    geometry: PoolGeometry,
    shape: Vec<usize>,
    /// Padding after the last element that makes as many windows as the pool has.
    after: Vec<usize>,
}

impl Windows {
    fn read(call: Call<'_>) -> Result<Self> {
        let geometry = PoolGeometry::read(call)?;
        let shape = call.tensor("x")?.shape.clone();
        let after = (0..geometry.kernel.len())
            .map(|i| {
                let reach = (geometry.out[i] - 1) * geometry.strides[i] + geometry.kernel[i];
                reach.saturating_sub(shape[2 + i] + geometry.pad_before[i])
            })
            .collect();
        Ok(Self { geometry, shape, after })
    }

    /// Places in a window.
    fn places(&self) -> usize {
        self.geometry.kernel.iter().product()
    }

    /// Whether no element is in two windows.
    fn are_apart(&self) -> bool {
        self.geometry.strides.iter().zip(&self.geometry.kernel).all(|(stride, kernel)| stride >= kernel)
    }

    /// Convolves with `weight`, or with `back` transposes that.
    fn convolve(&self, tape: &mut Tape<'_>, x: ValueId, weight: ValueId, back: bool) -> Result<ValueId> {
        let ones = vec![1; self.geometry.kernel.len()];
        let window = Window {
            strides: &self.geometry.strides,
            dilations: &ones,
            before: &self.geometry.pad_before,
            after: &self.after,
            groups: self.shape[1],
            output: back.then_some(&self.shape),
        };
        window.over(tape, x, weight)
    }

    /// A weight of ones: it sums each window, and transposed gives each element what its windows have.
    fn ones(&self, tape: &mut Tape<'_>, call: Call<'_>) -> Result<ValueId> {
        self.weight(tape, call, 1, |_, _| 1.0)
    }

    /// A weight `[C·copies, 1, *kernel]` of `element(copy, place in the window)`.
    fn weight(
        &self,
        tape: &mut Tape<'_>,
        call: Call<'_>,
        copies: usize,
        element: impl Fn(usize, usize) -> f64,
    ) -> Result<ValueId> {
        let (rows, places) = (self.shape[1] * copies, self.places());
        if rows.saturating_mul(places) > MOST {
            return Err(call.invalid(format!(
                "is differentiated by a convolution, here with a weight of {rows}·{places} elements, more than {MOST}"
            )));
        }
        let shape = [&[rows, 1], self.geometry.kernel.as_slice()].concat();
        let elements: Vec<f64> =
            (0..rows * places).map(|i| element(i / places % copies, i % places)).collect();
        let ty = TensorType::new(call.tensor("x")?.dtype, shape);
        Ok(tape.b.constant("window", Constant::floats(ty, &elements)))
    }

    /// How many places of each window are elements, or, with `padding`, elements or padding.
    fn counts(&self, padding: bool) -> Vec<f64> {
        let g = &self.geometry;
        let mut counts = vec![1.0];
        for i in 0..g.kernel.len() {
            let extent = self.shape[2 + i];
            let counted = match padding {
                true => 0..g.pad_before[i] + extent + g.pad_after[i],
                false => g.pad_before[i]..g.pad_before[i] + extent,
            };
            let of = |window: usize| {
                let first = window * g.strides[i];
                (first..first + g.kernel[i]).filter(|at| counted.contains(at)).count() as f64
            };
            let along: Vec<f64> = (0..g.out[i]).map(of).collect();
            counts = counts.iter().flat_map(|outer| along.iter().map(move |inner| outer * inner)).collect();
        }
        counts
    }

    /// For each place in the window and each window 1 where that is an element, 0 where it is padding: `[places, windows]`.
    fn inside(&self) -> Vec<f64> {
        let g = &self.geometry;
        let windows: usize = g.out.iter().product();
        let inside = |i: usize| {
            let (mut place, mut window) = (i / windows, i % windows);
            (0..g.kernel.len()).rev().all(|axis| {
                let at = window % g.out[axis] * g.strides[axis] + place % g.kernel[axis];
                (place, window) = (place / g.kernel[axis], window / g.out[axis]);
                at >= g.pad_before[axis] && at < g.pad_before[axis] + self.shape[2 + axis]
            })
        };
        (0..self.places() * windows).map(|i| f64::from(u8::from(inside(i)))).collect()
    }
}

/// Each element gets its part of every mean it is in.
pub(super) fn avg(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let windows = Windows::read(call)?;
    let counts = windows.counts(!call.bool("exclude_padding_from_average")?);
    let shares: Vec<f64> = counts.iter().map(|n| 1.0 / n).collect();
    let dy = tape.full_dy(call)?;
    let ty = TensorType::new(tape.b.ty(x).dtype, [&[1, 1], windows.geometry.out.as_slice()].concat());
    let share = tape.b.constant("share", Constant::floats(ty, &shares));
    let dy = tape.b.mul(dy, share)?;
    let ones = windows.ones(tape, call)?;
    let dx = windows.convolve(tape, dy, ones, true)?;
    tape.give(x, dx);
    Ok(())
}

/// y = √(Σ x²): dx = x·Σ dy/y over the windows an element is in.
pub(super) fn l2(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let windows = Windows::read(call)?;
    let dy = tape.full_dy(call)?;
    let ratio = tape.b.binary(RealDiv, dy, call.op.result())?;
    let ones = windows.ones(tape, call)?;
    let slope = windows.convolve(tape, ratio, ones, true)?;
    let dx = tape.b.mul(x, slope)?;
    tape.give(x, dx);
    Ok(())
}

/// Shared evenly by the elements of a window that are its maximum.
pub(super) fn max(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let windows = Windows::read(call)?;
    let dx = match windows.are_apart() {
        true => max_apart(tape, call, x, &windows)?,
        false => max_overlapping(tape, call, x, &windows)?,
    };
    tape.give(x, dx);
    Ok(())
}

/// Elements are compared with the maximum of the only window they are in.
fn max_apart(tape: &mut Tape<'_>, call: Call<'_>, x: ValueId, windows: &Windows) -> Result<ValueId> {
    let dy = tape.full_dy(call)?;
    let ones = windows.ones(tape, call)?;
    let largest = windows.convolve(tape, call.op.result(), ones, true)?;
    let equal = equal(tape, largest, x)?;
    let ties = windows.convolve(tape, equal, ones, false)?;
    let share = tape.b.binary(RealDiv, dy, ties)?;
    let shares = windows.convolve(tape, share, ones, true)?;
    tape.b.mul(shares, equal)
}

/// Convolutions that pick one place each lay the windows out as `[N, C, places, windows]`, and their transpose puts the
/// shares back.
fn max_overlapping(tape: &mut Tape<'_>, call: Call<'_>, x: ValueId, windows: &Windows) -> Result<ValueId> {
    let (places, out) = (windows.places(), &windows.geometry.out);
    let [batch, channels] = [windows.shape[0], windows.shape[1]];
    let count: usize = out.iter().product();
    let dy = tape.full_dy(call)?;
    let pick = windows.weight(tape, call, places, |copy, place| f64::from(u8::from(copy == place)))?;
    let picked = windows.convolve(tape, x, pick, false)?;
    let ty = TensorType::new(tape.b.ty(x).dtype, [1, 1, places, count]);
    let inside = tape.b.constant("inside", Constant::floats(ty, &windows.inside()));

    let elements = tape.b.reshape(picked, &[batch, channels, places, count])?;
    let largest = tape.b.reshape(call.op.result(), &[batch, channels, 1, count])?;
    let equal = equal(tape, largest, elements)?;
    let b = &mut tape.b;
    let equal = b.mul(equal, inside)?;
    let ties = b.reduce(ReduceSum, equal, &[2])?;
    let dy = b.reshape(dy, &[batch, channels, 1, count])?;
    let share = b.binary(RealDiv, dy, ties)?;
    let shares = b.mul(share, equal)?;
    let shares = b.reshape(shares, &[&[batch, channels * places], out.as_slice()].concat())?;
    windows.convolve(tape, shares, pick, true)
}

/// 1 where an element is the largest of its window, else 0. What is said of elements outside every window has no effect.
fn equal(tape: &mut Tape<'_>, largest: ValueId, elements: ValueId) -> Result<ValueId> {
    let distance = tape.b.sub(largest, elements)?;
    let differs = tape.b.unary(Sign, distance)?;
    super::elementwise::one_minus(&mut tape.b, differs)
}
