//! Causal attention: what need not be computed because a mask excludes it.
//!
//! Scores of causal attention are squares, and those above the diagonal are excluded: a constant of −10⁴ or less is added to
//! them, so that their exponentials are 0 beside the row's largest. What is 0 there adds nothing to sums and products, and
//! what is only ever multiplied by it need not be known. Loops and products of such squares keep to blocks that reach the
//! diagonal; the rest is neither written nor read.

use std::ops::Range;

use crate::{
    fuse::{Group, LONGEST_ROW, Work},
    graph::{Graph, Kind, MapOp, ReduceOp, Round},
    view::View,
};

/// Rows and columns of a block. Squares that are no larger are computed whole.
pub(crate) const BLOCK: usize = 64;

/// Most that a mask adds where it excludes. Scores that differ by as much do not occur.
const EXCLUDED: f32 = -1e4;

/// Columns of squares of extent `n`, one below the other, that blocks up to the diagonal have in `rows` rows from row `first`.
pub(crate) fn up_to_diagonal(n: usize, first: usize, rows: usize) -> usize {
    let (first, last) = (first % n, (first + rows - 1) % n);
    if first <= last { n.min((last + 1).next_multiple_of(BLOCK)) } else { n }
}

/// What is known of the squares of a graph: by node, or by work.
#[derive(Debug, Default)]
pub(crate) struct Triangles {
    /// Nodes that are 0 above the diagonal.
    zero: Vec<bool>,
    /// Nodes of which nobody reads what is above the diagonal, but for their blocks on it.
    unread: Vec<bool>,
    /// Loops that keep to the blocks up to the diagonal.
    trimmed: Vec<bool>,
}

/// How the elements of a matrix that are 0 lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zeros {
    /// Where the column is past the row.
    Above,
    /// Where the row is past the column.
    Below,
}

/// Part of a product: which rows and columns of the result, and which terms of their sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
    pub(crate) depth: Range<usize>,
}

impl Triangles {
    pub(crate) fn new(graph: &Graph, work: &[Work]) -> Self {
        let mut triangles = Self::default();
        let excluded = triangles.find_zeros(graph);
        triangles.trimmed =
            work.iter().map(|work| triangles.can_be_trimmed(graph, work, &excluded)).collect();
        // Whether a loop can be trimmed depends on who reads its results, and the other way round.
        loop {
            triangles.find_unread(graph, work);
            let trimmed: Vec<bool> = (work.iter().zip(&triangles.trimmed))
                .map(|(work, &trimmed)| trimmed && squares(graph, work).all(|node| triangles.unread[node]))
                .collect();
            if trimmed == triangles.trimmed {
                return triangles;
            }
            triangles.trimmed = trimmed;
        }
    }

    /// Whether the loop that is the work of this index keeps to the blocks up to the diagonal.
    pub(crate) fn is_trimmed(&self, work: usize) -> bool {
        self.trimmed[work]
    }

    /// The parts of the product `node` = `a·b` that are wanted, where triangles make that less than all of it.
    pub(crate) fn parts(&self, graph: &Graph, node: usize, a: &View, b: &View) -> Option<Vec<Part>> {
        let [.., m, n] = graph.nodes[node].shape[..] else { return None };
        let k = a.shape[a.shape.len() - 1];
        let zeros = (self.zeros(graph, a), self.zeros(graph, b));
        let extent = match zeros {
            (Some(_), _) => m,
            (None, Some(_)) => n,
            (None, None) if self.unread[node] => m,
            (None, None) => return None,
        };
        let blocks = (0..extent).step_by(BLOCK).map(|first| first..extent.min(first + BLOCK));
        let part = |block: Range<usize>| match zeros {
            (Some(Zeros::Above), _) => Part { depth: 0..block.end, rows: block, columns: 0..n },
            (Some(Zeros::Below), _) => Part { depth: block.start..k, rows: block, columns: 0..n },
            (None, Some(Zeros::Above)) => Part { depth: block.start..k, rows: 0..m, columns: block },
            (None, Some(Zeros::Below)) => Part { depth: 0..block.end, rows: 0..m, columns: block },
            (None, None) => Part { columns: 0..block.end, rows: block, depth: 0..k },
        };
        Some(blocks.map(part).collect())
    }

