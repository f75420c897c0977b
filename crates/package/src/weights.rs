//! Weights: where they are, what the headers of weight files say, and copying them into a package's one weight file.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ferrane_mil::blob::{self, ALIGNMENT, BlobWriter, SENTINEL, VERSION};
use ferrane_mil::{Arg, Attr, BlobRef, Constant, DType, Function, Op, Operand, Payload, Program, TensorType};

use crate::PackageError;
use crate::error::{Place, shorten};
use crate::layout::{self, MODEL_PATH};

/// The weight file of a package, as its program calls it.
pub(crate) const FILE: &str = "@model_path/weights/weight.bin";

/// Where the weights of a program are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weights {
    /// In files; `@model_path/` is this folder.
    Folder(PathBuf),
    /// In memory: the bytes of each weight file by its path as the program writes it.
    Memory(BTreeMap<String, Vec<u8>>),
}

impl Weights {
    /// No weights at all.
    pub fn none() -> Self {
        Weights::Memory(BTreeMap::new())
    }

    /// The packed elements of a weight, as its file holds them: little-endian, those of less than a byte from the lowest bit
    /// upwards.
    ///
    /// # Errors
    /// When the weight is not there or has another size than `ty`.
    pub fn bytes(&self, blob: &BlobRef, ty: &TensorType) -> Result<Vec<u8>, PackageError> {
        Files::new(self).bytes(Place::Program, blob, ty)
    }

    /// Opens the weight file that a program calls `written`.
    ///
    /// # Errors
    /// When there is none, or the path does not stay in the folder.
    pub fn open(&self, written: &str) -> Result<Box<dyn ReadSeek + '_>, PackageError> {
        match self {
            Weights::Folder(root) => {
                let refuse = || PackageError::Path {
                    written: shorten(written),
                    root: root.clone(),
                    reason: format!("the path of a weight file begins with `{MODEL_PATH}`"),
                };
                let relative = written.strip_prefix(MODEL_PATH).ok_or_else(refuse)?;
                let path = layout::inside(root, relative)?;
                Ok(Box::new(File::open(&path).map_err(PackageError::io("open", &path))?))
            }
            Weights::Memory(files) => match files.get(written) {
                Some(bytes) => Ok(Box::new(Cursor::new(bytes.as_slice()))),
                None => Err(PackageError::Path {
                    written: shorten(written),
                    root: PathBuf::from("memory"),
                    reason: "no such weight file is given".into(),
                }),
            },
        }
    }
}

/// A weight file that can be read at any place.
pub trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

/// One weight of a weight file.
struct Chunk {
    dtype: Option<DType>,
    start: u64,
    bytes: u64,
}

/// The weight whose metadata is at `offset`, checked against the type it should have and the length of the file.
fn find_chunk(file: &mut dyn ReadSeek, offset: u64, ty: &TensorType) -> Result<Chunk, String> {
    let length = file.seek(SeekFrom::End(0)).map_err(|e| e.to_string())?;
    let version = read_at(file, length, 4, "header").map(|b: [u8; 4]| u32::from_le_bytes(b))?;
    if version != VERSION {
        return Err(format!("the file is not a weight file of version {VERSION}: it says {version}"));
    }
    if offset < ALIGNMENT {
        return Err(format!("the offset is in the header, the first {ALIGNMENT} bytes"));
    }
    let meta: [u8; 64] = read_at(file, length, offset, "metadata")?;
    let u32_at = |at: usize| meta[at..at + 4].iter().rev().fold(0, |n, &b| n << 8 | u32::from(b));
    let u64_at = |at: usize| meta[at..at + 8].iter().rev().fold(0, |n, &b| n << 8 | u64::from(b));
    if u32_at(0) != SENTINEL {
        return Err(format!("no metadata is there (it begins {:#010x}, not {SENTINEL:#010x})", u32_at(0)));
    }
    let chunk = Chunk { dtype: blob::type_of_code(u32_at(4)), start: u64_at(16), bytes: u64_at(8) };
    let expected = ty.bytes() as u64;
    if chunk.bytes != expected {
        return Err(format!("it has {} bytes, but a {ty} has {expected}", chunk.bytes));
    }
    match chunk.start.checked_add(chunk.bytes) {
        Some(end) if end <= length => Ok(chunk),
        _ => Err(format!(
            "its {} bytes at {} go past the end of the file, which has {length}",
            chunk.bytes, chunk.start
        )),
    }
}

