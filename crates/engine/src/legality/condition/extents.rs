//! Types and extents beyond what a chip takes.

use ferrane_mil::{Call, DType, Op, Opcode, Operand, TensorType, ValueId};

use super::{Finding, Place, Subject, computed};

/// A value, or a constant in an argument's place.
struct Tensor<'s> {
    /// The value, or the first result of the op the constant is written in.
    at: ValueId,
    ty: &'s TensorType,
    written: bool,
}

impl Tensor<'_> {
    fn finding(&self, s: &Subject<'_>, why: String) -> Finding {
        let what = if self.written { "a constant of " } else { "" };
        Finding::new(Place::Value(self.at), format!("{what}`{}` is {}: {why}", s.f.name_of(self.at), self.ty))
    }
}

fn tensors<'s>(s: &'s Subject<'_>) -> impl Iterator<Item = Tensor<'s>> {
    let values = (0..s.f.values.len() as u32).map(ValueId);
    let values = values.filter_map(|at| Some(Tensor { at, ty: s.f.tensor_type(at)?, written: false }));
    let written = s.f.constants().filter(|(at, _)| s.f.value(*at).constant.is_none());
    values.chain(written.map(|(at, c)| Tensor { at, ty: &c.ty, written: true }))
}

pub(super) fn rank(s: &Subject<'_>) -> Vec<Finding> {
    let most = s.profile.limits.max_rank.value;
    // A look-up table has two axes more than the weights that the compiler makes of it.
    let is_table = |t: &Tensor<'_>| {
        let mut users = s.f.ops.iter().filter(|op| op.uses().any(|v| v == t.at)).peekable();
        s.f.value(t.at).constant.is_some() && users.peek().is_some() && users.all(|op| op.code.is_constexpr())
    };
    let over = tensors(s).filter(|t| t.ty.rank() > most && !is_table(t));
    over.map(|t| t.finding(s, format!("its rank is over {most}"))).collect()
}

pub(super) fn extent(s: &Subject<'_>) -> Vec<Finding> {
    let most = s.profile.limits.max_extent.value;
    // The first two axes of four are batch and channels, which have limits of their own.
    let over = |t: Tensor<'_>| {
        let extent = t.ty.shape.iter().rev().take(2).find(|&&d| d > most)?;
        Some(t.finding(s, format!("the extent {extent} is over {most}")))
    };
    tensors(s).filter_map(over).collect()
}

pub(super) fn channels(s: &Subject<'_>) -> Vec<Finding> {
    let most = s.profile.limits.max_channels.value;
    let over = |t: Tensor<'_>| match t.ty.shape[..] {
        [_, channels, _, ..] if channels > most => {
            Some(t.finding(s, format!("{channels} channels are over {most}")))
        }
        _ => None,
    };
    tensors(s).filter_map(over).collect()
}

pub(super) fn empty(s: &Subject<'_>) -> Vec<Finding> {
    let none = tensors(s).filter(|t| t.ty.shape.contains(&0));
    none.map(|t| t.finding(s, "it has no elements".into())).collect()
}

/// Ops that give indices.
const INDICES: [Opcode; 4] = [Opcode::ReduceArgmax, Opcode::ReduceArgmin, Opcode::Topk, Opcode::Argsort];

/// fp16 is computed with, `bool` is what comparisons give. Casts may touch fp32, and ports may be of small integers.
pub(super) fn compute_type(s: &Subject<'_>) -> Vec<Finding> {
    let only_cast = |v: ValueId| {
        let mut users = s.f.ops.iter().filter(|op| op.uses().any(|u| u == v)).peekable();
        users.peek().is_some() && users.all(|op| op.code == Opcode::Cast)
    };
    let foreign = |(at, ty): (ValueId, &TensorType)| {
        let made_by = |code| s.definition(at).is_some_and(|op| op.code == code);
        let made_by_cast = made_by(Opcode::Cast);
        let is_input = s.f.inputs.contains(&at);
        let fits = match ty.dtype {
            DType::Fp16 | DType::Bool => true,
            DType::Fp32 => (made_by_cast && s.f.outputs.contains(&at)) || (is_input && only_cast(at)),
            // int8 activations, published at 1.88 times the rate of fp16.
            DType::Uint8 | DType::Int8 if made_by(Opcode::Quantize) => true,
            DType::Uint8 | DType::Int8 | DType::Int16 | DType::Uint16 => is_input || made_by_cast,
            // Indices, which the engine holds as it likes as long as nobody reads them from a surface.
            DType::Int32 => INDICES.into_iter().any(made_by) && !s.f.outputs.contains(&at),
            _ => false,
        };
        let computed = Tensor { at, ty, written: false };
        (!fits).then(|| computed.finding(s, "the engine computes in fp16".into()))
    };
    computed(s).filter_map(foreign).collect()
}

