//! Weights as indices into tables.

use std::cmp::Ordering;

use super::{
    Blocks, CompressError, Compressed, Vector, floats, nearest, require, shape_argument, sparse::mask,
};
use crate::{Constant, DType, Data, Opcode, Opset, TensorType};

/// Rounds of k-means after which its tables are taken as they are.
const ROUNDS: usize = 25;

/// Weights as indices of `shape` into tables.
struct Palette {
    shape: Vec<usize>,
    indices: Vec<u64>,
    dtype: DType,
    /// Tables of all groups, one after the other, and the groups along each axis.
    tables: Vec<f32>,
    groups: Vec<usize>,
    vector: Vector,
    /// Where an index stands for something other than zeros.
    nonzero: Vec<bool>,
}

impl Palette {
    /// With `sparse`, tables are for the vectors that are not all zeros.
    fn new(
        values: &[f32],
        ty: &TensorType,
        bits: usize,
        groups: &[usize],
        vector: Option<Vector>,
        sparse: bool,
    ) -> Result<Self, CompressError> {
        let dtype = index_type(bits).ok_or(CompressError::Bits(bits))?;
        let vector = vector.unwrap_or(Vector { size: 1, axis: 0 });
        let vectors = Vectors::new(values, ty, vector.size, vector.axis)?;
        let blocks = Blocks::new(&vectors.shape, groups, "groups")?;
        let nonzero: Vec<bool> =
            (0..vectors.len()).map(|i| vectors.at(i).iter().any(|&x| x != 0.0)).collect();
        let entries = 1 << bits;
        let mut indices = vec![0; vectors.len()];
        let mut tables = Vec::with_capacity(blocks.len() * entries * vector.size);
        for group in 0..blocks.len() {
            let is_member = |&i: &usize| blocks.of[i] == group && (nonzero[i] || !sparse);
            let members: Vec<usize> = (0..vectors.len()).filter(is_member).collect();
            let (table, chosen) = cluster(&vectors, &members, entries, ty.dtype);
            members.iter().zip(chosen).for_each(|(&i, entry)| indices[i] = entry as u64);
            tables.extend(table);
        }
        Ok(Self { shape: vectors.shape, indices, dtype, tables, groups: blocks.counts, vector, nonzero })
    }

    /// The table `[*groups, entries, vector]`, and the axis of vectors if they have one.
    fn lut(&self, dtype: DType) -> Vec<(&'static str, Constant)> {
        let shape = [self.groups.as_slice(), &[1 << self.dtype.bits(), self.vector.size]].concat();
        let lut = Constant::inline(TensorType::new(dtype, shape), floats(self.tables.iter().copied(), dtype));
        let mut args = vec![("lut", lut)];
        if self.vector.size > 1 {
            args.push(("vector_axis", Constant::int(self.vector.axis as i32)));
        }
        args
    }
}

pub(super) fn palette(
    values: &[f32],
    ty: &TensorType,
    bits: usize,
    groups: &[usize],
    vector: Option<Vector>,
    opset: Opset,
) -> Result<Compressed, CompressError> {
    let packed = opset < Opset::Ios18;
    for (newer, what) in [
        (bits == 3, "an index of 3 bits"),
        (vector.is_some(), "a palette of vectors"),
        (groups.iter().any(|&n| n > 1), "more than one table"),
    ] {
        if packed && newer {
            require(opset, what)?;
        }
    }
    let palette = Palette::new(values, ty, bits, groups, vector, false)?;
    let args = if packed {
        let bytes = pack(&palette.indices, bits);
        let indices = TensorType::new(DType::Uint8, [bytes.len()]);
        let lut = TensorType::new(ty.dtype, [1 << bits]);
        vec![
            ("indices", Constant::inline(indices, Data::Uint(bytes))),
            ("lut", Constant::inline(lut, floats(palette.tables.into_iter(), ty.dtype))),
            ("shape", shape_argument(ty)),
        ]
    } else {
        let mut args = palette.lut(ty.dtype);
        let indices = TensorType::new(palette.dtype, palette.shape);
        args.push(("indices", Constant::inline(indices, Data::Uint(palette.indices))));
        args
    };
    Ok(Compressed { code: Opcode::ConstexprLutToDense, args, ty: ty.clone() })
}