fn read_at<const N: usize>(
    file: &mut dyn ReadSeek,
    length: u64,
    at: u64,
    what: &str,
) -> Result<[u8; N], String> {
    if at.checked_add(N as u64).is_none_or(|end| end > length) {
        return Err(format!("its {what} at {at} goes past the end of the file, which has {length} bytes"));
    }
    let mut bytes = [0; N];
    let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes));
    read.map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// Checks that every weight of the program is there and has the size its type has. What is odd but harmless is warned of.
pub(crate) fn check(
    program: &Program,
    weights: &Weights,
    warnings: &mut Vec<String>,
) -> Result<(), PackageError> {
    let mut files = Files::new(weights);
    let mut mislabelled = 0;
    for_each_weight(program, &mut |place, blob, ty| {
        let chunk = files.chunk(place, blob, ty)?;
        mislabelled += usize::from(chunk.dtype != Some(ty.dtype));
        Ok(())
    })?;
    if mislabelled > 0 {
        warnings.push(format!(
            "{mislabelled} weights have another element type in the weight file than in the program"
        ));
    }
    Ok(())
}

/// Opened weight files, each once.
struct Files<'a> {
    weights: &'a Weights,
    opened: HashMap<String, Box<dyn ReadSeek + 'a>>,
}

impl<'a> Files<'a> {
    fn new(weights: &'a Weights) -> Self {
        Self { weights, opened: HashMap::new() }
    }

    fn file(&mut self, path: &str) -> Result<&mut (dyn ReadSeek + 'a), PackageError> {
        // A hostile program may name many files; few are kept open.
        if self.opened.len() >= 64 && !self.opened.contains_key(path) {
            self.opened.clear();
        }
        match self.opened.entry(path.to_string()) {
            std::collections::hash_map::Entry::Occupied(e) => Ok(e.into_mut().as_mut()),
            std::collections::hash_map::Entry::Vacant(e) => Ok(e.insert(self.weights.open(path)?).as_mut()),
        }
    }

    fn chunk(&mut self, place: Place<'_>, blob: &BlobRef, ty: &TensorType) -> Result<Chunk, PackageError> {
        find_chunk(self.file(&blob.path)?, blob.offset, ty).map_err(|reason| fault(place, blob, reason))
    }

    /// The packed elements. No more memory is taken than the file has bytes.
    fn bytes(&mut self, place: Place<'_>, blob: &BlobRef, ty: &TensorType) -> Result<Vec<u8>, PackageError> {
        let chunk = self.chunk(place, blob, ty)?;
        let file = self.file(&blob.path)?;
        let mut bytes = Vec::new();
        let read = file
            .seek(SeekFrom::Start(chunk.start))
            .and_then(|_| file.take(chunk.bytes).read_to_end(&mut bytes));
        read.map_err(|e| fault(place, blob, e.to_string()))?;
        if bytes.len() as u64 != chunk.bytes {
            return Err(fault(place, blob, "its file became shorter while it was read".into()));
        }
        Ok(bytes)
    }
}

fn fault(place: Place<'_>, blob: &BlobRef, reason: String) -> PackageError {
    let place = place.to_string();
    PackageError::Weight { place, file: shorten(&blob.path), offset: blob.offset, reason }
}

