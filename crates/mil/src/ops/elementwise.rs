//! Rows of elementwise ops of one, two and three operands.

use super::{ArgKind::*, ArgSpec, Default as D, EngineStatus::*, OpSpec, X, Y, arg, required, row, tensor};
use crate::{
    Opcode::{self, *},
    Opset::Ios15,
};

const ALPHA: ArgSpec = required("alpha", Float);
const BETA: ArgSpec = required("beta", Float);

const fn unary(code: Opcode, engine: super::EngineStatus, summary: &'static str) -> OpSpec {
    row(code, Ios15, engine, &[X], summary)
}

const fn binary(code: Opcode, engine: super::EngineStatus, summary: &'static str) -> OpSpec {
    row(code, Ios15, engine, &[X, Y], summary)
}

pub(super) const ROWS: &[OpSpec] = &[
    row(Const, Ios15, Correct, &[], "A value known beforehand, in the program or in a weight file."),
    unary(Abs, Correct, "The size of each element.").numbers(),
    unary(Acos, NotOnEngine, "The angle whose cosine is the element.").floats(),
    unary(Asin, NotOnEngine, "The angle whose sine is the element.").floats(),
    unary(Atan, Correct, "The angle whose tangent is the element.").floats(),
    unary(Atanh, NotOnEngine, "The inverse hyperbolic tangent.").floats(),
    unary(Ceil, Correct, "The next integer upwards.").floats(),
    row(Clip, Ios15, Correct, &[X, ALPHA, BETA], "Elements held between alpha and beta.").floats(),
    unary(Cos, Correct, "The cosine.").floats(),
    unary(Cosh, NotOnEngine, "The hyperbolic cosine.").floats(),
    unary(Erf, Correct, "The error function of Gauss.").floats(),
    unary(Exp, Correct, "e to the power of the element.").floats(),
    unary(Exp2, Correct, "2 to the power of the element.").numbers(),
    unary(Floor, Correct, "The next integer downwards.").floats(),
    unary(Identity, DoesNotCompile, "The operand itself."),
    row(Inverse, Ios15, Correct, &[X, arg("epsilon", Float, D::Float(1e-4))], "1 / (x + epsilon).").floats(),
    row(Log, Ios15, Correct, &[X, arg("epsilon", Float, D::Float(1e-45))], "ln(x + epsilon).").floats(),
    unary(LogicalNot, Compiles, "True where the operand is false."),
    unary(Round, Correct, "The nearest integer, ties to even.").floats(),
    row(Rsqrt, Ios15, Correct, &[X, arg("epsilon", Float, D::Float(1e-12))], "1 / sqrt(x + epsilon).")
        .floats(),
    unary(Sign, Correct, "-1, 0 or 1.").numbers(),
    unary(Sin, Correct, "The sine.").floats(),
    unary(Sinh, NotOnEngine, "The hyperbolic sine.").floats(),
    unary(Sqrt, Correct, "The square root.").floats(),
    unary(Square, Correct, "The element times itself.").numbers(),
    unary(Tan, NotOnEngine, "The tangent.").floats(),
    unary(Tanh, Correct, "The hyperbolic tangent.").floats(),
    row(Threshold, Ios15, Correct, &[X, ALPHA], "Elements raised to alpha where they are below it.")
        .numbers(),
    // The sweep has the cast to int32, which the engine does not do; casts between fp16 and fp32 stand at the edges of
    // programs that run there.
    row(Cast, Ios15, Compiles, &[X, required("dtype", Str)], "Elements in another element type."),
    binary(Add, Correct, "x + y, broadcasting."),
    binary(Equal, Compiles, "True where x = y."),
    binary(FloorDiv, Correct, "x / y rounded downwards.").numbers(),
    binary(Greater, Compiles, "True where x > y."),
    binary(GreaterEqual, Compiles, "True where x >= y."),
    binary(Less, Compiles, "True where x < y."),
    binary(LessEqual, Compiles, "True where x <= y."),
    binary(LogicalAnd, NotOnEngine, "True where both are."),
    binary(LogicalOr, NotOnEngine, "True where one or both are."),
    binary(LogicalXor, NotOnEngine, "True where just one is."),
    binary(Maximum, Correct, "The larger element."),
    binary(Minimum, Correct, "The smaller element."),
    binary(Mod, NotOnEngine, "The remainder of x / y, with the sign of y.").numbers(),
    binary(Mul, Correct, "x * y, broadcasting."),
    binary(NotEqual, Compiles, "True where x and y differ."),
    binary(Pow, Correct, "x to the power of y.").numbers(),
    binary(RealDiv, Correct, "x / y, broadcasting.").numbers(),
    row(
        Select,
        Ios15,
        Correct,
        &[tensor("cond"), tensor("a"), tensor("b")],
        "Elements of a where cond is true, of b elsewhere.",
    ),
    binary(Sub, Correct, "x - y, broadcasting.").numbers(),
];
