//! Tensors of the interpreter.

/// A tensor of `f64` elements, row-major. Integers and truth values (0 and 1) are carried in `f64` too.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Elements; as many as the extents multiply to.
    pub data: Vec<f64>,
}

impl Tensor {
    /// A tensor of `data` under `shape`.
    pub fn new(shape: impl Into<Vec<usize>>, data: impl Into<Vec<f64>>) -> Self {
        Self { shape: shape.into(), data: data.into() }
    }

    /// The tensor whose element at `index` is `element(index)`.
    pub fn from_fn(shape: impl Into<Vec<usize>>, mut element: impl FnMut(&[usize]) -> f64) -> Self {
        let shape = shape.into();
        let mut data = Vec::with_capacity(shape.iter().product());
        for_each_index(&shape, |index| data.push(element(index)));
        Self { shape, data }
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The element at `index`, one entry a dimension.
    pub fn at(&self, index: &[usize]) -> f64 {
        self.data[self.offset(index.iter().copied())]
    }

    /// The element that a tensor this one broadcasts to has at `index`: axes are aligned from the last, extents of 1
    /// repeat.
    pub fn broadcast_at(&self, index: &[usize]) -> f64 {
        let aligned = &index[index.len() - self.rank()..];
        self.data[self.offset(aligned.iter().zip(&self.shape).map(|(&i, &d)| if d == 1 { 0 } else { i }))]
    }

    /// Where in `data` the element at `index` is.
    pub(super) fn offset_of(&self, index: &[usize]) -> usize {
        self.offset(index.iter().copied())
    }

    fn offset(&self, index: impl Iterator<Item = usize>) -> usize {
        index.zip(&self.shape).fold(0, |offset, (i, &d)| offset * d + i)
    }

    /// `element` applied to each element.
    pub fn map(&self, element: impl FnMut(f64) -> f64) -> Self {
        Self { shape: self.shape.clone(), data: self.data.iter().copied().map(element).collect() }
    }

    /// The same elements under another shape of as many.
    pub fn reshaped(&self, shape: impl Into<Vec<usize>>) -> Self {
        Self { shape: shape.into(), data: self.data.clone() }
    }
}

/// Calls `visit` with every index of a tensor of `shape`, in row-major order.
pub(super) fn for_each_index(shape: &[usize], mut visit: impl FnMut(&[usize])) {
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0; shape.len()];
    loop {
        visit(&index);
        let mut axis = shape.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_run_in_row_major_order() {
        let t = Tensor::from_fn([2, 3], |i| (10 * i[0] + i[1]) as f64);
        assert_eq!(t.data, [0.0, 1.0, 2.0, 10.0, 11.0, 12.0]);
        assert_eq!(t.at(&[1, 2]), 12.0);
        assert_eq!(Tensor::from_fn([], |_| 7.0).data, [7.0]);
        assert_eq!(Tensor::from_fn([2, 0], |_| 7.0).data, [0.0; 0]);
    }

    #[test]
    fn broadcasting_aligns_the_last_axes() {
        let t = Tensor::new([2, 1], [1.0, 2.0]);
        assert_eq!(t.broadcast_at(&[5, 1, 3]), 2.0);
        assert_eq!(Tensor::new([], [4.0]).broadcast_at(&[1, 1]), 4.0);
    }
}
