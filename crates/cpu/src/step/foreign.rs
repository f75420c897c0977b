//! Matrix products by an arithmetic.

use std::{
    ops::Range,
    slice,
    sync::{Arc, OnceLock},
};

use super::{
    Machine,
    gemm::{GemmStep, Matrix},
};
use crate::{
    arithmetic::{Foreign, Left, Strided},
    memory::{Access, Bases},
    scratch::{TeamScratch, split},
};

/// Multiply-adds below which a product is not worth another thread.
const PARALLEL: usize = 100_000;

/// A constant operand, prepared when first used.
pub(super) type Prepared = OnceLock<Box<dyn Left>>;

/// What a product needs when an arithmetic computes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ForeignProduct {
    /// What sums start from, one number a row: where it is, and for each product its first element.
    pub(super) bias: Option<(Access, Vec<usize>)>,
    /// For each product its left-hand operand, where that is constant and so prepared once.
    pub(super) prepared: Option<Arc<[Prepared]>>,
    pub(super) site: usize,
}

impl GemmStep {
    pub(super) fn run_foreign(
        &self,
        own: &ForeignProduct,
        bases: &Bases,
        scratch: &TeamScratch,
        machine: Machine<'_>,
    ) {
        let Some(foreign) = machine.foreign else { return };
        let (products, threads) = (self.batch.len(), scratch.len());
        if products * self.m * self.n * self.k < PARALLEL {
            (0..products).for_each(|i| self.foreign_product(own, bases, i, 1, foreign));
        } else if products < threads {
            (0..products).for_each(|i| self.foreign_product(own, bases, i, threads, foreign));
        } else {
            split(scratch, true, products, |range: Range<usize>, _| {
                range.for_each(|i| self.foreign_product(own, bases, i, 1, foreign));
            });
        }
    }

    fn foreign_product(
        &self,
        own: &ForeignProduct,
        bases: &Bases,
        product: usize,
        parts: usize,
        foreign: Foreign<'_>,
    ) {
        let [a, b, c] = self.batch[product];
        let a = strided(bases, self.a, a, self.m, self.k);
        let b = strided(bases, self.b, b, self.k, self.n);
        #[allow(unsafe_code, reason = "steps work on addresses")]
        // SAFETY: the planner checked that the result lies in its buffer, dense, and no other thread writes this product.
        let y = unsafe { slice::from_raw_parts_mut(bases.at(self.c.buffer, c), self.m * self.n) };
        let left = || {
            let bias = own.bias.as_ref().map(|(access, first)| {
                let rows = strided(bases, column(access), first[product], self.m, 1);
                (0..self.m).map(|row| rows.data[row * rows.row]).collect::<Vec<f32>>()
            });
            foreign.arithmetic.left(a, bias.as_deref(), parts)
        };
        let saturated = match &own.prepared {
            Some(prepared) => prepared[product].get_or_init(left).times(b, y, parts),
            None => left().times(b, y, parts),
        };
        foreign.count(own.site, saturated);
    }
}

/// The last two axes of `[.., m, 1]`.
fn column(access: &Access) -> Matrix {
    let row = access.strides.len().checked_sub(2).map_or(0, |axis| access.strides[axis]);
    Matrix { buffer: access.buffer, row, column: 0 }
}

fn strided(bases: &Bases, matrix: Matrix, first: usize, rows: usize, columns: usize) -> Strided<'_> {
    let Matrix { buffer, row, column } = matrix;
    let count = if rows * columns == 0 { 0 } else { (rows - 1) * row + (columns - 1) * column + 1 };
    #[allow(unsafe_code, reason = "steps work on addresses")]
    // SAFETY: the planner checked that the operand lies in its buffer; nothing writes it during this step.
    let data = unsafe { slice::from_raw_parts(bases.at(buffer, first), count) };
    Strided { data, rows, columns, row, column }
}
