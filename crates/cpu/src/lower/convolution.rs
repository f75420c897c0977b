//! Convolutions and pools: windows are strided views of the padded operand.

use ferrane_mil::{
    Opcode,
    infer::{
        linear::{ConvGeometry, TransposedGeometry},
        pool::PoolGeometry,
    },
};

use super::{Lower, Site};
use crate::{
    CompileError,
    graph::{MapOp, ReduceOp, Round},
    view::{View, elements, row_major},
};

/// Most elements of a window that are combined one by one; larger ones are copied out or reduced.
const FEW: usize = 36;

/// Where the windows of an op are, one entry a spatial axis.
struct Windows<'a> {
    kernel: &'a [usize],
    strides: &'a [usize],
    dilations: &'a [usize],
    pad_before: &'a [usize],
    out: &'a [usize],
}

impl Lower<'_> {
    pub(super) fn conv(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let (x, weight) = (self.arg("x", site)?, self.arg("weight", site)?);
        let geometry = site.get(ConvGeometry::read(site.call, &x.shape[2..], &weight.shape[2..]))?;
        let shape = self.result_shape(site)?;
        let groups = geometry.groups;
        let windows = Windows {
            kernel: &weight.shape[2..],
            strides: &geometry.strides,
            dilations: &geometry.dilations,
            pad_before: &geometry.pad_before,
            out: &geometry.out,
        };
        let few = weight.shape[1] == 1 && elements(windows.kernel) <= FEW;
        // An arithmetic has products, and sums that start at the bias.
        if few && !is_pointwise(&geometry, &weight) && site.round != Round::Foreign {
            let round = if site.call.has("bias") { Round::Keep } else { site.round };
            let sum = self.depthwise(&x, &weight, groups, &windows, round);
            let sum = self.graph.reshape(&sum, shape);
            return self.biased(sum, site);
        }
        let (inner, space) = (elements(&weight.shape[1..]), elements(windows.out));
        let columns = if is_pointwise(&geometry, &weight) { x } else { self.windows(&x, &windows, 0.0) };
        let columns = self.graph.reshape(&columns, &[columns.shape[0], groups, inner, space]);
        let out = weight.shape[0] / groups;
        let a = self.graph.reshape(&weight, &[groups, out, inner]);
        let a = a.broadcast(&[columns.shape[0], groups, out, inner]);
        let bias = self.optional("bias", site)?;
        let bias = bias.map(|bias| self.graph.reshape(&bias, &[groups, out, 1]));
        let product = self.product(a, columns, bias, site.round);
        Ok(self.graph.reshape(&product, shape))
    }

    /// Adds `bias`, one element a channel, if there is one.
    fn biased(&mut self, y: View, site: Site<'_>) -> Result<View, CompileError> {
        if !site.call.has("bias") {
            return Ok(y);
        }
        let bias = self.channels("bias", &y.shape, site)?;
        Ok(self.graph.map(MapOp::Add, &y.shape, &[&y, &bias], site.round))
    }

    /// The view `[N, C, *kernel, *out]` of every element of every window.
    fn windows(&mut self, x: &View, w: &Windows<'_>, fill: f32) -> View {
        let mut pads = vec![(0, 0); 2];
        for d in 0..w.kernel.len() {
            let reach = (w.out[d] - 1) * w.strides[d] + (w.kernel[d] - 1) * w.dilations[d] + 1;
            pads.push((w.pad_before[d], reach.saturating_sub(w.pad_before[d] + x.shape[2 + d])));
        }
        let padded = self.graph.pad(x, &pads, fill);
        let along = |steps: &[usize]| -> Vec<usize> {
            steps.iter().zip(&padded.strides[2..]).map(|(step, stride)| step * stride).collect()
        };
        View {
            shape: [&padded.shape[..2], w.kernel, w.out].concat(),
            strides: [&padded.strides[..2], &along(w.dilations), &along(w.strides)].concat(),
            ..padded
        }
    }

    /// A convolution whose groups have one channel: the sum over few elements of a window.
    fn depthwise(&mut self, x: &View, weight: &View, groups: usize, w: &Windows<'_>, round: Round) -> View {
        let out = weight.shape[0] / groups;
        let shape = [&[x.shape[0], groups, out], w.out].concat();
        let spread = self.windows(x, w, 0.0);
        let count = elements(w.kernel);
        let weight = self.graph.reshape(weight, &[groups, out, count]);
        let mut sum: Option<View> = None;
        for (i, mut element) in taps(&spread, 2, w.kernel).into_iter().enumerate() {
            element.shape.insert(2, 1);
            element.strides.insert(2, 0);
            let factor = weight.slice(2, i, 1);
            let column = [&[groups, out][..], &vec![1; w.out.len()]].concat();
            let factor = View { strides: strided(&factor, column.len()), shape: column, ..factor };
            let last = if i + 1 == count { round } else { Round::Keep };
            let product_round = if count == 1 { round } else { Round::Keep };
            let product = self.graph.map(MapOp::Mul, &shape, &[&element, &factor], product_round);
            // Summed as they come, so that few products are held at a time.
            sum = Some(match sum {
                Some(sum) => self.graph.map(MapOp::Add, &shape, &[&sum, &product], last),
                None => product,
            });
        }
        sum.unwrap_or_else(|| self.graph.scalar(0.0).broadcast(&shape))
    }

    /// What every element spreads over the result, summed: columns of `weightᵀ·x`, laid `strides` apart.
    pub(super) fn conv_transpose(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let (x, weight) = (self.arg("x", site)?, self.arg("weight", site)?);
        let (input, kernel) = (x.shape[2..].to_vec(), weight.shape[2..].to_vec());
        let geometry = site.get(TransposedGeometry::read(site.call, &input, &kernel))?;
        let round = if site.call.has("bias") { Round::Keep } else { site.round };
        let (groups, n) = (geometry.groups, x.shape[0]);
        let (inner, out) = (x.shape[1] / groups, weight.shape[1]);
        let rows = out * elements(&kernel);
        let b = self.graph.reshape(&x, &[n, groups, inner, elements(&input)]);
        let a = self.graph.reshape(&weight, &[groups, inner, rows]).permute(&[0, 2, 1]);
        let columns = self.product(a.broadcast(&[n, groups, rows, inner]), b, None, Round::Keep);

        // Each spatial axis is followed by one that strides − 1 zeros are put on.
        let mut apart = [&[n, groups * out], &kernel[..]].concat();
        let mut pads = vec![(0, 0); apart.len()];
        let mut joined = apart.clone();
        let mut margins = pads.clone();
        for d in 0..kernel.len() {
            apart.extend([input[d], 1]);
            pads.extend([(0, 0), (0, geometry.strides[d] - 1)]);
            joined.push(input[d] * geometry.strides[d]);
            let before = (kernel[d] - 1) * geometry.dilations[d];
            let end = geometry.out[d] + geometry.pad_before[d];
            margins.push((before, end.saturating_sub(input[d] * geometry.strides[d])));
        }
        let columns = self.graph.reshape(&columns, &apart);
        let stuffed = self.graph.pad(&columns, &pads, 0.0);
        let stuffed = self.graph.reshape(&stuffed, &joined);
        let stuffed = self.graph.pad(&stuffed, &margins, 0.0);
        let parts: Vec<View> = indices(&kernel)
            .into_iter()
            .map(|tap| {
                let mut part = stuffed.clone();
                for d in 0..kernel.len() {
                    let back = (kernel[d] - 1 - tap[d]) * geometry.dilations[d];
                    part = part.slice(2 + d, tap[d], 1);
                    part = part.slice(2 + kernel.len() + d, back + geometry.pad_before[d], geometry.out[d]);
                }
                without_axes(part, 2, kernel.len())
            })
            .collect();
        let sum = self.combine(MapOp::Add, &parts, round);
        self.biased(sum, site)
    }

    pub(super) fn pool(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let x = self.arg("x", site)?;
        let geometry = site.get(PoolGeometry::read(site.call))?;
        let dilations = vec![1; geometry.kernel.len()];
        let windows = Windows {
            kernel: &geometry.kernel,
            strides: &geometry.strides,
            dilations: &dilations,
            pad_before: &geometry.pad_before,
            out: &geometry.out,
        };
        if site.call.code() == Opcode::MaxPool {
            let spread = self.windows(&x, &windows, f32::NEG_INFINITY);
            return Ok(self.over_windows(ReduceOp::Max, &spread, &windows, site.round));
        }
        if site.call.code() == Opcode::L2Pool {
            let square = self.graph.map(MapOp::Square, &x.shape, &[&x], Round::Keep);
            let spread = self.windows(&square, &windows, 0.0);
            let sum = self.over_windows(ReduceOp::Sum, &spread, &windows, Round::Keep);
            return Ok(self.graph.map(MapOp::Sqrt, &sum.shape, &[&sum], site.round));
        }
        let spread = self.windows(&x, &windows, 0.0);
        let sum = self.over_windows(ReduceOp::Sum, &spread, &windows, Round::Keep);
        let only_elements = site.get(site.call.bool("exclude_padding_from_average"))?;
        let counts = counts(&geometry, &x.shape[2..], only_elements);
        let counts = self.constant_tensor(&geometry.out, counts);
        Ok(self.graph.map(MapOp::Div, &sum.shape, &[&sum, &counts], site.round))
    }

    /// The elements of every window combined.
    fn over_windows(&mut self, op: ReduceOp, spread: &View, w: &Windows<'_>, round: Round) -> View {
        if elements(w.kernel) <= FEW {
            let map = if op == ReduceOp::Max { MapOp::Max } else { MapOp::Add };
            return self.combine(map, &taps(spread, 2, w.kernel), round);
        }
        let axes: Vec<usize> = (2..2 + w.kernel.len()).collect();
        let reduced = self.graph.reduce(op, spread, &axes, round);
        without_axes(reduced, 2, w.kernel.len())
    }
}

