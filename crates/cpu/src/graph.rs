//! The function between lowering and planning: few kinds of nodes, all operands views.

use std::sync::Arc;

use ferrane_mil::{Opcode, interp::SingleOp};

use crate::{
    Fold, Numerics,
    view::{View, elements},
};

/// Elementwise ops of one or two operands.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "MIL's names, where nothing else is said")]
pub enum MapOp {
    /// `a`
    Copy,
    Abs,
    Acos,
    Asin,
    Atan,
    Atanh,
    Ceil,
    Cos,
    Cosh,
    Erf,
    Exp,
    Exp2,
    /// `eᵃ − 1`
    ExpM1,
    Floor,
    /// `1 / (a + ε)`
    Inverse(f32),
    /// `ln(a + ε)`
    Log(f32),
    /// To the nearest whole number, ties to even.
    Round,
    /// `1 / √(a + ε)`
    Rsqrt(f32),
    /// −1, 0 or 1.
    Sign,
    Sin,
    Sinh,
    /// `ln(1 + eᵃ)`
    Softplus,
    /// `a / (1 + |a|)`
    Softsign,
    Sqrt,
    Square,
    Tan,
    Tanh,
    /// `a·Φ(a)`
    Gelu,
    GeluTanh,
    GeluSigmoid,
    Relu,
    Sigmoid,
    Silu,
    /// Towards zero, and NaN to 0: a cast to integers.
    Truncate,
    /// 1 where `a ≠ 0`: a cast to `bool`.
    NonZero,
    Add,
    Sub,
    Mul,
    Div,
    /// `⌊a / b⌋`
    FloorDiv,
    /// `a − b·⌊a / b⌋`
    Mod,
    Max,
    Min,
    Pow,
    /// 1 where it holds, else 0; so are those below.
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    /// `b` where `a ≠ 0`, else −0, which changes nothing it is added to.
    Where,
    /// `b` where `a = 0`, else −0.
    Otherwise,
}

/// How a reduction combines elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReduceOp {
    Sum,
    Prod,
    Max,
    Min,
}

/// What an arithmetic does to whole lines of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineOp {
    Fold(Fold),
    Softmax,
}

/// What is computed along an axis, element after element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlongOp {
    /// Sums up to each element, without it when `exclusive`, from the last on when `reverse`.
    CumSum { exclusive: bool, reverse: bool },
    /// The index of the largest.
    ArgMax,
    /// The index of the smallest.
    ArgMin,
    /// The indices of the largest, or when `ascending` the smallest, as many as the result has room for, in that order.
    Sort { ascending: bool },
}

/// How a result is rounded after it is computed in fp32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// Not at all.
    Keep,
    /// Through binary16.
    Fp16,
    /// Through bfloat16.
    Bf16,
    /// Integers: NaN where fp32 no longer tells neighbours apart.
    Whole,
    /// Not computed in fp32 at all, but by the arithmetic of [`Numerics::Arithmetic`].
    Foreign,
}

impl Round {
    /// The rounding that `numerics` asks of results of `dtype`.
    pub(crate) fn of(numerics: &Numerics, dtype: ferrane_mil::DType) -> Self {
        match (numerics, dtype) {
            (_, dtype) if dtype.is_int() => Round::Whole,
            (Numerics::F32, _) => Round::Keep,
            (Numerics::Arithmetic(_), ferrane_mil::DType::Fp16) => Round::Foreign,
            (_, dtype) => Self::of_constant(dtype),
        }
    }

    /// The rounding of constants of `dtype`, which no engine computes.
    pub(crate) fn of_constant(dtype: ferrane_mil::DType) -> Self {
        match dtype {
            ferrane_mil::DType::Fp16 => Round::Fp16,
            ferrane_mil::DType::Bf16 => Round::Bf16,
            _ => Round::Keep,
        }
    }
}

