//! Loops over tiles: fused elementwise chains and reductions.

use std::ops::Range;

use crate::{
    graph::{ReduceOp, Round},
    memory::Bases,
    scratch::{Scratch, TeamScratch, split},
    simd::{
        kernels::{self, Instruction, Plane, Tile},
        round,
    },
    step::Machine,
    triangle,
};

/// Elements of a tile: a few registers of this size stay in the first-level cache.
pub(crate) const TILE: usize = 1024;

/// Elements times instructions below which a loop is not worth another thread.
const PARALLEL: usize = 30_000;

/// Memory a loop reads or writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operand {
    pub(crate) buffer: usize,
    pub(crate) offset: usize,
    /// Strides of the outer axes.
    pub(crate) outer: Vec<usize>,
    /// Stride of the row axis.
    pub(crate) row: usize,
    /// Stride of the column axis.
    pub(crate) column: usize,
}

/// How tiles give results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each tile writes its own elements; `whole_rows` when rows are not cut.
    Map { whole_rows: bool },
    /// Row and trailing outer axes are reduced into the accumulator, one number a column.
    Columns(Reduction),
    /// Column, row and trailing outer axes are reduced to one number, by way of row register `row`.
    Fold { reduction: Reduction, row: usize },
}

/// A reduction at the end of a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reduction {
    pub(crate) op: ReduceOp,
    pub(crate) round: Round,
    /// The operand it is written to.
    pub(crate) to: usize,
    /// How many outer axes are kept; they come first.
    pub(crate) kept: usize,
}

/// A loop.
#[derive(Clone, Debug)]
pub(crate) struct LoopStep {
    pub(crate) outer: Vec<usize>,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) operands: Vec<Operand>,
    pub(crate) instructions: Vec<Instruction>,
    pub(crate) mode: Mode,
    /// True when rows are those of squares, of which only the blocks up to the diagonal are wanted.
    pub(crate) trimmed: bool,
    /// Number of registers and row registers.
    pub(crate) registers: (usize, usize),
}

impl LoopStep {
    pub(crate) fn buffers(&self) -> impl Iterator<Item = usize> + '_ {
        self.operands.iter().map(|o| o.buffer)
    }

    /// Columns and rows of a tile.
    fn tile(&self) -> (usize, usize) {
        let columns = match &self.mode {
            Mode::Map { whole_rows: true } => self.columns,
            // Columns are independent: cut them so that every thread has some.
            Mode::Columns(reduction) if reduction.kept == 0 => {
                (self.columns / 8).next_multiple_of(16).clamp(128, TILE)
            }
            _ => TILE,
        };
        let columns = columns.min(self.columns).max(1);
        let rows = match &self.mode {
            // Small loops are cut so that there is a part for each thread.
            Mode::Map { .. } if self.outer.is_empty() => (TILE / columns).min(self.rows.div_ceil(4)),
            _ => TILE / columns,
        };
        (columns, rows.clamp(1, self.rows.max(1)))
    }

    /// Register lengths and counts, that scratch can be made large enough: registers, row registers, accumulator.
    pub(crate) fn scratch(&self) -> (usize, usize, usize) {
        let (columns, rows) = self.tile();
        (self.registers.0 * columns * rows, self.registers.1 * rows, columns)
    }

    pub(crate) fn run(&self, bases: &Bases, scratch: &TeamScratch, machine: Machine<'_>) {
        let elements: usize = self.outer.iter().product::<usize>() * self.rows * self.columns;
        let shared = elements * self.instructions.len() >= PARALLEL;
        let (columns, rows) = self.tile();
        let across = self.columns.div_ceil(columns);
        match &self.mode {
            Mode::Map { .. } if elements == 0 => {}
            Mode::Map { .. } => {
                let down = self.rows.div_ceil(rows);
                let items = self.outer.iter().product::<usize>() * down * across;
                split(scratch, shared, items, |range, scratch| {
                    let mut at = Cursor { step: self, bases, machine, columns, rows };
                    for item in range {
                        let (outer, tile) = (item / (down * across), item % (down * across));
                        at.tile(scratch, outer, tile / across, tile % across);
                    }
                });
            }
            Mode::Columns(r) => {
                let kept: usize = self.outer[..r.kept].iter().product();
                split(scratch, shared, kept * across, |range, scratch| {
                    self.reduce_columns(
                        r,
                        Cursor { step: self, bases, machine, columns, rows },
                        scratch,
                        range,
                    );
                });
            }
            Mode::Fold { reduction: r, row } => {
                let kept: usize = self.outer[..r.kept].iter().product();
                split(scratch, shared, kept, |range, scratch| {
                    self.fold(r, *row, Cursor { step: self, bases, machine, columns, rows }, scratch, range);
                });
            }
        }
    }

    fn reduce_columns(&self, r: &Reduction, mut at: Cursor<'_>, scratch: &mut Scratch, range: Range<usize>) {
        let across = self.columns.div_ceil(at.columns);
        let reduced: usize = self.outer[r.kept..].iter().product();
        for item in range {
            let (kept, column) = (item / across, item % across);
            scratch.accumulator[..at.columns].fill(kernels::start(r.op));
            for inner in 0..reduced {
                for row in 0..self.rows.div_ceil(at.rows) {
                    at.tile(scratch, kept * reduced + inner, row, column);
                }
            }
            let width = at.columns.min(self.columns - column * at.columns);
            let to = at.plane(r.to, kept * reduced, 0, column);
            for (c, &sum) in scratch.accumulator[..width].iter().enumerate() {
                write(to.at.wrapping_add(c * to.column), round::scalar(r.round, sum));
            }
        }
    }

    fn fold(
        &self,
        r: &Reduction,
        row: usize,
        mut at: Cursor<'_>,
        scratch: &mut Scratch,
        range: Range<usize>,
    ) {
        let reduced: usize = self.outer[r.kept..].iter().product();
        for kept in range {
            let mut total = kernels::start(r.op);
            for inner in 0..reduced {
                for down in 0..self.rows.div_ceil(at.rows) {
                    for across in 0..self.columns.div_ceil(at.columns) {
                        let rows = at.tile(scratch, kept * reduced + inner, down, across);
                        let results = &scratch.row_registers[row * at.rows..][..rows];
                        total = results.iter().fold(total, |t, &x| kernels::combine(r.op, t, x));
                    }
                }
            }
            write(at.plane(r.to, kept * reduced, 0, 0).at, round::scalar(r.round, total));
        }
    }
}

