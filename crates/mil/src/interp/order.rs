//! Ops that order elements or sum them up along an axis.

use std::cmp::Ordering;

use super::{Operands, Tensor};
use crate::{CallError, Opcode};

fn axis(o: Operands<'_>, rank: usize) -> Result<usize, CallError> {
    o.call.axis(o.call.int("axis")?.unwrap_or(-1), rank)
}

/// Calls `f` with the elements of `x` along `axis` for every place on the other axes, and gives back the tensors its
/// results make along that axis.
fn along(x: &Tensor, axis: usize, f: impl Fn(&[f64]) -> [Vec<f64>; 2]) -> [Tensor; 2] {
    let inner: usize = x.shape[axis + 1..].iter().product();
    let outer: usize = x.shape[..axis].iter().product();
    let extent = x.shape[axis];
    let mut columns = [Vec::new(), Vec::new()];
    for p in 0..outer {
        for q in 0..inner {
            let column: Vec<f64> = (0..extent).map(|i| x.data[(p * extent + i) * inner + q]).collect();
            for (columns, column) in columns.iter_mut().zip(f(&column)) {
                columns.push(column);
            }
        }
    }
    columns.map(|columns| {
        let count = columns.first().map_or(0, Vec::len);
        let mut shape = x.shape.clone();
        shape[axis] = count;
        let mut data = vec![0.0; outer * count * inner];
        for (n, column) in columns.iter().enumerate() {
            let (p, q) = (n / inner, n % inner);
            for (i, &element) in column.iter().enumerate() {
                data[(p * count + i) * inner + q] = element;
            }
        }
        Tensor::new(shape, data)
    })
}

/// The indices that sort `column`; of equal elements the first comes first, and NaN comes last.
fn sorted(column: &[f64], ascending: bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..column.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (column[a], column[b]);
        match (a.is_nan(), b.is_nan()) {
            (false, false) if ascending => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (false, false) => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
            (a, b) => a.cmp(&b),
        }
    });
    order
}

fn numbers(order: &[usize]) -> Vec<f64> {
    order.iter().map(|&i| i as f64).collect()
}

pub(super) fn argsort(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let ascending = o.call.bool("ascending")?;
    let axis = axis(o, x.rank())?;
    let [indices, _] = along(&x, axis, |column| [numbers(&sorted(column, ascending)), Vec::new()]);
    Ok(indices.reshaped(x.shape.clone()))
}

pub(super) fn topk(o: Operands<'_>) -> Result<Vec<Tensor>, CallError> {
    let x = o.tensor("x")?;
    let ascending = o.call.bool("ascending")?;
    let axis = axis(o, x.rank())?;
    let shapes = o.result_shapes()?;
    let k = shapes[0][axis];
    let results = along(&x, axis, |column| {
        let order = &sorted(column, ascending)[..k];
        [order.iter().map(|&i| column[i]).collect(), numbers(order)]
    });
    Ok(results.into_iter().zip(shapes).map(|(t, shape)| t.reshaped(shape)).collect())
}

pub(super) fn extreme_index(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let ascending = o.call.code() == Opcode::ReduceArgmin;
    let axis = axis(o, x.rank())?;
    let [indices, _] = along(&x, axis, |column| {
        let first = sorted(column, ascending).first().map_or(0.0, |&i| i as f64);
        [vec![first], Vec::new()]
    });
    Ok(indices.reshaped(o.result_shape()?))
}

pub(super) fn cumsum(o: Operands<'_>) -> Result<Tensor, CallError> {
    let x = o.tensor("x")?;
    let (exclusive, reverse) = (o.call.bool("exclusive")?, o.call.bool("reverse")?);
    let axis = o.call.axis(o.call.int("axis")?.unwrap_or(0), x.rank())?;
    let [sums, _] = along(&x, axis, |column| {
        let mut sums = vec![0.0; column.len()];
        let mut sum = 0.0;
        for n in 0..column.len() {
            let i = if reverse { column.len() - 1 - n } else { n };
            sums[i] = if exclusive { sum } else { sum + column[i] };
            sum += column[i];
        }
        [sums, Vec::new()]
    });
    Ok(sums.reshaped(x.shape.clone()))
}
