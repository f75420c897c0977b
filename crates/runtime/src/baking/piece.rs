//! Pieces whose weights are constants of their programs.

use std::{
    borrow::Cow,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ferrane_engine::{Engine, Kernel, Port, Profile, WeightFiles};
use ferrane_mil::{
    DType, Function, Verified,
    blob::{BlobError, BlobWriter},
    pass::{PackedInput, transposed_weights},
};

use crate::{RuntimeError, compile::Lowered};

/// A piece as a program whose weights are constants in weight files: legal for one engine, and compiled again whenever the
/// weights change.
#[derive(Debug)]
pub struct BakedPiece {
    name: &'static str,
    program: Verified,
    packed: Vec<PackedInput>,
    files: Vec<File>,
}

/// A weight file of a program.
#[derive(Debug)]
struct File {
    path: String,
    /// The weight it holds.
    weight: String,
    dtype: DType,
    elements: usize,
    /// Rows of the weight `[rows, columns]`, if the file holds its transpose.
    transposed_from: Option<usize>,
}

impl BakedPiece {
    /// Makes `function`, whose weights are constants in weight files, legal for `profile`. Products by the transpose of a
    /// weight become convolutions by a weight of their own.
    ///
    /// # Errors
    /// When a pass cannot rewrite it.
    pub fn new(name: &'static str, function: &Function, profile: &Profile) -> Result<Self, RuntimeError> {
        let pass = |source| RuntimeError::Pass { piece: name, source };
        let (function, transposed) = transposed_weights(function).map_err(pass)?;
        let Lowered { program, packed } = Lowered::new(name, &function, profile)?;

        let file = |value: &ferrane_mil::Value| {
            let constant = value.constant.as_ref()?;
            let blob = constant.blob_ref()?;
            let original = transposed.iter().find(|t| t.name == value.name);
            Some(File {
                path: blob.path.clone(),
                weight: original.map_or(&value.name, |t| &t.of).clone(),
                dtype: constant.ty.dtype,
                elements: constant.ty.elements(),
                // A transposed weight is `[I, O, 1, 1]`, the weight itself `[O, I, 1, 1]`.
                transposed_from: original.map(|t| t.shape[1]),
            })
        };
        let files = program.main().values.iter().filter_map(file).collect();
        Ok(Self { name, program, packed, files })
    }

    /// The piece's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What is compiled.
    pub fn program(&self) -> &Verified {
        &self.program
    }

    /// Where inputs lie in the program's only one, if they share it.
    pub(crate) fn packed(&self) -> &[PackedInput] {
        &self.packed
    }

    /// Whether it has weights at all; without them one kernel serves for ever.
    pub fn has_weights(&self) -> bool {
        !self.files.is_empty()
    }

    /// The ports of its kernels: inputs, then outputs.
    ///
    /// # Errors
    /// When a port is not shaped as a surface.
    pub fn ports(&self) -> Result<(Vec<Port>, Vec<Port>), RuntimeError> {
        Ok(Port::of(self.program.main())?)
    }

    /// The weight files, with `weight` giving the elements of a weight by its name.
    ///
    /// # Errors
    /// When `weight` does not know one of the piece's weights, or gives it another size.
    pub fn files<'w>(
        &self,
        weight: &dyn Fn(&str) -> Option<Cow<'w, [f32]>>,
    ) -> Result<WeightFiles, RuntimeError> {
        let mut files = WeightFiles::none();
        for file in &self.files {
            let unbound = || RuntimeError::Unbound { piece: self.name, value: file.weight.clone() };
            let values = weight(&file.weight).filter(|v| v.len() == file.elements).ok_or_else(unbound)?;
            let bytes = file.bytes(&values).map_err(|source| RuntimeError::WeightFile {
                piece: self.name,
                path: file.path.clone(),
                source: Box::new(source),
            })?;
            files.insert(file.path.clone(), bytes);
        }
        Ok(files)
    }

    /// Compiles the piece with these weight files.
    ///
    /// # Errors
    /// The engine's refusal.
    pub fn compile(
        &self,
        engine: &dyn Engine,
        files: &WeightFiles,
        log: &CompileLog,
    ) -> Result<Box<dyn Kernel>, RuntimeError> {
        Ok(log.time(|| engine.compile(&self.program, files))?)
    }
}

impl File {
    fn bytes(&self, values: &[f32]) -> Result<Vec<u8>, BlobError> {
        let mut blob = BlobWriter::new(std::io::Cursor::new(Vec::with_capacity(128 + 4 * values.len())))?;
        match self.transposed_from {
            None => blob.chunk_f32(self.dtype, values)?,
            Some(rows) => blob.chunk_f32(self.dtype, &transpose(values, rows))?,
        };
        Ok(blob.finish()?.into_inner())
    }
}

fn transpose(values: &[f32], rows: usize) -> Vec<f32> {
    let columns = values.len() / rows.max(1);
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

/// How many programs an engine has compiled for us, and the time that took. Compiles are done one at a time: the system's
/// compile service fails under bursts.
#[derive(Debug, Default)]
pub struct CompileLog {
    compiles: AtomicU64,
    nanoseconds: AtomicU64,
    turn: Mutex<()>,
}

impl CompileLog {
    /// Programs compiled.
    pub fn compiles(&self) -> u64 {
        self.compiles.load(Ordering::Relaxed)
    }

    /// Time spent compiling and reloading, on whatever thread.
    pub fn time_spent(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// Counts a compile.
    pub(crate) fn time<R>(&self, compile: impl FnOnce() -> R) -> R {
        self.compiles.fetch_add(1, Ordering::Relaxed);
        self.time_reload(compile)
    }

    /// Adds the time of something that is no compile but stands for one.
    pub(crate) fn time_reload<R>(&self, reload: impl FnOnce() -> R) -> R {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let started = Instant::now();
        let result = reload();
        self.nanoseconds.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }
}
