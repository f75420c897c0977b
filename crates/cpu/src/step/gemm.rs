//! Matrix products.

use gemm::Parallelism;

use crate::{
    graph::Round,
    memory::{Access, Bases},
    plan::Planner,
    scratch::{Scratch, TeamScratch, split},
    simd::kernels::{Code, Instruction, Place, Plane, Run, Tile},
    step::{
        Machine,
        foreign::{ForeignProduct, Prepared},
    },
    triangle::Part,
    view::{View, elements, row_major},
};

/// Multiply-adds below which a product is not worth another thread.
const PARALLEL: usize = 100_000;
/// Rows or columns that pieces of a product are cut at: whole tiles of the products' inner loops, either way round.
const PIECE: usize = 48;

/// Most rows of a product that is computed turned.
const TURNED: usize = 128;

/// `c = a·b` for every matrix of a batch.
#[derive(Clone, Debug)]
pub(crate) struct GemmStep {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) a: Matrix,
    pub(super) b: Matrix,
    pub(super) c: Matrix,
    /// First elements of `a`, `b` and `c`, a row a product.
    pub(super) batch: Vec<[usize; 3]>,
    round: Round,
    /// The parts of each product that are wanted, if not all of it is.
    parts: Option<Vec<Part>>,
    /// Where an arithmetic computes it.
    foreign: Option<ForeignProduct>,
}

/// Where a matrix is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix {
    pub(super) buffer: usize,
    pub(super) row: usize,
    pub(super) column: usize,
}

impl GemmStep {
    pub(crate) fn new(planner: &mut Planner, node: usize, a: &View, b: &View, bias: Option<&View>) -> Self {
        let (shape, round) = (planner.graph.nodes[node].shape.clone(), planner.graph.nodes[node].round);
        let rank = shape.len();
        let accesses = [planner.access(a), planner.access(b), planner.result(node)];
        let matrix = |access: &Access| Matrix {
            buffer: access.buffer,
            row: access.strides[rank - 2],
            column: access.strides[rank - 1],
        };
        let dense = row_major(&shape[..rank - 2]);
        let first = |access: &Access, i: usize| {
            let along = |d: usize| i / dense[d] % shape[d] * access.strides[d];
            access.offset + (0..rank - 2).map(along).sum::<usize>()
        };
        let bias = bias.map(|bias| planner.access(bias));
        let products = if shape[rank - 2] * shape[rank - 1] == 0 { 0 } else { elements(&shape[..rank - 2]) };
        let constant = |access: &Access| planner.is_constant(access.buffer);
        let prepared = (constant(&accesses[0]) && bias.as_ref().is_none_or(constant))
            .then(|| (0..products).map(|_| Prepared::new()).collect());
        let foreign = (round == Round::Foreign).then(|| ForeignProduct {
            bias: bias.map(|access| {
                let firsts = (0..products).map(|i| first(&access, i)).collect();
                (access, firsts)
            }),
            prepared,
            site: planner.graph.nodes[node].site,
        });
        Self {
            m: shape[rank - 2],
            n: shape[rank - 1],
            k: a.shape[rank - 1],
            a: matrix(&accesses[0]),
            b: matrix(&accesses[1]),
            c: matrix(&accesses[2]),
            batch: (0..products).map(|i| [0, 1, 2].map(|o| first(&accesses[o], i))).collect(),
            parts: planner.triangles.parts(&planner.graph, node, a, b).filter(|_| foreign.is_none()),
            round,
            foreign,
        }
    }

    pub(crate) fn buffers(&self) -> Vec<usize> {
        let bias = self.foreign.as_ref().and_then(|own| own.bias.as_ref());
        let bias = bias.map(|(access, _)| access.buffer);
        [self.a.buffer, self.b.buffer, self.c.buffer].into_iter().chain(bias).collect()
    }

    pub(crate) fn run(&self, bases: &Bases, scratch: &TeamScratch, machine: Machine<'_>) {
        if let Some(own) = &self.foreign {
            return self.run_foreign(own, bases, scratch, machine);
        }
        let tile = machine.tile;
        if let Some(product) = self.as_matvec().filter(|_| self.parts.is_none()) {
            return product.run(self, bases, scratch, tile);
        }
        let work = self.batch.len() * self.m * self.n * self.k;
        let shared = work >= PARALLEL;
        let members = if shared { scratch.len() } else { 1 };
        let pieces = self.pieces(members);
        split(scratch, shared, self.batch.len() * pieces, |range, scratch| {
            for item in range {
                let part = self.piece(item % pieces, pieces);
                self.product(bases, self.batch[item / pieces], part, scratch, tile);
            }
        });
    }

    /// How many pieces each product is cut into for so many members.
    fn pieces(&self, members: usize) -> usize {
        match &self.parts {
            Some(parts) => parts.len(),
            None if self.batch.len().is_multiple_of(members) => 1,
            None => members.min(self.cut_extent() / PIECE).max(1),
        }
    }

    /// A piece of each product.
    fn piece(&self, piece: usize, pieces: usize) -> Part {
        if let Some(parts) = &self.parts {
            return parts[piece].clone();
        }
        let extent = self.cut_extent();
        let cut = |i: usize| if i == pieces { extent } else { extent * i / pieces / PIECE * PIECE };
        let (piece, depth) = (cut(piece)..cut(piece + 1), 0..self.k);
        match self.is_cut_by_rows() {
            true => Part { rows: piece, columns: 0..self.n, depth },
            false => Part { rows: 0..self.m, columns: piece, depth },
        }
    }

