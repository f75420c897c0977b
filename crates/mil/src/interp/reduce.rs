//! Reductions.

use super::{
    Operands, Tensor,
    elementwise::{maximum, minimum},
    tensor::for_each_index,
};
use crate::{CallError, Opcode};

pub(super) fn reduce(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let axes = o.call.reduced_axes(x.rank())?;
    use Opcode::*;
    let f: fn(&[f64]) -> f64 = match o.call.code() {
        ReduceL1Norm => |g| g.iter().map(|x| x.abs()).sum(),
        ReduceL2Norm => |g| g.iter().map(|x| x * x).sum::<f64>().sqrt(),
        ReduceLogSum => |g| g.iter().sum::<f64>().ln(),
        ReduceLogSumExp => log_sum_exp,
        ReduceMax => |g| g.iter().copied().fold(f64::NEG_INFINITY, maximum),
        ReduceMean => |g| g.iter().sum::<f64>() / g.len() as f64,
        ReduceMin => |g| g.iter().copied().fold(f64::INFINITY, minimum),
        ReduceProd => |g| g.iter().product(),
        ReduceSum => |g| g.iter().sum(),
        ReduceSumSquare => |g| g.iter().map(|x| x * x).sum(),
        other => return Err(CallError::UnknownOp(other)),
    };
    Ok(over(&x, &axes, f).reshaped(o.result_shape()?))
}

fn log_sum_exp(group: &[f64]) -> f64 {
    let largest = group.iter().copied().fold(f64::NEG_INFINITY, maximum);
    match largest.is_finite() {
        true => largest + group.iter().map(|x| (x - largest).exp()).sum::<f64>().ln(),
        false => largest,
    }
}

/// `f` of the elements along `axes`, which stay with extent 1.
pub(super) fn over(x: &Tensor, axes: &[usize], f: impl Fn(&[f64]) -> f64) -> Tensor {
    let reduced = |i: usize| axes.contains(&i);
    let shape: Vec<usize> =
        x.shape.iter().enumerate().map(|(i, &d)| if reduced(i) { 1 } else { d }).collect();
    let mut groups = vec![Vec::new(); shape.iter().product()];
    let mut elements = x.data.iter();
    for_each_index(&x.shape, |index| {
        let group = index
            .iter()
            .enumerate()
            .zip(&shape)
            .fold(0, |offset, ((i, &at), &d)| offset * d + if reduced(i) { 0 } else { at });
        groups[group].extend(elements.next());
    });
    Tensor::new(shape, groups.iter().map(|g| f(g)).collect::<Vec<_>>())
}
