//! Training over the tokens that occur in the data alone.

use std::fs;
use std::io::Write as _;
use std::sync::Arc;

use ferrane_model::hf::write_atomically;
use ferrane_model::{Parameters, SpecialTokens, VocabMap};

use super::prepare::Prepared;
use super::{RunError, RunFolder};

/// Rows of the tokens that do not occur, as they were at the start.
const LEFT_OUT: &str = "left_out_rows.bin";

/// The tokens that a run trains, and where the others stay.
#[derive(Debug)]
pub(super) struct Compaction {
    pub(super) map: Arc<VocabMap>,
}

impl Compaction {
    /// Finds the tokens that occur in `prepared`, together with those that begin and end a text, and makes its sources
    /// speak of them by compact numbers. The same data gives the same numbers.
    pub(super) fn of(prepared: &mut Prepared, special: &SpecialTokens) -> Result<Self, RunError> {
        let mut occurs = vec![false; prepared.vocab];
        prepared.train.mark(&mut occurs)?;
        if let Some(held_out) = &prepared.held_out {
            held_out.mark(&mut occurs)?;
        }
        for token in special.bos.iter().chain(&special.eos) {
            if let Some(occurs) = occurs.get_mut(*token as usize) {
                *occurs = true;
            }
        }
        let map = Arc::new(VocabMap::new(&occurs));
        prepared.train = prepared.train.compacted(&map);
        prepared.held_out = prepared.held_out.take().map(|held_out| held_out.compacted(&map));
        Ok(Self { map })
    }

    /// The compact model of `whole`, whose other rows go into the run's folder.
    pub(super) fn begin(&self, folder: &RunFolder, whole: &Parameters) -> Result<Parameters, RunError> {
        let (compact, left_out) = whole.compacted(&self.map)?;
        let bytes = |row: &[f32]| row.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        write_atomically(&folder.data().join(LEFT_OUT), |writer| {
            left_out.chunks(whole.config().dim).try_for_each(|row| writer.write_all(&bytes(row)))
        })?;
        Ok(compact)
    }

    /// The whole model that `compact` is of, with the rows that [`Compaction::begin`] put aside.
    pub(super) fn expand(&self, folder: &RunFolder, compact: &Parameters) -> Result<Parameters, RunError> {
        let path = folder.data().join(LEFT_OUT);
        let bytes = fs::read(&path).map_err(RunError::io("read", &path))?;
        let (values, rest) = bytes.as_chunks();
        let left_out: Vec<f32> = values.iter().map(|&value| f32::from_le_bytes(value)).collect();
        let whole = compact.expanded(&self.map, &left_out)?.filter(|_| rest.is_empty());
        whole.ok_or_else(|| RunError::Config {
            path,
            problem: format!("it has {} bytes, which are not the rows of the tokens left out", bytes.len()),
        })
    }
}
