//! Matrix products: `matmul`, `linear` and `einsum`.

use ferrane_mil::infer::{broadcast, linear::Equation};

use super::{Lower, Site};
use crate::{
    CompileError,
    graph::{Kind, MapOp, Round},
    view::{View, elements},
};

impl Lower<'_> {
    pub(super) fn matmul(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let x = transposed_if(self.arg("x", site)?, site.get(site.call.bool("transpose_x"))?);
        let y = transposed_if(self.arg("y", site)?, site.get(site.call.bool("transpose_y"))?);
        let (rx, ry) = (x.shape.len(), y.shape.len());
        let batch = broadcast(&x.shape[..rx - 2], &y.shape[..ry - 2]);
        let batch = batch.ok_or_else(|| site.unsupported("batch extents that do not broadcast"))?;
        let full = |view: &View| {
            let tail = &view.shape[view.shape.len() - 2..];
            view.broadcast(&[&batch, tail].concat())
        };
        Ok(self.product(full(&x), full(&y), None, site.round))
    }

    /// `a [*batch, m, k] · b [*batch, k, n]`, plus `bias`, a number a row: the sum starts from it where an arithmetic
    /// computes it.
    pub(super) fn product(&mut self, a: View, b: View, bias: Option<View>, round: Round) -> View {
        let rank = a.shape.len();
        let shape = [&a.shape[..rank - 1], &b.shape[rank - 1..]].concat();
        let Some(bias) = bias else {
            return self.graph.push(&shape, Kind::Gemm { a, b, bias: None }, round);
        };
        let mut column = shape.clone();
        column[rank - 1] = 1;
        let bias = bias.broadcast(&column);
        if round == Round::Foreign {
            return self.graph.push(&shape, Kind::Gemm { a, b, bias: Some(bias) }, round);
        }
        let product = self.graph.push(&shape, Kind::Gemm { a, b, bias: None }, Round::Keep);
        self.graph.map(MapOp::Add, &shape, &[&product, &bias], round)
    }

    /// `x [.., I]`, `weight [O, I]` → `[.., O]`, computed as `weight·xᵀ` so that the weight is the left operand.
    pub(super) fn linear(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let (x, weight) = (self.arg("x", site)?, self.arg("weight", site)?);
        let bias = self.optional("bias", site)?;
        let shape = self.result_shape(site)?;
        let (out, inner) = (weight.shape[0], weight.shape[1]);
        let rows = elements(&shape[..shape.len() - 1]);
        let b = self.graph.reshape(&x, &[rows, inner]).permute(&[1, 0]);
        let bias = bias.map(|bias| self.graph.reshape(&bias, &[out, 1]));
        let product = self.product(weight, b, bias, site.round);
        Ok(self.graph.reshape(&product.permute(&[1, 0]), shape))
    }

    /// Both operands as batches of matrices: letters of both operands and the result are the batch, those of one operand
    /// and the result rows or columns, those the result does not have are summed.
    pub(super) fn einsum(&mut self, site: Site<'_>) -> Result<View, CompileError> {
        let equation = site.get(Equation::read(site.call))?;
        let operands = site.get(site.call.operands("values"))?;
        let [x, y] = [self.operand(&operands[0], site)?, self.operand(&operands[1], site)?];
        let [in_x, in_y] = equation.operands.each_ref().map(|letters| |c: &char| letters.contains(c));
        let pick = |wanted: &dyn Fn(&char) -> bool| -> Vec<char> {
            equation.result.iter().copied().filter(|c| wanted(c)).collect()
        };
        let (batch, rows) = (pick(&|c| in_x(c) && in_y(c)), pick(&|c| !in_y(c)));
        let columns = pick(&|c| in_y(c) && !in_x(c));
        let summed: Vec<char> = equation.extents[equation.result.len()..].iter().map(|(c, _)| *c).collect();
        let extent = |c: &char| equation.extents.iter().find(|(k, _)| k == c).map_or(1, |(_, d)| *d);
        let extents = |letters: &[char]| letters.iter().map(extent).collect::<Vec<_>>();
        // An operand with these axes; letters it has not, or of extent 1, repeat.
        let with_axes = |view: &View, letters: &[char], order: &[char]| {
            let stride = |c: &char| {
                let axis = letters.iter().position(|k| k == c)?;
                (view.shape[axis] != 1).then_some(view.strides[axis])
            };
            let strides = order.iter().map(|c| stride(c).unwrap_or(0)).collect();
            View { shape: extents(order), strides, ..view.clone() }
        };
        let [batch_n, rows_n, columns_n, summed_n] =
            [&batch, &rows, &columns, &summed].map(|letters| elements(&extents(letters)));
        let a = with_axes(&x, &equation.operands[0], &[batch.clone(), rows.clone(), summed.clone()].concat());
        let b = with_axes(&y, &equation.operands[1], &[batch.clone(), summed, columns.clone()].concat());
        let a = self.graph.reshape(&a, &[batch_n, rows_n, summed_n]);
        let b = self.graph.reshape(&b, &[batch_n, summed_n, columns_n]);
        let product = self.product(a, b, None, site.round);
        let order = [batch, rows, columns].concat();
        let product = self.graph.reshape(&product, &extents(&order));
        let place = |c: &char| order.iter().position(|k| k == c).unwrap_or(0);
        Ok(product.permute(&equation.result.iter().map(place).collect::<Vec<_>>()))
    }
}

/// The view with its last two axes exchanged, when asked.
pub(super) fn transposed_if(view: View, transposed: bool) -> View {
    let rank = view.shape.len();
    let mut perm: Vec<usize> = (0..rank).collect();
    if transposed {
        perm.swap(rank - 1, rank - 2);
    }
    view.permute(&perm)
}
