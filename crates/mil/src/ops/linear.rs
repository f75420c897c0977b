//! Rows of convolutions, products, normalisations and pools.

use super::{
    ArgKind::*, ArgSpec, Default as D, EngineStatus::*, OpSpec, X, Y, arg, maybe, parsed, required, row,
    tensor,
};
use crate::{
    Opcode::*,
    Opset::{Ios15, Ios18},
};

const EPSILON: ArgSpec = arg("epsilon", Float, D::Float(1e-5));
const STRIDES: ArgSpec = arg("strides", Ints, D::None);
const PAD: ArgSpec = arg("pad", Ints, D::None);
const PAD_TYPE: ArgSpec = arg("pad_type", Str, D::Str("valid"));
const DILATIONS: ArgSpec = arg("dilations", Ints, D::None);
const GROUPS: ArgSpec = arg("groups", Int, D::Int(1));
const KERNEL: ArgSpec = required("kernel_sizes", Ints);
const CEIL: ArgSpec = arg("ceil_mode", Bool, D::Bool(false));

pub(super) const ROWS: &[OpSpec] = &[
    row(
        BatchNorm,
        Ios15,
        Correct,
        &[X, tensor("mean"), tensor("variance"), maybe("gamma"), maybe("beta"), EPSILON],
        "Each channel shifted and scaled by a known mean and variance.",
    )
    .floats(),
    row(
        Conv,
        Ios15,
        Correct,
        &[X, tensor("weight"), maybe("bias"), STRIDES, PAD_TYPE, PAD, DILATIONS, GROUPS],
        "A convolution over one, two or three axes.",
    )
    .floats(),
    parsed(
        ConvQuantized,
        Ios15,
        DoesNotCompile,
        &[
            X,
            tensor("weight"),
            maybe("bias"),
            required("quantization_type", Str),
            arg("nbits", Int, D::Int(8)),
            tensor("quant_scale"),
            tensor("quant_bias"),
            STRIDES,
            PAD_TYPE,
            PAD,
            DILATIONS,
            GROUPS,
        ],
        "A convolution with weights in fewer bits.",
    ),
    row(
        ConvTranspose,
        Ios15,
        Correct,
        &[
            X,
            tensor("weight"),
            maybe("bias"),
            PAD,
            arg("output_shape", Ints, D::None),
            PAD_TYPE,
            STRIDES,
            DILATIONS,
            GROUPS,
        ],
        "The transpose of a convolution: each element spreads the kernel.",
    )
    .floats(),
    row(
        Einsum,
        Ios15,
        Correct,
        &[required("values", Tensors), required("equation", Str)],
        "The product of two tensors over the axes an equation names.",
    )
    .floats(),
    row(
        InstanceNorm,
        Ios15,
        Correct,
        &[X, maybe("gamma"), maybe("beta"), EPSILON],
        "Each channel of each example brought to mean 0 and variance 1.",
    )
    .floats(),
    row(
        L2Norm,
        Ios15,
        Compiles,
        &[X, arg("epsilon", Float, D::Float(1e-6))],
        "The last three axes divided by their length.",
    )
    .floats(),
    row(
        LayerNorm,
        Ios15,
        Correct,
        &[X, arg("axes", Ints, D::None), maybe("gamma"), maybe("beta"), EPSILON],
        "Elements brought to mean 0 and variance 1 over axes.",
    )
    .floats(),
    row(
        Linear,
        Ios15,
        Correct,
        &[X, tensor("weight"), maybe("bias")],
        "x times the weight's transpose, plus bias.",
    ),
    row(
        LocalResponseNorm,
        Ios15,
        Correct,
        &[
            X,
            required("size", Int),
            arg("alpha", Float, D::Float(1e-4)),
            arg("beta", Float, D::Float(0.75)),
            arg("k", Float, D::Float(1.0)),
        ],
        "Elements divided by a power of the sum of squares over neighbouring channels.",
    )
    .floats(),
    row(
        Matmul,
        Ios15,
        Correct,
        &[X, Y, arg("transpose_x", Bool, D::Bool(false)), arg("transpose_y", Bool, D::Bool(false))],
        "Products of the matrices in the last two axes.",
    )
    .numbers(),
    row(
        ScaledDotProductAttention,
        Ios18,
        Correct,
        &[tensor("query"), tensor("key"), tensor("value"), maybe("attn_mask")],
        "softmax(query * key^T / sqrt(width) + mask) * value.",
    )
    .floats(),
    row(
        AvgPool,
        Ios15,
        Correct,
        &[
            X,
            KERNEL,
            STRIDES,
            required("pad_type", Str),
            PAD,
            arg("exclude_padding_from_average", Bool, D::Bool(false)),
            CEIL,
        ],
        "The mean of each window.",
    )
    .floats(),
    row(
        L2Pool,
        Ios15,
        Correct,
        &[X, KERNEL, STRIDES, required("pad_type", Str), PAD, CEIL],
        "The length of each window.",
    )
    .floats(),
    row(
        MaxPool,
        Ios15,
        Correct,
        &[X, KERNEL, STRIDES, required("pad_type", Str), PAD, CEIL],
        "The largest element of each window.",
    )
    .floats(),
];
