//! I/O memory of kernels.

use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ferrane_mil::DType;
use half::{f16, slice::HalfFloatSliceExt};

/// Why a surface cannot be made or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SurfaceError {
    /// Claimed bytes below the bytes of the shape.
    #[error("surface `{name}` claims {allocation} bytes but its shape needs {needed}")]
    Allocation {
        /// The port it was made for.
        name: String,
        /// Bytes claimed.
        allocation: usize,
        /// Bytes needed.
        needed: usize,
    },
    /// A range that is not inside the memory.
    #[error("elements {first}..{end} are outside a surface of {len}")]
    Range {
        /// First element.
        first: usize,
        /// One past the last.
        end: usize,
        /// Elements there are.
        len: usize,
    },
    /// The device refused to lock or copy.
    #[error("surface memory: {0}")]
    Device(String),
}

/// fp32 memory shared by the surfaces that view it.
#[derive(Clone, Debug)]
pub struct HostMemory {
    elements: Arc<RwLock<Vec<f32>>>,
}

impl HostMemory {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self::from_vec(vec![0.0; len])
    }

    /// Takes over these elements.
    pub fn from_vec(elements: Vec<f32>) -> Self {
        Self { elements: Arc::new(RwLock::new(elements)) }
    }

    /// Locks for reading. A writer that panicked does not poison the memory: its content is plain numbers.
    pub fn read(&self) -> RwLockReadGuard<'_, Vec<f32>> {
        self.elements.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Locks for writing.
    pub fn write(&self) -> RwLockWriteGuard<'_, Vec<f32>> {
        self.elements.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// True when both are the same memory.
    pub fn same(&self, other: &HostMemory) -> bool {
        Arc::ptr_eq(&self.elements, &other.elements)
    }
}

/// A range of host memory.
#[derive(Clone, Debug)]
pub struct HostView {
    /// The memory.
    pub memory: HostMemory,
    /// First element.
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
}

impl HostView {
    /// The range in the memory's elements.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len
    }
}

/// Memory that is not plain fp32, such as an IOSurface.
pub trait DeviceMemory: Send + Sync + std::fmt::Debug {
    /// Copies all elements out, converting to fp32.
    ///
    /// # Errors
    /// When the memory cannot be locked.
    fn read(&self, elements: &mut [f32]) -> Result<(), SurfaceError>;

    /// Copies all elements in, converting from fp32.
    ///
    /// # Errors
    /// When the memory cannot be locked.
    fn write(&self, elements: &[f32]) -> Result<(), SurfaceError>;

    /// For the engine that made it.
    fn as_any(&self) -> &dyn std::any::Any;
}

#[derive(Clone, Debug)]
enum Memory {
    Host(HostView),
    Device(Arc<dyn DeviceMemory>),
}

/// I/O memory of a kernel: `[1, C, 1, W]`, row-major, element (c, w) at c·W + w.
///
/// Cloning gives another handle to the same memory. A host surface of type fp16 keeps its elements in fp32 memory and
/// rounds what is written to it, so that it holds just the values an fp16 surface can hold.
#[derive(Clone, Debug)]
pub struct Surface {
    shape: [usize; 4],
    dtype: DType,
    allocation: usize,
    memory: Memory,
}

impl Surface {
    /// A surface in new host memory.
    ///
    /// # Errors
    /// When `allocation` is below the bytes of the shape.
    pub fn host(
        name: &str,
        shape: [usize; 4],
        dtype: DType,
        allocation: usize,
    ) -> Result<Self, SurfaceError> {
        let len = shape.iter().product();
        let needed = dtype.packed_bytes(len);
        if allocation < needed {
            return Err(SurfaceError::Allocation { name: name.into(), allocation, needed });
        }
        let view = HostView { memory: HostMemory::zeros(len), offset: 0, len };
        Ok(Self { shape, dtype, allocation, memory: Memory::Host(view) })
    }

    /// A surface of type fp32 that views part of `memory`.
    ///
    /// # Errors
    /// When the range is outside the memory.
    pub fn view(memory: &HostMemory, offset: usize, shape: [usize; 4]) -> Result<Self, SurfaceError> {
        let len: usize = shape.iter().product();
        let (end, there) = (offset.saturating_add(len), memory.read().len());
        if end > there {
            return Err(SurfaceError::Range { first: offset, end, len: there });
        }
        let view = HostView { memory: memory.clone(), offset, len };
        Ok(Self { shape, dtype: DType::Fp32, allocation: len * 4, memory: Memory::Host(view) })
    }

    /// A surface in an engine's own memory.
    pub fn device(shape: [usize; 4], dtype: DType, allocation: usize, memory: Arc<dyn DeviceMemory>) -> Self {
        Self { shape, dtype, allocation, memory: Memory::Device(memory) }
    }

    /// Extents.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Bytes it claims, at least those of its shape.
    pub fn allocation(&self) -> usize {
        self.allocation
    }

    /// Its host memory, if it is in host memory.
    pub fn as_host(&self) -> Option<&HostView> {
        match &self.memory {
            Memory::Host(view) => Some(view),
            Memory::Device(_) => None,
        }
    }

    /// Its device memory, if it is in device memory.
    pub fn as_device(&self) -> Option<&dyn DeviceMemory> {
        match &self.memory {
            Memory::Host(_) => None,
            Memory::Device(memory) => Some(&**memory),
        }
    }

