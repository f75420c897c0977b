//! Rows of activations.

use super::{ArgKind::*, ArgSpec, Default as D, EngineStatus::*, OpSpec, X, arg, required, row, tensor};
use crate::{Opcode::*, Opset::Ios15};

const ALPHA: ArgSpec = required("alpha", Float);
const BETA: ArgSpec = required("beta", Float);

pub(super) const ROWS: &[OpSpec] = &[
    row(ClampedRelu, Ios15, Correct, &[X, ALPHA, BETA], "x, or alpha * x where negative, held below beta.")
        .floats(),
    row(Elu, Ios15, Correct, &[X, ALPHA], "x, or alpha * (e^x - 1) where negative.").floats(),
    row(
        Gelu,
        Ios15,
        Correct,
        &[X, arg("mode", Str, D::Str("EXACT"))],
        "x times the normal distribution up to x, exactly or approximately.",
    )
    .floats(),
    row(LeakyRelu, Ios15, Correct, &[X, ALPHA], "x, or alpha * x where negative.").floats(),
    row(
        LinearActivation,
        Ios15,
        Correct,
        &[X, ALPHA, arg("beta", Float, D::Float(0.0))],
        "alpha * x + beta.",
    )
    .floats(),
    row(
        Prelu,
        Ios15,
        Compiles,
        &[X, tensor("alpha")],
        "x, or alpha * x where negative, with an alpha a channel.",
    )
    .floats(),
    row(Relu, Ios15, Correct, &[X], "x, or 0 where negative.").floats(),
    row(Relu6, Ios15, Correct, &[X], "x held between 0 and 6.").floats(),
    row(ScaledTanh, Ios15, Correct, &[X, ALPHA, BETA], "alpha * tanh(beta * x).").floats(),
    row(Sigmoid, Ios15, Correct, &[X], "1 / (1 + e^-x).").floats(),
    row(SigmoidHard, Ios15, Correct, &[X, ALPHA, BETA], "alpha * x + beta held between 0 and 1.").floats(),
    row(Silu, Ios15, Correct, &[X], "x * sigmoid(x).").floats(),
    // Softmax is not in the sweep; trainers run it on the engine.
    row(
        Softmax,
        Ios15,
        Compiles,
        &[X, arg("axis", Int, D::Int(-1))],
        "e^x divided by its sum along an axis.",
    )
    .floats(),
    row(Softplus, Ios15, Correct, &[X], "ln(1 + e^x).").floats(),
    row(
        SoftplusParametric,
        Ios15,
        Compiles,
        &[X, tensor("alpha"), tensor("beta")],
        "alpha * ln(1 + e^(beta * x)), with an alpha and a beta a channel.",
    )
    .floats(),
    row(Softsign, Ios15, Correct, &[X], "x / (1 + |x|).").floats(),
    row(ThresholdedRelu, Ios15, Correct, &[X, ALPHA], "x where at least alpha, 0 elsewhere.").floats(),
];
