//! Result types of ops, from the types and constants of their arguments.

pub(crate) mod boxes;
pub(crate) mod compress;
mod elementwise;
pub mod image;
pub mod index;
pub mod linear;
pub mod movement;
pub(crate) mod norm;
mod order;
pub mod pool;
pub(crate) mod rearrange;

use crate::{
    DType, Opcode, Opset, TensorType, Type,
    call::{Call, CallError},
    ops::{self, ArgKind, Domain, OpSpec},
};

/// The types of the results of `call`.
///
/// # Errors
/// A [`CallError`] that names the op, the argument and what is wrong with it.
pub fn result_types(call: Call<'_>) -> Result<Vec<Type>, CallError> {
    use Opcode::*;
    let spec = ops::spec(call.code()).ok_or(CallError::UnknownOp(call.code()))?;
    if !spec.executed {
        return declared(call);
    }
    check_arguments(call, spec)?;
    check_domain(call, spec)?;
    let one = |t: TensorType| Ok(vec![Type::Tensor(t)]);
    let all = |ts: Vec<TensorType>| Ok(ts.into_iter().map(Type::Tensor).collect());
    match call.code() {
        Abs | Acos | Asin | Atan | Atanh | Ceil | Cos | Cosh | Erf | Exp | Exp2 | Floor | Identity
        | Inverse | Log | LogicalNot | Round | Rsqrt | Sign | Sin | Sinh | Sqrt | Square | Tan | Tanh
        | Gelu | Relu | Relu6 | Sigmoid | Silu | Softplus | Softsign => one(call.tensor("x")?.clone()),
        Elu | LeakyRelu | Threshold | ThresholdedRelu | LinearActivation => {
            one(elementwise::with_numbers(call, &["alpha"])?)
        }
        ClampedRelu | Clip | ScaledTanh | SigmoidHard => {
            one(elementwise::with_numbers(call, &["alpha", "beta"])?)
        }
        Prelu => one(elementwise::per_channel(call, &["alpha"])?),
        SoftplusParametric => one(elementwise::per_channel(call, &["alpha", "beta"])?),
        Softmax => {
            let x = call.tensor("x")?;
            call.axis(call.int("axis")?.unwrap_or(-1), x.rank())?;
            one(x.clone())
        }
        Cast => one(TensorType::new(call.dtype("dtype")?, call.tensor("x")?.shape.clone())),
        Add | FloorDiv | LogicalAnd | LogicalOr | LogicalXor | Maximum | Minimum | Mod | Mul | Pow
        | RealDiv | Sub => one(elementwise::binary(call)?),
        Equal | Greater | GreaterEqual | Less | LessEqual | NotEqual => {
            one(TensorType::new(crate::DType::Bool, elementwise::binary(call)?.shape))
        }
        Select => one(elementwise::select(call)?),
        Conv => one(linear::conv(call)?),
        Matmul => one(linear::matmul(call)?),
        ReduceL1Norm | ReduceL2Norm | ReduceLogSum | ReduceLogSumExp | ReduceMax | ReduceMean | ReduceMin
        | ReduceProd | ReduceSum | ReduceSumSquare => one(reduce(call)?),
        Reshape => one(movement::reshape(call)?),
        Transpose => one(movement::transpose(call)?),
        ExpandDims => one(movement::expand_dims(call)?),
        Squeeze => one(movement::squeeze(call)?),
        Concat => one(movement::concat(call)?),
        SliceBySize => one(movement::slice_by_size(call)?),
        Pad => one(movement::pad(call)?),
        Tile => one(movement::tile(call)?),
        Split => all(movement::split(call)?),
        ConvTranspose => one(linear::conv_transpose(call)?),
        Linear => one(linear::linear(call)?),
        Einsum => one(linear::einsum(call)?),
        ScaledDotProductAttention => one(linear::attention(call)?),
        BatchNorm | InstanceNorm => one(norm::per_channel(call)?),
        LayerNorm => one(norm::layer(call)?),
        L2Norm => one(norm::l2(call)?),
        LocalResponseNorm => one(norm::local_response(call)?),
        AvgPool | L2Pool | MaxPool => one(pool::pool(call)?),
        Stack => one(rearrange::stack(call)?),
        Flatten2d => one(rearrange::flatten2d(call)?),
        ReshapeLike => one(rearrange::reshape_like(call)?),
        DepthToSpace | PixelShuffle => one(rearrange::to_space(call)?),
        SpaceToDepth | PixelUnshuffle => one(rearrange::to_depth(call)?),
        BatchToSpace => one(rearrange::batch_to_space(call)?),
        SpaceToBatch => one(rearrange::space_to_batch(call)?),
        SlidingWindows => one(rearrange::sliding_windows(call)?),
        Fill => one(rearrange::fill(call)?),
        FillLike => one(rearrange::fill_like(call)?),
        Range1d => one(rearrange::range(call)?),
        Reverse => one(rearrange::reverse(call)?),
        ReverseSequence => one(rearrange::reverse_sequence(call)?),
        BandPart => one(rearrange::band_part(call)?),
        Shape => one(TensorType::new(DType::Int32, [call.tensor("x")?.rank()])),
        SliceByIndex => one(index::slice_by_index(call)?),
        SliceUpdate => one(index::slice_update(call)?),
        Gather => one(index::gather(call)?),
        GatherAlongAxis => one(index::gather_along_axis(call)?),
        GatherNd => one(index::gather_nd(call)?),
        Scatter => one(index::scatter(call)?),
        ScatterAlongAxis => one(index::scatter_along_axis(call)?),
        ScatterNd => one(index::scatter_nd(call)?),
        OneHot => one(index::one_hot(call)?),
        Argsort => one(order::argsort(call)?),
        Cumsum => one(order::cumsum(call)?),
        ReduceArgmax | ReduceArgmin => one(order::extreme_index(call)?),
        Topk => all(order::topk(call)?),
        NonMaximumSuppression => all(boxes::suppress(call)?),
        Affine => one(image::affine(call)?),
        Crop => one(image::crop(call)?),
        Resize | ResizeBilinear | ResizeNearestNeighbor | UpsampleBilinear | UpsampleNearestNeighbor => {
            one(image::resized(call)?)
        }
        Quantize => one(compress::quantize(call)?),
        Dequantize | ConstexprAffineDequantize => one(compress::dequantize(call)?),
        ConstexprBlockwiseShiftScale => one(compress::blockwise(call)?),
        ConstexprCast => one(compress::cast(call)?),
        ConstexprLutToDense => one(compress::lut_to_dense(call)?),
        ConstexprLutToSparse => all(compress::lut_to_sparse(call)?),
        ConstexprSparseBlockwiseShiftScale => all(compress::sparse_blockwise(call)?),
        ConstexprSparseToDense => one(compress::sparse_to_dense(call)?),
        Const => match call.op.results.first().and_then(|r| call.function.value(*r).constant.as_ref()) {
            Some(c) => one(c.ty.clone()),
            None => Err(call.invalid("has no value")),
        },
        other => Err(CallError::UnknownOp(other)),
    }
}