    /// Calls `f` with the elements as fp32: in place for host memory, a copy otherwise.
    ///
    /// # Errors
    /// When device memory cannot be locked.
    pub fn read<R>(&self, f: impl FnOnce(&[f32]) -> R) -> Result<R, SurfaceError> {
        match &self.memory {
            Memory::Host(view) => Ok(f(&view.memory.read()[view.range()])),
            Memory::Device(memory) => {
                let mut elements = vec![0.0; self.elements()];
                memory.read(&mut elements)?;
                Ok(f(&elements))
            }
        }
    }

    /// Copies rows of `width` elements to channel `row` and those after it, from `column` on, rounded to the surface's type.
    /// The rest stays as it is.
    ///
    /// # Errors
    /// When device memory cannot be locked.
    ///
    /// # Panics
    /// When a row is longer than what is behind `column`.
    pub fn copy_rows(
        &self,
        rows: &[f32],
        width: usize,
        row: usize,
        column: usize,
    ) -> Result<(), SurfaceError> {
        let across = self.shape[3];
        let copy = |to: &mut [f32], copy: fn(&[f32], &mut [f32])| {
            let pairs = rows.chunks_exact(width).zip(to.chunks_exact_mut(across).skip(row));
            pairs.for_each(|(from, to)| copy(from, &mut to[column..][..width]));
        };
        match &self.memory {
            Memory::Host(view) if self.dtype == DType::Fp16 => {
                copy(&mut view.memory.write()[view.range()], copy_as_fp16);
                Ok(())
            }
            _ => self.write(|to| copy(to, |from, to| to.copy_from_slice(from))),
        }
    }

    /// Calls `f` with the elements to change, as fp32; afterwards they are rounded to the surface's type.
    ///
    /// # Errors
    /// When device memory cannot be locked.
    pub fn write<R>(&self, f: impl FnOnce(&mut [f32]) -> R) -> Result<R, SurfaceError> {
        match &self.memory {
            Memory::Host(view) => {
                let mut memory = view.memory.write();
                let elements = &mut memory[view.range()];
                let result = f(elements);
                if self.dtype == DType::Fp16 {
                    round_to_fp16(elements);
                }
                Ok(result)
            }
            Memory::Device(memory) => {
                let mut elements = vec![0.0; self.elements()];
                memory.read(&mut elements)?;
                let result = f(&mut elements);
                memory.write(&elements)?;
                Ok(result)
            }
        }
    }
}

/// Elements that are converted at a time: both forms stay in the first level of cache.
const CHUNK: usize = 512;

/// Rounds each element to the nearest fp16 value, ties to even; beyond the range to an infinity.
pub fn round_to_fp16(elements: &mut [f32]) {
    let mut half = [f16::ZERO; CHUNK];
    for chunk in elements.chunks_mut(CHUNK) {
        let half = &mut half[..chunk.len()];
        half.convert_from_f32_slice(chunk);
        half.convert_to_f32_slice(chunk);
    }
}

/// Copies the elements, each rounded as by [`round_to_fp16`], in one pass.
fn copy_as_fp16(from: &[f32], to: &mut [f32]) {
    let mut half = [f16::ZERO; CHUNK];
    for (from, to) in from.chunks(CHUNK).zip(to.chunks_mut(CHUNK)) {
        let half = &mut half[..from.len()];
        half.convert_from_f32_slice(from);
        half.convert_to_f32_slice(&mut to[..from.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_fp16_surface_holds_fp16_values() {
        let s = Surface::host("x", [1, 2, 1, 3], DType::Fp16, 12).unwrap();
        s.write(|e| e.copy_from_slice(&[0.1, 2049.0, 70000.0, -1e-9, 1.0, -65504.0])).unwrap();
        let expected = [f16::from_f32(0.1).to_f32(), 2048.0, f32::INFINITY, -0.0, 1.0, -65504.0];
        s.read(|e| assert_eq!(e, expected)).unwrap();
    }

    #[test]
    fn rows_are_rounded_as_they_are_copied() {
        let rows: Vec<f32> = (0..2 * 700).map(|i| (i as f32 - 650.0) * 0.123).collect();
        let [copied, written] =
            [(); 2].map(|()| Surface::host("w", [1, 2, 1, 702], DType::Fp16, 2808).unwrap());
        for s in [&copied, &written] {
            s.write(|e| e.fill(7.0)).unwrap();
        }
        copied.copy_rows(&rows, 700, 0, 1).unwrap();
        let write = |e: &mut [f32]| {
            (0..2).for_each(|c| e[c * 702 + 1..][..700].copy_from_slice(&rows[c * 700..][..700]));
        };
        written.write(write).unwrap();
        let expected = written.read(<[f32]>::to_vec).unwrap();
        copied.read(|e| assert_eq!(e, expected)).unwrap();
    }

    #[test]
    fn views_share_memory_and_stay_inside_it() {
        let memory = HostMemory::zeros(10);
        let s = Surface::view(&memory, 4, [1, 2, 1, 3]).unwrap();
        s.write(|e| e.fill(0.1)).unwrap();
        assert_eq!(memory.read()[3..5], [0.0, 0.1]);
        let error = Surface::view(&memory, 5, [1, 2, 1, 3]).unwrap_err();
        assert_eq!(error, SurfaceError::Range { first: 5, end: 11, len: 10 });
    }

    #[test]
    fn claiming_too_little_is_refused() {
        let error = Surface::host("x", [1, 2, 1, 3], DType::Fp16, 11).unwrap_err();
        assert!(error.to_string().contains("`x` claims 11 bytes but its shape needs 12"));
    }
}
