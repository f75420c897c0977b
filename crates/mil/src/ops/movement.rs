//! Rows of ops that move elements, images among them.

use super::{
    ArgKind::*, ArgSpec, Default as D, EngineStatus::*, OpSpec, X, arg, parsed, required, row, tensor,
};
use crate::{
    Opcode::*,
    Opset::{Ios15, Ios16, Ios17, Ios18},
};

const AXIS_REQUIRED: ArgSpec = required("axis", Int);
const SAMPLING: ArgSpec = arg("sampling_mode", Str, D::Str("DEFAULT"));
const BEGIN: ArgSpec = required("begin", Ints);
const END: ArgSpec = required("end", Ints);
const STRIDE: ArgSpec = arg("stride", Ints, D::None);
const BEGIN_MASK: ArgSpec = arg("begin_mask", Bools, D::None);
const END_MASK: ArgSpec = arg("end_mask", Bools, D::None);
const SQUEEZE_MASK: ArgSpec = arg("squeeze_mask", Bools, D::None);
const AXIS_0: ArgSpec = arg("axis", Int, D::Int(0));
const BATCH_DIMS: ArgSpec = arg("batch_dims", Int, D::Int(0));
const VALIDATE: ArgSpec = arg("validate_indices", Bool, D::Bool(false));
const MODE_ADD: ArgSpec = arg("mode", Str, D::Str("add"));

