//! MIL text of small programs, and the weight files they name.

use std::io::Cursor;

use ferrane_engine::WeightFiles;
use ferrane_mil::blob::BlobWriter;
use ferrane_mil::{DType, Data};

use crate::finding::Trouble;

/// Channels and width that every chip takes as far as is known, whatever its least width and alignment.
pub(crate) const SAFE: [usize; 2] = [256, 64];

/// A program as MIL text without what surrounds it.
#[derive(Clone, Debug)]
pub(crate) struct Mil {
    /// Names, channels and widths of the inputs, all fp16.
    pub(crate) inputs: Vec<(&'static str, [usize; 2])>,
    /// The ops.
    pub(crate) body: String,
    /// The returned values.
    pub(crate) outputs: &'static str,
}

impl Mil {
    /// A program of one input `x` and one output `y`.
    pub(crate) fn new(x: [usize; 2], body: impl Into<String>) -> Self {
        Self::of([("x", x)], body)
    }

    /// A program of several inputs and one output `y`.
    pub(crate) fn of(
        inputs: impl IntoIterator<Item = (&'static str, [usize; 2])>,
        body: impl Into<String>,
    ) -> Self {
        Self { inputs: inputs.into_iter().collect(), body: body.into(), outputs: "y" }
    }
}

/// The statement `NAME = CALL` of an fp16 result.
pub(crate) fn op(name: &str, shape: &[usize], call: &str) -> String {
    format!("tensor<fp16, {shape:?}> {name} = {call}[name = string(\"{name}\")];\n")
}

/// [`op`] for a result of `[1, C, 1, W]`.
pub(crate) fn port(name: &str, [c, w]: [usize; 2], call: &str) -> String {
    op(name, &[1, c, 1, w], call)
}

/// The named constant `TYPE NAME = VALUE`.
pub(crate) fn constant(ty: &str, name: &str, value: &str) -> String {
    format!("{ty} {name} = const()[name = string(\"{name}\"), val = {ty}({value})];\n")
}

/// A weight file at `@model_path/weights/NAME.bin`.
pub(crate) fn weight(files: &mut WeightFiles, name: &str, values: &[f32]) -> Result<(), Trouble> {
    let mut writer = BlobWriter::new(Cursor::new(Vec::new()))?;
    writer.chunk_f32(DType::Fp16, values)?;
    files.insert(path(name), writer.finish()?.into_inner());
    Ok(())
}

/// A weight file of int8.
pub(crate) fn weight_int8(files: &mut WeightFiles, name: &str, values: Vec<i64>) -> Result<(), Trouble> {
    chunk(files, name, DType::Int8, &Data::Int(values))
}

/// A weight file of bytes that stand for numbers of this type.
pub(crate) fn weight_bytes(
    files: &mut WeightFiles,
    name: &str,
    dtype: DType,
    bytes: Vec<u64>,
) -> Result<(), Trouble> {
    chunk(files, name, dtype, &Data::Uint(bytes))
}

fn chunk(files: &mut WeightFiles, name: &str, dtype: DType, data: &Data) -> Result<(), Trouble> {
    let mut writer = BlobWriter::new(Cursor::new(Vec::new()))?;
    writer.chunk_data(dtype, data)?;
    files.insert(path(name), writer.finish()?.into_inner());
    Ok(())
}

/// The path that programs give a weight file.
pub(crate) fn path(name: &str) -> String {
    format!("@model_path/weights/{name}.bin")
}

/// A constant of extents.
pub(crate) fn extents(name: &str, shape: &[usize]) -> String {
    constant(&format!("tensor<int32, [{}]>", shape.len()), name, &format!("{shape:?}"))
}

/// A constant `name` in the weight file `file`.
pub(crate) fn blob(name: &str, dtype: &str, shape: &[usize], file: &str) -> String {
    let path = path(file);
    format!(
        "tensor<{dtype}, {shape:?}> {name} = const()[name = string(\"{name}\"), val = tensor<{dtype}, {shape:?}>\
         (BLOBFILE(path = string(\"{path}\"), offset = uint64(64)))];\n"
    )
}

/// A 1×1 convolution of `x` by `weight` that gives `[1, C, 1, W]`.
pub(crate) fn conv(name: &str, [c, w]: [usize; 2], weight: &str, x: &str) -> String {
    convolution(name, &[1, c, 1, w], "valid", weight, x)
}

/// A convolution, every argument a named constant as published programs have it.
pub(crate) fn convolution(name: &str, shape: &[usize], padding: &str, weight: &str, x: &str) -> String {
    let named = |what: &str| format!("{name}_{what}");
    let [pad_type, strides, pad, dilations, groups] =
        ["pad_type", "strides", "pad", "dilations", "groups"].map(named);
    let call = format!(
        "conv(dilations = {dilations}, groups = {groups}, pad = {pad}, pad_type = {pad_type}, strides = {strides}, \
         weight = {weight}, x = {x})"
    );
    constant("string", &pad_type, &format!("\"{padding}\""))
        + &constant("tensor<int32, [2]>", &strides, "[1, 1]")
        + &constant("tensor<int32, [4]>", &pad, "[0, 0, 0, 0]")
        + &constant("tensor<int32, [2]>", &dilations, "[1, 1]")
        + &constant("int32", &groups, "1")
        + &op(name, shape, &call)
}

/// Numbers between −`most` and `most`, always the same.
pub(crate) fn noise(n: usize, most: f32) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| most * next()).collect()
}

/// `gain` times the unit matrix.
pub(crate) fn diagonal(n: usize, gain: f32) -> Vec<f32> {
    (0..n * n).map(|i| if i % (n + 1) == 0 { gain } else { 0.0 }).collect()
}
