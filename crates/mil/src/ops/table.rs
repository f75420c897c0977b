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
const ALPHA: ArgSpec = arg("alpha", Float, D::Required);
const BETA: ArgSpec = arg("beta", Float, D::Required);

const fn row(code: Opcode, args: &'static [ArgSpec]) -> OpSpec {
    OpSpec { code, args }
}

const REDUCE: &[ArgSpec] = &[X, arg("axes", Ints, D::None), arg("keep_dims", Bool, D::Bool(false))];

pub(super) const ROWS: &[OpSpec] = &[
    row(Opcode::Const, &[]),
    row(Opcode::Abs, &[X]),
    row(Opcode::Acos, &[X]),
    row(Opcode::Asin, &[X]),
    row(Opcode::Atan, &[X]),
    row(Opcode::Atanh, &[X]),
    row(Opcode::Ceil, &[X]),
    row(Opcode::Clip, &[X, ALPHA, BETA]),
    row(Opcode::Cos, &[X]),
    row(Opcode::Cosh, &[X]),
    row(Opcode::Erf, &[X]),
    row(Opcode::Exp, &[X]),
    row(Opcode::Exp2, &[X]),
    row(Opcode::Floor, &[X]),
    row(Opcode::Identity, &[X]),
    row(Opcode::Inverse, &[X, arg("epsilon", Float, D::Float(1e-4))]),
    row(Opcode::Log, &[X, arg("epsilon", Float, D::Float(1e-45))]),
    row(Opcode::LogicalNot, &[X]),
    row(Opcode::Round, &[X]),
    row(Opcode::Rsqrt, &[X, arg("epsilon", Float, D::Float(1e-12))]),
    row(Opcode::Sign, &[X]),
    row(Opcode::Sin, &[X]),
    row(Opcode::Sinh, &[X]),
    row(Opcode::Sqrt, &[X]),
    row(Opcode::Square, &[X]),
    row(Opcode::Tan, &[X]),
    row(Opcode::Tanh, &[X]),
    row(Opcode::Threshold, &[X, ALPHA]),
    row(Opcode::Cast, &[X, arg("dtype", Str, D::Required)]),
    row(Opcode::ClampedRelu, &[X, ALPHA, BETA]),
    row(Opcode::Elu, &[X, ALPHA]),
    row(Opcode::Gelu, &[X, arg("mode", Str, D::Str("EXACT"))]),
    row(Opcode::LeakyRelu, &[X, ALPHA]),
    row(Opcode::LinearActivation, &[X, ALPHA, arg("beta", Float, D::Float(0.0))]),
    row(Opcode::Prelu, &[X, tensor("alpha")]),
    row(Opcode::Relu, &[X]),
    row(Opcode::Relu6, &[X]),
    row(Opcode::ScaledTanh, &[X, ALPHA, BETA]),
    row(Opcode::Sigmoid, &[X]),
    row(Opcode::SigmoidHard, &[X, ALPHA, BETA]),
    row(Opcode::Silu, &[X]),
    row(Opcode::Softmax, &[X, arg("axis", Int, D::Int(-1))]),
    row(Opcode::Softplus, &[X]),
    row(Opcode::SoftplusParametric, &[X, tensor("alpha"), tensor("beta")]),
    row(Opcode::Softsign, &[X]),
    row(Opcode::ThresholdedRelu, &[X, ALPHA]),
    row(Opcode::Add, &[X, Y]),
    row(Opcode::Equal, &[X, Y]),
    row(Opcode::FloorDiv, &[X, Y]),
    row(Opcode::Greater, &[X, Y]),
    row(Opcode::GreaterEqual, &[X, Y]),
    row(Opcode::Less, &[X, Y]),
    row(Opcode::LessEqual, &[X, Y]),
    row(Opcode::LogicalAnd, &[X, Y]),
    row(Opcode::LogicalOr, &[X, Y]),
    row(Opcode::LogicalXor, &[X, Y]),
    row(Opcode::Maximum, &[X, Y]),
    row(Opcode::Minimum, &[X, Y]),
    row(Opcode::Mod, &[X, Y]),
    row(Opcode::Mul, &[X, Y]),
    row(Opcode::NotEqual, &[X, Y]),
    row(Opcode::Pow, &[X, Y]),
    row(Opcode::RealDiv, &[X, Y]),
    row(Opcode::Select, &[tensor("cond"), tensor("a"), tensor("b")]),
    row(Opcode::Sub, &[X, Y]),
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
    row(Opcode::ReduceLogSum, REDUCE),
    row(Opcode::ReduceLogSumExp, REDUCE),
    row(Opcode::ReduceMax, REDUCE),
    row(Opcode::ReduceMean, REDUCE),
    row(Opcode::ReduceMin, REDUCE),
    row(Opcode::ReduceProd, REDUCE),
    row(Opcode::ReduceSum, REDUCE),
    row(Opcode::ReduceSumSquare, REDUCE),
];
