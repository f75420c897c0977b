//! Ops that lay elements out anew, or put others in their place.

use ferrane_mil::{Opcode, infer::index::ranges};

use super::{Lower, Site};
use crate::{CompileError, graph::Kind, simd::round, view::View};

impl Lower<'_> {
    /// The result of an op that lays elements out anew, or `None` if it is another or has arguments without a kernel.
    pub(super) fn rearrange(&mut self, site: Site<'_>) -> Result<Option<View>, CompileError> {
        match site.call.code() {
            Opcode::SpaceToBatch => self.space_to_batch(site).map(Some),
            Opcode::BatchToSpace => self.batch_to_space(site).map(Some),
            Opcode::FillLike => {
                let shape = self.result_shape(site)?;
                let value = round::scalar(site.round, site.float("value")?);
                Ok(Some(self.graph.scalar(value).broadcast(shape)))
            }
            Opcode::BandPart => self.band_part(site).map(Some),
            Opcode::SliceUpdate => self.slice_update(site),
            Opcode::ReverseSequence => self.reverse_sequence(site),
            _ => Ok(None),
        }
    }

    /// Blocks of pixels become examples, outermost.
    fn space_to_batch(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let x = self.arg("x", site)?;
        let shape = self.result_shape(site)?;
        let (block, margins) = (integers("block_shape", site)?, integers("paddings", site)?);
        let pads = [(0, 0), (0, 0), (margins[0], margins[1]), (margins[2], margins[3])];
        let padded = self.graph.pad(&x, &pads, 0.0);
        let apart = [x.shape[0], x.shape[1], shape[2], block[0], shape[3], block[1]];
        let apart = self.graph.reshape(&padded, &apart);
        Ok(self.graph.reshape(&apart.permute(&[3, 5, 0, 1, 2, 4]), shape))
    }

    /// The inverse, cropped.
    fn batch_to_space(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let x = self.arg("x", site)?;
        let shape = self.result_shape(site)?;
        let (block, crops) = (integers("block_shape", site)?, integers("crops", site)?);
        let [height, width] = [x.shape[2], x.shape[3]];
        let apart = [block[0], block[1], shape[0], x.shape[1], height, width];
        let apart = self.graph.reshape(&x, &apart).permute(&[2, 3, 4, 0, 5, 1]);
        let whole = [shape[0], x.shape[1], height * block[0], width * block[1]];
        let whole = self.graph.reshape(&apart, &whole);
        Ok(whole.slice(2, crops[0], shape[2]).slice(3, crops[2], shape[3]))
    }

    /// Zeros outside the band, whatever is there.
    fn band_part(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let x = self.arg("x", site)?;
        let lower = site.need("lower", site.call.int("lower"))?;
        let upper = site.need("upper", site.call.int("upper"))?;
        let [rows, columns] = [x.shape[x.shape.len() - 2], x.shape[x.shape.len() - 1]];
        let inside = |row: usize, column: usize| {
            let below = row as i64 - column as i64;
            (lower < 0 || below <= lower) && (upper < 0 || -below <= upper)
        };
        let band = (0..rows * columns).map(|i| f32::from(u8::from(inside(i / columns, i % columns))));
        let band = self.constant_tensor(&[rows, columns], band.collect());
        let zero = self.graph.scalar(0.0);
        let shape = x.shape.clone();
        Ok(self.choose(&band, &x, &zero, &shape))
    }

    /// What is before the slice, the update, and what is after it, axis by axis from the last on. Slices with steps have no
    /// kernel.
    fn slice_update(&mut self, site: Site<'_>) -> Result<Option<View>, CompileError> {
        let (x, update) = (self.arg("x", site)?, self.arg("update", site)?);
        let ranges = site.get(ranges(site.call, &x.shape))?;
        if ranges.iter().any(|range| range.stride != 1) {
            return Ok(None);
        }
        let counts: Vec<usize> = ranges.iter().map(|range| range.count).collect();
        let mut whole = self.graph.reshape(&update, &counts);
        for (axis, range) in ranges.iter().enumerate().rev() {
            let inner = ranges[..axis].iter().enumerate();
            let around = inner.fold(x.clone(), |x, (axis, r)| x.slice(axis, r.begin, r.count));
            let end = range.begin + range.count;
            let before = around.slice(axis, 0, range.begin);
            let after = around.slice(axis, end, x.shape[axis] - end);
            let parts: Vec<View> =
                [before, whole, after].into_iter().filter(|part| part.shape[axis] > 0).collect();
            whole = self.graph.concat(&parts, axis, false);
        }
        Ok(Some(whole))
    }

    /// By the index of each place, when lengths are known.
    fn reverse_sequence(&mut self, site: Site<'_>) -> Result<Option<View>, CompileError> {
        let (x, lengths) = (self.arg("x", site)?, self.arg("lengths", site)?);
        let Kind::Const(lengths) = &self.graph.nodes[lengths.node].kind else { return Ok(None) };
        let rank = x.shape.len();
        let axis = |name| site.get(site.call.axis(site.need(name, site.call.int(name))?, rank));
        let (sequence, batch) = (axis("seq_axis")?, axis("batch_axis")?);
        let (extent, lengths) = (x.shape[sequence], lengths.clone());
        let place = |length: f32, i: usize| {
            let length = length.clamp(0.0, extent as f32) as usize;
            if i < length { length - 1 - i } else { i }
        };
        // One sequence at a time: the indices then are the same everywhere else.
        let parts: Vec<View> = lengths
            .iter()
            .enumerate()
            .map(|(b, &length)| {
                let indices = (0..extent).map(|i| place(length, i) as f32).collect();
                self.pick(&x.slice(batch, b, 1), sequence, indices)
            })
            .collect();
        Ok(Some(self.graph.concat(&parts, batch, false)))
    }
}

/// A constant vector of numbers that are not negative, which inference has checked.
fn integers(name: &'static str, site: Site<'_>) -> Result<Vec<usize>, CompileError> {
    Ok(site.need(name, site.call.ints(name))?.iter().map(|&n| n as usize).collect())
}