pub(super) const ROWS: &[OpSpec] = &[
    row(
        BandPart,
        Ios15,
        NotOnEngine,
        &[X, arg("lower", Int, D::Int(-1)), arg("upper", Int, D::Int(-1))],
        "Matrices with zeros outside a band around the diagonal.",
    ),
    row(
        BatchToSpace,
        Ios15,
        Correct,
        &[X, required("block_shape", Ints), required("crops", Ints)],
        "Examples of the batch interleaved into one larger image, then cropped.",
    )
    .floats(),
    row(
        Concat,
        Ios15,
        Correct,
        &[required("values", Tensors), AXIS_REQUIRED, arg("interleave", Bool, D::Bool(false))],
        "Tensors one after the other along an axis.",
    ),
    row(
        Crop,
        Ios15,
        Correct,
        &[X, required("crop_height", Ints), required("crop_width", Ints)],
        "Images without their margins.",
    )
    .floats(),
    row(
        DepthToSpace,
        Ios15,
        Correct,
        &[X, required("block_size", Int)],
        "Groups of channels laid out as blocks of pixels, block outermost.",
    )
    .floats(),
    row(ExpandDims, Ios15, Correct, &[X, required("axes", Ints)], "New axes of extent 1."),
    row(
        Fill,
        Ios15,
        Correct,
        &[required("shape", Ints), arg("value", Float, D::Float(0.0))],
        "A tensor of one number.",
    ),
    row(
        FillLike,
        Ios16,
        Correct,
        &[tensor("ref_tensor"), arg("value", Float, D::Float(0.0))],
        "A tensor of one number with the shape of another.",
    ),
    row(
        Flatten2d,
        Ios15,
        Correct,
        &[X, arg("axis", Int, D::Int(1))],
        "A matrix: the axes before one together, then the rest together.",
    ),
    parsed(
        NonZero,
        Ios15,
        NotOnEngine,
        &[X],
        "The indices of elements other than zero; how many depends on them.",
    ),
    row(
        OneHot,
        Ios15,
        NotOnEngine,
        &[
            tensor("indices"),
            required("one_hot_vector_size", Int),
            arg("axis", Int, D::Int(-1)),
            arg("on_value", Float, D::Float(1.0)),
            arg("off_value", Float, D::Float(0.0)),
        ],
        "For each index a vector that is on there and off elsewhere.",
    ),
    row(
        Pad,
        Ios15,
        Correct,
        &[
            X,
            required("pad", Ints),
            arg("mode", Str, D::Str("constant")),
            arg("constant_val", Float, D::Float(0.0)),
        ],
        "More elements around: a constant, the mirror image, or the edge.",
    ),
    row(
        PixelShuffle,
        Ios15,
        Correct,
        &[X, required("upscale_factor", Int)],
        "Groups of channels laid out as blocks of pixels, channel outermost.",
    )
    .floats(),
    row(
        PixelUnshuffle,
        Ios16,
        Correct,
        &[X, required("downscale_factor", Int)],
        "Blocks of pixels laid out as groups of channels, channel outermost.",
    )
    .floats(),
    row(
        Range1d,
        Ios15,
        Correct,
        &[required("end", Float), required("start", Float), required("step", Float)],
        "start, start + step, and so on below end.",
    ),
    row(Reshape, Ios15, Correct, &[X, required("shape", Ints)], "The same elements under another shape."),
    row(
        ReshapeLike,
        Ios16,
        DoesNotCompile,
        &[
            X,
            required("ref_tensors", Tensors),
            required("begins", Tensors),
            required("ends", Tensors),
            required("end_masks", Tensors),
        ],
        "The same elements under a shape put together from others.",
    ),
    row(Reverse, Ios15, Correct, &[X, arg("axes", Ints, D::None)], "Elements in opposite order along axes."),
    row(
        ReverseSequence,
        Ios15,
        NotOnEngine,
        &[X, tensor("lengths"), arg("seq_axis", Int, D::Int(0)), arg("batch_axis", Int, D::Int(0))],
        "The first elements of each sequence, as many as it is long, in opposite order.",
    ),
    row(Shape, Ios15, NotOnEngine, &[X], "The extents of a tensor."),
    row(
        SliceByIndex,
        Ios15,
        Correct,
        &[X, BEGIN, END, STRIDE, BEGIN_MASK, END_MASK, SQUEEZE_MASK],
        "Elements begin to end in steps along each axis, as NumPy slices.",
    ),
    row(
        SliceBySize,
        Ios15,
        Correct,
        &[X, BEGIN, required("size", Ints)],
        "So many elements from begin along each axis.",
    ),
    row(
        SliceUpdate,
        Ios18,
        NotOnEngine,
        &[X, tensor("update"), BEGIN, END, STRIDE, BEGIN_MASK, END_MASK, SQUEEZE_MASK],
        "A tensor with a slice of it replaced.",
    ),
    row(
        SlidingWindows,
        Ios15,
        NotOnEngine,
        &[X, AXIS_REQUIRED, required("size", Int), arg("stride", Int, D::Int(1))],
        "All windows along an axis.",
    ),
    row(
        SpaceToBatch,
        Ios15,
        Correct,
        &[X, required("block_shape", Ints), required("paddings", Ints)],
        "Images padded and dealt out into a batch of smaller ones.",
    )
    .floats(),
    row(
        SpaceToDepth,
        Ios15,
        Correct,
        &[X, required("block_size", Int)],
        "Blocks of pixels laid out as groups of channels, block outermost.",
    )
    .floats(),
    row(
        Split,
        Ios15,
        Correct,
        &[X, AXIS_REQUIRED, arg("num_splits", Int, D::None), arg("split_sizes", Ints, D::None)],
        "A tensor cut into parts along an axis.",
    ),
    row(Squeeze, Ios15, Correct, &[X, arg("axes", Ints, D::None)], "A tensor without axes of extent 1."),
    row(
        Stack,
        Ios15,
        Correct,
        &[required("values", Tensors), AXIS_REQUIRED],
        "Tensors of one shape along a new axis.",
    ),
    row(Tile, Ios15, Correct, &[X, required("reps", Ints)], "Copies side by side."),
    row(Transpose, Ios15, Correct, &[X, required("perm", Ints)], "Axes in another order."),
    row(
        Gather,
        Ios15,
        NotOnEngine,
        &[X, tensor("indices"), AXIS_0, BATCH_DIMS, VALIDATE],
        "The slices at given indices of an axis.",
    ),
    row(
        GatherAlongAxis,
        Ios15,
        NotOnEngine,
        &[X, tensor("indices"), AXIS_0, VALIDATE],
        "For each element of indices, the element there along an axis.",
    ),
    row(
        GatherNd,
        Ios15,
        NotOnEngine,
        &[X, tensor("indices"), BATCH_DIMS, VALIDATE],
        "The slices at given index vectors.",
    ),
    row(
        Scatter,
        Ios15,
        NotOnEngine,
        &[tensor("data"), tensor("indices"), tensor("updates"), AXIS_0, MODE_ADD, VALIDATE],
        "Slices at given indices of an axis combined with updates.",
    ),
    row(
        ScatterAlongAxis,
        Ios15,
        NotOnEngine,
        &[tensor("data"), tensor("indices"), tensor("updates"), AXIS_0, MODE_ADD, VALIDATE],
        "For each element of indices, the element there along an axis combined with an update.",
    ),
    row(
        ScatterNd,
        Ios15,
        NotOnEngine,
        &[tensor("data"), tensor("indices"), tensor("updates"), MODE_ADD, VALIDATE],
        "Slices at given index vectors combined with updates.",
    ),
    row(
        Affine,
        Ios15,
        Compiles,
        &[
            X,
            tensor("transform_matrix"),
            required("output_height", Int),
            required("output_width", Int),
            required("sampling_mode", Str),
            required("padding_mode", Str),
            required("padding_value", Float),
            required("coordinates_mode", Str),
            required("align_corners", Bool),
        ],
        "Images under a linear map of their coordinates.",
    )
    .floats(),
    parsed(
        CropResize,
        Ios15,
        NotOnEngine,
        &[
            X,
            super::maybe("roi"),
            super::maybe("boxes"),
            super::maybe("box_indices"),
            arg("target_height", Int, D::Int(1)),
            arg("target_width", Int, D::Int(1)),
            arg("normalized_coordinates", Bool, D::Bool(false)),
            arg("spatial_scale", Float, D::Float(1.0)),
            arg("box_coordinate_mode", Str, D::Str("CORNERS_HEIGHT_FIRST")),
            SAMPLING,
            arg("pad_value", Float, D::Float(0.0)),
        ],
        "Boxes cut out of images and resized.",
    ),
    parsed(
        Resample,
        Ios15,
        Unknown,
        &[
            X,
            tensor("coordinates"),
            required("sampling_mode", Str),
            required("padding_mode", Str),
            required("padding_value", Float),
            required("coordinates_mode", Str),
            required("align_corners", Bool),
        ],
        "Images at given coordinates.",
    ),
    row(
        Resize,
        Ios17,
        Compiles,
        &[
            X,
            required("shape", Ints),
            required("resized_dims", Int),
            arg("interpolation_mode", Str, D::Str("LINEAR")),
            SAMPLING,
        ],
        "The last axes resized to given extents.",
    )
    .numbers(),
    row(
        ResizeBilinear,
        Ios15,
        Compiles,
        &[X, arg("target_size_height", Int, D::Int(1)), arg("target_size_width", Int, D::Int(1)), SAMPLING],
        "Images resized to a given height and width, by interpolation.",
    )
    .floats(),
    row(
        ResizeNearestNeighbor,
        Ios15,
        Correct,
        &[X, required("target_size_height", Int), required("target_size_width", Int)],
        "Images resized to a given height and width, by the nearest pixel.",
    )
    .floats(),
    row(
        UpsampleBilinear,
        Ios15,
        Compiles,
        &[
            X,
            arg("scale_factor_height", Float, D::Float(1.0)),
            arg("scale_factor_width", Float, D::Float(1.0)),
            arg("align_corners", Bool, D::Bool(true)),
            arg("half_pixel_centers", Bool, D::None),
        ],
        "Images enlarged by factors, by interpolation.",
    )
    .floats(),
    row(
        UpsampleNearestNeighbor,
        Ios15,
        Correct,
        &[
            X,
            arg("scale_factor_height", Float, D::Float(1.0)),
            arg("scale_factor_width", Float, D::Float(1.0)),
        ],
        "Images enlarged by factors, by the nearest pixel.",
    )
    .floats(),
];
