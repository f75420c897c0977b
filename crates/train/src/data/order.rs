//! The order in which batches visit the tokens, and its state.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::{Batch, DataError, TokenSource, windows_in};

/// How windows follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Epoch after epoch: in each, the N = ⌊(n − 1) / S⌋ windows that lie side by side come once each, in an order of the
    /// epoch's own, so no token is an input twice before all have been. The tokens left over, fewer than S, are divided
    /// between both ends by chance.
    #[default]
    Shuffled,
    /// Every window starts at a position drawn uniformly from all at which one fits: 0..=n−S−1 of n tokens.
    Random,
    /// Window w starts at token w·S. There are N = ⌊(n − 1) / S⌋ windows that fit; after window N − 1 comes window 0
    /// again. Tokens past the last window, fewer than S + 1 and not its last target, are never inputs.
    Sequential,
}

/// Where an order stands: all that is needed to go on exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "lowercase")]
pub enum Cursor {
    /// Of [`Order::Shuffled`].
    Shuffled {
        /// Seed of the run.
        seed: u64,
        /// Windows visited so far, over all epochs.
        windows: u64,
    },
    /// Of [`Order::Random`].
    Random {
        /// Seed of the run.
        seed: u64,
        /// Random 32-bit words used so far.
        words: u64,
    },
    /// Of [`Order::Sequential`].
    Sequential {
        /// Windows visited so far, over all rounds.
        windows: u64,
    },
}

/// Draws batches from a source.
#[derive(Debug, Clone)]
pub struct BatchOrder {
    source: TokenSource,
    seq: usize,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Shuffled { seed: u64, windows: u64, epoch: Epoch },
    Random { seed: u64, rng: Box<ChaCha8Rng> },
    Sequential { windows: u64 },
}

impl BatchOrder {
    /// An order at its beginning, over windows of sequence length `seq`. `seed` does not matter to
    /// [`Order::Sequential`].
    ///
    /// # Errors
    /// When the source holds no window of that length, or `seq` is 0.
    pub fn new(source: TokenSource, seq: usize, order: Order, seed: u64) -> Result<Self, DataError> {
        let start = match order {
            Order::Shuffled => Cursor::Shuffled { seed, windows: 0 },
            Order::Random => Cursor::Random { seed, words: 0 },
            Order::Sequential => Cursor::Sequential { windows: 0 },
        };
        Self::resume(source, seq, &start)
    }

    /// An order where `cursor` stands.
    ///
    /// # Errors
    /// As [`BatchOrder::new`].
    pub fn resume(source: TokenSource, seq: usize, cursor: &Cursor) -> Result<Self, DataError> {
        if seq == 0 {
            return Err(DataError::EmptyBatch { batch_size: 1, seq });
        }
        source.require_window(seq)?;
        let state = match *cursor {
            Cursor::Shuffled { seed, windows } => {
                let epoch = Epoch::new(seed, windows / windows_in(&source, seq), &source, seq);
                State::Shuffled { seed, windows, epoch }
            }
            Cursor::Random { seed, words } => {
                let mut rng = seeded(seed, 0);
                rng.set_word_pos(u128::from(words));
                State::Random { seed, rng: Box::new(rng) }
            }
            Cursor::Sequential { windows } => State::Sequential { windows },
        };
        Ok(Self { source, seq, state })
    }

    /// Where the order stands.
    pub fn cursor(&self) -> Cursor {
        match &self.state {
            State::Shuffled { seed, windows, .. } => Cursor::Shuffled { seed: *seed, windows: *windows },
            State::Random { seed, rng } => Cursor::Random { seed: *seed, words: rng.get_word_pos() as u64 },
            State::Sequential { windows } => Cursor::Sequential { windows: *windows },
        }
    }

    /// Fills `batch` with the next windows, one for each of its sequences.
    ///
    /// # Errors
    /// When the source cannot be read any more.
    ///
    /// # Panics
    /// When the batch has another sequence length than the order.
    pub fn next_batch(&mut self, batch: &mut Batch) -> Result<(), DataError> {
        assert_eq!(batch.seq(), self.seq, "the batch has another sequence length");
        for b in 0..batch.batch_size() {
            let start = self.next_start();
            batch.fill(b, &self.source, start)?;
        }
        Ok(())
    }

