//! Normalisations.

use super::{Operands, Tensor, reduce};
use crate::{CallError, infer::norm::LocalResponse};

fn epsilon(o: Operands<'_>) -> Result<f64, CallError> {
    Ok(o.call.float("epsilon")?.unwrap_or(0.0))
}

/// gamma · (x − mean) / √(variance + epsilon) + beta, channel by channel.
pub(super) fn batch(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (x, mean, variance) = (o.tensor("x")?, o.tensor("mean")?, o.tensor("variance")?);
    let (gamma, beta) = (o.optional("gamma")?, o.optional("beta")?);
    let epsilon = epsilon(o)?;
    Ok(Tensor::from_fn(x.shape.clone(), |i| {
        let c = i[1];
        let unit = (x.at(i) - mean.data[c]) / (variance.data[c] + epsilon).sqrt();
        unit * gamma.as_ref().map_or(1.0, |g| g.data[c]) + beta.as_ref().map_or(0.0, |b| b.data[c])
    }))
}

/// (x − E\[x\]) / √(Var\[x\] + epsilon) over `axes`.
fn standardised(x: &Tensor, axes: &[usize], epsilon: f64) -> Tensor {
    let mean = |group: &[f64]| group.iter().sum::<f64>() / group.len() as f64;
    let means = reduce::over(x, axes, mean);
    let variances = reduce::over(x, axes, |group| {
        let m = mean(group);
        group.iter().map(|x| (x - m) * (x - m)).sum::<f64>() / group.len() as f64
    });
    Tensor::from_fn(x.shape.clone(), |i| {
        (x.at(i) - means.broadcast_at(i)) / (variances.broadcast_at(i) + epsilon).sqrt()
    })
}

/// Over the axes after the channel; one gamma and beta a channel.
pub(super) fn instance(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let axes: Vec<usize> = (2..x.rank()).collect();
    scaled(o, standardised(&x, &axes, epsilon(o)?), &[1])
}

/// Over `axes`; gamma and beta have their extents.
pub(super) fn layer(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let axes = o.call.reduced_axes(x.rank())?;
    scaled(o, standardised(&x, &axes, epsilon(o)?), &axes)
}

/// gamma · unit + beta, where gamma and beta lie along `axes`.
fn scaled(o: Operands<'_>, unit: Tensor, axes: &[usize]) -> Result<Tensor, CallError> {
    let (gamma, beta) = (o.optional("gamma")?, o.optional("beta")?);
    Ok(Tensor::from_fn(unit.shape.clone(), |i| {
        let at: Vec<usize> = axes.iter().map(|&a| i[a]).collect();
        unit.at(i) * gamma.as_ref().map_or(1.0, |g| g.at(&at)) + beta.as_ref().map_or(0.0, |b| b.at(&at))
    }))
}

/// x / √(Σ x² + epsilon) over the last three axes.
pub(super) fn l2(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let epsilon = epsilon(o)?;
    let axes: Vec<usize> = (x.rank() - 3..x.rank()).collect();
    let squares = reduce::over(&x, &axes, |group| group.iter().map(|x| x * x).sum());
    Ok(Tensor::from_fn(x.shape.clone(), |i| x.at(i) / (squares.broadcast_at(i) + epsilon).sqrt()))
}

/// x / (k + alpha/size · Σ x²)^beta, summed over the channels around each.
pub(super) fn local_response(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let norm = LocalResponse::read(o.call)?;
    let mut at = vec![0; x.rank()];
    Ok(Tensor::from_fn(x.shape.clone(), |i| {
        at.copy_from_slice(i);
        let mut sum = 0.0;
        for c in norm.around(i[1], x.shape[1]) {
            at[1] = c;
            sum += x.at(&at) * x.at(&at);
        }
        x.at(i) / (norm.k + norm.alpha / norm.size as f64 * sum).powf(norm.beta)
    }))
}
