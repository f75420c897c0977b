//! The reference interpreter: what MIL means.
//!
//! Plain loops in `f64`, NumPy's semantics, nothing clever. Engines, passes and derivatives are tested against it.

mod activation;
mod boxes;
mod compress;
mod elementwise;
mod image;
mod index;
mod linear;
mod movement;
mod norm;
mod order;
mod pool;
mod rearrange;
mod reduce;
mod single;
mod tensor;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::HashMap};

use half::{bf16, f16};

pub use single::SingleOp;
pub use tensor::Tensor;

use crate::{
    BlobRef, Call, CallError, Constant, DType, Function, Opcode, Operand, Payload, TensorType, ValueId,
    VerifyError, verify,
};

/// How to interpret.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Round inputs, constants and every result to their MIL type (sums inside an op stay `f64`). Off: floats are `f64`
    /// whatever their type.
    pub round_to_dtype: bool,
    /// Most elements that all values together may have.
    pub max_elements: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { round_to_dtype: false, max_elements: 1 << 27 }
    }
}

/// Why a function could not be interpreted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InterpretError {
    /// The function is not well-formed.
    #[error("the function does not verify: {}", .0.first().map_or(String::new(), ToString::to_string))]
    Invalid(Vec<VerifyError>),
    /// An op does not fit its arguments, or is not executed here.
    #[error(transparent)]
    Call(#[from] CallError),
    /// No tensor was given for an input.
    #[error("no value is given for the input `{0}`")]
    MissingInput(String),
    /// The elements of an input or weight do not fit its type.
    #[error("`{name}` is {ty}, but shape {shape:?} with {elements} elements is given")]
    Shape {
        /// The input or weight.
        name: String,
        /// Its type.
        ty: String,
        /// The shape given.
        shape: Vec<usize>,
        /// The number of elements given.
        elements: usize,
    },
    /// The elements of a weight are not to be had.
    #[error("no elements are given for the weight `{name}` at `{path}`, offset {offset}")]
    MissingWeight {
        /// The weight.
        name: String,
        /// Its file.
        path: String,
        /// Its offset there.
        offset: u64,
    },
    /// The values are too many to hold.
    #[error("the values of `{function}` have {elements} elements, more than the {limit} allowed")]
    TooLarge {
        /// The function.
        function: String,
        /// Their elements.
        elements: usize,
        /// The limit.
        limit: usize,
    },
}

/// Everything a function computed.
#[derive(Clone, Debug)]
pub struct Values<'f> {
    function: &'f Function,
    values: Vec<Option<Tensor>>,
}

impl<'f> Values<'f> {
    /// A value; `None` for strings and for ids the function does not have.
    pub fn get(&self, v: ValueId) -> Option<&Tensor> {
        self.values.get(v.index())?.as_ref()
    }

    /// The value called `name`.
    pub fn named(&self, name: &str) -> Option<&Tensor> {
        self.get(self.function.find(name)?)
    }

    /// The outputs, by name, in order.
    pub fn outputs(&self) -> impl Iterator<Item = (&'f str, &Tensor)> {
        self.function.outputs.iter().filter_map(|&v| Some((self.function.name_of(v), self.get(v)?)))
    }
}

/// Gives the elements of a weight, or `None` when it has none.
pub type Weights<'a> = dyn Fn(&BlobRef, &TensorType) -> Option<Vec<f64>> + 'a;

/// Computes all values of `f` from `inputs`, given by name.
///
/// # Errors
/// When `f` does not verify, an input or weight is missing or has another shape, or an op is one that is not executed
/// here.
pub fn interpret<'f>(
    f: &'f Function,
    inputs: &HashMap<String, Tensor>,
    weights: &Weights<'_>,
    options: Options,
) -> Result<Values<'f>, InterpretError> {
    let errors = verify::check(f);
    if !errors.is_empty() {
        return Err(InterpretError::Invalid(errors));
    }
    check_size(f, options.max_elements)?;
    let mut run = Run { f, weights, options, values: vec![None; f.values.len()] };
    for &v in &f.inputs {
        let name = f.name_of(v);
        let given = inputs.get(name).ok_or_else(|| InterpretError::MissingInput(name.into()))?;
        run.set(v, given.clone())?;
    }
    for op in &f.ops {
        let call = Call::new(f, op);
        if op.code == Opcode::Const {
            run.constant(op.result())?;
            continue;
        }
        let results = evaluate(Operands { call, values: &run.values, weights })?;
        for (&r, tensor) in op.results.iter().zip(results) {
            run.set(r, tensor)?;
        }
    }
    Ok(Values { function: f, values: run.values })
}

fn check_size(f: &Function, limit: usize) -> Result<(), InterpretError> {
    let tensors = f.values.iter().filter_map(|v| v.ty.as_tensor());
    let elements = tensors.fold(0usize, |n, t| n.saturating_add(t.elements()));
    match elements > limit {
        true => Err(InterpretError::TooLarge { function: f.name.clone(), elements, limit }),
        false => Ok(()),
    }
}

