//! Ops that walk an axis: running sums, indices of extremes.

use ferrane_mil::Opcode;

use super::{Lower, Site};
use crate::{
    CompileError,
    graph::{AlongOp, Kind},
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
            _ => return Ok(None),
        };
        let x = self.arg("x", site)?;
        let axis = site.need("axis", site.call.int("axis"))?;
        let axis = site.get(site.call.axis(axis, x.shape.len()))?;
        let shape = self.result_shape(site)?;
        let (outer, inner) = (elements(&x.shape[..axis]), elements(&x.shape[axis + 1..]));
        let lanes = self.graph.reshape(&x, &[outer, x.shape[axis], inner]);
        let kept = if matches!(op, AlongOp::CumSum { .. }) { x.shape[axis] } else { 1 };
        let result = self.graph.push(&[outer, kept, inner], Kind::Along { op, x: lanes }, site.round);
        Ok(Some(self.graph.reshape(&result, shape)))
    }
}
