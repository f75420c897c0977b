//! Products by Accelerate, the library that macOS brings: it works on units of Apple's chips that nothing else reaches.

use std::ffi::c_int;

use super::{Shape, Write};

const ROW_MAJOR: c_int = 101;
const AS_IT_IS: c_int = 111;
const TRANSPOSED: c_int = 112;

/// `cblas_sgemm`: order; transpositions of a and b; m, n, k; α; a and the distance of its rows; b and that of its; β; c and that of its.
pub(super) type Sgemm = unsafe extern "C" fn(
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    f32,
    *const f32,
    c_int,
    *const f32,
    c_int,
    f32,
    *mut f32,
    c_int,
);

#[cfg(target_os = "macos")]
#[link(name = "Accelerate", kind = "framework")]
#[allow(unsafe_code, reason = "the library is C")]
unsafe extern "C" {
    pub(super) fn cblas_sgemm(
        order: c_int,
        a_transposition: c_int,
        b_transposition: c_int,
        m: c_int,
        n: c_int,
        k: c_int,
        alpha: f32,
        a: *const f32,
        a_rows_apart: c_int,
        b: *const f32,
        b_rows_apart: c_int,
        beta: f32,
        c: *mut f32,
        c_rows_apart: c_int,
    );
}

/// A product as the library takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Product {
    a: Operand,
    b: Operand,
    /// m, n, k.
    extents: [c_int; 3],
    rows_apart: c_int,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Operand {
    transposition: c_int,
    rows_apart: c_int,
}

impl Operand {
    /// None for a matrix of which neither the rows nor the columns lie without gaps.
    fn new(shape: Shape) -> Option<Self> {
        let of = |shape: Shape, transposition| {
            // The distance of rows is at least their length, even where there is but one.
            let rows_apart =
                if shape.rows <= 1 { shape.row_stride.max(shape.cols) } else { shape.row_stride };
            let rows_apart = c_int::try_from(rows_apart.max(1)).ok()?;
            let lies_so = shape.col_stride == 1 && rows_apart as usize >= shape.cols;
            lies_so.then_some(Self { transposition, rows_apart })
        };
        of(shape, AS_IT_IS).or_else(|| of(shape.transposed(), TRANSPOSED))
    }
}

impl Product {
    /// None for what the library does not take.
    pub(super) fn new(c: Shape, a: Shape, b: Shape) -> Option<Self> {
        let to = Operand::new(c).filter(|to| to.transposition == AS_IT_IS)?;
        let extent = |extent: usize| c_int::try_from(extent).ok();
        let extents = [extent(c.rows)?, extent(c.cols)?, extent(a.cols)?];
        Some(Self { a: Operand::new(a)?, b: Operand::new(b)?, extents, rows_apart: to.rows_apart })
    }

    /// Computes it with `sgemm`.
    ///
    /// # Safety
    /// The matrices of the shapes it was made for begin at these addresses, and `c` shares no memory with `a` and `b`.
    #[allow(unsafe_code, reason = "the library takes addresses")]
    pub(super) unsafe fn compute(
        self,
        sgemm: Sgemm,
        c: *mut f32,
        write: Write,
        a: *const f32,
        b: *const f32,
    ) {
        let [m, n, k] = self.extents;
        let beta = if write == Write::Add { 1.0 } else { 0.0 };
        let (at, bt) = (self.a.transposition, self.b.transposition);
        let (a_apart, b_apart) = (self.a.rows_apart, self.b.rows_apart);
        // SAFETY: as the caller says.
        unsafe {
            sgemm(ROW_MAJOR, at, bt, m, n, k, 1.0, a, a_apart, b, b_apart, beta, c, self.rows_apart);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Matrix, MatrixMut, matmul};
    use super::*;

    /// What the documentation of the library says it does, in plain loops.
    #[allow(unsafe_code, reason = "it stands in for C")]
    unsafe extern "C" fn plain(
        order: c_int,
        at: c_int,
        bt: c_int,
        m: c_int,
        n: c_int,
        k: c_int,
        alpha: f32,
        a: *const f32,
        lda: c_int,
        b: *const f32,
        ldb: c_int,
        beta: f32,
        c: *mut f32,
        ldc: c_int,
    ) {
        assert_eq!(order, 101);
        assert!(lda >= if at == 111 { k } else { m } && ldb >= if bt == 111 { n } else { k } && ldc >= n);
        let at = |i, j| if at == 111 { i * lda + j } else { j * lda + i } as usize;
        let bt = |i, j| if bt == 111 { i * ldb + j } else { j * ldb + i } as usize;
        for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
            // SAFETY: the test passes matrices of these shapes.
            unsafe {
                let sum: f32 = (0..k).map(|l| *a.add(at(i, l)) * *b.add(bt(l, j))).sum();
                let c = c.add((i * ldc + j) as usize);
                *c = alpha * sum + if beta == 0.0 { 0.0 } else { beta * *c };
            }
        }
    }

    #[test]
    fn products_are_those_of_the_other_way() {
        // Whole numbers, whose sums are the same in every order.
        let numbers = |len: usize| (0..len).map(|i| (i * 7 % 11) as f32 - 5.0).collect::<Vec<f32>>();
        let (a, b) = (numbers(60), numbers(90));
        for (m, n, k) in [(3, 4, 5), (1, 4, 5), (3, 1, 5), (3, 4, 1)] {
            let forms = |data, rows, cols| {
                let matrix = Matrix::row_major(data, rows, cols, cols + 2);
                [matrix, Matrix::row_major(data, cols, rows, rows + 1).t()]
            };
            for (a, b) in forms(&a, m, k).into_iter().flat_map(|a| forms(&b, k, n).map(|b| (a, b))) {
                for write in [Write::Set, Write::Add] {
                    let (mut ours, mut theirs) = (numbers(30), numbers(30));
                    matmul(MatrixMut::row_major(&mut ours, m, n, n + 3), write, a, b);
                    let c = MatrixMut::row_major(&mut theirs, m, n, n + 3);
                    let product = Product::new(c.shape, a.shape, b.shape).unwrap();
                    #[allow(unsafe_code, reason = "it takes addresses")]
                    // SAFETY: the views were checked, and `theirs` is another vector.
                    unsafe {
                        product.compute(plain, c.data.as_mut_ptr(), write, a.data.as_ptr(), b.data.as_ptr());
                    }
                    assert_eq!(ours, theirs, "{m}x{n}x{k} {write:?}");
                }
            }
        }
    }

    #[test]
    fn what_lies_with_gaps_both_ways_is_left_to_the_other() {
        let gaps = Shape { rows: 2, cols: 3, row_stride: 8, col_stride: 2 };
        let dense = Shape { rows: 2, cols: 2, row_stride: 2, col_stride: 1 };
        let c = Shape { rows: 2, cols: 3, row_stride: 3, col_stride: 1 };
        assert_eq!(Product::new(c, dense, gaps), None);
        let repeated = Shape { rows: 2, cols: 3, row_stride: 0, col_stride: 1 };
        assert_eq!(Product::new(c, dense, repeated), None);
    }
}
