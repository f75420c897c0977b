//! The ops of MIL, one variant each.

macro_rules! opcodes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Which op a statement is. [`Opcode::name`] is its name in MIL text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "a variant is documented by its row in the op catalogue")]
        pub enum Opcode { $($variant,)* }

        /// Every op with its name, in declaration order.
        const NAMES: &[(Opcode, &str)] = &[$((Opcode::$variant, $name),)*];
    };
}

opcodes! {
    Const = "const",
    // Elementwise, one operand.
    Abs = "abs", Acos = "acos", Asin = "asin", Atan = "atan", Atanh = "atanh", Ceil = "ceil", Clip = "clip",
    Cos = "cos", Cosh = "cosh", Erf = "erf", Exp = "exp", Exp2 = "exp2", Floor = "floor", Inverse = "inverse",
    Log = "log", LogicalNot = "logical_not", Round = "round", Rsqrt = "rsqrt", Sign = "sign", Sin = "sin",
    Sinh = "sinh", Sqrt = "sqrt", Square = "square", Tan = "tan", Tanh = "tanh", Threshold = "threshold",
    Cast = "cast", Identity = "identity",
    // Activations.
    ClampedRelu = "clamped_relu", Elu = "elu", Gelu = "gelu", LeakyRelu = "leaky_relu",
    LinearActivation = "linear_activation", Prelu = "prelu", Relu = "relu", Relu6 = "relu6",
    ScaledTanh = "scaled_tanh", Sigmoid = "sigmoid", SigmoidHard = "sigmoid_hard", Silu = "silu",
    Softmax = "softmax", Softplus = "softplus", SoftplusParametric = "softplus_parametric", Softsign = "softsign",
    ThresholdedRelu = "thresholded_relu",
    // Elementwise, two operands.
    Add = "add", Equal = "equal", FloorDiv = "floor_div", Greater = "greater", GreaterEqual = "greater_equal",
    Less = "less", LessEqual = "less_equal", LogicalAnd = "logical_and", LogicalOr = "logical_or",
    LogicalXor = "logical_xor", Maximum = "maximum", Minimum = "minimum", Mod = "mod", Mul = "mul",
    NotEqual = "not_equal", Pow = "pow", RealDiv = "real_div", Select = "select", Sub = "sub",
    // Linear algebra.
    BatchNorm = "batch_norm", Conv = "conv", ConvQuantized = "conv_quantized", ConvTranspose = "conv_transpose",
    Einsum = "einsum", InstanceNorm = "instance_norm", L2Norm = "l2_norm", LayerNorm = "layer_norm",
    Linear = "linear", LocalResponseNorm = "local_response_norm", Matmul = "matmul",
    ScaledDotProductAttention = "scaled_dot_product_attention",
    AvgPool = "avg_pool", L2Pool = "l2_pool", MaxPool = "max_pool",
    // Shape and movement.
    BandPart = "band_part", BatchToSpace = "batch_to_space", Concat = "concat", Crop = "crop",
    DepthToSpace = "depth_to_space", ExpandDims = "expand_dims", Fill = "fill", FillLike = "fill_like",
    Flatten2d = "flatten2d", NonZero = "non_zero", OneHot = "one_hot", Pad = "pad", PixelShuffle = "pixel_shuffle",
    PixelUnshuffle = "pixel_unshuffle", Range1d = "range_1d", Reshape = "reshape", ReshapeLike = "reshape_like",
    Reverse = "reverse", ReverseSequence = "reverse_sequence", Shape = "shape", SliceByIndex = "slice_by_index",
    SliceBySize = "slice_by_size", SliceUpdate = "slice_update", SlidingWindows = "sliding_windows",
    SpaceToBatch = "space_to_batch", SpaceToDepth = "space_to_depth", Split = "split", Squeeze = "squeeze",
    Stack = "stack", Tile = "tile", Transpose = "transpose",
    // Gather and scatter.
    Gather = "gather", GatherAlongAxis = "gather_along_axis", GatherNd = "gather_nd", Scatter = "scatter",
    ScatterAlongAxis = "scatter_along_axis", ScatterNd = "scatter_nd",
    // Reductions and order.
    Argsort = "argsort", Cumsum = "cumsum", ReduceArgmax = "reduce_argmax", ReduceArgmin = "reduce_argmin",
    ReduceL1Norm = "reduce_l1_norm", ReduceL2Norm = "reduce_l2_norm", ReduceLogSum = "reduce_log_sum",
    ReduceLogSumExp = "reduce_log_sum_exp", ReduceMax = "reduce_max", ReduceMean = "reduce_mean",
    ReduceMin = "reduce_min", ReduceProd = "reduce_prod", ReduceSum = "reduce_sum",
    ReduceSumSquare = "reduce_sum_square", Topk = "topk",
    // Images.
    Affine = "affine", CropResize = "crop_resize", NonMaximumSuppression = "non_maximum_suppression",
    Resample = "resample", Resize = "resize", ResizeBilinear = "resize_bilinear",
    ResizeNearestNeighbor = "resize_nearest_neighbor", UpsampleBilinear = "upsample_bilinear",
    UpsampleNearestNeighbor = "upsample_nearest_neighbor",
    // Compressed weights and quantisation.
    ConstexprAffineDequantize = "constexpr_affine_dequantize",
    ConstexprBlockwiseShiftScale = "constexpr_blockwise_shift_scale", ConstexprCast = "constexpr_cast",
    ConstexprLutToDense = "constexpr_lut_to_dense", ConstexprLutToSparse = "constexpr_lut_to_sparse",
    ConstexprSparseBlockwiseShiftScale = "constexpr_sparse_blockwise_shift_scale",
    ConstexprSparseToDense = "constexpr_sparse_to_dense", Dequantize = "dequantize", Quantize = "quantize",
    // Recurrence, randomness, lists, states, control flow: parsed, never executed here.
    Gru = "gru", Lstm = "lstm", Rnn = "rnn", RandomBernoulli = "random_bernoulli",
    RandomCategorical = "random_categorical", RandomNormal = "random_normal", RandomUniform = "random_uniform",
    ListGather = "list_gather", ListLength = "list_length", ListRead = "list_read", ListScatter = "list_scatter",
    ListWrite = "list_write", MakeList = "make_list", ReadState = "read_state", WriteState = "write_state",
    CoremlUpdateState = "coreml_update_state", Classify = "classify", Cond = "cond", WhileLoop = "while_loop",
}