struct Run<'f, 'w> {
    f: &'f Function,
    weights: &'w Weights<'w>,
    options: Options,
    values: Vec<Option<Tensor>>,
}

impl Run<'_, '_> {
    fn set(&mut self, v: ValueId, mut tensor: Tensor) -> Result<(), InterpretError> {
        let value = self.f.value(v);
        let ty =
            value.ty.as_tensor().filter(|t| t.shape == tensor.shape && t.elements() == tensor.data.len());
        let Some(ty) = ty else {
            return Err(InterpretError::Shape {
                name: value.name.clone(),
                ty: value.ty.to_string(),
                elements: tensor.data.len(),
                shape: tensor.shape,
            });
        };
        if self.options.round_to_dtype {
            tensor.data.iter_mut().for_each(|x| *x = rounded(*x, ty.dtype));
        }
        self.values[v.index()] = Some(tensor);
        Ok(())
    }

    fn constant(&mut self, v: ValueId) -> Result<(), InterpretError> {
        let Some(constant) = &self.f.value(v).constant else { return Ok(()) };
        let missing = |blob: &BlobRef| InterpretError::MissingWeight {
            name: self.f.name_of(v).into(),
            path: blob.path.clone(),
            offset: blob.offset,
        };
        match (tensor(constant, self.weights), constant.blob_ref()) {
            (Some(tensor), _) => self.set(v, tensor),
            (None, Some(blob)) => Err(missing(blob)),
            (None, None) => Ok(()),
        }
    }
}

/// `x` as `dtype` stores it.
fn rounded(x: f64, dtype: DType) -> f64 {
    match dtype {
        DType::Fp16 => f16::from_f64(x).to_f64(),
        DType::Bf16 => bf16::from_f64(x).to_f64(),
        DType::Fp32 => f64::from(x as f32),
        _ => x,
    }
}

/// An op and the tensors of its operands.
#[derive(Clone, Copy)]
struct Operands<'a> {
    call: Call<'a>,
    values: &'a [Option<Tensor>],
    weights: &'a Weights<'a>,
}

