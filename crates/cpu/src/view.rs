//! Strided views: how reshapes, slices, transposes and broadcasts read a node's elements without moving them.

/// Elements of a node as another tensor. Strides count elements of the node's row-major order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// The node viewed.
    pub(crate) node: usize,
    /// The first element.
    pub(crate) offset: usize,
    /// Extents.
    pub(crate) shape: Vec<usize>,
    /// Distance of neighbours along each axis; 0 repeats an element.
    pub(crate) strides: Vec<usize>,
}

/// Strides of a row-major tensor.
pub(crate) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i].max(1);
    }
    strides
}

/// Number of elements of a shape.
pub(crate) fn elements(shape: &[usize]) -> usize {
    shape.iter().product()
}

impl View {
    /// All of a node of `shape`.
    pub(crate) fn whole(node: usize, shape: &[usize]) -> Self {
        Self { node, offset: 0, shape: shape.to_vec(), strides: row_major(shape) }
    }

    /// Number of elements.
    pub(crate) fn elements(&self) -> usize {
        elements(&self.shape)
    }

    /// True when the elements lie one after the other.
    pub(crate) fn is_dense(&self) -> bool {
        let dense = row_major(&self.shape);
        self.elements() == 0
            || (0..self.shape.len()).all(|i| self.shape[i] == 1 || self.strides[i] == dense[i])
    }

    /// True when this is every element of a node of `shape` in order, whatever the view's own shape.
    pub(crate) fn covers(&self, shape: &[usize]) -> bool {
        self.offset == 0 && self.is_dense() && self.elements() == elements(shape)
    }

    /// True when this is the node itself: same shape, same order.
    pub(crate) fn is_whole(&self, shape: &[usize]) -> bool {
        self.shape == shape && self.covers(shape)
    }

    /// The same elements under another shape, if strides can say it.
    pub(crate) fn reshape(&self, shape: &[usize]) -> Option<View> {
        if self.elements() == 0 {
            return Some(View { shape: shape.to_vec(), strides: row_major(shape), ..self.clone() });
        }
        // Runs of axes that one stride describes, outermost first.
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for (&d, &s) in self.shape.iter().zip(&self.strides).filter(|(d, _)| **d != 1) {
            match runs.last_mut() {
                Some((extent, stride)) if *stride == d * s => (*extent, *stride) = (*extent * d, s),
                _ => runs.push((d, s)),
            }
        }
        let mut strides = vec![0; shape.len()];
        let mut axis = shape.len();
        for &(extent, stride) in runs.iter().rev() {
            let (mut left, mut stride) = (extent, stride);
            while left > 1 {
                axis = axis.checked_sub(1)?;
                if shape[axis] == 1 {
                    continue;
                }
                if !left.is_multiple_of(shape[axis]) {
                    return None;
                }
                strides[axis] = stride;
                stride *= shape[axis];
                left /= shape[axis];
            }
        }
        Some(View { node: self.node, offset: self.offset, shape: shape.to_vec(), strides })
    }

    /// Axis `i` of the result is axis `perm[i]`.
    pub(crate) fn permute(&self, perm: &[usize]) -> View {
        View {
            shape: perm.iter().map(|&p| self.shape[p]).collect(),
            strides: perm.iter().map(|&p| self.strides[p]).collect(),
            ..*self
        }
    }

    /// `size` elements from `begin` along `axis`.
    pub(crate) fn slice(&self, axis: usize, begin: usize, size: usize) -> View {
        let mut view = self.clone();
        view.offset += begin * view.strides[axis];
        view.shape[axis] = size;
        view
    }

    /// Repeats axes of extent 1 and adds axes in front, after NumPy's rule.
    pub(crate) fn broadcast(&self, shape: &[usize]) -> View {
        let added = shape.len() - self.shape.len();
        let stride = |i: usize| match i.checked_sub(added) {
            Some(j) if self.shape[j] == shape[i] => self.strides[j],
            _ => 0,
        };
        View { shape: shape.to_vec(), strides: (0..shape.len()).map(stride).collect(), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(view: &View, data: &[usize]) -> Vec<usize> {
        let dense = row_major(&view.shape);
        (0..view.elements())
            .map(|i| {
                let at = (0..view.shape.len()).map(|a| i / dense[a] % view.shape[a] * view.strides[a]);
                data[view.offset + at.sum::<usize>()]
            })
            .collect()
    }

    #[test]
    fn reshapes_keep_the_order_or_are_refused() {
        let data: Vec<usize> = (0..24).collect();
        let x = View::whole(0, &[2, 3, 4]);
        assert_eq!(read(&x.reshape(&[6, 1, 2, 2]).unwrap(), &data), data);
        let t = x.permute(&[1, 0, 2]);
        assert_eq!(t.reshape(&[6, 4]), None);
        let split = t.reshape(&[3, 2, 2, 2]).unwrap();
        assert_eq!(read(&split, &data), read(&t, &data));
        let part = x.slice(2, 1, 2);
        assert_eq!(read(&part.reshape(&[6, 2]).unwrap(), &data), read(&part, &data));
        assert_eq!(part.reshape(&[12]), None);
    }

    #[test]
    fn only_the_whole_node_covers_it() {
        let x = View::whole(0, &[1, 4, 1, 6]);
        assert!(x.reshape(&[2, 2, 6]).unwrap().covers(&[1, 4, 1, 6]));
        assert!(!x.slice(1, 0, 2).covers(&[1, 4, 1, 6]));
        assert!(x.slice(1, 2, 2).is_dense() && !x.slice(3, 2, 2).is_dense());
        assert!(!View::whole(0, &[1, 1]).broadcast(&[3, 4]).is_dense());
    }
}