    fn next_start(&mut self) -> u64 {
        let (len, seq) = (self.source.len(), self.seq as u64);
        let count = windows_in(&self.source, self.seq);
        match &mut self.state {
            State::Shuffled { seed, windows, epoch } => {
                let (number, index) = (*windows / count, *windows % count);
                if epoch.number != number {
                    *epoch = Epoch::new(*seed, number, &self.source, self.seq);
                }
                *windows += 1;
                epoch.offset + epoch.permutation.at(index) * seq
            }
            State::Random { rng, .. } => uniform(rng, len - seq),
            State::Sequential { windows } => {
                let window = *windows % count;
                *windows += 1;
                window * seq
            }
        }
    }
}

/// What is drawn for an epoch.
#[derive(Debug, Clone)]
struct Epoch {
    number: u64,
    /// Token at which the first window in place starts.
    offset: u64,
    permutation: Permutation,
}

impl Epoch {
    fn new(seed: u64, number: u64, source: &TokenSource, seq: usize) -> Self {
        // Stream 0 is that of `Order::Random`.
        let mut rng = seeded(seed, number + 1);
        let count = windows_in(source, seq);
        let left_over = source.len() - 1 - count * seq as u64;
        let offset = uniform(&mut rng, left_over + 1);
        Self { number, offset, permutation: Permutation::new(count, &mut rng) }
    }
}

/// A permutation of `0..len` that takes no memory: a Feistel network over the next even number of bits, walked until it
/// comes back below `len`.
#[derive(Debug, Clone)]
struct Permutation {
    len: u64,
    half_bits: u32,
    keys: [u64; 6],
}

impl Permutation {
    fn new(len: u64, rng: &mut ChaCha8Rng) -> Self {
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        Self { len, half_bits: bits.div_ceil(2).max(1), keys: std::array::from_fn(|_| rng.next_u64()) }
    }

    fn at(&self, index: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let mut value = index;
        loop {
            let (mut left, mut right) = (value >> self.half_bits, value & mask);
            for key in self.keys {
                (left, right) = (right, left ^ (mix(right ^ key) & mask));
            }
            value = left << self.half_bits | right;
            if value < self.len {
                return value;
            }
        }
    }
}

/// SplitMix64's finaliser.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Seeded byte by byte: the stream is fixed by ChaCha alone, not by a library's way to stretch a seed.
fn seeded(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(bytes);
    rng.set_stream(stream);
    rng
}

