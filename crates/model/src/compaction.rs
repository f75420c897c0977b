//! Models without the tokens that data does not use.
//!
//! The compact model is the whole one with the logits of all other tokens at −∞: the same rows of embedding and classifier,
//! the same layers, a softmax over the tokens that are kept. What is trained of it is put back among the rows left out.

use crate::error::Result;
use crate::{ModelConfig, ParamKey, ParamTable, Parameters};

/// Which tokens of a vocabulary are kept; their numbers in the compact one follow their order in the whole one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VocabMap {
    /// Whole number of each compact token, ascending.
    kept: Vec<u32>,
    /// Compact number of each token of the whole vocabulary, [`LEFT_OUT`] if it has none.
    compact: Vec<u32>,
}

const LEFT_OUT: u32 = u32::MAX;

impl VocabMap {
    /// A map that keeps the tokens for which `occurs` holds, one entry a token.
    pub fn new(occurs: &[bool]) -> Self {
        let tokens = (0u32..).zip(occurs);
        let kept: Vec<u32> = tokens.filter(|(_, occurs)| **occurs).map(|(token, _)| token).collect();
        let mut compact = vec![LEFT_OUT; occurs.len()];
        (0u32..).zip(&kept).for_each(|(number, &token)| compact[token as usize] = number);
        Self { kept, compact }
    }

    /// Tokens kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The number of `token` in the compact vocabulary, if it is kept.
    pub fn compact(&self, token: u32) -> Option<u32> {
        self.compact.get(token as usize).copied().filter(|&number| number != LEFT_OUT)
    }

    /// The token whose compact number is `number`.
    ///
    /// # Panics
    /// When `number` is not below [`VocabMap::len`].
    pub fn expand(&self, number: u32) -> u32 {
        self.kept[number as usize]
    }

    fn left_out(&self) -> impl Iterator<Item = usize> + '_ {
        self.compact.iter().enumerate().filter(|(_, number)| **number == LEFT_OUT).map(|(token, _)| token)
    }
}

impl Parameters {
    /// The compact model, and the rows of the tokens left out: of the embedding, then of a classifier of its own.
    ///
    /// # Errors
    /// When no token is kept.
    ///
    /// # Panics
    /// When the map is not of this model's vocabulary.
    pub fn compacted(&self, map: &VocabMap) -> Result<(Parameters, Vec<f32>)> {
        let config = self.config();
        assert_eq!(map.compact.len(), config.vocab, "the map is of another vocabulary");
        let table = ParamTable::new(&ModelConfig { vocab: map.len(), ..config.clone() })?;
        let (mut data, mut left_out) = (Vec::with_capacity(table.len()), Vec::new());
        for param in self.table().params() {
            let values = self.values(param);
            if !has_tokens(param.key) {
                data.extend_from_slice(values);
                continue;
            }
            let row = |token: usize| &values[token * config.dim..][..config.dim];
            map.kept.iter().for_each(|&token| data.extend_from_slice(row(token as usize)));
            map.left_out().for_each(|token| left_out.extend_from_slice(row(token)));
        }
        let compact = Parameters::from_parts(table, data).expect("every parameter was copied");
        Ok((compact, left_out))
    }

    /// The whole model again: these parameters among the rows that [`Parameters::compacted`] left out. `None` if there are
    /// more or fewer of those.
    ///
    /// # Errors
    /// When the whole vocabulary makes no valid model.
    pub fn expanded(&self, map: &VocabMap, left_out: &[f32]) -> Result<Option<Parameters>> {
        let dim = self.config().dim;
        let table = ParamTable::new(&ModelConfig { vocab: map.compact.len(), ..self.config().clone() })?;
        let (mut data, mut rest) = (Vec::with_capacity(table.len()), left_out.chunks_exact(dim));
        for param in self.table().params() {
            let values = self.values(param);
            if !has_tokens(param.key) {
                data.extend_from_slice(values);
                continue;
            }
            for &number in &map.compact {
                let row = match number {
                    LEFT_OUT => rest.next().unwrap_or_default(),
                    number => &values[number as usize * dim..][..dim],
                };
                data.extend_from_slice(row);
            }
        }
        let all_used = rest.next().is_none() && rest.remainder().is_empty();
        Ok(Parameters::from_parts(table, data).filter(|_| all_used))
    }
}

/// Whether a parameter has a row a token.
fn has_tokens(key: ParamKey) -> bool {
    matches!(key, ParamKey::Embedding | ParamKey::Classifier)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;
    use proptest::prelude::*;

    #[test]
    fn numbers_follow_the_order_of_tokens() {
        let map = VocabMap::new(&[false, true, false, true, true]);
        assert_eq!((map.len(), map.expand(0), map.expand(2)), (3, 1, 4));
        assert_eq!([0, 1, 3, 4, 5].map(|token| map.compact(token)), [None, Some(0), Some(1), Some(2), None]);
        assert!(VocabMap::new(&[false; 3]).is_empty());
    }

    proptest! {
        /// What is taken apart comes back to the bit, and what was changed stays changed.
        #[test]
        fn a_model_comes_back(occurs in prop::collection::vec(any::<bool>(), 9), tied: bool) {
            prop_assume!(occurs.contains(&true));
            let config = ModelConfig {
                dim: 4, hidden: 6, heads: 2, kv_heads: 1, head_dim: 2, layers: 1, vocab: 9, tied, ..Preset::Nano.config()
            };
            let whole = Parameters::init(&config, 5).unwrap();
            let map = VocabMap::new(&occurs);
            let (mut compact, left_out) = whole.compacted(&map).unwrap();
            prop_assert_eq!(compact.config().vocab, map.len());
            let token = map.expand(0) as usize;
            prop_assert_eq!(&compact.embedding()[..4], &whole.embedding()[token * 4..][..4]);
            prop_assert_eq!(compact.expanded(&map, &left_out).unwrap().unwrap(), whole.clone());

            compact.data_mut()[0] += 1.0;
            let changed = compact.expanded(&map, &left_out).unwrap().unwrap();
            let different: Vec<usize> = (0..whole.data().len()).filter(|&i| whole.data()[i] != changed.data()[i]).collect();
            prop_assert_eq!(different, vec![token * 4]);
            let too_many = [&left_out[..], &[0.0]].concat();
            prop_assert!(compact.expanded(&map, &too_many).unwrap().is_none());
        }
    }
}
