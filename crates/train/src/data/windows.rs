//! Fixed windows for evaluation.

use super::{Batch, DataError, TokenSource, windows_in};

/// The same windows at every evaluation: disjoint, and spread evenly over their source.
///
/// Of the N = ⌊(n − 1) / S⌋ windows of the sequential order, number i of k is window ⌊i · N / k⌋.
#[derive(Debug, Clone)]
pub struct EvalWindows {
    source: TokenSource,
    batch_size: usize,
    seq: usize,
    count: u64,
}

/// A batch of evaluation windows.
#[derive(Debug)]
pub struct EvalBatch<'a> {
    /// The windows; sequences past `sequences` are left over from other batches.
    pub batch: &'a Batch,
    /// How many of the batch's sequences count, from the first.
    pub sequences: usize,
}

impl EvalBatch<'_> {
    /// The targets that count.
    pub fn targets(&self) -> &[u32] {
        &self.batch.targets()[..self.sequences * self.batch.seq()]
    }
}

impl EvalWindows {
    /// At most `limit` windows of `seq` tokens from `source`, in batches of `batch_size`.
    ///
    /// # Errors
    /// When the source holds no window, or a batch would be empty.
    pub fn new(source: TokenSource, batch_size: usize, seq: usize, limit: usize) -> Result<Self, DataError> {
        if batch_size == 0 || seq == 0 {
            return Err(DataError::EmptyBatch { batch_size, seq });
        }
        source.require_window(seq)?;
        let count = windows_in(&source, seq).min(limit as u64);
        Ok(Self { source, batch_size, seq, count })
    }

    /// Number of windows.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are no windows, as with a limit of 0.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of batches.
    pub fn batches(&self) -> u64 {
        self.count.div_ceil(self.batch_size as u64)
    }

    /// Fills `batch` with batch number `index` and says how much of it counts.
    ///
    /// # Errors
    /// When the source cannot be read any more.
    ///
    /// # Panics
    /// When `index` is not below [`EvalWindows::batches`], or the batch has another shape.
    pub fn read<'a>(&self, index: u64, batch: &'a mut Batch) -> Result<EvalBatch<'a>, DataError> {
        assert!(index < self.batches(), "batch {index} of {}", self.batches());
        assert_eq!((batch.batch_size(), batch.seq()), (self.batch_size, self.seq), "another shape");
        let first = index * self.batch_size as u64;
        let sequences = (self.count - first).min(self.batch_size as u64) as usize;
        let all = u128::from(windows_in(&self.source, self.seq));
        for b in 0..sequences {
            let window = (u128::from(first + b as u64) * all / u128::from(self.count)) as u64;
            batch.fill(b, &self.source, window * self.seq as u64)?;
        }
        Ok(EvalBatch { batch, sequences })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(len: u32, batch_size: usize, seq: usize, limit: usize) -> Vec<Vec<u32>> {
        let source = TokenSource::from_memory("positions", (0..len).collect(), len as usize).unwrap();
        let windows = EvalWindows::new(source, batch_size, seq, limit).unwrap();
        let mut batch = Batch::new(batch_size, seq).unwrap();
        let mut seen = Vec::new();
        for index in 0..windows.batches() {
            let read = windows.read(index, &mut batch).unwrap();
            let targets = read.targets();
            assert_eq!(targets.len(), read.sequences * seq);
            assert!(targets.iter().zip(read.batch.inputs()).all(|(t, i)| *t == i + 1));
            seen.push(targets.chunks(seq).map(|window| window[0] - 1).collect());
        }
        assert_eq!(seen.iter().map(Vec::len).sum::<usize>() as u64, windows.len());
        seen
    }

    #[test]
    fn all_windows_or_an_even_choice_of_them() {
        // 4 windows, the last batch half full.
        assert_eq!(starts(17, 3, 4, 100), [vec![0, 4, 8], vec![12]]);
        assert_eq!(starts(41, 2, 4, 4), [vec![0, 8], vec![20, 28]]);
        assert_eq!(starts(5, 2, 4, 9), [vec![0]]);
        assert!(starts(17, 3, 4, 0).is_empty());
    }

    #[test]
    fn no_window_is_an_error() {
        let source = TokenSource::from_memory("positions", vec![0; 4], 1).unwrap();
        assert!(matches!(EvalWindows::new(source, 1, 4, 9), Err(DataError::TooShort { .. })));
    }
}
