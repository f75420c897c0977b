//! The files of one checkpoint folder: written and read as streams, measured and checksummed on the way.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crc32fast::Hasher;
use serde::{Deserialize, Serialize};

use super::{CheckpointError, Damage, Tensors, TensorsMut, TrainerState};

/// Version of the layout of a checkpoint.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
const STATE: &str = "state.json";
const ARENAS: [&str; 3] = ["params.bin", "adam_m.bin", "adam_v.bin"];
/// fp32 elements that go through memory at a time where a copy is needed.
const PIECE: usize = 1 << 20;

/// Points at which writing a checkpoint can fail or be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    FolderMade,
    ArenaWritten(usize),
    StateWritten,
    ManifestWritten,
    FolderSynced,
    OldMovedAside,
    Renamed,
    ParentSynced,
}

/// Called at each stage; tests make it fail or panic, which is to a checkpoint what SIGKILL is.
pub(super) type Hook<'a> = &'a mut dyn FnMut(Stage) -> io::Result<()>;

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    files: Vec<Record>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    name: String,
    bytes: u64,
    crc32: u32,
}

pub(super) fn io_error<'p>(
    action: &'static str,
    path: &'p Path,
) -> impl FnOnce(io::Error) -> CheckpointError + use<'p> {
    move |source| CheckpointError::Io { action, path: path.to_owned(), source }
}

pub(super) fn sync_folder(path: &Path) -> Result<(), CheckpointError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io_error("sync folder", path))
}

/// Writes all files of a checkpoint into the empty folder `path` and syncs them and the folder.
pub(super) fn write(
    path: &Path,
    state: &TrainerState,
    tensors: Tensors<'_>,
    hook: Hook<'_>,
) -> Result<(), CheckpointError> {
    let mut at = |stage| hook(stage).map_err(io_error("write checkpoint", path));
    let mut files = Vec::new();
    for (i, (name, arena)) in ARENAS.into_iter().zip([tensors.params, tensors.m, tensors.v]).enumerate() {
        files.push(write_file(path, name, |file| write_arena(file, arena))?);
        at(Stage::ArenaWritten(i))?;
    }
    files.push(write_file(path, STATE, |file| write_json(file, state))?);
    at(Stage::StateWritten)?;
    let manifest = Manifest { format: FORMAT, files };
    write_file(path, MANIFEST, |file| write_json(file, &manifest))?;
    at(Stage::ManifestWritten)?;
    sync_folder(path)?;
    at(Stage::FolderSynced)
}

/// Creates a file, fills it, syncs it, and says what is in it.
fn write_file(
    folder: &Path,
    name: &str,
    fill: impl FnOnce(&mut Summed<File>) -> io::Result<()>,
) -> Result<Record, CheckpointError> {
    let path = folder.join(name);
    let file = File::create_new(&path).map_err(io_error("create", &path))?;
    let mut file = Summed { inner: file, bytes: 0, hasher: Hasher::new() };
    fill(&mut file).and_then(|()| file.inner.sync_all()).map_err(io_error("write", &path))?;
    Ok(Record { name: name.to_owned(), bytes: file.bytes, crc32: file.hasher.finalize() })
}

fn write_arena(file: &mut Summed<File>, arena: &[f32]) -> io::Result<()> {
    if cfg!(target_endian = "little") {
        return arena.chunks(PIECE).try_for_each(|piece| file.write_all(bytemuck::cast_slice(piece)));
    }
    let mut bytes = Vec::with_capacity(PIECE * 4);
    arena.chunks(PIECE).try_for_each(|piece| {
        bytes.clear();
        bytes.extend(piece.iter().flat_map(|value| value.to_le_bytes()));
        file.write_all(&bytes)
    })
}

fn write_json(file: &mut Summed<File>, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    file.write_all(&text)
}

