//! When rules are broken.

use ferrane_mil::{Arg, Call, Opcode, Operand, ValueId};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::subject::{Place, Subject};

mod attention;
mod extents;
mod ports;
mod weights;

/// What must be so for a rule to be broken.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Condition {
    /// One of the ops is there at all.
    Op { ops: Ops },
    /// One of the ops is given one of the arguments.
    Argument { ops: Ops, args: Vec<String> },
    /// One of the ops lacks one of the arguments.
    MissingArgument { ops: Ops, args: Vec<String> },
    /// One of the ops is given one of the arguments as a literal.
    LiteralArgument { ops: Ops, args: Vec<String> },
    /// One of the ops takes the result of one of the producers, be it with something added.
    After { ops: Ops, producers: Ops },
    /// One of the ops takes an input of the function.
    OfInput { ops: Ops },
    /// One of the ops broadcasts over the first axis.
    BatchBroadcast { ops: Ops },
    /// Nothing in the text: how many programs a process has, or how it uses them.
    Process {},
    /// A later `program(version)` than the compiler takes.
    ProgramVersion {},
    /// A later op set than the compiler takes.
    Opset {},
    /// A convolution by a weight that is not constant, at the threshold's batch or more.
    RuntimeConvWeight {},
    /// Two constants in one weight file.
    CombinedWeightFile {},
    /// A look-up table of more entries than the threshold.
    LookUpTable {},
    /// Weights in FP8.
    Fp8Weights {},
    /// More bytes of weights than the threshold.
    WeightBank {},
    /// An attention mask with a plane for each head.
    MaskPlanes {},
    /// Attention of the threshold's number of queries and keys or more.
    AttentionExtent {},
    /// Two products that are fed by transposes of their last two axes.
    TransposedProducts {},
    /// A normalisation of a reshape with a constant gamma of the threshold's extent or more.
    LayerNormGamma {},
    /// More inputs than one.
    MultipleInputs {},
    /// A convolution with the threshold's number of input channels or more.
    ConvInputChannels {},
    /// A convolution with a kernel beyond the limits.
    ConvKernel {},
    /// A grouped convolution whose groups four cores do not divide.
    ConvGroups {},
    /// A softmax along an axis that is not a power of two.
    SoftmaxExtent {},
    /// A value of a type the engine does not compute with.
    ComputeType {},
    /// A rank beyond the limit.
    Rank {},
    /// A product of operands of rank 5.
    MatmulRank {},
    /// Height or width beyond the limit.
    Extent {},
    /// More channels than the limit.
    Channels {},
    /// An extent of 0.
    EmptyTensor {},
    /// A transpose of too many elements.
    TransposeElements {},
    /// An argmax or argmin over too long an axis.
    ArgAxis {},
    /// More bytes of weights than the limit.
    WeightBytes {},
    /// More convolutions than the limit.
    Depth {},
    /// An output that is an input.
    OutputIsInput {},
    /// Ports that are not in alphabetical order.
    PortOrder {},
    /// Ports of one side that differ in size.
    PortSizes {},
    /// An input narrower than the least width.
    InputWidth {},
    /// A slice that begins inside the last axis.
    WidthSlice {},
    /// A concatenation of two or more such slices.
    ConcatOfWidthSlices {},
}

/// Ops by name.
#[derive(Clone, Debug)]
pub(super) struct Ops(Vec<Opcode>);

impl Ops {
    fn has(&self, code: Opcode) -> bool {
        self.0.contains(&code)
    }
}

impl<'de> Deserialize<'de> for Ops {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let code = |name: &String| {
            Opcode::from_name(name).ok_or_else(|| D::Error::custom(format!("no op `{name}`")))
        };
        Vec::<String>::deserialize(d)?.iter().map(code).collect::<Result<_, _>>().map(Ops)
    }
}

/// A place where a rule is broken.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) place: Place,
    /// What is there, in words.
    pub(super) what: String,
}

impl Finding {
    fn new(place: Place, what: impl Into<String>) -> Self {
        Self { place, what: what.into() }
    }
}

