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
            Opcode::Reshape
            | Opcode::ExpandDims
            | Opcode::Squeeze
            | Opcode::Flatten2d
            | Opcode::ReshapeLike => {
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
            Opcode::Stack => {
                let shape = self.result_shape(site)?;
                let operands = site.get(site.call.operands("values"))?;
                let axis = site.need("axis", site.call.int("axis"))?;
                let axis = site.get(site.call.axis(axis, shape.len()))?;
                let mut part = shape.to_vec();
                part[axis] = 1;
                let mut parts = Vec::with_capacity(operands.len());
                for operand in operands {
                    let value = self.operand(operand, site)?;
                    parts.push(self.graph.reshape(&value, &part));
                }
                one(self.graph.concat(&parts, axis, false))
            }
            Opcode::SlidingWindows => {
                let shape = self.result_shape(site)?;
                let axis = site.need("axis", site.call.int("axis"))?;
                let axis = site.get(site.call.axis(axis, shape.len() - 1))?;
                let stride = site.need("stride", site.call.int("stride"))? as usize;
                let mut x = self.arg("x", site)?;
                x.strides.insert(axis + 1, x.strides[axis]);
                x.strides[axis] *= stride;
                one(View { shape: shape.to_vec(), ..x })
            }
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

    fn pad(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let mut x = self.arg("x", site)?;
        let pad = site.need("pad", site.call.ints("pad"))?;
        let first = x.shape.len() - pad.len() / 2;
        let pairs = pad.chunks_exact(2).map(|pair| (pair[0] as usize, pair[1] as usize));
        let reflect = match site.need("mode", site.call.string("mode"))? {
            "constant" => {
                let value = crate::simd::round::scalar(site.round, site.float("constant_val")?);
                let pads: Vec<_> = std::iter::repeat_n((0, 0), first).chain(pairs).collect();
                return Ok(self.graph.pad(&x, &pads, value));
            }
            "reflect" => true,
            "replicate" => false,
            other => return Err(site.unsupported(format!("mode \"{other}\""))),
        };
        for (axis, (before, after)) in pairs.enumerate().map(|(i, pair)| (first + i, pair)) {
            let extent = x.shape[axis];
            if extent == 0 || (reflect && before.max(after) >= extent) {
                let (mode, pair) = (if reflect { "reflect" } else { "replicate" }, [before, after]);
                return Err(
                    site.unsupported(format!("{mode} padding of {pair:?} on an axis of extent {extent}"))
                );
            }
            let source = |i: usize| match (i < before, i < before + extent) {
                (true, _) => {
                    if reflect {
                        before - i
                    } else {
                        0
                    }
                }
                (false, true) => i - before,
                (false, false) => {
                    if reflect {
                        2 * extent + before - 2 - i
                    } else {
                        extent - 1
                    }
                }
            };
            if before + after > 0 {
                x = self.pick(&x, axis, (0..before + extent + after).map(|i| source(i) as f32).collect());
            }
        }
        Ok(x)
    }
}