/// A mask of the vectors that are not all zeros, and indices of those.
pub(super) fn sparse(
    values: &[f32],
    ty: &TensorType,
    bits: usize,
    groups: &[usize],
    vector: Option<Vector>,
) -> Result<Compressed, CompressError> {
    let palette = Palette::new(values, ty, bits, groups, vector, true)?;
    let mut args = palette.lut(ty.dtype);
    let kept = palette.indices.iter().zip(&palette.nonzero).filter(|(_, nonzero)| **nonzero);
    let indices: Vec<u64> = kept.map(|(&index, _)| index).collect();
    let data = TensorType::new(palette.dtype, [indices.len()]);
    args.push(("indices_mask", mask(&palette.shape, palette.nonzero.iter().copied())));
    args.push(("indices_nonzero_data", Constant::inline(data, Data::Uint(indices))));
    Ok(Compressed { code: Opcode::ConstexprLutToSparse, args, ty: ty.clone() })
}

fn index_type(bits: usize) -> Option<DType> {
    let types = [DType::Uint1, DType::Uint2, DType::Uint3, DType::Uint4, DType::Uint6, DType::Uint8];
    types.into_iter().find(|t| t.bits() == bits)
}

/// Indices as bytes, from the lowest bit up.
fn pack(indices: &[u64], bits: usize) -> Vec<u64> {
    let bit = |n: usize| indices.get(n / bits).map_or(0, |index| index >> (n % bits) & 1);
    let bytes = (indices.len() * bits).div_ceil(8);
    (0..bytes).map(|byte| (0..8).map(|k| bit(byte * 8 + k) << k).sum()).collect()
}

/// Weights as vectors of elements along an axis; a tensor of vectors of `shape`.
struct Vectors {
    data: Vec<f32>,
    size: usize,
    shape: Vec<usize>,
}

impl Vectors {
    fn new(values: &[f32], ty: &TensorType, size: usize, axis: usize) -> Result<Self, CompressError> {
        let mut shape = ty.shape.clone();
        let rounded = values.iter().map(|&x| nearest(x.into(), ty.dtype));
        if size == 1 {
            return Ok(Self { data: rounded.collect(), size, shape });
        }
        let outside = || CompressError::Axis { axis, shape: ty.shape.clone() };
        let extent = shape.get_mut(axis).ok_or_else(outside)?;
        if size == 0 || !extent.is_multiple_of(size) {
            let shape = ty.shape.clone();
            return Err(CompressError::Division { what: "elements of a vector", blocks: vec![size], shape });
        }
        *extent /= size;
        // The elements of a vector are `inner` apart.
        let inner: usize = ty.shape[axis + 1..].iter().product();
        let mut data = vec![0.0; values.len()];
        for (i, x) in rounded.enumerate() {
            let (row, column) = (i / inner, i % inner);
            data[(row / size * inner + column) * size + row % size] = x;
        }
        Ok(Self { data, size, shape })
    }

    fn len(&self) -> usize {
        self.data.len() / self.size
    }

    fn at(&self, i: usize) -> &[f32] {
        &self.data[i * self.size..][..self.size]
    }
}

/// A table of `entries` vectors for `members`, and for each of them its place in the table.
fn cluster(vectors: &Vectors, members: &[usize], entries: usize, dtype: DType) -> (Vec<f32>, Vec<usize>) {
    let mut sorted: Vec<&[f32]> = members.iter().map(|&i| vectors.at(i)).collect();
    sorted.sort_unstable_by(|a, b| order(a, b));
    let runs: Vec<&[&[f32]]> = sorted.chunk_by(|a, b| order(a, b).is_eq()).collect();
    let (distinct, counts): (Vec<&[f32]>, Vec<usize>) = runs.iter().map(|run| (run[0], run.len())).unzip();
    let mut table: Vec<Vec<f32>> = match distinct.len() <= entries {
        true => distinct.iter().map(|v| v.to_vec()).collect(),
        false => k_means(&distinct, &counts, entries, dtype),
    };
    table.sort_by(|a, b| order(a, b));
    let index = Nearest::new(&table);
    let chosen = members.iter().map(|&i| index.of(vectors.at(i))).collect();
    // Entries that nothing names are there all the same.
    let last = table.last().cloned().unwrap_or_else(|| vec![0.0; vectors.size]);
    table.resize(entries, last);
    (table.concat(), chosen)
}

fn order(a: &[f32], b: &[f32]) -> Ordering {
    // Nothing here is NaN; zeros of both signs are one value.
    a.partial_cmp(b).unwrap_or(Ordering::Equal)
}

