//! Ops on images.

use super::{Operands, Tensor};
use crate::{
    CallError,
    infer::image::{Sampling, margins},
};

pub(super) fn crop(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let m = margins(o.call)?;
    let rank = x.rank();
    let mut at = vec![0; rank];
    Ok(Tensor::from_fn(o.result_shape()?, |i| {
        at.copy_from_slice(i);
        at[rank - 2] += m[0];
        at[rank - 1] += m[2];
        x.at(&at)
    }))
}

/// Each pixel from where the matrix `[a0, a1, a2, b0, b1, b2]` takes its coordinates (x, y), both −1 to 1 over an image:
/// to x' = a0·x + a1·y + a2, y' = b0·x + b1·y + b2. Between pixels it is interpolated; outside are pixels of
/// `padding_value`.
pub(super) fn affine(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (x, matrix) = (o.tensor("x")?, o.tensor("transform_matrix")?);
    let corners = o.call.bool("align_corners")?;
    let outside = o.call.float("padding_value")?.unwrap_or(0.0);
    // Where −1 and 1 are: at the centres of the first and last pixel, or at their outer edges.
    let normalised = |i: usize, extent: usize| match corners {
        true if extent == 1 => 0.0,
        true => 2.0 * i as f64 / (extent as f64 - 1.0) - 1.0,
        false => (2.0 * i as f64 + 1.0) / extent as f64 - 1.0,
    };
    let place = |v: f64, extent: usize| match corners {
        true => (v + 1.0) / 2.0 * (extent as f64 - 1.0),
        false => ((v + 1.0) * extent as f64 - 1.0) / 2.0,
    };
    let (height, width) = (x.shape[2], x.shape[3]);
    let shape = o.result_shape()?;
    let (new_height, new_width) = (shape[2], shape[3]);
    Ok(Tensor::from_fn(shape, |i| {
        let of_image = if matrix.shape[0] == 1 { 0 } else { i[0] };
        let m = |n: usize| matrix.at(&[of_image, n]);
        let (v, u) = (normalised(i[2], new_height), normalised(i[3], new_width));
        let column = place(m(0) * u + m(1) * v + m(2), width);
        let row = place(m(3) * u + m(4) * v + m(5), height);
        let pixel = |row: f64, column: f64| {
            let inside = row >= 0.0 && column >= 0.0 && row < height as f64 && column < width as f64;
            if inside { x.at(&[i[0], i[1], row as usize, column as usize]) } else { outside }
        };
        let between = |row: f64| {
            let (left, part) = (column.floor(), column - column.floor());
            (1.0 - part) * pixel(row, left) + part * pixel(row, left + 1.0)
        };
        let (above, part) = (row.floor(), row - row.floor());
        (1.0 - part) * between(above) + part * between(above + 1.0)
    }))
}

/// Each resized axis in turn: the element at a place, or the line between its neighbours there.
pub(super) fn resized(o: Operands<'_>) -> Result<Tensor, CallError> {
    let mut x = o.tensor("x")?.into_owned();
    let sampling = Sampling::read(o.call)?;
    for resized in sampling.axes {
        let axis = resized.axis;
        let last = x.shape[axis] - 1;
        let mut shape = x.shape.clone();
        shape[axis] = resized.grid.len();
        let mut at = vec![0; shape.len()];
        x = Tensor::from_fn(shape, |i| {
            at.copy_from_slice(i);
            let place = resized.grid[i[axis]];
            at[axis] = place.floor() as usize;
            let left = x.at(&at);
            let part = place - place.floor();
            if !sampling.linear || part == 0.0 {
                return left;
            }
            at[axis] = (at[axis] + 1).min(last);
            left + part * (x.at(&at) - left)
        });
    }
    Ok(x)
}