/// What a node computes.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Function input.
    Input(usize),
    /// Elements known at compile time.
    Const(Vec<f32>),
    /// Elementwise; every operand has the shape of the node, by stride 0 where it is broadcast.
    Map { op: MapOp, args: Vec<View> },
    /// Reduction of `x` over `axes`, which keep extent 1.
    Reduce { op: ReduceOp, x: View, axes: Vec<usize> },
    /// `a [*batch, m, k] · b [*batch, k, n]`, on `bias [*batch, m, 1]` if an arithmetic sums onto one.
    Gemm { a: View, b: View, bias: Option<View> },
    /// An arithmetic's reduction or softmax along the middle axis of `x` as `[outer, length, inner]`.
    Lines { op: LineOp, x: View, length: usize, inner: usize },
    /// `y[b, o, j, i] = x[b, o, indices[b, o, j, i], i]`. Indices outside count from the end or are the nearest; NaN is
    /// taken for them when `strict`.
    Gather { x: View, indices: View, strict: bool },
    /// `x [outer, n, inner]`, along its middle axis.
    Along { op: AlongOp, x: View },
    /// A result of an op that has no kernel: the reference interpreter computes it.
    Reference { op: Arc<SingleOp>, result: usize, args: Vec<View> },
    /// Parts that together fill the node: the node of each part, which is a copy, and the place it fills.
    Concat { parts: Vec<(usize, View)> },
}

impl Kind {
    /// The views a node reads. A concatenation reads nothing: its parts write into it.
    pub(crate) fn views(&self) -> Vec<&View> {
        match self {
            Kind::Input(_) | Kind::Const(_) | Kind::Concat { .. } => vec![],
            Kind::Map { args, .. } | Kind::Reference { args, .. } => args.iter().collect(),
            Kind::Reduce { x, .. } | Kind::Along { x, .. } | Kind::Lines { x, .. } => vec![x],
            Kind::Gemm { a, b, bias } => [a, b].into_iter().chain(bias).collect(),
            Kind::Gather { x, indices, .. } => vec![x, indices],
        }
    }

    /// True when running the function computes the node.
    pub(crate) fn is_computed(&self) -> bool {
        !matches!(self, Kind::Input(_) | Kind::Const(_))
    }
}

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Extents; the elements are row-major unless the node is placed within another.
    pub(crate) shape: Vec<usize>,
    /// What it computes.
    pub(crate) kind: Kind,
    /// How its elements are rounded.
    pub(crate) round: Round,
    /// The op it is part of, an index of [`Graph::sites`].
    pub(crate) site: usize,
}

impl Node {
    /// True when its elements must lie one after the other, because an arithmetic writes them so.
    pub(crate) fn is_written_dense(&self) -> bool {
        self.round == Round::Foreign && !matches!(self.kind, Kind::Map { .. } | Kind::Reference { .. })
    }
}

/// An op of the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// Its first result.
    pub(crate) value: String,
    pub(crate) op: Opcode,
}

/// Nodes in execution order, and what the function returns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) outputs: Vec<View>,
    /// The ops lowered so far; nodes are part of the last.
    pub(crate) sites: Vec<Site>,
}

impl Graph {
    /// Adds a node and returns all of it.
    pub(crate) fn push(&mut self, shape: &[usize], kind: Kind, round: Round) -> View {
        let site = self.sites.len().saturating_sub(1);
        self.nodes.push(Node { shape: shape.to_vec(), kind, round, site });
        View::whole(self.nodes.len() - 1, shape)
    }

    /// A scalar.
    pub(crate) fn scalar(&mut self, value: f32) -> View {
        self.push(&[], Kind::Const(vec![value]), Round::Keep)
    }

    /// An elementwise node of `shape`; operands are broadcast to it.
    pub(crate) fn map(&mut self, op: MapOp, shape: &[usize], args: &[&View], round: Round) -> View {
        let args = args.iter().map(|v| v.broadcast(shape)).collect();
        self.push(shape, Kind::Map { op, args }, round)
    }

    /// A row-major copy.
    pub(crate) fn copy(&mut self, x: &View) -> View {
        self.map(MapOp::Copy, &x.shape.clone(), &[x], Round::Keep)
    }

    /// `x` under another shape, copied when strides cannot say it.
    pub(crate) fn reshape(&mut self, x: &View, shape: &[usize]) -> View {
        x.reshape(shape).unwrap_or_else(|| {
            let copy = self.copy(x);
            View::whole(copy.node, shape)
        })
    }