/// The better of two tables that k-means finds, for it finds what is near where it begins. The same for the same input.
fn k_means(distinct: &[&[f32]], counts: &[usize], entries: usize, dtype: DType) -> Vec<Vec<f32>> {
    let starts = [evenly_spaced(distinct, entries), farthest_first(distinct, counts, entries)];
    let tables = starts.map(|start| lloyd(distinct, counts, start, dtype));
    let error = |table: &Vec<Vec<f32>>| {
        let index = Nearest::new(table);
        let errors = distinct.iter().zip(counts).map(|(v, &n)| distance(v, &table[index.of(v)]) * n as f64);
        errors.sum::<f64>()
    };
    let [first, second] = tables;
    if error(&first) <= error(&second) { first } else { second }
}

/// Entries at equal distances in the order of the vectors.
fn evenly_spaced(distinct: &[&[f32]], entries: usize) -> Vec<Vec<f32>> {
    (0..entries).map(|e| distinct[(2 * e + 1) * distinct.len() / (2 * entries)].to_vec()).collect()
}

/// Beginning with the most frequent vector, always the one with the greatest error yet.
fn farthest_first(distinct: &[&[f32]], counts: &[usize], entries: usize) -> Vec<Vec<f32>> {
    let mut table: Vec<Vec<f32>> = Vec::with_capacity(entries);
    let mut distances = vec![1.0; distinct.len()];
    let error = |distances: &[f64], i: usize| distances[i] * counts[i] as f64;
    while table.len() < entries {
        let worst =
            (0..distinct.len()).max_by(|&a, &b| error(&distances, a).total_cmp(&error(&distances, b)));
        let Some(worst) = worst else { break };
        let begins = table.is_empty();
        for (d, vector) in distances.iter_mut().zip(distinct) {
            let to = distance(vector, distinct[worst]);
            *d = if begins { to } else { d.min(to) };
        }
        table.push(distinct[worst].to_vec());
    }
    table.sort_by(|a, b| order(a, b));
    table
}

/// Lloyd's algorithm on distinct vectors, each there `counts` times: entries move to the mean of what they are nearest to.
fn lloyd(distinct: &[&[f32]], counts: &[usize], start: Vec<Vec<f32>>, dtype: DType) -> Vec<Vec<f32>> {
    let mut centres = start;
    let (entries, size) = (centres.len(), centres[0].len());
    for _ in 0..ROUNDS {
        let index = Nearest::new(&centres);
        let mut sums = vec![vec![0f64; size]; entries];
        let mut weights = vec![0usize; entries];
        let mut farthest = (0.0, 0);
        for (i, (&vector, &count)) in distinct.iter().zip(counts).enumerate() {
            let entry = index.of(vector);
            weights[entry] += count;
            sums[entry].iter_mut().zip(vector).for_each(|(s, &x)| *s += f64::from(x) * count as f64);
            let error = distance(vector, &centres[entry]) * count as f64;
            if error > farthest.0 {
                farthest = (error, i);
            }
        }
        let mean = |(sum, &weight): (&Vec<f64>, &usize)| {
            sum.iter().map(|s| nearest(s / weight as f64, dtype)).collect::<Vec<f32>>()
        };
        let mut next: Vec<Vec<f32>> = sums.iter().zip(&weights).map(mean).collect();
        let empty = weights.iter().position(|&w| w == 0);
        for (entry, centre) in next.iter_mut().enumerate().filter(|(e, _)| weights[*e] == 0) {
            // One entry that nothing is near moves to where the error is greatest.
            let moved = Some(entry) == empty;
            *centre = if moved { distinct[farthest.1].to_vec() } else { centres[entry].clone() };
        }
        next.sort_by(|a, b| order(a, b));
        if next == centres {
            break;
        }
        centres = next;
    }
    centres
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum()
}

/// Finds the nearest entry of a sorted table.
struct Nearest<'a> {
    table: &'a [Vec<f32>],
    /// For single numbers, where the next entry becomes nearer.
    borders: Option<Vec<f64>>,
}

impl<'a> Nearest<'a> {
    fn new(table: &'a [Vec<f32>]) -> Self {
        let single = table.iter().all(|entry| entry.len() == 1);
        let border = |pair: &[Vec<f32>]| (f64::from(pair[0][0]) + f64::from(pair[1][0])) / 2.0;
        Self { table, borders: single.then(|| table.windows(2).map(border).collect()) }
    }

    fn of(&self, vector: &[f32]) -> usize {
        if let (Some(borders), [x]) = (&self.borders, vector) {
            return borders.partition_point(|&border| border < f64::from(*x));
        }
        let error = |entry: &usize| distance(vector, &self.table[*entry]);
        (0..self.table.len()).min_by(|a, b| error(a).total_cmp(&error(b))).unwrap_or(0)
    }
}
