//! Rows of compressed weights and quantisation.

use super::{ArgKind::*, ArgSpec, Default as D, EngineStatus::*, OpSpec, arg, maybe, required, row, tensor};
use crate::{
    Opcode::*,
    Opset::{Ios16, Ios17, Ios18},
};

const VECTOR_AXIS: ArgSpec = arg("vector_axis", Int, D::None);

pub(super) const ROWS: &[OpSpec] = &[
    row(
        ConstexprAffineDequantize,
        Ios16,
        Correct,
        &[tensor("quantized_data"), tensor("zero_point"), tensor("scale"), required("axis", Int)],
        "Weights scale * (data - zero_point), with one scale for all or one a slice of an axis.",
    ),
    row(
        ConstexprBlockwiseShiftScale,
        Ios18,
        Correct,
        &[tensor("data"), tensor("scale"), maybe("offset")],
        "Weights scale * (data - offset), with one scale a block.",
    ),
    row(
        ConstexprCast,
        Ios16,
        Correct,
        &[tensor("source_val"), required("output_dtype", Str)],
        "Weights in another element type.",
    ),
    row(
        ConstexprLutToDense,
        Ios16,
        Correct,
        &[tensor("indices"), tensor("lut"), arg("shape", Ints, D::None), VECTOR_AXIS],
        "Weights looked up in tables of values or vectors.",
    ),
    row(
        ConstexprLutToSparse,
        Ios18,
        Compiles,
        &[tensor("indices_mask"), tensor("indices_nonzero_data"), tensor("lut"), VECTOR_AXIS],
        "Weights other than zero looked up in tables.",
    ),
    row(
        ConstexprSparseBlockwiseShiftScale,
        Ios18,
        Compiles,
        &[tensor("data_mask"), tensor("nonzero_data"), tensor("scale"), maybe("offset")],
        "Weights other than zero scaled block by block.",
    ),
    row(
        ConstexprSparseToDense,
        Ios16,
        Correct,
        &[tensor("nonzero_data"), tensor("mask"), arg("shape", Ints, D::None)],
        "Weights from those that are not zero and a mask of where they are.",
    ),
    row(
        Dequantize,
        Ios17,
        Correct,
        &[tensor("input"), maybe("zero_point"), tensor("scale"), arg("axis", Int, D::None)],
        "scale * (x - zero_point).",
    ),
    row(
        Quantize,
        Ios17,
        Correct,
        &[
            tensor("input"),
            maybe("zero_point"),
            tensor("scale"),
            required("output_dtype", Str),
            arg("axis", Int, D::None),
        ],
        "x / scale rounded, plus zero_point, held in the range of an 8-bit integer.",
    )
    .floats(),
];