    /// A reduction that keeps the reduced axes with extent 1.
    pub(crate) fn reduce(&mut self, op: ReduceOp, x: &View, axes: &[usize], round: Round) -> View {
        let mut shape = x.shape.clone();
        axes.iter().for_each(|&a| shape[a] = 1);
        let axes: Vec<usize> = axes.iter().copied().filter(|&a| x.shape[a] != 1).collect();
        if axes.is_empty() {
            return self.map(MapOp::Copy, &shape, &[x], round);
        }
        self.push(&shape, Kind::Reduce { op, x: x.clone(), axes }, round)
    }

    /// `parts` one after the other along `axis`; with `interleave`, element by element in turn.
    pub(crate) fn concat(&mut self, parts: &[View], axis: usize, interleave: bool) -> View {
        let mut shape = parts[0].shape.clone();
        shape[axis] = parts.iter().map(|p| p.shape[axis]).sum();
        let copies: Vec<usize> = parts.iter().map(|p| self.copy(p).node).collect();
        let whole = View::whole(self.nodes.len(), &shape);
        let mut at = 0;
        let mut placed = Vec::with_capacity(parts.len());
        for (i, (part, copy)) in parts.iter().zip(copies).enumerate() {
            let size = part.shape[axis];
            let mut place = whole.slice(axis, if interleave { i } else { at }, size);
            if interleave {
                place.strides[axis] *= parts.len();
            }
            at += size;
            placed.push((copy, place));
        }
        self.push(&shape, Kind::Concat { parts: placed }, Round::Keep)
    }

    /// `x` with as many elements of `fill` before and after it along each axis as `pads` says.
    pub(crate) fn pad(&mut self, x: &View, pads: &[(usize, usize)], fill: f32) -> View {
        if pads.iter().all(|&pad| pad == (0, 0)) {
            return x.clone();
        }
        let shape: Vec<usize> =
            x.shape.iter().zip(pads).map(|(d, (before, after))| before + d + after).collect();
        let fill = self.scalar(fill);
        // Along each axis the slabs before and after what the axes before it have left; then what all have left.
        let mut left: Vec<(usize, usize)> = shape.iter().map(|&d| (0, d)).collect();
        let mut parts = Vec::new();
        for (axis, &(before, after)) in pads.iter().enumerate() {
            for slab in [(0, before), (shape[axis] - after, after)].into_iter().filter(|(_, size)| *size > 0)
            {
                left[axis] = slab;
                let sizes: Vec<usize> = left.iter().map(|(_, size)| *size).collect();
                parts.push((self.copy(&fill.broadcast(&sizes)).node, left.clone()));
            }
            left[axis] = (before, x.shape[axis]);
        }
        parts.push((self.copy(x).node, left));
        let whole = View::whole(self.nodes.len(), &shape);
        let place = |slab: Vec<(usize, usize)>| {
            slab.into_iter().enumerate().fold(whole.clone(), |v, (axis, (at, size))| v.slice(axis, at, size))
        };
        let parts = parts.into_iter().map(|(part, slab)| (part, place(slab))).collect();
        self.push(&shape, Kind::Concat { parts }, Round::Keep)
    }

    /// For every node, the nodes that read it.
    pub(crate) fn consumers(&self) -> Vec<Vec<usize>> {
        let mut consumers = vec![Vec::new(); self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            node.kind.views().iter().for_each(|v| consumers[v.node].push(i));
        }
        consumers
    }

    /// For every node, whether an output needs it.
    pub(crate) fn live(&self) -> Vec<bool> {
        Self::live_from(&self.nodes, &self.outputs)
    }

    /// For every node, whether one of `outputs` needs it.
    pub(crate) fn live_from(nodes: &[Node], outputs: &[View]) -> Vec<bool> {
        let mut live = vec![false; nodes.len()];
        outputs.iter().for_each(|v| live[v.node] = true);
        for (i, node) in nodes.iter().enumerate().rev() {
            if !live[i] {
                continue;
            }
            node.kind.views().iter().for_each(|v| live[v.node] = true);
            if let Kind::Concat { parts } = &node.kind {
                parts.iter().for_each(|(part, _)| live[*part] = true);
            }
        }
        live
    }

    /// The single value of a node that is a constant of one element.
    pub(crate) fn immediate(&self, view: &View) -> Option<f32> {
        match &self.nodes[view.node].kind {
            Kind::Const(v) if elements(&self.nodes[view.node].shape) == 1 => v.first().copied(),
            _ => None,
        }
    }
}
