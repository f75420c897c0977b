//! Reverse-mode differentiation.
//!
//! [`differentiate`] appends to a function the ops that compute gradients, one rule an op, and gives back a *joint*
//! function. Partitioning then cuts kernels out of it with [`extract`](crate::pass::extract).
//!
//! Rules of ops that the Neural Engine computes write their derivative with such ops (no comparisons, no `tile`), in an
//! order in which fp16 neither overflows nor underflows early where that costs nothing. Slices with steps, `topk`,
//! boolean masks and the indexing ops, which it does not compute, scatter, gather and select.
//!
//! Where a function has a kink, its derivative is: for `maximum`, `minimum` and the extremes of a reduction or a
//! window, shared evenly by the operands that tie; 0 for `abs`, `relu` and its kin at 0; 1 for `clip` and its kin at their bounds.

mod activation;
mod along;
mod elementwise;
mod index;
mod linear;
mod movement;
mod norm;
mod pool;
mod reduce;
mod tape;
#[cfg(test)]
mod tests;
mod window;

use tape::Tape;

use crate::{Call, CallError, Function, Op, Opcode, ValueId};

/// A function together with its derivative.
#[derive(Clone, Debug)]
pub struct Joint {
    /// The ops of the differentiated function, under the same ids and names, then those that compute gradients.
    ///
    /// Its inputs are those of the function, then the seeds; its outputs those of the function, then
    /// [`gradients`](Joint::gradients).
    pub function: Function,
    /// For every output that depends on what was asked for: the output and the input that takes its gradient, called
    /// `d_OUTPUT`; `seed_OUTPUT` when the function itself uses the output further, so that its whole gradient has more
    /// terms.
    pub seeds: Vec<(ValueId, ValueId)>,
    /// For every value asked for, in that order: the value and its gradient, of the same type. Weights whose gradient is
    /// all in [`jobs`](Joint::jobs) are left out.
    pub gradients: Vec<(ValueId, ValueId)>,
    /// Weight gradients left to others. The gradient of a weight is the sum of its jobs and its entry among
    /// [`gradients`](Joint::gradients), if it has one.
    pub jobs: Vec<WeightGradient>,
    all: Vec<Option<ValueId>>,
}

impl Joint {
    /// The gradient of a value of the differentiated function; `None` when none was needed.
    ///
    /// It is called `d_VALUE`, unless it is also that of another value (both operands of an `add` share the gradient of
    /// the sum) and bears its name, or is the same along an axis of which it then keeps one element only.
    pub fn gradient_of(&self, v: ValueId) -> Option<ValueId> {
        self.all.get(v.index()).copied().flatten()
    }
}

/// The gradient of the weight `[O, I, 1, 1]` of a 1×1 convolution: dW [O, I] = dY [O, W] · X [I, W]ᵀ, summed over the batch
/// axis if there is more than one. All are values of the joint function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WeightGradient {
    /// The weight.
    pub weight: ValueId,
    /// The gradient of the convolution's result.
    pub dy: ValueId,
    /// The convolution's operand.
    pub x: ValueId,
}

/// Why a function cannot be differentiated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DiffError {
    /// The op has no derivative, or none is written here.
    #[error("`{result}`: `{op}` has no derivative rule")]
    NoRule {
        /// The op.
        op: Opcode,
        /// Its first result.
        result: String,
    },
    /// The op has a rule, but not for these arguments.
    #[error("`{result}`: no derivative rule: {source}")]
    Unsupported {
        /// The op's first result.
        result: String,
        /// What is not supported.
        source: CallError,
    },
    /// No output depends on the value.
    #[error("no output of `{function}` depends on `{value}`")]
    Independent {
        /// The function.
        function: String,
        /// The value.
        value: String,
    },
    /// The value has no gradient because it is not a floating-point tensor.
    #[error("`{value}` is {ty}; only floating-point tensors have gradients")]
    NotFloat {
        /// The value.
        value: String,
        /// Its type.
        ty: String,
    },
    /// An id that the function does not have.
    #[error("`{function}` has no value {index}")]
    Undefined {
        /// The function.
        function: String,
        /// The index of the value.
        index: u32,
    },
}

