//! Activations as integers of 8 bits, and back.

use ferrane_mil::{DType, Opcode};

use super::{Lower, Site};
use crate::{
    CompileError,
    graph::{MapOp, Round},
    view::View,
};

impl Lower<'_> {
    /// The result of `quantize` or `dequantize`, or `None` if it is another op.
    pub(super) fn quantization(&mut self, site: Site<'_>) -> Result<Option<View>, CompileError> {
        let quantizes = match site.call.code() {
            Opcode::Quantize => true,
            Opcode::Dequantize => false,
            _ => return Ok(None),
        };
        let x = self.arg("input", site)?;
        let shape = x.shape.clone();
        let scale = self.for_slices("scale", &x, site)?;
        let zero = match site.call.has("zero_point") {
            true => Some(self.for_slices("zero_point", &x, site)?),
            false => None,
        };
        let map =
            |lower: &mut Self, op, a: &View, b: &View, round| lower.graph.map(op, &shape, &[a, b], round);
        if !quantizes {
            let centred = zero.map(|zero| map(self, MapOp::Sub, &x, &zero, Round::Keep));
            return Ok(Some(map(self, MapOp::Mul, &centred.unwrap_or(x), &scale, site.round)));
        }
        let steps = map(self, MapOp::Div, &x, &scale, Round::Keep);
        let mut whole = self.graph.map(MapOp::Round, &shape, &[&steps], Round::Keep);
        if let Some(zero) = zero {
            whole = map(self, MapOp::Add, &whole, &zero, Round::Keep);
        }
        let (low, high) = match site.get(site.call.dtype("output_dtype"))? {
            DType::Int8 => (-128.0, 127.0),
            _ => (0.0, 255.0),
        };
        Ok(Some(self.clamp(&whole, low, high, site.round)))
    }

    /// An argument that is a number, or a vector with one for each slice of `axis`.
    fn for_slices(&mut self, name: &'static str, x: &View, site: Site<'_>) -> Result<View, CompileError> {
        let value = self.arg(name, site)?;
        if value.elements() == 1 {
            return Ok(self.graph.reshape(&value, &[]));
        }
        let axis = site.get(site.call.int("axis"))?.unwrap_or(0);
        let axis = site.get(site.call.axis(axis, x.shape.len()))?;
        Ok(self.along_axis(&value, axis, x.shape.len()))
    }
}