impl Opcode {
    /// Every op, in declaration order.
    pub fn all() -> impl Iterator<Item = Opcode> {
        NAMES.iter().map(|row| row.0)
    }

    /// The name in MIL text, e.g. `reduce_sum`.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// True for the ops that decode compressed weights: what they read is constant, and so is what they give.
    pub fn is_constexpr(self) -> bool {
        (Opcode::ConstexprAffineDequantize..=Opcode::ConstexprSparseToDense).contains(&self)
    }

    /// The op with this name in MIL text.
    pub fn from_name(name: &str) -> Option<Opcode> {
        use std::{collections::HashMap, sync::LazyLock};
        static BY_NAME: LazyLock<HashMap<&str, Opcode>> =
            LazyLock::new(|| NAMES.iter().map(|&(code, name)| (name, code)).collect());
        BY_NAME.get(name).copied()
    }
}

impl std::fmt::Display for Opcode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constexpr_ops_are_those_named_so() {
        for code in Opcode::all() {
            assert_eq!(code.is_constexpr(), code.name().starts_with("constexpr_"), "{code}");
        }
    }

    #[test]
    fn names_are_unique_and_in_declaration_order() {
        for (i, (code, name)) in NAMES.iter().enumerate() {
            assert_eq!(*code as usize, i);
            assert_eq!(Opcode::from_name(name), Some(*code), "{name}");
        }
    }
}