/// The types an op that is only parsed is declared with: nothing is known of its results.
fn declared(call: Call<'_>) -> Result<Vec<Type>, CallError> {
    match call.op.results.as_slice() {
        [] if call.code() == Opcode::WriteState => Ok(Vec::new()),
        [] => Err(CallError::ParsedOnly(call.code())),
        results => Ok(results.iter().map(|r| call.function.value(*r).ty.clone()).collect()),
    }
}

/// Checks that the op has the arguments it is given, and that they are of their kinds.
fn check_arguments(call: Call<'_>, spec: &OpSpec) -> Result<(), CallError> {
    for (name, _) in &call.op.args {
        let Some(arg) = spec.arg(name) else {
            return Err(CallError::UnknownArgument { op: call.code(), arg: name.to_string() });
        };
        match arg.kind {
            ArgKind::Tensor | ArgKind::Tensors => {
                if arg.kind == ArgKind::Tensor {
                    call.operand(name)?;
                }
                if call.tensors(arg.name)?.iter().any(|ty| ty.dtype == DType::String) {
                    return Err(call.kind(name, "a tensor of numbers or truth values"));
                }
            }
            // Shapes and the like may be computed where inference can tell what they come to.
            ArgKind::Int | ArgKind::Ints
                if call.operand(name)?.is_some_and(|o| call.function.constant(o).is_none()) => {}
            ArgKind::Int => drop(call.int(arg.name)?),
            ArgKind::Ints => drop(call.ints(arg.name)?),
            ArgKind::Bool => drop(call.bool(arg.name)?),
            ArgKind::Bools => drop(call.bools(arg.name)?),
            ArgKind::Float => drop(call.float(arg.name)?),
            ArgKind::Str => drop(call.string(arg.name)?),
        }
    }
    Ok(())
}

