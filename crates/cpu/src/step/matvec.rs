//! Matrix products in which one operand is a vector.

use super::gemm::{GemmStep, Matrix};
use crate::{
    memory::Bases,
    scratch::{Scratch, TeamScratch, split},
    simd::{kernels::Run, matvec::matvec},
};

/// Multiply-adds below which a product is not worth another thread.
const PARALLEL: usize = 60_000;
/// Rows that are shared out together: a cache line of results.
const ROWS: usize = 16;

/// A product seen as `y = M·x`, where the rows of M have their elements side by side.
pub(crate) struct Matvec {
    rows: usize,
    depth: usize,
    matrix: Operand,
    x: Operand,
}

/// An operand of a product: which one, and how far its rows (of a matrix) or elements (of a vector) are apart.
struct Operand {
    index: usize,
    buffer: usize,
    stride: usize,
}

impl GemmStep {
    /// The product as matrix times vector, if that is what it is.
    pub(crate) fn as_matvec(&self) -> Option<Matvec> {
        let operand = |index, Matrix { buffer, .. }: Matrix, stride| Operand { index, buffer, stride };
        let (a, b, c) = (self.a, self.b, self.c);
        if self.n == 1 && a.column == 1 && (c.row == 1 || self.m == 1) {
            let (matrix, x) = (operand(0, a, a.row), operand(1, b, b.row));
            return Some(Matvec { rows: self.m, depth: self.k, matrix, x });
        }
        if self.m == 1 && b.row == 1 && c.column == 1 {
            let (matrix, x) = (operand(1, b, b.column), operand(0, a, a.column));
            return Some(Matvec { rows: self.n, depth: self.k, matrix, x });
        }
        None
    }
}

impl Matvec {
    /// Elements of scratch that the product needs: the vector, if its elements are apart.
    pub(crate) fn scratch(&self) -> usize {
        if self.x.stride == 1 { 0 } else { self.depth }
    }

    pub(crate) fn run(&self, step: &GemmStep, bases: &Bases, scratch: &TeamScratch, tile: Run) {
        let groups = self.rows.div_ceil(ROWS);
        let work = step.batch.len() * self.rows * self.depth;
        let shared = work >= PARALLEL;
        split(scratch, shared, step.batch.len() * groups, |range, scratch| {
            let mut item = range.start;
            while item < range.end {
                let (product, group) = (item / groups, item % groups);
                let end = range.end.min((product + 1) * groups);
                let rows = group * ROWS..self.rows.min((group + end - item) * ROWS);
                self.rows(step, bases, product, rows, scratch, tile);
                item = end;
            }
        });
    }

    /// Some rows of one product.
    fn rows(
        &self,
        step: &GemmStep,
        bases: &Bases,
        product: usize,
        rows: std::ops::Range<usize>,
        scratch: &mut Scratch,
        tile: Run,
    ) {
        let first = step.batch[product];
        let at = |operand: &Operand, element| bases.at(operand.buffer, first[operand.index] + element);
        let y = bases.at(step.c.buffer, first[2] + rows.start);
        let read = (rows.len() - 1) * self.matrix.stride + self.depth;
        #[allow(unsafe_code, reason = "steps work on addresses")]
        // SAFETY: the planner checked that both operands and the result lie in their buffers. The result shares no memory
        // with the operands, whose buffers are in use at this step too, and other threads write other rows of it.
        let (matrix, y) = unsafe {
            let matrix = std::slice::from_raw_parts(at(&self.matrix, rows.start * self.matrix.stride), read);
            (matrix, std::slice::from_raw_parts_mut(y, rows.len()))
        };
        let x: &[f32] = if self.x.stride == 1 {
            #[allow(unsafe_code, reason = "steps work on addresses")]
            // SAFETY: as above; nothing writes the vector during this step.
            unsafe {
                std::slice::from_raw_parts(at(&self.x, 0), self.depth)
            }
        } else {
            for (i, to) in scratch.product[..self.depth].iter_mut().enumerate() {
                #[allow(unsafe_code, reason = "steps work on addresses")]
                // SAFETY: as above.
                let element = unsafe { *at(&self.x, i * self.x.stride) };
                *to = element;
            }
            &scratch.product[..self.depth]
        };
        matvec(matrix, self.matrix.stride, x, y);
        step.round_row(y, tile);
    }
}