    /// Where the view, the operand of a product, is known to be 0.
    fn zeros(&self, graph: &Graph, view: &View) -> Option<Zeros> {
        let shape = &graph.nodes[view.node].shape;
        let rank = shape.len();
        if !self.zero[view.node] || view.shape.len() != rank {
            return None;
        }
        let mut turned: Vec<usize> = (0..rank).collect();
        turned.swap(rank - 2, rank - 1);
        match () {
            () if view.is_whole(shape) => Some(Zeros::Above),
            () if view.permute(&turned).is_whole(shape) => Some(Zeros::Below),
            () => None,
        }
    }

    /// Finds the nodes that are 0 above the diagonal; returns those that are excluded there, and become 0 as exponentials.
    fn find_zeros(&mut self, graph: &Graph) -> Vec<bool> {
        self.zero = vec![false; graph.nodes.len()];
        let mut excluded = self.zero.clone();
        for (i, node) in graph.nodes.iter().enumerate() {
            let Kind::Map { op, args } = &node.kind else { continue };
            if node.round == Round::Foreign || extent(&node.shape).is_none() {
                continue;
            }
            let is = |marked: &[bool], arg: usize| {
                args.get(arg).is_some_and(|view| marked[view.node] && view.is_whole(&node.shape))
            };
            let zero = &self.zero;
            (excluded[i], self.zero[i]) = match op {
                MapOp::Add => (args.iter().any(|view| is_mask(graph, view)), false),
                MapOp::Sub => (is(&excluded, 0) && is_largest_of_rows(graph, &args[1], &args[0]), false),
                MapOp::Copy => (is(&excluded, 0), is(zero, 0)),
                MapOp::Exp => (false, is(&excluded, 0)),
                MapOp::Mul => (false, is(zero, 0) || is(zero, 1)),
                MapOp::Div => (false, is(zero, 0)),
                _ => (false, false),
            };
        }
        excluded
    }

    /// Whether a loop gives the same results up to the diagonal if it keeps to them.
    fn can_be_trimmed(&self, graph: &Graph, work: &Work, excluded: &[bool]) -> bool {
        let Work::Loop(group) = work else { return false };
        let square = extent(&group.shape).is_some_and(|n| n > BLOCK && n <= LONGEST_ROW);
        let without_the_rest = |&node: &usize| match &graph.nodes[node].kind {
            Kind::Reduce { op: ReduceOp::Sum, x, .. } => self.zero[x.node],
            Kind::Reduce { op: ReduceOp::Max, x, .. } => excluded[x.node],
            Kind::Map { .. } => true,
            _ => false,
        };
        let own = |node: &usize| graph.nodes[*node].round != Round::Foreign;
        square && group.sink.is_none() && group.nodes.iter().all(|n| own(n) && without_the_rest(n))
    }

    /// Finds the nodes of which nobody reads what is above the diagonal, as loops are trimmed now.
    fn find_unread(&mut self, graph: &Graph, work: &[Work]) {
        self.unread = graph.nodes.iter().map(|node| extent(&node.shape).is_some_and(|n| n > BLOCK)).collect();
        graph.outputs.iter().for_each(|view| self.unread[view.node] = false);
        for node in &graph.nodes {
            if let Kind::Concat { parts } = &node.kind {
                parts.iter().for_each(|(part, _)| self.unread[*part] = false);
            }
        }
        for (work, &trimmed) in work.iter().zip(&self.trimmed) {
            let readers = match work {
                Work::Loop(group) => group.nodes.iter().chain(&group.sink).collect(),
                Work::Alone(node) => vec![node],
            };
            for view in readers.into_iter().flat_map(|&node| graph.nodes[node].kind.views()) {
                let spared = match work {
                    Work::Loop(_) => trimmed && view.is_whole(&graph.nodes[view.node].shape),
                    Work::Alone(node) => {
                        let reader = &graph.nodes[*node];
                        let product =
                            matches!(reader.kind, Kind::Gemm { .. }) && reader.round != Round::Foreign;
                        product && self.zeros(graph, view).is_some()
                    }
                };
                self.unread[view.node] &= spared;
            }
        }
    }
}

/// The nodes of a loop that have its shape.
fn squares<'a>(graph: &'a Graph, work: &'a Work) -> impl Iterator<Item = usize> + 'a {
    let group: Option<&Group> = match work {
        Work::Loop(group) => Some(group),
        Work::Alone(_) => None,
    };
    group.into_iter().flat_map(move |group| {
        group.nodes.iter().copied().filter(move |&node| graph.nodes[node].shape == group.shape)
    })
}

/// The extent of the last two axes, if it is one.
fn extent(shape: &[usize]) -> Option<usize> {
    match shape {
        [.., rows, columns] if rows == columns => Some(*rows),
        _ => None,
    }
}