/// Where a thread is in its part of a loop.
struct Cursor<'a> {
    step: &'a LoopStep,
    bases: &'a Bases,
    machine: Machine<'a>,
    /// Columns and rows of a full tile.
    columns: usize,
    rows: usize,
}

impl Cursor<'_> {
    /// Operand `o` at a tile.
    fn plane(&self, o: usize, outer: usize, row: usize, column: usize) -> Plane {
        let operand = &self.step.operands[o];
        let mut at = operand.offset + row * self.rows * operand.row + column * self.columns * operand.column;
        let mut index = outer;
        for (&extent, &stride) in self.step.outer.iter().zip(&operand.outer).rev() {
            at += index % extent * stride;
            index /= extent;
        }
        Plane { at: self.bases.at(operand.buffer, at), row: operand.row, column: operand.column }
    }

    /// Runs the tile at these indices and says how many rows it had.
    fn tile(&mut self, scratch: &mut Scratch, outer: usize, row: usize, column: usize) -> usize {
        scratch.planes.clear();
        for o in 0..self.step.operands.len() {
            let plane = self.plane(o, outer, row, column);
            scratch.planes.push(plane);
        }
        let rows = self.rows.min(self.step.rows - row * self.rows);
        let columns = if self.step.trimmed {
            triangle::up_to_diagonal(self.step.columns, row * self.rows, rows)
        } else {
            self.columns.min(self.step.columns - column * self.columns)
        };
        let tile = Tile {
            rows,
            columns,
            operands: &scratch.planes,
            registers: scratch.registers.as_mut_ptr(),
            register_len: self.columns * self.rows,
            row_registers: scratch.row_registers.as_mut_ptr(),
            row_register_len: self.rows,
            accumulator: scratch.accumulator.as_mut_ptr(),
            foreign: self.machine.foreign,
        };
        #[allow(unsafe_code, reason = "the interpreter works on addresses")]
        // SAFETY: the planner checked that every operand lies in its buffer over the whole loop, and gave written buffers
        // to nothing else that this loop reads or writes at other elements; scratch has the sizes `scratch` tells.
        unsafe {
            (self.machine.tile)(&self.step.instructions, &tile);
        }
        rows
    }
}

/// Writes one element of a result.
fn write(to: *mut f32, value: f32) {
    #[allow(unsafe_code, reason = "results lie in memory shared between threads")]
    // SAFETY: the planner checked the operand against its buffer, and one thread alone writes the element.
    unsafe {
        *to = value;
    }
}