/// Everywhere the condition is met. `threshold` is the number of the rule's quirk.
pub(super) fn findings(condition: &Condition, threshold: Option<f64>, s: &Subject<'_>) -> Vec<Finding> {
    match condition {
        Condition::Op { ops } => {
            let met = s.ops().filter(|(_, op)| ops.has(op.code));
            met.map(|(i, op)| Finding::new(Place::Op(i), format!("`{}` is a {}", s.name(op), op.code)))
                .collect()
        }
        Condition::Argument { ops, args } => given(s, ops, args, |_| Some("gives")),
        Condition::LiteralArgument { ops, args } => given(s, ops, args, |arg| {
            arg.operands().iter().any(|o| matches!(o, Operand::Literal(_))).then_some("has a literal for")
        }),
        Condition::MissingArgument { ops, args } => missing(s, ops, args),
        Condition::After { ops, producers } => after(s, ops, producers),
        Condition::OfInput { ops } => of_input(s, ops),
        Condition::BatchBroadcast { ops } => batch_broadcast(s, ops),
        Condition::Process {} => Vec::new(),
        Condition::ProgramVersion {} => version(s),
        Condition::Opset {} => opset(s),
        Condition::RuntimeConvWeight {} => weights::runtime_conv(s, threshold),
        Condition::CombinedWeightFile {} => weights::combined_file(s),
        Condition::LookUpTable {} => weights::look_up_table(s, threshold),
        Condition::Fp8Weights {} => weights::fp8(s),
        Condition::WeightBank {} => weights::bank(s, threshold),
        Condition::MaskPlanes {} => attention::mask_planes(s),
        Condition::AttentionExtent {} => attention::extent(s, threshold),
        Condition::TransposedProducts {} => attention::transposed_products(s),
        Condition::LayerNormGamma {} => attention::layer_norm_gamma(s, threshold),
        Condition::MultipleInputs {} => ports::multiple_inputs(s),
        Condition::ConvInputChannels {} => extents::conv_channels(s, threshold),
        Condition::ConvKernel {} => extents::conv_kernel(s),
        Condition::ConvGroups {} => conv_groups(s),
        Condition::SoftmaxExtent {} => softmax_extent(s),
        Condition::ComputeType {} => extents::compute_type(s),
        Condition::Rank {} => extents::rank(s),
        Condition::MatmulRank {} => extents::matmul_rank(s),
        Condition::Extent {} => extents::extent(s),
        Condition::Channels {} => extents::channels(s),
        Condition::EmptyTensor {} => extents::empty(s),
        Condition::TransposeElements {} => extents::transpose(s),
        Condition::ArgAxis {} => extents::arg_axis(s),
        Condition::WeightBytes {} => weights::bytes(s),
        Condition::Depth {} => extents::depth(s),
        Condition::OutputIsInput {} => ports::output_is_input(s),
        Condition::PortOrder {} => ports::order(s),
        Condition::PortSizes {} => ports::sizes(s),
        Condition::InputWidth {} => ports::width(s),
        Condition::WidthSlice {} => width_slices(s),
        Condition::ConcatOfWidthSlices {} => concat_of_width_slices(s),
    }
}

fn version(s: &Subject<'_>) -> Vec<Finding> {
    let ((major, minor), most) = (s.program.version, s.profile.dialect.version.value);
    if (major, minor) <= most {
        return Vec::new();
    }
    let what = format!("the text is program({major}.{minor}), later than program({}.{})", most.0, most.1);
    vec![Finding::new(Place::Function, what)]
}

fn opset(s: &Subject<'_>) -> Vec<Finding> {
    let most = s.profile.dialect.opset.value;
    if s.f.opset <= most {
        return Vec::new();
    }
    let what = format!("`{}` is of op set {}, later than {}", s.f.name, s.f.opset.name(), most.name());
    vec![Finding::new(Place::Function, what)]
}

/// Arguments among `args` of ops among `ops` for which `met` has a verb.
fn given(
    s: &Subject<'_>,
    ops: &Ops,
    args: &[String],
    met: impl Fn(&Arg) -> Option<&'static str>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for (i, op) in s.ops().filter(|(_, op)| ops.has(op.code)) {
        for (j, (name, arg)) in op.args.iter().enumerate() {
            if let Some(verb) = met(arg).filter(|_| args.iter().any(|a| a == name)) {
                let what = format!("`{}`, a {}, {verb} `{name}`", s.name(op), op.code);
                found.push(Finding::new(Place::Arg(i, j), what));
            }
        }
    }
    found
}

fn missing(s: &Subject<'_>, ops: &Ops, args: &[String]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (i, op) in s.ops().filter(|(_, op)| ops.has(op.code)) {
        for name in args.iter().filter(|name| op.arg(name).is_none()) {
            let what = format!("`{}`, a {}, lacks `{name}`", s.name(op), op.code);
            found.push(Finding::new(Place::Op(i), what));
        }
    }
    found
}

fn after(s: &Subject<'_>, ops: &Ops, producers: &Ops) -> Vec<Finding> {
    let operands = |op: &ferrane_mil::Op| -> Vec<Operand> {
        op.args.iter().flat_map(|(_, arg)| arg.operands().to_vec()).collect()
    };
    let mut found = Vec::new();
    for (i, op) in s.ops().filter(|(_, op)| ops.has(op.code)) {
        let Ok(x) = Call::new(s.f, op).required("x") else { continue };
        let direct = s.producer(x);
        let through_add = direct.filter(|p| matches!(p.code, Opcode::Add | Opcode::Mul)).into_iter();
        let before = through_add.flat_map(operands).filter_map(|o| s.producer(&o));
        if let Some(p) = direct.into_iter().chain(before).find(|p| producers.has(p.code)) {
            let what = format!("`{}` is the {} of `{}`, a {}", s.name(op), op.code, s.name(p), p.code);
            found.push(Finding::new(Place::Op(i), what));
        }
    }
    found
}