/// Whether the view is a constant that excludes what is above the diagonal, the same for all squares.
fn is_mask(graph: &Graph, view: &View) -> bool {
    let Kind::Const(data) = &graph.nodes[view.node].kind else { return false };
    let Some(n) = extent(&view.shape) else { return false };
    let outer = view.shape.len() - 2;
    let same = (0..outer).all(|axis| view.strides[axis] == 0 || view.shape[axis] == 1);
    let (row, column) = (view.strides[outer], view.strides[outer + 1]);
    same && (0..n).all(|r| (r + 1..n).all(|c| data[view.offset + r * row + c * column] <= EXCLUDED))
}

/// Whether `largest` is the largest of each row of `x`.
fn is_largest_of_rows(graph: &Graph, largest: &View, x: &View) -> bool {
    let node = &graph.nodes[largest.node];
    let Kind::Reduce { op: ReduceOp::Max, x: of, axes } = &node.kind else { return false };
    let rows = axes == &[x.shape.len() - 1] && of == x;
    rows && *largest == View::whole(largest.node, &node.shape).broadcast(&x.shape)
}

#[cfg(test)]
mod tests {
    use ferrane_mil::{BlobRef, Builder, Constant, DType, Function, Opset, TensorType};

    use super::*;
    use crate::{Numerics, Weights, fuse::fuse, lower::lower};

    struct NoWeights;

    impl Weights for NoWeights {
        fn read(&self, _: &BlobRef, _: &TensorType) -> Option<Vec<f32>> {
            None
        }
    }

    /// softmax(qᵀk + mask) times `v`; the shares are put out, too, if `tapped`.
    fn attention(positions: usize, excluded: f32, tapped: bool) -> Function {
        let mut b = Builder::new("main", Opset::Ios18);
        let [q, k, v] =
            ["q", "k", "v"].map(|name| b.input(name, TensorType::new(DType::Fp32, [1, 2, 4, positions])));
        let mask = (0..positions * positions)
            .map(|i| if i % positions > i / positions { excluded } else { 0.0 })
            .collect();
        let mask = b.constant("mask", Constant::fp32_tensor([1, 1, positions, positions], mask));
        let scores = b.matmul(q, k, true, false).unwrap();
        let masked = b.add(scores, mask).unwrap();
        let shares = b.softmax(masked, -1).unwrap();
        let o = b.matmul(v, shares, false, true).unwrap();
        if tapped { b.finish(&[o, shares]) } else { b.finish(&[o]) }
    }

    /// How many loops are trimmed, and how many parts there are of each product that is.
    fn trimmed(function: &Function) -> (usize, Vec<usize>) {
        let graph = lower(function, &NoWeights, &Numerics::F32).unwrap();
        let work = fuse(&graph);
        let triangles = Triangles::new(&graph, &work);
        let parts = graph.nodes.iter().enumerate().filter_map(|(i, node)| match &node.kind {
            Kind::Gemm { a, b, .. } => triangles.parts(&graph, i, a, b).map(|parts| parts.len()),
            _ => None,
        });
        ((0..work.len()).filter(|&i| triangles.is_trimmed(i)).count(), parts.collect())
    }

    #[test]
    fn scores_shares_and_what_is_made_of_them_keep_to_the_diagonal() {
        assert_eq!(trimmed(&attention(256, -1e4, false)), (1, vec![4, 4]));
        assert_eq!(trimmed(&attention(130, -1e4, false)), (1, vec![3, 3]));
    }

    #[test]
    fn shares_that_are_put_out_are_whole() {
        assert_eq!(trimmed(&attention(256, -1e4, true)), (0, vec![4]), "their product with v alone");
    }

    #[test]
    fn small_squares_and_weak_masks_are_computed_whole() {
        assert_eq!(trimmed(&attention(64, -1e4, false)), (0, vec![1]));
        assert_eq!(trimmed(&attention(256, -1e3, false)), (0, vec![]));
    }

    #[test]
    fn rows_reach_to_the_end_of_the_block_on_the_diagonal() {
        let columns = |first, rows| up_to_diagonal(150, first, rows);
        assert_eq!([columns(0, 4), columns(60, 4), columns(62, 4), columns(148, 2)], [64, 64, 128, 150]);
        // The same in the next square, and all of it where rows are of two.
        assert_eq!([columns(150, 4), columns(148, 4)], [64, 150]);
    }
}