/// Visits every weight of a program, in program order; one that is used several times, several times.
fn for_each_weight(
    program: &Program,
    visit: &mut dyn FnMut(Place<'_>, &BlobRef, &TensorType) -> Result<(), PackageError>,
) -> Result<(), PackageError> {
    let mut constant = |place: Place<'_>, c: &Constant| match &c.payload {
        Payload::Blob(blob) => visit(place, blob, &c.ty),
        Payload::Inline(_) => Ok(()),
    };
    program.attrs.iter().try_for_each(|(_, a)| in_attr(Place::Program, a, &mut constant))?;
    for function in &program.functions {
        let place = Place::Function(&function.name);
        function.attrs.iter().try_for_each(|(_, a)| in_attr(place, a, &mut constant))?;
        for op in &function.ops {
            in_op(function, op, &mut constant)?;
        }
    }
    Ok(())
}

type Visit<'v> = dyn FnMut(Place<'_>, &Constant) -> Result<(), PackageError> + 'v;

fn in_op(function: &Function, op: &Op, visit: &mut Visit<'_>) -> Result<(), PackageError> {
    let result = op.results.first().and_then(|r| function.values.get(r.index()));
    let place = Place::Op(&function.name, op.code.name(), result.map_or("", |v| &v.name));
    if let Some(constant) = result.and_then(|v| v.constant.as_ref()) {
        visit(place, constant)?;
    }
    for operand in op.args.iter().flat_map(|(_, arg): &(_, Arg)| arg.operands()) {
        if let Operand::Literal(constant) = operand {
            visit(place, constant)?;
        }
    }
    op.attrs.iter().try_for_each(|(_, attr)| in_attr(place, attr, visit))
}

fn in_attr(place: Place<'_>, attr: &Attr, visit: &mut Visit<'_>) -> Result<(), PackageError> {
    match attr {
        Attr::Constant(c) => visit(place, c),
        Attr::List(_, elements) => elements.iter().try_for_each(|e| in_attr(place, e, visit)),
        Attr::Dict(_, entries) => entries.iter().try_for_each(|(k, v)| {
            visit(place, k)?;
            in_attr(place, v, visit)
        }),
    }
}

/// Where the weights of a program are in the package's own weight file.
pub(crate) type Offsets = HashMap<BlobRef, u64>;

/// What was copied.
pub(crate) struct Copied {
    /// Where each weight is now.
    pub(crate) offsets: Offsets,
    /// The size of the file; 0 when the program has no weights and no file was made.
    pub(crate) bytes: u64,
}

/// Copies every weight of the program, once, into a new weight file at `to`.
pub(crate) fn copy(program: &Program, weights: &Weights, to: &Path) -> Result<Copied, PackageError> {
    let mut files = Files::new(weights);
    let mut offsets = Offsets::new();
    let mut types: HashMap<BlobRef, TensorType> = HashMap::new();
    let mut writer: Option<BlobWriter<File>> = None;
    for_each_weight(program, &mut |place, blob, ty| {
        if let Some(first) = types.get(blob) {
            if first.dtype != ty.dtype || first.bytes() != ty.bytes() {
                let reason = format!("it is used as {first} and as {ty}");
                return Err(PackageError::invalid(place, reason));
            }
            return Ok(());
        }
        let bytes = files.bytes(place, blob, ty)?;
        let out = match &mut writer {
            Some(out) => out,
            none => none.insert(BlobWriter::new(create(to)?).map_err(|e| fault(place, blob, e.to_string()))?),
        };
        let offset =
            out.chunk(ty.dtype, ty.elements(), &bytes).map_err(|e| fault(place, blob, e.to_string()))?;
        offsets.insert(blob.clone(), offset);
        types.insert(blob.clone(), ty.clone());
        Ok(())
    })?;
    let Some(writer) = writer else { return Ok(Copied { offsets, bytes: 0 }) };
    let file = writer.finish().map_err(|e| PackageError::io("write", to)(io::Error::other(e)))?;
    let written = file.sync_all().and_then(|()| file.metadata());
    Ok(Copied { offsets, bytes: written.map_err(PackageError::io("write", to))?.len() })
}

fn create(to: &Path) -> Result<File, PackageError> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(PackageError::io("create", folder))?;
    }
    File::create_new(to).map_err(PackageError::io("create", to))
}