/// Checks the elements of the first tensor argument against the catalogue.
fn check_domain(call: Call<'_>, spec: &OpSpec) -> Result<(), CallError> {
    let tensors = |kind| matches!(kind, ArgKind::Tensor | ArgKind::Tensors);
    let Some(arg) = spec.args.iter().find(|a| tensors(a.kind)).filter(|_| spec.domain != Domain::Any) else {
        return Ok(());
    };
    for ty in call.tensors(arg.name)? {
        let (fits, wanted) = match spec.domain {
            Domain::Any => (true, ""),
            Domain::Numbers => (ty.dtype.is_float() || ty.dtype.is_int(), "numbers"),
            Domain::Floats => (ty.dtype.is_float(), "floating-point numbers"),
        };
        if !fits {
            return Err(call.invalid(format!("{} is {ty}, but only {wanted} are taken; cast it", arg.name)));
        }
    }
    match spec.domain {
        Domain::Floats => check_parameters(call, spec, arg.name),
        _ => Ok(()),
    }
}

/// Checks that the other tensors of an op on floating-point numbers are such too, and before iOS 17 of the same type.
fn check_parameters(call: Call<'_>, spec: &OpSpec, first: &'static str) -> Result<(), CallError> {
    let Some(x) = call.tensors(first)?.first().map(|t| t.dtype) else { return Ok(()) };
    // Masks may be bool, zero points are integers: their ops look at them.
    let plain = |name| !["attn_mask", "zero_point"].contains(&name);
    let others = spec.args.iter().filter(|a| a.kind == ArgKind::Tensor && a.name != first && plain(a.name));
    for other in others.filter(|a| call.has(a.name)) {
        let ty = call.tensor(other.name)?;
        if !ty.dtype.is_float() {
            return Err(call.invalid(format!("{} is {ty}, but {first} is {x}; cast it", other.name)));
        }
        if ty.dtype != x && call.function.opset < Opset::Ios17 {
            return Err(call.invalid(format!(
                "{} is {}, but {first} is {x}; before ios17 they must be of one type: cast it",
                other.name, ty.dtype
            )));
        }
    }
    Ok(())
}

/// `n` as an extent.
fn extent(call: Call<'_>, name: &str, n: i64) -> Result<usize, CallError> {
    usize::try_from(n).map_err(|_| call.invalid(format!("{name} is {n}; it must not be negative")))
}

/// A required constant integer that is at least 1.
fn positive(call: Call<'_>, name: &'static str) -> Result<usize, CallError> {
    let n = call.int(name)?.ok_or(CallError::Missing { op: call.code(), arg: name })?;
    usize::try_from(n)
        .ok()
        .filter(|&n| n > 0)
        .ok_or_else(|| call.invalid(format!("{name} is {n}; it must be at least 1")))
}

/// A required constant vector of integers, none negative.
fn sizes(call: Call<'_>, name: &'static str) -> Result<Vec<usize>, CallError> {
    let given = call.ints(name)?.ok_or(CallError::Missing { op: call.code(), arg: name })?;
    given.iter().map(|&n| extent(call, name, n)).collect()
}

/// The product, held at the largest number.
fn product(extents: &[usize]) -> usize {
    extents.iter().fold(1, |n, &d| n.saturating_mul(d))
}

/// Checks that a tensor, if it is given, has a shape.
fn has_shape(call: Call<'_>, name: &'static str, shape: &[usize]) -> Result<(), CallError> {
    match call.operand(name)?.map(|o| call.function.operand_type(o)) {
        None => Ok(()),
        Some(Some(t)) if t.shape == shape => Ok(()),
        Some(t) => {
            let given = t.map(|t| t.shape.clone()).unwrap_or_default();
            Err(call.invalid(format!("{name} has shape {given:?}; it must be {shape:?}")))
        }
    }
}

/// Checks that a tensor has at least, and at most, so many axes.
fn has_rank(
    call: Call<'_>,
    name: &str,
    ty: &TensorType,
    ranks: std::ops::RangeInclusive<usize>,
) -> Result<(), CallError> {
    match ranks.contains(&ty.rank()) {
        true => Ok(()),
        false => Err(call.invalid(format!(
            "{name} has shape {:?}; its rank must be {} to {}",
            ty.shape,
            ranks.start(),
            ranks.end()
        ))),
    }
}

/// The shape two shapes broadcast to (NumPy's rule), or `None` when they do not.
pub fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| if i + s.len() < rank { 1 } else { s[i + s.len() - rank] };
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (m, n) if m == n => Some(m),
            (1, n) => Some(n),
            (m, 1) => Some(m),
            _ => None,
        })
        .collect()
}

fn reduce(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    let axes = call.reduced_axes(x.rank())?;
    let keep = call.bool("keep_dims")?;
    let shape = x.shape.iter().enumerate().filter_map(|(i, &d)| match axes.contains(&i) {
        false => Some(d),
        true => keep.then_some(1),
    });
    Ok(TensorType::new(x.dtype, shape.collect::<Vec<_>>()))
}
