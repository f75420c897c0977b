//! Derivatives of ops that are, or have in them, a product with a constant matrix along an axis: the product with its
//! transpose.

use super::tape::Tape;
use crate::{
    Call, CallError, Constant,
    Opcode::*,
    TensorType, ValueId,
    infer::{
        image::{SampledAxis, Sampling},
        norm::LocalResponse,
    },
};

type Result<T> = std::result::Result<T, CallError>;

/// Most elements of a matrix: resized images of everyday extents stay well below.
const MOST: usize = 1 << 24;

/// A constant matrix that stands for a step along one axis, from `columns` elements to `rows`.
struct Matrix {
    axis: usize,
    rows: usize,
    columns: usize,
    value: ValueId,
}

impl Matrix {
    /// A matrix `[rows, columns]` with the entries `(row, column, value)`, added up where they meet, else zero.
    fn new(
        tape: &mut Tape<'_>,
        call: Call<'_>,
        [axis, rows, columns]: [usize; 3],
        entries: impl Iterator<Item = (usize, usize, f64)>,
    ) -> Result<Self> {
        if rows.saturating_mul(columns) > MOST {
            return Err(call.invalid(format!(
                "is differentiated by a matrix, here of {rows}·{columns} elements, more than {MOST}"
            )));
        }
        let mut elements = vec![0.0; rows * columns];
        for (row, column, value) in entries {
            elements[row * columns + column] += value;
        }
        let ty = TensorType::new(tape.b.ty(call.op.result()).dtype, [1, rows, columns]);
        let value = tape.b.constant("along", Constant::floats(ty, &elements));
        Ok(Self { axis, rows, columns, value })
    }

    /// The product along the axis, with the transposed matrix if `back`.
    fn times(&self, tape: &mut Tape<'_>, x: ValueId, back: bool) -> Result<ValueId> {
        let (from, to) = if back { (self.rows, self.columns) } else { (self.columns, self.rows) };
        let mut shape = tape.b.shape(x).to_vec();
        let before: usize = shape[..self.axis].iter().product();
        let after: usize = shape[self.axis + 1..].iter().product();
        shape[self.axis] = to;
        let product = if after == 1 {
            let x = tape.b.reshape(x, &[1, before, from])?;
            tape.b.matmul(x, self.value, false, !back)?
        } else {
            let x = tape.b.reshape(x, &[before, from, after])?;
            tape.b.matmul(self.value, x, back, false)?
        };
        tape.b.reshape(product, &shape)
    }
}

/// The weights that interpolation gives to the elements of an axis of `extent`, as entries of a matrix.
fn interpolation(axis: &SampledAxis, extent: usize, linear: bool) -> Vec<(usize, usize, f64)> {
    let mut entries = Vec::with_capacity(2 * axis.grid.len());
    for (row, &place) in axis.grid.iter().enumerate() {
        let (left, part) = (place.floor() as usize, place.fract());
        let part = if linear { part } else { 0.0 };
        entries.push((row, left, 1.0 - part));
        if part != 0.0 {
            entries.push((row, (left + 1).min(extent - 1), part));
        }
    }
    entries
}

/// Each element gets from the samples what it gave to them.
pub(super) fn resized(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let sampling = Sampling::read(call)?;
    let shape = tape.b.shape(x).to_vec();
    let mut dx = tape.full_dy(call)?;
    for sampled in &sampling.axes {
        let (axis, rows) = (sampled.axis, sampled.grid.len());
        let identity = !sampled.grid.iter().enumerate().any(|(i, &place)| place != i as f64);
        if identity && rows == shape[axis] {
            continue;
        }
        let entries = interpolation(sampled, shape[axis], sampling.linear);
        let matrix = Matrix::new(tape, call, [axis, rows, shape[axis]], entries.into_iter())?;
        dx = matrix.times(tape, dx, true)?;
    }
    tape.give(x, dx);
    Ok(())
}

/// Each pixel's copies summed, where there are equally many of each.
pub(super) fn upsample_nearest(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let shape = tape.b.shape(x).to_vec();
    let mut dx = tape.full_dy(call)?;
    let axes = [shape.len() - 2, shape.len() - 1];
    if !axes.iter().all(|&a| tape.b.shape(dx)[a].is_multiple_of(shape[a])) {
        return resized(tape, call);
    }
    for axis in axes {
        let large = tape.b.shape(dx).to_vec();
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

/// Each element gets the sum of its copies in the windows.
pub(super) fn sliding_windows(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let dy = tape.full_dy(call)?;
    let (shape, windowed) = (tape.b.shape(x).to_vec(), tape.b.shape(dy).to_vec());
    let axis = call.axis(call.int("axis")?.unwrap_or(0), shape.len())?;
    let stride = call.int("stride")?.unwrap_or(1) as usize;
    let (windows, size) = (windowed[axis], windowed[axis + 1]);
    let entries = (0..windows * size).map(|row| (row, row / size * stride + row % size, 1.0));
    let matrix = Matrix::new(tape, call, [axis, windows * size, shape[axis]], entries)?;
    let mut merged = shape;
    merged[axis] = windows * size;
    let merged = tape.b.reshape(dy, &merged)?;
    let dx = matrix.times(tape, merged, true)?;
    tape.give(x, dx);
    Ok(())
}

/// y = x·n^−β with n = k + α/size·Σ x² over the channels around: dx = dy·n^−β − 2αβ/size·x·Σ dy·y/n over the channels that
/// have this one around.
pub(super) fn local_response(tape: &mut Tape<'_>, call: Call<'_>) -> Result<()> {
    let Some(x) = tape.wants(call, "x")? else { return Ok(()) };
    let norm = LocalResponse::read(call)?;
    let factor = norm.alpha / norm.size as f64;
    let channels = tape.b.shape(x)[1];
    let around = (0..channels).flat_map(|c| norm.around(c, channels).map(move |other| (c, other, 1.0)));
    let matrix = Matrix::new(tape, call, [1, channels, channels], around)?;
    let dy = tape.full_dy(call)?;
    let square = tape.b.mul(x, x)?;
    let sum = matrix.times(tape, square, false)?;
    let b = &mut tape.b;
    let sum = b.scale(sum, factor)?;
    let n = b.with_scalar(Add, sum, norm.k)?;
    let power = b.with_scalar(Pow, n, -norm.beta)?;
    let direct = b.mul(dy, power)?;
    let product = b.mul(dy, call.op.result())?;
    let ratio = b.binary(RealDiv, product, n)?;
    let sum = matrix.times(tape, ratio, true)?;
    let b = &mut tape.b;
    let slope = b.scale(sum, 2.0 * factor * norm.beta)?;
    let indirect = b.mul(x, slope)?;
    let dx = b.sub(direct, indirect)?;
    tape.give(x, dx);
    Ok(())
}
