//! Rows of reductions and ops that order elements.

use super::{ArgKind::*, ArgSpec, Default as D, EngineStatus::*, OpSpec, X, arg, required, row, tensor};
use crate::{
    Opcode::{self, *},
    Opset::Ios15,
};

const ASCENDING: ArgSpec = arg("ascending", Bool, D::Bool(false));
const LAST_AXIS: ArgSpec = arg("axis", Int, D::Int(-1));
const KEEP_DIMS: ArgSpec = arg("keep_dims", Bool, D::Bool(false));

const REDUCE: &[ArgSpec] = &[X, arg("axes", Ints, D::None), KEEP_DIMS];
const EXTREME_INDEX: &[ArgSpec] = &[X, LAST_AXIS, KEEP_DIMS, arg("output_dtype", Str, D::Str("int32"))];

const fn reduce(code: Opcode, engine: super::EngineStatus, summary: &'static str) -> OpSpec {
    row(code, Ios15, engine, REDUCE, summary).numbers()
}

const fn extreme_index(code: Opcode, summary: &'static str) -> OpSpec {
    row(code, Ios15, NotOnEngine, EXTREME_INDEX, summary).numbers()
}

pub(super) const ROWS: &[OpSpec] = &[
    row(
        Argsort,
        Ios15,
        DoesNotCompile,
        &[X, LAST_AXIS, ASCENDING],
        "The indices that sort elements along an axis.",
    )
    .numbers(),
    row(
        Cumsum,
        Ios15,
        NotOnEngine,
        &[
            X,
            arg("axis", Int, D::Int(0)),
            arg("exclusive", Bool, D::Bool(false)),
            arg("reverse", Bool, D::Bool(false)),
        ],
        "Sums of all elements up to each along an axis.",
    )
    .numbers(),
    extreme_index(ReduceArgmax, "The index of the largest element along an axis, the first of several."),
    extreme_index(ReduceArgmin, "The index of the smallest element along an axis, the first of several."),
    reduce(ReduceL1Norm, Correct, "The sum of sizes over axes."),
    reduce(ReduceL2Norm, Correct, "The square root of the sum of squares over axes."),
    reduce(ReduceLogSum, Correct, "ln of the sum over axes."),
    reduce(ReduceLogSumExp, Correct, "ln of the sum of e^x over axes."),
    reduce(ReduceMax, Correct, "The largest element over axes."),
    reduce(ReduceMean, Correct, "The mean over axes."),
    reduce(ReduceMin, Correct, "The smallest element over axes."),
    reduce(ReduceProd, NotOnEngine, "The product over axes."),
    reduce(ReduceSum, Correct, "The sum over axes."),
    reduce(ReduceSumSquare, Correct, "The sum of squares over axes."),
    row(
        Topk,
        Ios15,
        Correct,
        &[
            X,
            arg("k", Int, D::Int(1)),
            LAST_AXIS,
            ASCENDING,
            arg("sort", Bool, D::Bool(true)),
            arg("return_indices", Bool, D::Bool(true)),
            arg("output_indices_dtype", Str, D::Str("int32")),
        ],
        "The k largest or smallest elements along an axis, and their indices.",
    )
    .numbers(),
    row(
        NonMaximumSuppression,
        Ios15,
        Compiles,
        &[
            tensor("boxes"),
            tensor("scores"),
            required("iou_threshold", Float),
            arg("score_threshold", Float, D::None),
            required("max_boxes", Int),
            arg("per_class_suppression", Bool, D::Bool(false)),
        ],
        "The best of boxes that overlap. With `score_threshold` boxes are rows, as before ios17.",
    )
    .floats(),
];