/// Differentiates a verified function by reverse mode: gradients of the values `wrt` (inputs, weights or values between)
/// of whatever the seeds weigh the outputs with.
///
/// The gradient of the weight of a 1×1 convolution, a constant in a weight file, is not computed but handed back as a
/// [`WeightGradient`]. The convolution's other gradient is written as a product with the same weight, reshaped to the
/// matrix `[1, 1, O, I]`, and `transpose_x`: as it stands it serves weights that are inputs, and
/// [`transposed_weights`](crate::pass::transposed_weights) makes it a convolution.
///
/// Only what the asked-for gradients need is computed.
///
/// # Errors
/// When an op on the way has no derivative rule, or a value asked for has no gradient.
pub fn differentiate(f: &Function, wrt: &[ValueId]) -> Result<Joint, DiffError> {
    for &v in wrt {
        check_float(f, v)?;
    }
    let mut tape = Tape::new(f, activity(f, wrt));
    let seeds = seed(&mut tape)?;
    for op in f.ops.iter().rev() {
        let call = Call::new(f, op);
        let unsupported = |source| DiffError::Unsupported { result: result_name(f, op), source };
        let mut reached = false;
        for &r in &op.results {
            reached |= tape.finish(r).map_err(unsupported)?.is_some();
        }
        if reached && op.uses().any(|v| tape.active(v)) {
            let Some(rule) = rule(op.code) else {
                return Err(DiffError::NoRule { op: op.code, result: result_name(f, op) });
            };
            rule(&mut tape, call).map_err(unsupported)?;
        }
    }
    collect(tape, wrt, seeds)
}

fn result_name(f: &Function, op: &Op) -> String {
    op.results.first().map_or_else(String::new, |r| f.name_of(*r).into())
}

fn check_float(f: &Function, v: ValueId) -> Result<(), DiffError> {
    let Some(value) = f.values.get(v.index()) else {
        return Err(DiffError::Undefined { function: f.name.clone(), index: v.0 });
    };
    match value.ty.as_tensor().is_some_and(|t| t.dtype.is_float()) {
        true => Ok(()),
        false => Err(DiffError::NotFloat { value: value.name.clone(), ty: value.ty.to_string() }),
    }
}

/// For every value, whether it varies with one of `wrt`.
fn activity(f: &Function, wrt: &[ValueId]) -> Vec<bool> {
    let mut active = vec![false; f.values.len()];
    for &v in wrt {
        active[v.index()] = true;
    }
    for op in &f.ops {
        if op.uses().any(|v| active[v.index()]) {
            for &r in &op.results {
                active[r.index()] |= check_float(f, r).is_ok();
            }
        }
    }
    active
}

/// Adds an input for the gradient of every active output.
fn seed(tape: &mut Tape<'_>) -> Result<Vec<(ValueId, ValueId)>, DiffError> {
    let f = tape.f;
    let used: std::collections::HashSet<ValueId> = f.ops.iter().flat_map(Op::uses).collect();
    let mut seeds: Vec<(ValueId, ValueId)> = Vec::new();
    for &v in &f.outputs {
        let Some(ty) = f.tensor_type(v).filter(|_| tape.active(v)) else { continue };
        if seeds.iter().all(|(output, _)| *output != v) {
            let prefix = if used.contains(&v) { "seed" } else { "d" };
            let seed = tape.b.input(&format!("{prefix}_{}", f.name_of(v)), ty.clone());
            tape.give(v, seed);
            seeds.push((v, seed));
        }
    }
    Ok(seeds)
}