fn of_input(s: &Subject<'_>, ops: &Ops) -> Vec<Finding> {
    let met = |(i, op): (usize, &ferrane_mil::Op)| match Call::new(s.f, op).required("x") {
        Ok(Operand::Value(v)) if s.f.inputs.contains(v) => {
            let what = format!("`{}` is a {} of the input `{}`", s.name(op), op.code, s.f.name_of(*v));
            Some(Finding::new(Place::Op(i), what))
        }
        _ => None,
    };
    s.ops().filter(|(_, op)| ops.has(op.code)).filter_map(met).collect()
}

fn batch_broadcast(s: &Subject<'_>, ops: &Ops) -> Vec<Finding> {
    let met = |(i, op): (usize, &ferrane_mil::Op)| {
        let call = Call::new(s.f, op);
        let (x, y) = (&call.tensor("x").ok()?.shape, &call.tensor("y").ok()?.shape);
        let broadcasts = x.len() == y.len() && x.len() == 4 && x[0] != y[0];
        let what = || format!("`{}` broadcasts {x:?} and {y:?} over the first axis", s.name(op));
        broadcasts.then(|| Finding::new(Place::Op(i), what()))
    };
    s.ops().filter(|(_, op)| ops.has(op.code)).filter_map(met).collect()
}

fn conv_groups(s: &Subject<'_>) -> Vec<Finding> {
    let met = |(i, op): (usize, &ferrane_mil::Op)| {
        let groups = Call::new(s.f, op).int("groups").ok()??;
        let what = || format!("`{}` has {groups} groups, not a multiple of 4", s.name(op));
        (groups > 1 && groups % 4 != 0).then(|| Finding::new(Place::Op(i), what()))
    };
    s.ops().filter(|(_, op)| op.code == Opcode::Conv).filter_map(met).collect()
}

fn softmax_extent(s: &Subject<'_>) -> Vec<Finding> {
    let met = |(i, op): (usize, &ferrane_mil::Op)| {
        let call = Call::new(s.f, op);
        let x = call.tensor("x").ok()?;
        let axis = call.axis(call.int("axis").ok()??, x.rank()).ok()?;
        let extent = x.shape[axis];
        let what = || format!("`{}` is a softmax over {extent}, which is not a power of two", s.name(op));
        (!extent.is_power_of_two()).then(|| Finding::new(Place::Op(i), what()))
    };
    s.ops().filter(|(_, op)| op.code == Opcode::Softmax).filter_map(met).collect()
}

/// True for an op that is a slice beginning after the first element of the last axis.
fn slices_width(s: &Subject<'_>, op: &ferrane_mil::Op) -> bool {
    let begins = || Call::new(s.f, op).ints("begin").ok()?.and_then(|begin| begin.last().copied());
    matches!(op.code, Opcode::SliceBySize | Opcode::SliceByIndex) && begins().is_some_and(|b| b != 0)
}

fn width_slices(s: &Subject<'_>) -> Vec<Finding> {
    let met = s.ops().filter(|(_, op)| slices_width(s, op));
    met.map(|(i, op)| {
        Finding::new(Place::Op(i), format!("`{}` is a slice that begins inside the last axis", s.name(op)))
    })
    .collect()
}

fn concat_of_width_slices(s: &Subject<'_>) -> Vec<Finding> {
    let slice = |o: &Operand| s.producer(o).is_some_and(|op| slices_width(s, op));
    let met = |(i, op): (usize, &ferrane_mil::Op)| {
        let slices = Call::new(s.f, op).operands("values").ok()?.iter().filter(|o| slice(o)).count();
        let what = || format!("`{}` joins {slices} slices that begin inside the last axis", s.name(op));
        (slices >= 2).then(|| Finding::new(Place::Op(i), what()))
    };
    s.ops().filter(|(_, op)| op.code == Opcode::Concat).filter_map(met).collect()
}

/// The values that are not constant scalars and such, with their types: inputs and results.
fn computed<'s>(s: &'s Subject<'_>) -> impl Iterator<Item = (ValueId, &'s ferrane_mil::TensorType)> {
    let f = s.f;
    let all = (0..f.values.len() as u32).map(ValueId);
    all.filter(|v| f.value(*v).constant.is_none()).filter_map(|v| Some((v, f.tensor_type(v)?)))
}
