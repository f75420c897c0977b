//! Ops that pick elements by index.

use ferrane_mil::{Opcode, infer::index::ranges};

use super::{Lower, Site};
use crate::{
    CompileError,
    graph::{Kind, MapOp, Round},
    view::{View, elements},
};

impl Lower<'_> {
    /// The result of an op that picks by index, or `None` if it is another.
    pub(super) fn index(&mut self, site: Site<'_>) -> Result<Option<View>, CompileError> {
        Ok(Some(match site.call.code() {
            Opcode::SliceByIndex => self.slice_by_index(site)?,
            Opcode::Reverse => self.reverse(site)?,
            Opcode::Gather => self.gather(site)?,
            Opcode::GatherAlongAxis => self.gather_along_axis(site)?,
            Opcode::OneHot => self.one_hot(site)?,
            _ => return Ok(None),
        }))
    }

    pub(super) fn slice_by_index(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let mut x = self.arg("x", site)?;
        for (axis, range) in site.get(ranges(site.call, &x.shape))?.iter().enumerate() {
            match usize::try_from(range.stride) {
                Ok(stride) => {
                    x = x.slice(axis, range.begin, range.count);
                    x.strides[axis] *= stride;
                }
                Err(_) => x = self.pick(&x, axis, (0..range.count).map(|i| range.at(i) as f32).collect()),
            }
        }
        let shape = self.result_shape(site)?;
        Ok(self.graph.reshape(&x, shape))
    }

    fn reverse(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let mut x = self.arg("x", site)?;
        let rank = x.shape.len();
        let axes = match site.get(site.call.ints("axes"))? {
            Some(axes) => {
                axes.iter().map(|&a| site.get(site.call.axis(a, rank))).collect::<Result<Vec<_>, _>>()?
            }
            None => (0..rank).collect(),
        };
        for axis in axes {
            x = self.pick(&x, axis, (0..x.shape[axis]).rev().map(|i| i as f32).collect());
        }
        Ok(x)
    }

    /// The elements of `x` at known indices of an axis.
    pub(super) fn pick(&mut self, x: &View, axis: usize, indices: Vec<f32>) -> View {
        let mut shape = x.shape.clone();
        shape[axis] = indices.len();
        let indices = self.constant_tensor(&[indices.len()], indices);
        self.picked(x, 0, axis, &indices, &shape, false)
    }

    /// A constant that is not in the program.
    pub(super) fn constant_tensor(&mut self, shape: &[usize], data: Vec<f32>) -> View {
        self.graph.push(shape, Kind::Const(data), Round::Keep)
    }

    /// `y[b.., p.., i.., q..] = x[b.., p.., indices[b.., i..], q..]`, where `b` are `batch` axes and `i` indexes `axis`.
    fn picked(
        &mut self,
        x: &View,
        batch: usize,
        axis: usize,
        indices: &View,
        shape: &[usize],
        strict: bool,
    ) -> View {
        let extents = [&x.shape[..batch], &x.shape[batch..axis], &x.shape[axis..=axis], &x.shape[axis + 1..]];
        let [b, outer, extent, inner] = extents.map(elements);
        let picks = elements(&indices.shape[batch..]);
        let from = self.graph.reshape(x, &[b, outer, extent, inner]);
        let indices = self.graph.reshape(indices, &[b, 1, picks, 1]).broadcast(&[b, outer, picks, inner]);
        let kind = Kind::Gather { x: from, indices, strict };
        let picked = self.graph.push(&[b, outer, picks, inner], kind, Round::Keep);
        self.graph.reshape(&picked, shape)
    }

    fn gather(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let (x, indices) = (self.arg("x", site)?, self.arg("indices", site)?);
        let axis = site.need("axis", site.call.int("axis"))?;
        let axis = site.get(site.call.axis(axis, x.shape.len()))?;
        let batch = site.get(site.call.int("batch_dims"))?.unwrap_or(0) as usize;
        let strict = site.get(site.call.bool("validate_indices"))?;
        let shape = self.result_shape(site)?;
        Ok(self.picked(&x, batch, axis, &indices, shape, strict))
    }

    fn gather_along_axis(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let (x, indices) = (self.arg("x", site)?, self.arg("indices", site)?);
        let axis = site.need("axis", site.call.int("axis"))?;
        let axis = site.get(site.call.axis(axis, x.shape.len()))?;
        let strict = site.get(site.call.bool("validate_indices"))?;
        let shape = self.result_shape(site)?;
        let around = |middle: usize| [1, elements(&x.shape[..axis]), middle, elements(&x.shape[axis + 1..])];
        let picks = around(shape[axis]);
        let x = self.graph.reshape(&x, &around(x.shape[axis]));
        let indices = self.graph.reshape(&indices, &picks);
        let picked = self.graph.push(&picks, Kind::Gather { x, indices, strict }, Round::Keep);
        Ok(self.graph.reshape(&picked, shape))
    }

    /// Whether each index is that of its place along a new axis.
    fn one_hot(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let indices = self.arg("indices", site)?;
        let shape = self.result_shape(site)?;
        let axis = site.need("axis", site.call.int("axis"))?;
        let axis = site.get(site.call.axis(axis, shape.len()))?;
        let mut flat = indices.shape.clone();
        flat.insert(axis, 1);
        let indices = self.graph.reshape(&indices, &flat);
        let size = shape[axis];
        let places = self.constant_tensor(&[size], (0..size).map(|i| i as f32).collect());
        let places = self.along_axis(&places, axis, shape.len());
        // Negative indices count from the end.
        let from_end = self.with_scalar(MapOp::Add, &indices, size as f32, Round::Keep);
        let here = self.graph.map(MapOp::Equal, shape, &[&indices, &places], Round::Keep);
        let there = self.graph.map(MapOp::Equal, shape, &[&from_end, &places], Round::Keep);
        let hot = self.graph.map(MapOp::Max, shape, &[&here, &there], Round::Keep);
        let value = |absent: f32, given: Option<f64>| given.map_or(absent, |v| v as f32);
        let on = value(1.0, site.get(site.call.float("on_value"))?);
        let off = value(0.0, site.get(site.call.float("off_value"))?);
        let (on, off) = (self.graph.scalar(on), self.graph.scalar(off));
        Ok(self.choose(&hot, &on, &off, shape))
    }
}
