//! Reductions and softmax where an arithmetic computes them: each op on whole lines, every intermediate result its own.

use ferrane_mil::Opcode;

use super::Lower;
use crate::{
    Fold,
    graph::{Kind, LineOp, MapOp, Round},
    view::{View, elements},
};

impl Lower<'_> {
    /// Softmax along one axis.
    pub(super) fn softmax_lines(&mut self, x: &View, axis: usize) -> View {
        let last = x.shape.len() - 1;
        let mut order: Vec<usize> = (0..=last).collect();
        order.swap(axis, last);
        let turned = self.dense(&x.permute(&order));
        let shape = turned.shape.clone();
        let kind = Kind::Lines { op: LineOp::Softmax, length: shape[last], inner: 1, x: turned };
        self.graph.push(&shape, kind, Round::Foreign).permute(&order)
    }

    /// The reduction `op` of `x` over `axes`, which keep extent 1. What is not one of the unit's own is made of those.
    pub(super) fn folded(&mut self, op: Opcode, x: &View, axes: &[usize]) -> View {
        let shape = x.shape.clone();
        match op {
            Opcode::ReduceMax => self.fold(Fold::Max, x, axes),
            Opcode::ReduceMin => self.fold(Fold::Min, x, axes),
            Opcode::ReduceSum => self.fold(Fold::Sum, x, axes),
            Opcode::ReduceMean => self.fold(Fold::Mean, x, axes),
            Opcode::ReduceL1Norm => {
                let abs = self.graph.map(MapOp::Abs, &shape, &[x], Round::Foreign);
                self.fold(Fold::Sum, &abs, axes)
            }
            Opcode::ReduceLogSumExp => {
                let max = self.fold(Fold::Max, x, axes);
                let below = self.graph.map(MapOp::Sub, &shape, &[x, &max], Round::Foreign);
                let exp = self.graph.map(MapOp::Exp, &shape, &[&below], Round::Foreign);
                let sum = self.fold(Fold::Sum, &exp, axes);
                let log = self.graph.map(MapOp::Log(0.0), &sum.shape, &[&sum], Round::Foreign);
                self.graph.map(MapOp::Add, &sum.shape, &[&log, &max], Round::Foreign)
            }
            // The sum of squares and its root.
            _ => {
                let square = self.graph.map(MapOp::Square, &shape, &[x], Round::Foreign);
                let sum = self.fold(Fold::Sum, &square, axes);
                match op {
                    Opcode::ReduceL2Norm => self.graph.map(MapOp::Sqrt, &sum.shape, &[&sum], Round::Foreign),
                    _ => sum,
                }
            }
        }
    }

    fn fold(&mut self, op: Fold, x: &View, axes: &[usize]) -> View {
        let reduced = |axis: &usize| axes.contains(axis);
        let mut shape = x.shape.clone();
        axes.iter().for_each(|&axis| shape[axis] = 1);
        // Reduced axes that are not neighbours go last; they then are.
        let (first, last) = (axes.iter().min().copied().unwrap_or(0), axes.iter().max().copied());
        let neighbours =
            last.is_none_or(|last| (first..=last).all(|axis| reduced(&axis) || x.shape[axis] == 1));
        let order: Vec<usize> = if neighbours {
            (0..x.shape.len()).collect()
        } else {
            let (gone, kept): (Vec<usize>, Vec<usize>) = (0..x.shape.len()).partition(reduced);
            [kept, gone].concat()
        };
        let length = axes.iter().map(|&axis| x.shape[axis]).product();
        let inner = match last {
            Some(last) if neighbours => elements(&x.shape[last + 1..]),
            _ => 1,
        };
        let x = self.dense(&x.permute(&order));
        self.graph.push(&shape, Kind::Lines { op: LineOp::Fold(op), x, length, inner }, Round::Foreign)
    }

    /// `x` with its elements one after the other.
    fn dense(&mut self, x: &View) -> View {
        if x.is_dense() { x.clone() } else { self.graph.copy(x) }
    }
}