/// Measures and checksums what is written.
struct Summed<W> {
    inner: W,
    bytes: u64,
    hasher: Hasher,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// One checkpoint folder whose manifest lists the files there have to be, each of the right length.
pub(super) struct Opened {
    path: PathBuf,
    files: Vec<Record>,
}

impl Opened {
    /// Reads the manifest and compares lengths: quick, whatever the size.
    pub(super) fn new(path: &Path) -> Result<Self, Damage> {
        let text = fs::read(path.join(MANIFEST)).map_err(|error| damage(MANIFEST, &error))?;
        let manifest: Manifest = parse(MANIFEST, &text)?;
        if manifest.format != FORMAT {
            return Err(Damage::Format { found: manifest.format, expected: FORMAT });
        }
        let opened = Self { path: path.to_owned(), files: manifest.files };
        for name in ARENAS.into_iter().chain([STATE]) {
            let expected = opened.record(name)?.bytes;
            let found = fs::metadata(path.join(name)).map_err(|error| damage(name, &error))?.len();
            if found != expected {
                return Err(Damage::Length { file: name.to_owned(), expected, found });
            }
        }
        Ok(opened)
    }

    /// Bytes of each arena.
    pub(super) fn arena_bytes(&self) -> Result<[u64; 3], Damage> {
        let [params, m, v] = ARENAS.map(|name| self.record(name).map(|record| record.bytes));
        Ok([params?, m?, v?])
    }

    /// The state, its checksum compared.
    pub(super) fn state(&self) -> Result<TrainerState, Damage> {
        let text = fs::read(self.path.join(STATE)).map_err(|error| damage(STATE, &error))?;
        if crc32fast::hash(&text) != self.record(STATE)?.crc32 {
            return Err(Damage::Checksum { file: STATE.to_owned() });
        }
        parse(STATE, &text)
    }

    /// Compares the checksums of the arenas without keeping them.
    pub(super) fn verify_arenas(&self) -> Result<(), Damage> {
        let mut piece = vec![0u8; PIECE * 4];
        ARENAS.into_iter().try_for_each(|name| {
            self.stream(name, |file, mut left| {
                let mut hasher = Hasher::new();
                while left > 0 {
                    let piece = &mut piece[..left.min(PIECE as u64 * 4) as usize];
                    file.read_exact(piece)?;
                    hasher.update(piece);
                    left -= piece.len() as u64;
                }
                Ok(hasher.finalize())
            })
        })
    }

    /// Reads the arenas, of the lengths of [`Opened::arena_bytes`], and compares their checksums.
    pub(super) fn read_arenas(&self, tensors: TensorsMut<'_>) -> Result<(), Damage> {
        let TensorsMut { params, m, v } = tensors;
        ARENAS.into_iter().zip([params, m, v]).try_for_each(|(name, arena)| {
            self.stream(name, |file, _| {
                let mut hasher = Hasher::new();
                for piece in arena.chunks_mut(PIECE) {
                    let bytes: &mut [u8] = bytemuck::cast_slice_mut(piece);
                    file.read_exact(bytes)?;
                    hasher.update(bytes);
                    if cfg!(target_endian = "big") {
                        piece.iter_mut().for_each(|v| *v = f32::from_bits(v.to_bits().swap_bytes()));
                    }
                }
                Ok(hasher.finalize())
            })
        })
    }

    /// Opens a file, lets `read` go through its bytes and compares the checksum that comes back.
    fn stream(&self, name: &str, read: impl FnOnce(&mut File, u64) -> io::Result<u32>) -> Result<(), Damage> {
        let record = self.record(name)?;
        let crc32 = File::open(self.path.join(name))
            .and_then(|mut file| read(&mut file, record.bytes))
            .map_err(|error| damage(name, &error))?;
        if crc32 != record.crc32 {
            return Err(Damage::Checksum { file: name.to_owned() });
        }
        Ok(())
    }

    fn record(&self, name: &str) -> Result<&Record, Damage> {
        self.files.iter().find(|record| record.name == name).ok_or_else(|| Damage::Unreadable {
            file: MANIFEST.to_owned(),
            reason: format!("it does not list {name}"),
        })
    }
}

fn damage(file: &str, error: &io::Error) -> Damage {
    let file = file.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => Damage::Missing { file },
        _ => Damage::Unreadable { file, reason: error.to_string() },
    }
}

fn parse<T: serde::de::DeserializeOwned>(file: &str, text: &[u8]) -> Result<T, Damage> {
    serde_json::from_slice(text)
        .map_err(|error| Damage::Unreadable { file: file.to_owned(), reason: error.to_string() })
}