impl<'a> Operands<'a> {
    /// A required tensor argument.
    fn tensor(&self, name: &'static str) -> Result<Cow<'a, Tensor>, CallError> {
        self.of(self.call.required(name)?, name)
    }

    /// A tensor argument that may be absent.
    fn optional(&self, name: &'static str) -> Result<Option<Cow<'a, Tensor>>, CallError> {
        self.call.operand(name)?.map(|o| self.of(o, name)).transpose()
    }

    /// A tuple argument.
    fn tensors(&self, name: &'static str) -> Result<Vec<Cow<'a, Tensor>>, CallError> {
        self.call.operands(name)?.iter().map(|o| self.of(o, name)).collect()
    }

    fn of(&self, operand: &'a Operand, name: &str) -> Result<Cow<'a, Tensor>, CallError> {
        let tensor = match operand {
            Operand::Value(v) => self.values.get(v.index()).and_then(|t| t.as_ref()).map(Cow::Borrowed),
            Operand::Literal(c) => tensor(c, self.weights).map(Cow::Owned),
        };
        tensor.ok_or_else(|| CallError::Kind {
            op: self.call.code(),
            arg: name.into(),
            expected: "a tensor of numbers",
        })
    }

    /// The shapes inference gives the results.
    fn result_shapes(&self) -> Result<Vec<Vec<usize>>, CallError> {
        let types = crate::infer::result_types(self.call)?;
        Ok(types.iter().filter_map(|t| t.as_tensor().map(|t| t.shape.clone())).collect())
    }

    /// The shape inference gives the only result.
    fn result_shape(&self) -> Result<Vec<usize>, CallError> {
        Ok(self.result_shapes()?.into_iter().next().unwrap_or_default())
    }
}

/// The elements of a constant; `None` for strings and for weights that are not to be had.
fn tensor(c: &Constant, weights: &Weights<'_>) -> Option<Tensor> {
    let data = match &c.payload {
        Payload::Inline(_) => c.to_f64(),
        Payload::Blob(blob) => weights(blob, &c.ty),
    };
    Some(Tensor::new(c.ty.shape.clone(), data?))
}

/// The results of an op of a verified function.
fn evaluate(o: Operands<'_>) -> Result<Vec<Tensor>, CallError> {
    use Opcode::*;
    let one = |t: Tensor| Ok(vec![t]);
    match o.call.code() {
        Abs | Acos | Asin | Atan | Atanh | Ceil | Clip | Cos | Cosh | Erf | Exp | Exp2 | Floor | Identity
        | Inverse | Log | LogicalNot | Round | Rsqrt | Sign | Sin | Sinh | Sqrt | Square | Tan | Tanh
        | Threshold => one(elementwise::unary(o)?),
        Cast => one(elementwise::cast(o)?),
        ClampedRelu | Elu | Gelu | LeakyRelu | LinearActivation | Relu | Relu6 | ScaledTanh | Sigmoid
        | SigmoidHard | Silu | Softplus | Softsign | ThresholdedRelu => one(activation::plain(o)?),
        Prelu => one(activation::prelu(o)?),
        SoftplusParametric => one(activation::softplus_parametric(o)?),
        Softmax => one(activation::softmax(o)?),
        Add | Equal | FloorDiv | Greater | GreaterEqual | Less | LessEqual | LogicalAnd | LogicalOr
        | LogicalXor | Maximum | Minimum | Mod | Mul | NotEqual | Pow | RealDiv | Sub => {
            one(elementwise::binary(o)?)
        }
        Select => one(elementwise::select(o)?),
        Conv => one(linear::conv(o)?),
        Matmul => one(linear::matmul(o)?),
        ReduceL1Norm | ReduceL2Norm | ReduceLogSum | ReduceLogSumExp | ReduceMax | ReduceMean | ReduceMin
        | ReduceProd | ReduceSum | ReduceSumSquare => one(reduce::reduce(o)?),
        Reshape | ExpandDims | Squeeze => one(o.tensor("x")?.reshaped(o.result_shape()?)),
        Transpose => one(movement::transpose(o)?),
        Concat => one(movement::concat(o)?),
        SliceBySize => one(movement::slice_by_size(o)?),
        Split => movement::split(o),
        Pad => one(movement::pad(o)?),
        Tile => one(movement::tile(o)?),
        ConvTranspose => one(linear::conv_transpose(o)?),
        Linear => one(linear::linear(o)?),
        Einsum => one(linear::einsum(o)?),
        ScaledDotProductAttention => one(linear::attention(o)?),
        BatchNorm => one(norm::batch(o)?),
        InstanceNorm => one(norm::instance(o)?),
        LayerNorm => one(norm::layer(o)?),
        L2Norm => one(norm::l2(o)?),
        LocalResponseNorm => one(norm::local_response(o)?),
        AvgPool | L2Pool | MaxPool => one(pool::pool(o)?),
        Stack => one(rearrange::stack(o)?),
        Flatten2d | ReshapeLike => one(o.tensor("x")?.reshaped(o.result_shape()?)),
        DepthToSpace | PixelShuffle => one(rearrange::to_space(o)?),
        SpaceToDepth | PixelUnshuffle => one(rearrange::to_depth(o)?),
        BatchToSpace => one(rearrange::batch_to_space(o)?),
        SpaceToBatch => one(rearrange::space_to_batch(o)?),
        SlidingWindows => one(rearrange::sliding_windows(o)?),
        Fill | FillLike => one(rearrange::fill(o)?),
        Range1d => one(rearrange::range(o)?),
        Reverse => one(rearrange::reverse(o)?),
        ReverseSequence => one(rearrange::reverse_sequence(o)?),
        BandPart => one(rearrange::band_part(o)?),
        Shape => one(rearrange::shape(o)?),
        SliceByIndex => one(index::slice_by_index(o)?),
        SliceUpdate => one(index::slice_update(o)?),
        Gather => one(index::gather(o)?),
        GatherAlongAxis => one(index::gather_along_axis(o)?),
        GatherNd => one(index::gather_nd(o)?),
        Scatter => one(index::scatter(o)?),
        ScatterAlongAxis => one(index::scatter_along_axis(o)?),
        ScatterNd => one(index::scatter_nd(o)?),
        OneHot => one(index::one_hot(o)?),
        Argsort => one(order::argsort(o)?),
        Cumsum => one(order::cumsum(o)?),
        ReduceArgmax | ReduceArgmin => one(order::extreme_index(o)?),
        Topk => order::topk(o),
        NonMaximumSuppression => boxes::suppress(o),
        Affine => one(image::affine(o)?),
        Crop => one(image::crop(o)?),
        Resize | ResizeBilinear | ResizeNearestNeighbor | UpsampleBilinear | UpsampleNearestNeighbor => {
            one(image::resized(o)?)
        }
        Quantize => one(compress::quantize(o)?),
        Dequantize | ConstexprAffineDequantize => one(compress::dequantize(o)?),
        ConstexprBlockwiseShiftScale => one(compress::blockwise(o)?),
        ConstexprCast => one(o.tensor("source_val")?.into_owned()),
        ConstexprLutToDense => one(compress::lut_to_dense(o)?),
        ConstexprLutToSparse => compress::lut_to_sparse(o),
        ConstexprSparseBlockwiseShiftScale => compress::sparse_blockwise(o),
        ConstexprSparseToDense => one(compress::sparse_to_dense(o)?),
        Const => Err(CallError::UnknownOp(Const)),
        other => Err(CallError::ParsedOnly(other)),
    }
}
