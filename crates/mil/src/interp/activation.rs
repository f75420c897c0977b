//! Activations.

use super::{
    Operands, Tensor,
    elementwise::{erf, maximum, minimum},
    reduce,
};
use crate::{CallError, Opcode};

/// Activations of one operand and constant numbers.
pub(super) fn plain(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let float = |name| o.call.float(name).map(|v| v.unwrap_or(0.0));
    use Opcode::*;
    Ok(match o.call.code() {
        ClampedRelu => {
            let (alpha, beta) = (float("alpha")?, float("beta")?);
            x.map(|x| minimum(if x < 0.0 { alpha * x } else { x }, beta))
        }
        Elu => {
            let alpha = float("alpha")?;
            x.map(|x| if x < 0.0 { alpha * x.exp_m1() } else { x })
        }
        Gelu => x.map(gelu(o)?),
        LeakyRelu => {
            let alpha = float("alpha")?;
            x.map(|x| if x < 0.0 { alpha * x } else { x })
        }
        LinearActivation => {
            let (alpha, beta) = (float("alpha")?, float("beta")?);
            x.map(|x| alpha * x + beta)
        }
        Relu => x.map(|x| maximum(x, 0.0)),
        Relu6 => x.map(|x| minimum(maximum(x, 0.0), 6.0)),
        ScaledTanh => {
            let (alpha, beta) = (float("alpha")?, float("beta")?);
            x.map(|x| alpha * (beta * x).tanh())
        }
        Sigmoid => x.map(sigmoid),
        SigmoidHard => {
            let (alpha, beta) = (float("alpha")?, float("beta")?);
            x.map(|x| minimum(maximum(alpha * x + beta, 0.0), 1.0))
        }
        Silu => x.map(|x| x * sigmoid(x)),
        Softplus => x.map(softplus),
        Softsign => x.map(|x| x / (1.0 + x.abs())),
        ThresholdedRelu => {
            let alpha = float("alpha")?;
            x.map(|x| if x < alpha { 0.0 } else { x })
        }
        other => return Err(CallError::UnknownOp(other)),
    })
}

fn gelu(o: Operands<'_>) -> Result<fn(f64) -> f64, CallError> {
    Ok(match o.call.string("mode")?.unwrap_or("EXACT") {
        "EXACT" => |x| 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        "TANH_APPROXIMATION" => |x| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        },
        "SIGMOID_APPROXIMATION" => |x| x * sigmoid(1.702 * x),
        other => {
            return Err(o.call.invalid(format!(
                "mode is \"{other}\"; it must be EXACT, TANH_APPROXIMATION or SIGMOID_APPROXIMATION"
            )));
        }
    })
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// log(1 + eˣ), without overflow.
fn softplus(x: f64) -> f64 {
    maximum(x, 0.0) + (-x.abs()).exp().ln_1p()
}

/// One slope a channel (axis 1) for negative elements.
pub(super) fn prelu(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (x, alpha) = (o.tensor("x")?, o.tensor("alpha")?);
    Ok(Tensor::from_fn(x.shape.clone(), |i| {
        let element = x.at(i);
        if element < 0.0 { alpha.data[i[1]] * element } else { element }
    }))
}

/// α·log(1 + e^(β·x)) with an α and a β a channel (axis 1).
pub(super) fn softplus_parametric(o: Operands<'_>) -> Result<Tensor, CallError> {
    let (x, alpha, beta) = (o.tensor("x")?, o.tensor("alpha")?, o.tensor("beta")?);
    Ok(Tensor::from_fn(x.shape.clone(), |i| alpha.data[i[1]] * softplus(beta.data[i[1]] * x.at(i))))
}

/// e^(x − max) / Σ e^(x − max) along an axis.
pub(super) fn softmax(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let axis = o.call.axis(o.call.int("axis")?.unwrap_or(-1), x.rank())?;
    Ok(softmax_along(&x, axis))
}

/// Softmax of `x` along `axis`.
pub(super) fn softmax_along(x: &Tensor, axis: usize) -> Tensor {
    let largest = reduce::over(x, &[axis], |group| group.iter().copied().fold(f64::NEG_INFINITY, maximum));
    let powers = Tensor::from_fn(x.shape.clone(), |i| (x.at(i) - largest.broadcast_at(i)).exp());
    let sums = reduce::over(&powers, &[axis], |group| group.iter().sum());
    Tensor::from_fn(x.shape.clone(), |i| powers.at(i) / sums.broadcast_at(i))
}
