//! Matrix products over slices: a checked door to the `gemm` crate, and on macOS to Accelerate.

#[cfg(any(all(target_os = "macos", feature = "accelerate"), test))]
mod accelerate;

use gemm::Parallelism;

/// What a product does with what its destination held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Replaces it.
    Set,
    /// Adds to it.
    Add,
}

/// A strided view of a matrix: element (i, j) is `data[i · row_stride + j · col_stride]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    shape: Shape,
}

/// A strided view of a matrix to write to; no two elements share a place.
#[derive(Debug)]
pub(crate) struct MatrixMut<'a> {
    data: &'a mut [f32],
    shape: Shape,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl Shape {
    /// Whether every element lies in a slice of `len`.
    fn fits(&self, len: usize) -> bool {
        self.rows == 0
            || self.cols == 0
            || (self.rows - 1)
                .checked_mul(self.row_stride)
                .zip((self.cols - 1).checked_mul(self.col_stride))
                .and_then(|(row, col)| row.checked_add(col))
                .is_some_and(|last| last < len)
    }

    fn transposed(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride }
    }
}

impl<'a> Matrix<'a> {
    /// `rows` × `cols` with rows of contiguous elements, `stride` apart.
    ///
    /// # Panics
    /// When the matrix does not fit in `data`.
    pub(crate) fn row_major(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        let shape = Shape { rows, cols, row_stride: stride, col_stride: 1 };
        assert!(shape.fits(data.len()), "{shape:?} does not fit in {} elements", data.len());
        Self { data, shape }
    }

    /// The same elements with rows and columns exchanged.
    pub(crate) fn t(self) -> Self {
        Self { data: self.data, shape: self.shape.transposed() }
    }
}

impl<'a> MatrixMut<'a> {
    /// `rows` × `cols` with rows of contiguous elements, `stride` apart.
    ///
    /// # Panics
    /// When the matrix does not fit in `data`, or `stride` is shorter than a row.
    pub(crate) fn row_major(data: &'a mut [f32], rows: usize, cols: usize, stride: usize) -> Self {
        let shape = Shape { rows, cols, row_stride: stride, col_stride: 1 };
        assert!(shape.fits(data.len()), "{shape:?} does not fit in {} elements", data.len());
        assert!(stride >= cols || rows <= 1, "rows of {shape:?} overlap");
        Self { data, shape }
    }
}

/// `dst = a · b` or `dst += a · b`, on the thread that calls: callers share out products, or parts of them, themselves.
///
/// # Panics
/// When the shapes do not agree.
#[allow(unsafe_code, reason = "products take raw pointers")]
pub(crate) fn matmul(dst: MatrixMut<'_>, write: Write, a: Matrix<'_>, b: Matrix<'_>) {
    let (c, a_shape, b_shape) = (dst.shape, a.shape, b.shape);
    assert_eq!(a_shape.cols, b_shape.rows, "inner dimensions differ");
    assert_eq!((c.rows, c.cols), (a_shape.rows, b_shape.cols), "destination has another shape");
    let stride = |s: usize| s as isize;
    // SAFETY: the constructors of the views checked that every element lies in its slice and that no two elements of
    // `dst` share a place; the borrows keep `dst` apart from `a` and `b`; the shapes agree.
    unsafe {
        #[cfg(all(target_os = "macos", feature = "accelerate"))]
        if let Some(product) = accelerate::Product::new(c, a_shape, b_shape) {
            let (a, b) = (a.data.as_ptr(), b.data.as_ptr());
            return product.compute(accelerate::cblas_sgemm, dst.data.as_mut_ptr(), write, a, b);
        }
        gemm::gemm(
            c.rows,
            c.cols,
            a_shape.cols,
            dst.data.as_mut_ptr(),
            stride(c.col_stride),
            stride(c.row_stride),
            write == Write::Add,
            a.data.as_ptr(),
            stride(a_shape.col_stride),
            stride(a_shape.row_stride),
            b.data.as_ptr(),
            stride(b_shape.col_stride),
            stride(b_shape.row_stride),
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_match_sums_written_out() {
        let a: Vec<f32> = (0..6).map(|i| i as f32).collect(); // 2 × 3
        let b: Vec<f32> = (0..12).map(|i| (i as f32) * 0.5).collect(); // 3 × 4, of which 3 columns
        let expected = [[10.0, 11.5, 13.0], [28.0, 34.0, 40.0]];
        let (a, b) = (Matrix::row_major(&a, 2, 3, 3), Matrix::row_major(&b, 3, 3, 4));

        let mut c = [1.0f32; 10];
        matmul(MatrixMut::row_major(&mut c, 2, 3, 5), Write::Set, a, b);
        assert_eq!((&c[..3], &c[5..8], c[3], c[9]), (&expected[0][..], &expected[1][..], 1.0, 1.0));

        matmul(MatrixMut::row_major(&mut c, 2, 3, 5), Write::Add, a, b);
        assert_eq!(c[6], 68.0);

        // (A·B)ᵀ = Bᵀ·Aᵀ
        let mut transposed = [0.0f32; 6];
        matmul(MatrixMut::row_major(&mut transposed, 3, 2, 2), Write::Set, b.t(), a.t());
        assert_eq!(transposed, [10.0, 28.0, 11.5, 34.0, 13.0, 40.0]);
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_view_past_the_end_is_refused() {
        Matrix::row_major(&[0.0; 11], 3, 4, 4);
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn a_destination_that_overlaps_itself_is_refused() {
        MatrixMut::row_major(&mut [0.0; 12], 3, 4, 3);
    }

    #[test]
    #[should_panic(expected = "inner dimensions")]
    fn shapes_must_agree() {
        let data = [0.0; 4];
        let a = Matrix::row_major(&data, 2, 2, 2);
        let b = Matrix::row_major(&data, 1, 2, 2);
        matmul(MatrixMut::row_major(&mut [0.0; 4], 2, 2, 2), Write::Set, a, b);
    }
}
