//! Ops on images: pixels as channels and back, cropping, resizing.

use ferrane_mil::{Opcode, infer::image::Sampling};

use super::{Lower, Site};
use crate::{
    CompileError,
    graph::{MapOp, Round},
    view::View,
};

impl Lower<'_> {
    /// The result of an op on images, or `None` if it is another.
    pub(super) fn image(&mut self, site: Site<'_>) -> Result<Option<View>, CompileError> {
        Ok(Some(match site.call.code() {
            // Blocks are outermost among the deep channels, or channels are.
            Opcode::DepthToSpace => self.channels_to_pixels([0, 3, 4, 1, 5, 2], site)?,
            Opcode::PixelShuffle => self.channels_to_pixels([0, 1, 4, 2, 5, 3], site)?,
            Opcode::SpaceToDepth => self.pixels_to_channels([0, 3, 5, 1, 2, 4], site)?,
            Opcode::PixelUnshuffle => self.pixels_to_channels([0, 1, 3, 5, 2, 4], site)?,
            Opcode::Crop => {
                let mut x = self.arg("x", site)?;
                let shape = self.result_shape(site)?;
                for (name, axis) in [("crop_height", shape.len() - 2), ("crop_width", shape.len() - 1)] {
                    let margins = site.need(name, site.call.ints(name))?;
                    x = x.slice(axis, margins[0] as usize, shape[axis]);
                }
                x
            }
            Opcode::Resize
            | Opcode::ResizeBilinear
            | Opcode::ResizeNearestNeighbor
            | Opcode::UpsampleBilinear
            | Opcode::UpsampleNearestNeighbor => self.resized(site)?,
            _ => return Ok(None),
        }))
    }

    /// Channels become blocks of pixels.
    fn channels_to_pixels(&mut self, perm: [usize; 6], site: Site<'_>) -> Result<View, CompileError> {
        let x = self.arg("x", site)?;
        let shape = self.result_shape(site)?;
        let block = shape[2] / x.shape[2];
        let mut apart = [x.shape[0], block, block, block, x.shape[2], x.shape[3]];
        // Where the channel comes second among the result's axes.
        apart[perm[1]] = shape[1];
        let x = self.graph.reshape(&x, &apart);
        Ok(self.graph.reshape(&x.permute(&perm), shape))
    }

    /// Blocks of pixels become channels.
    fn pixels_to_channels(&mut self, perm: [usize; 6], site: Site<'_>) -> Result<View, CompileError> {
        let x = self.arg("x", site)?;
        let shape = self.result_shape(site)?;
        let block = x.shape[2] / shape[2];
        let apart = [x.shape[0], x.shape[1], shape[2], block, shape[3], block];
        let x = self.graph.reshape(&x, &apart);
        Ok(self.graph.reshape(&x.permute(&perm), shape))
    }

    /// Each resized axis in turn: the element at a place, or the line between its neighbours there.
    fn resized(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let mut x = self.arg("x", site)?;
        let sampling = site.get(Sampling::read(site.call))?;
        for resized in sampling.axes {
            let (axis, last) = (resized.axis, x.shape[resized.axis] - 1);
            let place = |p: &f64| p.floor() as f32;
            let left = self.pick(&x, axis, resized.grid.iter().map(place).collect());
            let parts: Vec<f32> = resized.grid.iter().map(|p| (p - p.floor()) as f32).collect();
            if !sampling.linear || parts.iter().all(|&p| p == 0.0) {
                x = left;
                continue;
            }
            let next = |p: &f64| (p.floor() as usize + 1).min(last) as f32;
            let right = self.pick(&x, axis, resized.grid.iter().map(next).collect());
            let parts = self.constant_tensor(&[parts.len()], parts);
            let parts = self.along_axis(&parts, axis, left.shape.len());
            let rise = self.graph.map(MapOp::Sub, &left.shape, &[&right, &left], Round::Keep);
            let part = self.graph.map(MapOp::Mul, &left.shape, &[&rise, &parts], Round::Keep);
            x = self.graph.map(MapOp::Add, &left.shape, &[&left, &part], Round::Keep);
        }
        Ok(self.graph.map(MapOp::Copy, &x.shape.clone(), &[&x], site.round))
    }
}
