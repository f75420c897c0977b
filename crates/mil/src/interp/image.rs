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