pub(super) fn matmul_rank(s: &Subject<'_>) -> Vec<Finding> {
    let over = |(i, op): (usize, &Op)| {
        let x = Call::new(s.f, op).tensor("x").ok()?;
        (x.rank() >= 5).then(|| Finding::new(Place::Op(i), format!("`{}` is a product of {x}", s.name(op))))
    };
    s.ops().filter(|(_, op)| op.code == Opcode::Matmul).filter_map(over).collect()
}

pub(super) fn conv_channels(s: &Subject<'_>, threshold: Option<f64>) -> Vec<Finding> {
    let Some(threshold) = threshold else { return Vec::new() };
    let over = |(i, op): (usize, &Op)| {
        let channels = *Call::new(s.f, op).tensor("x").ok()?.shape.get(1)?;
        let what = || format!("`{}` is a convolution of {channels} input channels", s.name(op));
        (channels as f64 >= threshold).then(|| Finding::new(Place::Op(i), what()))
    };
    s.ops().filter(|(_, op)| op.code == Opcode::Conv).filter_map(over).collect()
}

pub(super) fn conv_kernel(s: &Subject<'_>) -> Vec<Finding> {
    let limits = &s.profile.limits;
    let over = |(i, op): (usize, &Op)| {
        let weight = Call::new(s.f, op).tensor("weight").ok()?;
        let [_, _, height, width] = weight.shape[..] else { return None };
        let beyond = |extent: usize, limit: &Option<crate::Figure<usize>>| {
            limit.as_ref().is_some_and(|limit| extent > limit.value)
        };
        let too_large = beyond(height, &limits.max_kernel_height) || beyond(width, &limits.max_kernel_width);
        let what = || format!("`{}` is a convolution by a {height}×{width} kernel", s.name(op));
        too_large.then(|| Finding::new(Place::Op(i), what()))
    };
    s.ops().filter(|(_, op)| op.code == Opcode::Conv).filter_map(over).collect()
}

pub(super) fn transpose(s: &Subject<'_>) -> Vec<Finding> {
    let Some(most) = &s.profile.limits.max_transpose else { return Vec::new() };
    let over = |(i, op): (usize, &Op)| {
        let x = Call::new(s.f, op).tensor("x").ok()?;
        let what = || format!("`{}` transposes {} elements, over {}", s.name(op), x.elements(), most.value);
        (x.elements() > most.value).then(|| Finding::new(Place::Op(i), what()))
    };
    s.ops().filter(|(_, op)| op.code == Opcode::Transpose).filter_map(over).collect()
}

pub(super) fn arg_axis(s: &Subject<'_>) -> Vec<Finding> {
    let Some(most) = &s.profile.limits.max_arg_axis else { return Vec::new() };
    let over = |(i, op): (usize, &Op)| {
        let call = Call::new(s.f, op);
        let x = call.tensor("x").ok()?;
        let axis = call.axis(call.int("axis").ok()?.unwrap_or(-1), x.rank()).ok()?;
        let what = || format!("`{}` goes along {}, over {}", s.name(op), x.shape[axis], most.value);
        (x.shape[axis] > most.value).then(|| Finding::new(Place::Op(i), what()))
    };
    let arg = |op: &Op| matches!(op.code, Opcode::ReduceArgmax | Opcode::ReduceArgmin);
    s.ops().filter(|(_, op)| arg(op)).filter_map(over).collect()
}

/// The longest chain of convolutions, each of which takes a result that depends on the one before.
pub(super) fn depth(s: &Subject<'_>) -> Vec<Finding> {
    let Some(most) = &s.profile.limits.max_depth else { return Vec::new() };
    let mut depths = vec![0usize; s.f.values.len()];
    for op in &s.f.ops {
        let operands = op.args.iter().flat_map(|(_, arg)| arg.operands());
        let before = operands.filter_map(|o| match o {
            Operand::Value(v) => Some(depths[v.index()]),
            Operand::Literal(_) => None,
        });
        let depth = before.max().unwrap_or(0) + usize::from(op.code == Opcode::Conv);
        op.results.iter().for_each(|r| depths[r.index()] = depth);
    }
    match depths.into_iter().max().unwrap_or(0) {
        deepest if deepest > most.value => vec![Finding::new(
            Place::Function,
            format!("`{}` has {deepest} convolutions in a row, over {}", s.f.name, most.value),
        )],
        _ => Vec::new(),
    }
}
