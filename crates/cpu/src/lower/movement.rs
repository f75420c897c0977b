//! Ops that move elements: views where strides can say it, concatenations otherwise.

use ferrane_mil::Opcode;

use super::{Lower, Site};
use crate::{CompileError, view::View};

impl Lower<'_> {
    /// The results of an op that moves elements, or `None` if it computes.
    pub(super) fn movement(&mut self, site: Site<'_>) -> Result<Option<Vec<View>>, CompileError> {
        let one = |view: View| Ok(Some(vec![view]));
        match site.call.code() {
            Opcode::Identity => one(self.arg("x", site)?),
            Opcode::Reshape | Opcode::ExpandDims | Opcode::Squeeze => {
                let shape = self.result_shape(site)?;
                let x = self.arg("x", site)?;
                one(self.graph.reshape(&x, shape))
            }
            Opcode::Transpose => {
                let x = self.arg("x", site)?;
                let perm = site.need("perm", site.call.ints("perm"))?;
                let rank = x.shape.len();
                let perm =
                    perm.iter().map(|&a| site.get(site.call.axis(a, rank))).collect::<Result<Vec<_>, _>>()?;
                one(x.permute(&perm))
            }
            Opcode::SliceBySize => {
                let shape = self.result_shape(site)?;
                let begin = site.need("begin", site.call.ints("begin"))?;
                let mut x = self.arg("x", site)?;
                for (axis, (&begin, &size)) in begin.iter().zip(shape).enumerate() {
                    x = x.slice(axis, begin as usize, size);
                }
                one(x)
            }
            Opcode::Split => self.split(site).map(Some),
            Opcode::Concat => {
                let operands = site.get(site.call.operands("values"))?;
                let parts =
                    operands.iter().map(|o| self.operand(o, site)).collect::<Result<Vec<View>, _>>()?;
                let axis = site.need("axis", site.call.int("axis"))?;
                let axis = site.get(site.call.axis(axis, parts[0].shape.len()))?;
                let interleave = site.get(site.call.bool("interleave"))?;
                one(self.graph.concat(&parts, axis, interleave))
            }
            Opcode::Tile => {
                let x = self.arg("x", site)?;
                let reps = site.need("reps", site.call.ints("reps"))?;
                one(self.tile(&x, &reps))
            }
            Opcode::Pad => one(self.pad(site)?),
            _ => Ok(None),
        }
    }

    fn split(&mut self, site: Site<'_>) -> Result<Vec<View>, CompileError> {
        let x = self.arg("x", site)?;
        let axis = site.need("axis", site.call.int("axis"))?;
        let axis = site.get(site.call.axis(axis, x.shape.len()))?;
        let mut at = 0;
        let mut parts = Vec::new();
        for &r in &site.call.op.results {
            let size = self.tensor_type(r)?.shape[axis];
            parts.push(x.slice(axis, at, size));
            at += size;
        }
        Ok(parts)
    }

    /// Repetition along an axis is an axis of stride 0 before it; only repeated axes of extent above 1 need a copy.
    fn tile(&mut self, x: &View, reps: &[i64]) -> View {
        let mut tiled = View { shape: Vec::new(), strides: Vec::new(), ..x.clone() };
        let mut shape = Vec::new();
        for ((&d, &s), &r) in x.shape.iter().zip(&x.strides).zip(reps) {
            tiled.shape.extend([r as usize, d]);
            tiled.strides.extend([0, s]);
            shape.push(r as usize * d);
        }
        self.graph.reshape(&tiled, &shape)
    }

    /// Axis by axis, a concatenation of what is before, the tensor, and what is after.
    fn pad(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let mut x = self.arg("x", site)?;
        let pad = site.need("pad", site.call.ints("pad"))?;
        let mode = site.need("mode", site.call.string("mode"))?;
        let fill = match mode {
            "constant" => {
                let value = crate::simd::round::scalar(site.round, site.float("constant_val")?);
                Some(self.graph.scalar(value))
            }
            "reflect" | "replicate" => None,
            other => return Err(site.unsupported(format!("mode \"{other}\""))),
        };
        let first = x.shape.len() - pad.len() / 2;
        for (axis, pair) in pad.chunks_exact(2).enumerate().map(|(i, pair)| (first + i, pair)) {
            let (before, after) = (pair[0] as usize, pair[1] as usize);
            if before + after == 0 {
                continue;
            }
            let extent = x.shape[axis];
            if fill.is_none() && (extent == 0 || (mode == "reflect" && before.max(after) >= extent)) {
                return Err(
                    site.unsupported(format!("{mode} padding of {pair:?} on an axis of extent {extent}"))
                );
            }
            let mut parts = Vec::new();
            let border = |n: usize, source: &dyn Fn(usize) -> usize| -> Vec<View> {
                if let Some(fill) = &fill {
                    let mut shape = x.shape.clone();
                    shape[axis] = n;
                    return vec![fill.broadcast(&shape)];
                }
                (0..n).map(|i| x.slice(axis, source(i), 1)).collect()
            };
            let reflect = mode == "reflect";
            if before > 0 {
                parts.extend(border(before, &|i| if reflect { before - i } else { 0 }));
            }
            parts.push(x.clone());
            if after > 0 {
                parts.extend(border(after, &|i| if reflect { extent - 2 - i } else { extent - 1 }));
            }
            x = self.graph.concat(&parts, axis, false);
        }
        Ok(x)
    }
}