/// A number below `bound`, each equally likely: Lemire's multiplication with rejection. Written out here because a saved
/// run depends on it, and libraries change theirs.
fn uniform(rng: &mut ChaCha8Rng, bound: u64) -> u64 {
    let rejected_below = bound.wrapping_neg() % bound;
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(bound);
        if product as u64 >= rejected_below {
            return (product >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Tokens that name their own position.
    fn positions(len: u32) -> TokenSource {
        TokenSource::from_memory("positions", (0..len).collect(), len as usize).unwrap()
    }

    fn draw(order: &mut BatchOrder, batch_size: usize, seq: usize) -> Batch {
        let mut batch = Batch::new(batch_size, seq).unwrap();
        order.next_batch(&mut batch).unwrap();
        batch
    }

    #[test]
    fn sequential_windows_follow_one_another_and_wrap() {
        // 14 tokens, S = 4: windows at 0, 4 and 8; token 13 is neither input nor target.
        let mut order = BatchOrder::new(positions(14), 4, Order::Sequential, 0).unwrap();
        let batch = draw(&mut order, 2, 4);
        assert_eq!(batch.inputs(), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(batch.targets(), [1, 2, 3, 4, 5, 6, 7, 8]);
        let batch = draw(&mut order, 2, 4);
        assert_eq!(batch.inputs(), [8, 9, 10, 11, 0, 1, 2, 3]);
        assert_eq!(batch.targets(), [9, 10, 11, 12, 1, 2, 3, 4]);
    }

    #[test]
    fn a_source_of_exactly_one_window_works_in_both_orders() {
        for kind in [Order::Sequential, Order::Random, Order::Shuffled] {
            let mut order = BatchOrder::new(positions(5), 4, kind, 1).unwrap();
            for _ in 0..3 {
                assert_eq!(draw(&mut order, 1, 4).targets(), [1, 2, 3, 4], "{kind:?}");
            }
            assert!(matches!(
                BatchOrder::new(positions(4), 4, kind, 1),
                Err(DataError::TooShort { tokens: 4, seq: 4, .. })
            ));
        }
    }

    /// The published trainer drew positions with replacement and began a fresh stream at every restart.
    #[test]
    fn an_epoch_sees_every_window_once_and_the_next_in_another_order() {
        for len in [5, 14, 63, 64, 65, 1000] {
            let count = (len as usize - 1) / 4;
            let mut order = BatchOrder::new(positions(len), 4, Order::Shuffled, 9).unwrap();
            let mut epochs = Vec::new();
            for _ in 0..3 {
                let starts: Vec<u32> = (0..count).map(|_| draw(&mut order, 1, 4).inputs()[0]).collect();
                let mut inputs: Vec<u32> = starts.iter().flat_map(|&start| start..start + 4).collect();
                inputs.sort_unstable();
                let first = inputs[0];
                let expected: Vec<u32> = (first..first + 4 * count as u32).collect();
                assert_eq!(inputs, expected, "a token came twice or was left out, of {len}");
                assert!(first + 4 * (count as u32) < len);
                epochs.push(starts);
            }
            if count > 10 {
                assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2]);
                assert!(!epochs[0].is_sorted());
            }
        }
    }

    #[test]
    fn tokens_left_over_are_not_always_the_same() {
        let mut order = BatchOrder::new(positions(12), 4, Order::Shuffled, 9).unwrap();
        let mut seen = [false; 12];
        for _ in 0..60 {
            draw(&mut order, 1, 4).inputs().iter().for_each(|&token| seen[token as usize] = true);
        }
        // The last token is a target alone.
        assert_eq!(seen.iter().filter(|seen| **seen).count(), 11);
    }

    #[test]
    fn random_starts_reach_both_ends_about_equally() {
        let mut order = BatchOrder::new(positions(11), 4, Order::Random, 5).unwrap();
        let mut hits = [0; 7];
        for _ in 0..7_000 {
            let batch = draw(&mut order, 1, 4);
            hits[batch.inputs()[0] as usize] += 1;
            assert_eq!(batch.targets()[3], batch.inputs()[0] + 4);
        }
        // 1000 each with a standard deviation of 29.
        assert!(hits.iter().all(|hits| (850..1150).contains(hits)), "{hits:?}");
    }

    #[test]
    fn a_seed_fixes_the_order_for_ever() {
        let starts = |seed| -> Vec<u32> {
            let mut order = BatchOrder::new(positions(100_000), 4, Order::Random, seed).unwrap();
            (0..4).map(|_| draw(&mut order, 1, 4).inputs()[0]).collect()
        };
        assert_eq!(starts(42), PINNED);
        assert_ne!(starts(43), starts(42));
        let mut order = BatchOrder::new(positions(100_000), 4, Order::Shuffled, 42).unwrap();
        let shuffled: Vec<u32> = (0..4).map(|_| draw(&mut order, 1, 4).inputs()[0]).collect();
        assert_eq!(shuffled, PINNED_SHUFFLED);
    }

    /// What seed 42 draws; a change here breaks the resuming of every saved run.
    const PINNED: [u32; 4] = [34_824, 28_568, 49_345, 36_787];
    const PINNED_SHUFFLED: [u32; 4] = [40_247, 95_047, 39_895, 11_015];

    #[test]
    fn an_empty_sequence_is_an_error() {
        assert!(matches!(
            BatchOrder::new(positions(4), 0, Order::Random, 1),
            Err(DataError::EmptyBatch { .. })
        ));
        assert!(matches!(Batch::new(0, 4), Err(DataError::EmptyBatch { .. })));
    }

    proptest! {
        /// Saved at any point and read back, an order goes on as if it had never stopped.
        #[test]
        fn resuming_goes_on_exactly(seed: u64, before in 0usize..80, kind in 0usize..3, batch_size in 1usize..4) {
            let kind = [Order::Random, Order::Sequential, Order::Shuffled][kind];
            let mut whole = BatchOrder::new(positions(500), 7, kind, seed).unwrap();
            for _ in 0..before {
                draw(&mut whole, batch_size, 7);
            }
            let saved = serde_json::to_string(&whole.cursor()).unwrap();
            let cursor: Cursor = serde_json::from_str(&saved).unwrap();
            let mut resumed = BatchOrder::resume(positions(500), 7, &cursor).unwrap();
            for _ in 0..20 {
                prop_assert_eq!(draw(&mut resumed, batch_size, 7), draw(&mut whole, batch_size, 7));
            }
            prop_assert_eq!(resumed.cursor(), whole.cursor());
        }
    }
}
