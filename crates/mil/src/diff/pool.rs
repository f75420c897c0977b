//! Derivatives of pools.

use super::{tape::Tape, window::Window};
use crate::{Call, CallError, Constant, Opcode::*, TensorType, ValueId, infer::pool::PoolGeometry};

type Result<T> = std::result::Result<T, CallError>;

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

    /// Elements of a window.
    fn elements(&self) -> usize {
        self.geometry.kernel.iter().product()
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

    /// For every window what each element of it gets: `dy [N, C, *out]` at all elements.
    fn spread(&self, tape: &mut Tape<'_>, dy: ValueId) -> Result<ValueId> {
        let weight = self.weight(tape, dy, 1, |_, _| 1.0);
        self.convolve(tape, dy, weight, true)
    }

    /// A weight `[C·copies, 1, *kernel]` of `element(copy, place in the window)`.
    fn weight(
        &self,
        tape: &mut Tape<'_>,
        like: ValueId,
        copies: usize,
        element: impl Fn(usize, usize) -> f64,
    ) -> ValueId {
        let shape = [&[self.shape[1] * copies, 1], self.geometry.kernel.as_slice()].concat();
        let places = self.elements();
        let rows = (0..self.shape[1] * copies).map(|row| row % copies);
        let elements: Vec<f64> = rows
            .flat_map(|copy| (0..places).map(move |place| (copy, place)))
            .map(|(c, p)| element(c, p))
            .collect();
        let ty = TensorType::new(tape.b.ty(like).dtype, shape);
        tape.b.constant("window", Constant::floats(ty, &elements))
    }

    /// For each place in the window and each window whether `inside` holds of the element's coordinates, counted from the
    /// first element of the padding: 1 or 0, `[places, windows]`.
    fn map(&self, inside: impl Fn(usize, usize) -> bool) -> Vec<f64> {
        let g = &self.geometry;
        let coordinates = |extents: &[usize], mut flat: usize| -> Vec<usize> {
            let mut at = vec![0; extents.len()];
            for (i, &extent) in extents.iter().enumerate().rev() {
                at[i] = flat % extent;
                flat /= extent;
            }
            at
        };
        let windows: usize = g.out.iter().product();
        let mut map = Vec::with_capacity(self.elements() * windows);
        for place in 0..self.elements() {
            let place = coordinates(&g.kernel, place);
            for window in 0..windows {
                let window = coordinates(&g.out, window);
                let all = (0..place.len()).all(|i| inside(i, window[i] * g.strides[i] + place[i]));
                map.push(f64::from(u8::from(all)));
            }
        }
        map
    }

    /// [`map`](Self::map) of the elements that are not padding.
    fn elements_of_x(&self) -> Vec<f64> {
        let before = &self.geometry.pad_before;
        self.map(|i, at| at >= before[i] && at < before[i] + self.shape[2 + i])
    }
}

/// Each element gets its part of every mean it is in.
pub(super) fn avg(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let windows = Windows::read(call)?;
    let g = &windows.geometry;
    let counted = match call.bool("exclude_padding_from_average")? {
        true => windows.elements_of_x(),
        false => windows.map(|i, at| at < g.pad_before[i] + windows.shape[2 + i] + g.pad_after[i]),
    };
    let count: usize = g.out.iter().product();
    let shares: Vec<f64> =
        (0..count).map(|w| 1.0 / counted.iter().skip(w).step_by(count).sum::<f64>()).collect();
    let dy = tape.full_dy(call)?;
    let ty = TensorType::new(tape.b.ty(x).dtype, [&[1, 1], g.out.as_slice()].concat());
    let share = tape.b.constant("share", Constant::floats(ty, &shares));
    let dy = tape.b.mul(dy, share)?;
    let dx = windows.spread(tape, dy)?;
    tape.give(x, dx);
    Ok(())
}

/// y = √(Σ x²): dx = x·Σ dy/y over the windows an element is in.
pub(super) fn l2(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let windows = Windows::read(call)?;
    let dy = tape.full_dy(call)?;
    let ratio = tape.b.binary(RealDiv, dy, call.op.result())?;
    let slope = windows.spread(tape, ratio)?;
    let dx = tape.b.mul(x, slope)?;
    tape.give(x, dx);
    Ok(())
}

/// Shared evenly by the elements of a window that are its maximum. Convolutions that pick one place each lay the windows
/// out as `[N, C, places, windows]`, and their transpose puts the shares back.
pub(super) fn max(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let windows = Windows::read(call)?;
    let (places, out) = (windows.elements(), windows.geometry.out.clone());
    let [batch, channels] = [windows.shape[0], windows.shape[1]];
    let count: usize = out.iter().product();
    let dy = tape.full_dy(call)?;
    let pick = windows.weight(tape, x, places, |copy, place| f64::from(u8::from(copy == place)));
    let picked = windows.convolve(tape, x, pick, false)?;
    let ty = TensorType::new(tape.b.ty(x).dtype, [1, 1, places, count]);
    let inside = tape.b.constant("inside", Constant::floats(ty, &windows.elements_of_x()));

    let b = &mut tape.b;
    let elements = b.reshape(picked, &[batch, channels, places, count])?;
    let largest = b.reshape(call.op.result(), &[batch, channels, 1, count])?;
    let dy = b.reshape(dy, &[batch, channels, 1, count])?;
    let distance = b.sub(largest, elements)?;
    let differs = b.unary(Sign, distance)?;
    let equal = super::elementwise::one_minus(b, differs)?;
    let equal = b.mul(equal, inside)?;
    let ties = b.reduce(ReduceSum, equal, &[2])?;
    let share = b.binary(RealDiv, dy, ties)?;
    let shares = b.mul(share, equal)?;
    let shares = b.reshape(shares, &[&[batch, channels * places], out.as_slice()].concat())?;
    let dx = windows.convolve(tape, shares, pick, true)?;
    tape.give(x, dx);
    Ok(())
}
