//! Memory for intermediate values, shared by functions that do not run at the same time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Memory for the intermediate values of functions, e.g. all of an engine's. A function has some of it while it runs: one
/// piece serves any number of functions that run in turn, and is warm from the one before.
#[derive(Clone, Debug, Default)]
pub struct Workspace(Arc<Mutex<Vec<Vec<f32>>>>);

impl Workspace {
    /// At least `len` elements, with what another function left in them.
    pub(crate) fn take(&self, len: usize) -> Vec<f32> {
        match self.free().pop() {
            Some(piece) if piece.len() >= len => piece,
            // Given back first, for nothing in it is worth a copy.
            small => {
                drop(small);
                vec![0.0; len]
            }
        }
    }

    /// Takes a piece back.
    pub(crate) fn put_back(&self, piece: Vec<f32>) {
        self.free().push(piece);
    }

    fn free(&self) -> MutexGuard<'_, Vec<Vec<f32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_serves_one_function_after_another_and_grows_to_the_largest() {
        let workspace = Workspace::default();
        let first = workspace.take(10);
        let at_the_same_time = workspace.take(5);
        assert_eq!((first.len(), at_the_same_time.len()), (10, 5));
        let address = first.as_ptr();
        workspace.put_back(first);
        let again = workspace.take(7);
        assert_eq!((again.as_ptr(), again.len()), (address, 10));
        workspace.put_back(again);
        assert_eq!(workspace.take(11).len(), 11);
        assert!(workspace.free().is_empty(), "the small piece is gone");
    }
}