/// How many elements each window of a mean has; padding counts unless `only_elements`.
fn counts(geometry: &PoolGeometry, input: &[usize], only_elements: bool) -> Vec<f32> {
    let along = |d: usize, i: usize| {
        let (first, end) = (i * geometry.strides[d], i * geometry.strides[d] + geometry.kernel[d]);
        let (low, high) = match only_elements {
            true => (geometry.pad_before[d], geometry.pad_before[d] + input[d]),
            false => (0, geometry.pad_before[d] + input[d] + geometry.pad_after[d]),
        };
        end.min(high).saturating_sub(first.max(low))
    };
    let count = |at: Vec<usize>| at.iter().enumerate().map(|(d, &i)| along(d, i)).product::<usize>() as f32;
    indices(&geometry.out).into_iter().map(count).collect()
}

/// Every index of a tensor of `shape`, in order.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let dense = row_major(shape);
    (0..elements(shape)).map(|i| (0..shape.len()).map(|d| i / dense[d] % shape[d]).collect()).collect()
}

/// The views that have one index each on the axes from `first` on, whose extents are `kernel`, without these axes.
fn taps(view: &View, first: usize, kernel: &[usize]) -> Vec<View> {
    let tap = |at: Vec<usize>| {
        let tap = at.iter().enumerate().fold(view.clone(), |v, (d, &i)| v.slice(first + d, i, 1));
        without_axes(tap, first, kernel.len())
    };
    indices(kernel).into_iter().map(tap).collect()
}

/// The view without `count` axes of extent 1.
fn without_axes(mut view: View, first: usize, count: usize) -> View {
    view.shape.drain(first..first + count);
    view.strides.drain(first..first + count);
    view
}

/// The strides of the view's first two axes, and of as many more as `rank` needs that do not move.
fn strided(view: &View, rank: usize) -> Vec<usize> {
    let mut strides = view.strides[..2].to_vec();
    strides.resize(rank, 0);
    strides
}

fn is_pointwise(geometry: &ConvGeometry, weight: &View) -> bool {
    weight.shape[2..].iter().all(|&k| k == 1)
        && geometry.strides.iter().all(|&s| s == 1)
        && geometry.pad_before.iter().chain(&geometry.pad_after).all(|&p| p == 0)
}