fn collect(mut tape: Tape<'_>, wrt: &[ValueId], seeds: Vec<(ValueId, ValueId)>) -> Result<Joint, DiffError> {
    let f = tape.f;
    let mut gradients: Vec<(ValueId, ValueId)> = Vec::new();
    for &v in wrt {
        let value = f.name_of(v);
        let unsupported = |source| DiffError::Unsupported { result: value.into(), source };
        tape.finish(v).map_err(unsupported)?;
        if let Some(gradient) = tape.full_gradient(v).map_err(unsupported)? {
            gradients.push((v, gradient));
        } else if tape.jobs.iter().all(|job| job.weight != v) {
            return Err(DiffError::Independent { function: f.name.clone(), value: value.into() });
        }
    }
    let mut outputs: Vec<ValueId> = Vec::new();
    for &v in f.outputs.iter().chain(gradients.iter().map(|(_, gradient)| gradient)) {
        if !outputs.contains(&v) {
            outputs.push(v);
        }
    }
    let (builder, jobs, all) = tape.into_parts();
    Ok(Joint { function: builder.finish(&outputs), seeds, gradients, jobs, all })
}

/// Gives the operands of an op their share of the gradients of its results.
type Rule = fn(&mut Tape<'_>, Call<'_>) -> Result<(), CallError>;

/// Whether an op has a derivative rule.
pub fn has_rule(code: Opcode) -> bool {
    rule(code).is_some()
}

fn rule(code: Opcode) -> Option<Rule> {
    use Opcode::*;
    let rule: Rule = match code {
        Abs | Acos | Asin | Atan | Atanh | Clip | Cos | Cosh | Erf | Exp | Exp2 | Identity | Inverse
        | Log | Rsqrt | Sin | Sinh | Sqrt | Square | Tan | Tanh | Threshold => elementwise::unary,
        Cast => elementwise::cast,
        ClampedRelu | Elu | Gelu | LeakyRelu | LinearActivation | Relu | Relu6 | ScaledTanh | Sigmoid
        | SigmoidHard | Silu | Softplus | Softsign | ThresholdedRelu => activation::plain,
        Prelu => activation::prelu,
        SoftplusParametric => activation::softplus_parametric,
        Softmax => activation::softmax,
        Add => elementwise::add,
        Maximum | Minimum => elementwise::extreme,
        Mul => elementwise::mul,
        Pow => elementwise::pow,
        RealDiv => elementwise::real_div,
        Select => elementwise::select,
        Sub => elementwise::sub,
        Conv => linear::conv,
        Matmul => linear::matmul,
        ReduceL1Norm | ReduceL2Norm | ReduceLogSum | ReduceLogSumExp | ReduceMax | ReduceMean | ReduceMin
        | ReduceProd | ReduceSum | ReduceSumSquare => reduce::reduce,
        Linear => linear::linear,
        Einsum => linear::einsum,
        ScaledDotProductAttention => linear::attention,
        ConvTranspose => window::conv_transpose,
        AvgPool => pool::avg,
        L2Pool => pool::l2,
        MaxPool => pool::max,
        Resize | ResizeBilinear | ResizeNearestNeighbor | UpsampleBilinear => along::resized,
        UpsampleNearestNeighbor => along::upsample_nearest,
        SlidingWindows => along::sliding_windows,
        LocalResponseNorm => along::local_response,
        BatchNorm => norm::batch,
        InstanceNorm | LayerNorm => norm::standardise,
        L2Norm => norm::l2,
        SliceByIndex => index::slice_by_index,
        SliceUpdate => index::slice_update,
        Gather | GatherAlongAxis | GatherNd => index::gather,
        Scatter | ScatterAlongAxis | ScatterNd => index::scatter,
        Topk => index::topk,
        Cumsum => index::cumsum,
        Crop => index::crop,
        Stack => index::stack,
        Reverse | ReverseSequence | BandPart | DepthToSpace | SpaceToDepth | PixelShuffle
        | PixelUnshuffle | SpaceToBatch | BatchToSpace => index::rearrange,
        Reshape | ExpandDims | Squeeze | Flatten2d | ReshapeLike => movement::reshape,
        Transpose => movement::transpose,
        Concat => movement::concat,
        SliceBySize => movement::slice_by_size,
        Split => movement::split,
        Pad => movement::pad,
        Tile => movement::tile,
        _ => return None,
    };
    Some(rule)
}
