//! Ops that walk an axis: running sums, indices of extremes, orders.

use ferrane_mil::Opcode;

use super::{Lower, Site};
use crate::{
    CompileError,
    graph::{AlongOp, Kind, Round},
    view::{View, elements},
};

impl Lower<'_> {
    /// The result of an op that walks an axis, or `None` if it is another.
    pub(super) fn along(&mut self, site: Site<'_>) -> Result<Option<View>, CompileError> {
        let op = match site.call.code() {
            Opcode::Cumsum => AlongOp::CumSum {
                exclusive: site.get(site.call.bool("exclusive"))?,
                reverse: site.get(site.call.bool("reverse"))?,
            },
            Opcode::ReduceArgmax => AlongOp::ArgMax,
            Opcode::ReduceArgmin => AlongOp::ArgMin,
            Opcode::Argsort => AlongOp::Sort { ascending: site.get(site.call.bool("ascending"))? },
            _ => return Ok(None),
        };
        let x = self.arg("x", site)?;
        let axis = site.need("axis", site.call.int("axis"))?;
        let axis = site.get(site.call.axis(axis, x.shape.len()))?;
        let shape = self.result_shape(site)?;
        let (outer, inner) = (elements(&x.shape[..axis]), elements(&x.shape[axis + 1..]));
        let lanes = self.graph.reshape(&x, &[outer, x.shape[axis], inner]);
        let kept = if matches!(op, AlongOp::ArgMax | AlongOp::ArgMin) { 1 } else { x.shape[axis] };
        let result = self.graph.push(&[outer, kept, inner], Kind::Along { op, x: lanes }, site.round);
        Ok(Some(self.graph.reshape(&result, shape)))
    }

    /// The first elements of an order and, if the op returns them, their indices.
    pub(super) fn topk(&mut self, site: Site<'_>) -> Result<Vec<View>, CompileError> {
        let x = self.arg("x", site)?;
        let shape = self.result_shape(site)?;
        let axis = site.need("axis", site.call.int("axis"))?;
        let axis = site.get(site.call.axis(axis, x.shape.len()))?;
        let op = AlongOp::Sort { ascending: site.get(site.call.bool("ascending"))? };
        let (outer, inner) = (elements(&x.shape[..axis]), elements(&x.shape[axis + 1..]));
        let lanes = self.graph.reshape(&x, &[outer, x.shape[axis], inner]);
        let picks = [1, outer, shape[axis], inner];
        let order = self.graph.push(&picks[1..], Kind::Along { op, x: lanes }, Round::Whole);
        let from = self.graph.reshape(&x, &[1, outer, x.shape[axis], inner]);
        let indices = self.graph.reshape(&order, &picks);
        let kind = Kind::Gather { x: from, indices: indices.clone(), strict: false };
        let values = self.graph.push(&picks, kind, Round::Keep);
        let results = [values, indices].map(|view| self.graph.reshape(&view, shape));
        Ok(results.into_iter().take(site.call.op.results.len()).collect())
    }
}
