//! The demonstration's checkpoint: one file, replaced as a whole.

use std::fs;
use std::io;
use std::path::Path;

use ferrane_model::hf::write_atomically;
use ferrane_model::tiny::{self, PARAMETERS};
use serde::{Deserialize, Serialize};

use crate::compiling::Compiling;
use crate::run::{Ledger, RunError};

/// The state between two updates.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    pub(super) head: Head,
    /// The weights.
    pub(super) weights: Vec<f32>,
    /// The weights that the kernels of the next step hold. While old kernels help out they are not those of now.
    pub(super) baked: Vec<f32>,
}

/// What of a state is not weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    /// Steps done.
    pub(super) step: u64,
    /// The loss of the last of them.
    pub(super) loss: f64,
    /// What compiling cost in the processes before.
    pub(super) compiling: Compiling,
    /// What else it took.
    #[serde(default)]
    pub(super) ledger: Ledger,
}

impl State {
    /// That of a new run.
    pub(super) fn initial() -> Self {
        let weights = tiny::initial_weights();
        let head = Head { step: 0, loss: 0.0, compiling: Compiling::default(), ledger: Ledger::default() };
        Self { head, baked: weights.clone(), weights }
    }
}

/// A line of JSON, the two sets of weights in little-endian fp32, and the CRC-32 of all that.
pub(super) fn save(path: &Path, state: &State) -> Result<(), RunError> {
    let mut bytes = serde_json::to_vec(&state.head).map_err(|e| unusable(path, e.to_string()))?;
    bytes.push(b'\n');
    let elements = state.weights.iter().chain(&state.baked);
    elements.for_each(|element| bytes.extend(element.to_le_bytes()));
    let checksum = crc32fast::hash(&bytes);
    bytes.extend(checksum.to_le_bytes());
    Ok(write_atomically(path, |writer| io::Write::write_all(writer, &bytes))?)
}

/// The state in the file; none if there is no file.
pub(super) fn load(path: &Path) -> Result<Option<State>, RunError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(RunError::Io { action: "read", path: path.to_owned(), source }),
    };
    let damaged = || unusable(path, "its checksum does not match its contents; start a new run".to_owned());
    let (content, checksum) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return Err(damaged());
    }
    let end = content.iter().position(|&byte| byte == b'\n').ok_or_else(damaged)?;
    let head = serde_json::from_slice(&content[..end]).map_err(|e| unusable(path, e.to_string()))?;
    let (elements, rest) = content[end + 1..].as_chunks::<4>();
    if elements.len() != 2 * PARAMETERS || !rest.is_empty() {
        return Err(damaged());
    }
    let weights: Vec<f32> = elements.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let (weights, baked) = weights.split_at(PARAMETERS);
    Ok(Some(State { head, weights: weights.to_vec(), baked: baked.to_vec() }))
}

fn unusable(path: &Path, problem: String) -> RunError {
    RunError::Config { path: path.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_any_changed_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.bin");
        assert_eq!(load(&path).unwrap(), None);
        let weights: Vec<f32> = (0..PARAMETERS).map(|i| i as f32 * 0.3).collect();
        let baked = weights.iter().map(|w| -w).collect();
        let compiling = Compiling { compiles: 8, compile_ms: 0.5, restarts: 1 };
        let ledger = Ledger { steps: 7, ane_joules: 0.5, ..Ledger::default() };
        let state = State { head: Head { step: 7, loss: 0.25, compiling, ledger }, weights, baked };
        save(&path, &state).unwrap();
        assert_eq!(load(&path).unwrap(), Some(state));
        let bytes = fs::read(&path).unwrap();
        for at in [0, 20, 5000, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            assert!(load(&path).unwrap_err().to_string().contains("checkpoint.bin"));
        }
        fs::write(&path, &bytes[..3]).unwrap();
        assert!(load(&path).is_err());
    }
}
