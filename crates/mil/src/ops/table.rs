//! The rows of the op catalogue, after Apple's public MIL op documentation.

use super::{ArgKind::*, ArgSpec, Default as D, OpSpec};
use crate::Opcode;

const fn arg(name: &'static str, kind: super::ArgKind, default: D) -> ArgSpec {
    ArgSpec { name, kind, default }
}

const fn tensor(name: &'static str) -> ArgSpec {
    arg(name, Tensor, D::Required)
}

const X: ArgSpec = tensor("x");
const Y: ArgSpec = tensor("y");

const fn row(code: Opcode, args: &'static [ArgSpec]) -> OpSpec {
    OpSpec { code, args }
}

const REDUCE: &[ArgSpec] = &[X, arg("axes", Ints, D::None), arg("keep_dims", Bool, D::Bool(false))];

pub(super) const ROWS: &[OpSpec] = &[
    row(Opcode::Const, &[]),
    row(Opcode::Abs, &[X]),
    row(Opcode::Cos, &[X]),
    row(Opcode::Erf, &[X]),
    row(Opcode::Exp, &[X]),
    row(Opcode::Exp2, &[X]),
    row(Opcode::Identity, &[X]),
    row(Opcode::Inverse, &[X, arg("epsilon", Float, D::Float(1e-4))]),
    row(Opcode::Log, &[X, arg("epsilon", Float, D::Float(1e-45))]),
    row(Opcode::Rsqrt, &[X, arg("epsilon", Float, D::Float(1e-12))]),
    row(Opcode::Sin, &[X]),
    row(Opcode::Sqrt, &[X]),
    row(Opcode::Square, &[X]),
    row(Opcode::Tanh, &[X]),
    row(Opcode::Cast, &[X, arg("dtype", Str, D::Required)]),
    row(Opcode::Gelu, &[X, arg("mode", Str, D::Str("EXACT"))]),
    row(Opcode::Relu, &[X]),
    row(Opcode::Sigmoid, &[X]),
    row(Opcode::Silu, &[X]),
    row(Opcode::Softmax, &[X, arg("axis", Int, D::Int(-1))]),
    row(Opcode::Add, &[X, Y]),
    row(Opcode::Sub, &[X, Y]),
    row(Opcode::Mul, &[X, Y]),
    row(Opcode::RealDiv, &[X, Y]),
    row(Opcode::Maximum, &[X, Y]),
    row(Opcode::Minimum, &[X, Y]),
    row(Opcode::Pow, &[X, Y]),
    row(
        Opcode::Conv,
        &[
            X,
            tensor("weight"),
            arg("bias", Tensor, D::None),
            arg("strides", Ints, D::None),
            arg("pad_type", Str, D::Str("valid")),
            arg("pad", Ints, D::None),
            arg("dilations", Ints, D::None),
            arg("groups", Int, D::Int(1)),
        ],
    ),
    row(
        Opcode::Matmul,
        &[X, Y, arg("transpose_x", Bool, D::Bool(false)), arg("transpose_y", Bool, D::Bool(false))],
    ),
    row(Opcode::Reshape, &[X, arg("shape", Ints, D::Required)]),
    row(Opcode::Transpose, &[X, arg("perm", Ints, D::Required)]),
    row(Opcode::ExpandDims, &[X, arg("axes", Ints, D::Required)]),
    row(Opcode::Squeeze, &[X, arg("axes", Ints, D::None)]),
    row(
        Opcode::Concat,
        &[
            arg("values", Tensors, D::Required),
            arg("axis", Int, D::Required),
            arg("interleave", Bool, D::Bool(false)),
        ],
    ),
    row(Opcode::SliceBySize, &[X, arg("begin", Ints, D::Required), arg("size", Ints, D::Required)]),
    row(
        Opcode::Split,
        &[
            X,
            arg("axis", Int, D::Required),
            arg("num_splits", Int, D::None),
            arg("split_sizes", Ints, D::None),
        ],
    ),
    row(
        Opcode::Pad,
        &[
            X,
            arg("pad", Ints, D::Required),
            arg("mode", Str, D::Str("constant")),
            arg("constant_val", Float, D::Float(0.0)),
        ],
    ),
    row(Opcode::Tile, &[X, arg("reps", Ints, D::Required)]),
    row(Opcode::ReduceL1Norm, REDUCE),
    row(Opcode::ReduceL2Norm, REDUCE),
    row(Opcode::ReduceLogSumExp, REDUCE),
    row(Opcode::ReduceMax, REDUCE),
    row(Opcode::ReduceMean, REDUCE),
    row(Opcode::ReduceMin, REDUCE),
    row(Opcode::ReduceSum, REDUCE),
    row(Opcode::ReduceSumSquare, REDUCE),
];