    /// Products are cut so that each thread reads a part of the larger operand: of weights, mostly, which no cache holds.
    fn is_cut_by_rows(&self) -> bool {
        self.m > self.n && !self.is_turned()
    }

    fn cut_extent(&self) -> usize {
        if self.is_cut_by_rows() { self.m } else { self.n }
    }

    /// True when the product is computed with its columns as rows, and turned afterwards. Where both operands have the axis
    /// they share innermost, the one that gives the result's contiguous axis is packed: for few rows of many columns,
    /// such as P·V of an attention head, packing the other and turning the small result is cheaper.
    fn is_turned(&self) -> bool {
        let shared_is_innermost = self.a.column == 1 && self.b.row == 1;
        shared_is_innermost && self.c.column == 1 && self.m * 2 <= self.n && self.m > 1 && self.m <= TURNED
    }

    /// Elements of scratch that the product needs.
    pub(crate) fn scratch(&self) -> usize {
        match self.as_matvec() {
            Some(product) => product.scratch(),
            None if self.is_turned() => self.m * self.n,
            None => 0,
        }
    }

    /// Moves a part of a product that was turned to its place.
    fn turn(&self, scratch: &mut Scratch, c: *mut f32, height: usize, width: usize, tile: Run) {
        let from = Plane { at: scratch.product.as_mut_ptr(), row: 1, column: height };
        let to = Plane { at: c, row: self.c.row, column: 1 };
        let (a, b) = (Place::Operand(0), Place::Operand(1));
        let instruction = Instruction { code: Code::Move, to: b, a, b: a, per_row: false };
        let operands = [from, to];
        let part = Tile::of_operands(height, width, &operands);
        #[allow(unsafe_code, reason = "the interpreter works on addresses")]
        // SAFETY: the product lies in this thread's scratch, and it goes to the part of the result that this thread alone
        // writes; no register is used.
        unsafe {
            tile(&[instruction], &part);
        }
    }

    /// A part of one product.
    fn product(
        &self,
        bases: &Bases,
        [a, b, c]: [usize; 3],
        Part { rows, columns, depth }: Part,
        scratch: &mut Scratch,
        tile: Run,
    ) {
        let a = a + rows.start * self.a.row + depth.start * self.a.column;
        let b = b + depth.start * self.b.row + columns.start * self.b.column;
        let (height, width) = (rows.len(), columns.len());
        let c = bases.at(self.c.buffer, c + rows.start * self.c.row + columns.start * self.c.column);
        let (to, row, column) = match self.is_turned() {
            true => (scratch.product.as_mut_ptr(), 1, height),
            false => (c, self.c.row, self.c.column),
        };
        #[allow(unsafe_code, reason = "the product works on addresses")]
        // SAFETY: the planner checked that all three matrices lie in their buffers; `c` shares no memory with `a` and `b`,
        // whose buffers are in use at this step too; other threads write other columns or other products. A turned product
        // fits the thread's own scratch, whose size `scratch` tells.
        unsafe {
            gemm::gemm(
                height,
                width,
                depth.len(),
                to,
                column as isize,
                row as isize,
                false,
                bases.at(self.a.buffer, a).cast_const(),
                self.a.column as isize,
                self.a.row as isize,
                bases.at(self.b.buffer, b).cast_const(),
                self.b.column as isize,
                self.b.row as isize,
                0.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
        if self.is_turned() {
            self.turn(scratch, c, height, width, tile);
        }
        if self.round != Round::Keep {
            self.round(c, height, width, tile);
        }
    }

    /// Rounds results that lie side by side.
    pub(super) fn round_row(&self, c: &mut [f32], tile: Run) {
        if self.round == Round::Keep {
            return;
        }
        let place = Place::Operand(0);
        let instruction =
            Instruction { code: Code::Round(self.round), to: place, a: place, b: place, per_row: false };
        let operands = [Plane { at: c.as_mut_ptr(), row: c.len(), column: 1 }];
        let part = Tile::of_operands(1, c.len(), &operands);
        #[allow(unsafe_code, reason = "the interpreter works on addresses")]
        // SAFETY: the plane is the given slice; no register is used.
        unsafe {
            tile(&[instruction], &part);
        }
    }

    /// Rounds the part of the result from `c` on, while it is in cache.
    fn round(&self, c: *mut f32, rows: usize, columns: usize, tile: Run) {
        // Along the axis whose elements are neighbours.
        let (rows, columns, row, column) = if self.c.column <= self.c.row {
            (rows, columns, self.c.row, self.c.column)
        } else {
            (columns, rows, self.c.column, self.c.row)
        };
        let place = Place::Operand(0);
        let instruction =
            Instruction { code: Code::Round(self.round), to: place, a: place, b: place, per_row: false };
        // Neighbours are taken as a row; elements that are apart one by one.
        let (width, steps) = if column == 1 { (columns, 1) } else { (1, columns) };
        for step in 0..steps {
            let operands = [Plane { at: c.wrapping_add(step * column), row, column: 1 }];
            let part = Tile::of_operands(rows, width, &operands);
            #[allow(unsafe_code, reason = "the interpreter works on addresses")]
            // SAFETY: the plane is the part of the result that this thread alone writes; no register is used.
            unsafe {
                tile(&[instruction], &part);
            }
        }
    }
}
