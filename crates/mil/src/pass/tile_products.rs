//! Products of operands that do not fit an engine's working set.

use super::{PassError, define, reopen};
use crate::{Builder, Call, Function, Op, Opcode, Operand, ValueId};

/// `f` with every matrix product, of whose operands neither fits in `room` bytes, as a sum of products of parts of the axis
/// they share. An operand that does not fit is read again for each part of the other; parts of one that fits are read once.
///
/// Sums of parts are rounded to the element type in between.
///
/// # Errors
/// When an op of `f` does not fit its arguments.
pub fn tile_products(f: &Function, room: usize) -> Result<Function, PassError> {
    let (mut b, ops) = reopen(f);
    for op in ops {
        match Tiled::new(f, &op, room) {
            Some(tiled) => tiled.build(&mut b)?,
            None => b.append(op),
        }
    }
    Ok(b.finish(&f.outputs))
}

/// A product `x·y` to be cut into parts.
struct Tiled {
    result: ValueId,
    x: Factor,
    y: Factor,
    /// Extent of the axis they share.
    depth: usize,
    parts: usize,
}

/// An operand.
struct Factor {
    value: ValueId,
    transposed: bool,
    /// The axis that the product sums over.
    axis: usize,
}

impl Tiled {
    fn new(f: &Function, op: &Op, room: usize) -> Option<Self> {
        if op.code != Opcode::Matmul {
            return None;
        }
        let call = Call::new(f, op);
        let factor = |name, transpose, from_end: usize| {
            let Operand::Value(value) = *call.operand(name).ok()?? else { return None };
            let transposed = call.bool(transpose).ok()?;
            let rank = f.tensor_type(value)?.shape.len();
            let from_end = if transposed { 3 - from_end } else { from_end };
            Some(Factor { value, transposed, axis: rank.checked_sub(from_end)? })
        };
        let (x, y) = (factor("x", "transpose_x", 1)?, factor("y", "transpose_y", 2)?);
        let smaller = f.tensor_type(x.value)?.bytes().min(f.tensor_type(y.value)?.bytes());
        let depth = f.tensor_type(x.value)?.shape[x.axis];
        let parts = smaller.div_ceil(room.max(1)).min(depth);
        (parts > 1).then(|| Self { result: op.result(), x, y, depth, parts })
    }

    fn build(&self, b: &mut Builder) -> Result<(), PassError> {
        let mut sum = None;
        for part in 0..self.parts {
            let (first, end) = (self.depth * part / self.parts, self.depth * (part + 1) / self.parts);
            let x = b.slice_axis(self.x.value, self.x.axis, first, end - first)?;
            let y = b.slice_axis(self.y.value, self.y.axis, first, end - first)?;
            let product = b.matmul(x, y, self.x.transposed, self.y.transposed)?;
            sum = Some(match sum {
                None => product,
                Some(sum) => b.add(sum, product)?,
            });
        }
        define(b, self.result);
        Ok(())
    }
}
