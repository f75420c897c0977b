//! The tile interpreter: runs the instructions of a loop on one tile.
#![allow(
    unsafe_code,
    reason = "tiles of one memory are read and written through several strided planes and by several threads, which \
              slices cannot express; the planner checks every plane against its memory"
)]

use super::{math, round};
use crate::{
    arithmetic::{Foreign, Term},
    graph::{MapOp, ReduceOp, Round},
};

/// Where an instruction finds or leaves a tile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    /// A register: a whole tile.
    Register(u16),
    /// A row register: one number a row.
    RowRegister(u16),
    /// Memory of the loop's operand.
    Operand(u16),
    /// One number.
    Immediate(f32),
}

/// What an instruction does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Code {
    /// Elementwise.
    Map(MapOp),
    /// Elementwise by the tile's arithmetic, of one or two operands, for the op with this index.
    Foreign(MapOp, Arity, u32),
    /// Rounds the destination in place.
    Round(Round),
    /// Moves a tile whose columns are apart on either side.
    Move,
    /// Reduces each row to one number.
    Rows(ReduceOp),
    /// Reduces the rows into the accumulator, one number a column.
    Columns(ReduceOp),
}

/// How many operands an op has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arity {
    One,
    Two,
}

/// One instruction on a tile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Instruction {
    pub(crate) code: Code,
    pub(crate) to: Place,
    pub(crate) a: Place,
    pub(crate) b: Place,
    /// True when it works on row registers: one number a row.
    pub(crate) per_row: bool,
}

/// A strided plane of a tile: `rows × columns` numbers, of which columns are 0, 1 or more apart.
#[derive(Clone, Copy)]
pub(crate) struct Plane {
    pub(crate) at: *mut f32,
    pub(crate) row: usize,
    pub(crate) column: usize,
}

/// What the instructions of a tile work on.
pub(crate) struct Tile<'a> {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// The loop's operands at this tile.
    pub(crate) operands: &'a [Plane],
    /// Registers, `register_len` numbers each.
    pub(crate) registers: *mut f32,
    pub(crate) register_len: usize,
    /// Row registers, `row_register_len` numbers each.
    pub(crate) row_registers: *mut f32,
    pub(crate) row_register_len: usize,
    /// The accumulator, one number a column.
    pub(crate) accumulator: *mut f32,
    /// What computes in place of this machine.
    pub(crate) foreign: Option<Foreign<'a>>,
}

impl<'a> Tile<'a> {
    /// A tile for instructions that use operands alone, and no register or accumulator.
    pub(crate) fn of_operands(rows: usize, columns: usize, operands: &'a [Plane]) -> Self {
        let nothing = std::ptr::null_mut();
        Self {
            rows,
            columns,
            operands,
            registers: nothing,
            register_len: 0,
            row_registers: nothing,
            row_register_len: 0,
            accumulator: nothing,
            foreign: None,
        }
    }
}

/// Runs instructions on a tile.
///
/// # Safety
/// Every plane of the tile must lie in memory that is valid for reads, and for writes where an instruction writes, and
/// that no other thread writes meanwhile. Planes of different operands may overlap only if neither is written.
pub(crate) type Run = unsafe fn(&[Instruction], &Tile<'_>);

/// The interpreter compiled for the best instruction set of this machine.
pub(crate) fn best() -> Run {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let v3 = has!("avx2") && has!("fma") && has!("f16c");
        if v3 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
            return run_avx512;
        }
        if v3 {
            return run_avx2;
        }
        run_plain
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        run_plain
    }
}

unsafe fn run_plain(instructions: &[Instruction], tile: &Tile<'_>) {
    // SAFETY: the caller's promise.
    unsafe { run::<{ cfg!(target_arch = "aarch64") }>(instructions, tile, round::fp16_row) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn run_avx2(instructions: &[Instruction], tile: &Tile<'_>) {
    // SAFETY: the caller's promise; this function's features are those of the rounding.
    unsafe { run::<true>(instructions, tile, |row| round::fp16_row_f16c(row)) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn run_avx512(instructions: &[Instruction], tile: &Tile<'_>) {
    // SAFETY: the caller's promise; this function's features are those of the rounding.
    unsafe { run::<true>(instructions, tile, |row| round::fp16_row_avx512(row)) }
}

#[inline(always)]
unsafe fn run<const F: bool>(instructions: &[Instruction], tile: &Tile<'_>, fp16: impl Fn(&mut [f32])) {
    for instruction in instructions {
        let (rows, columns) = if instruction.per_row { (1, tile.rows) } else { (tile.rows, tile.columns) };
        let plane = |place: &Place| plane(tile, place, instruction.per_row);
        let (to, a, b) = (plane(&instruction.to), plane(&instruction.a), plane(&instruction.b));
        let span = Span { rows, columns };
        // SAFETY: the caller's promise; the planner gives `to` a plane of its own.
        unsafe {
            match instruction.code {
                Code::Map(op) => map::<F>(op, span, to, a, b),
                Code::Foreign(op, arity, site) => {
                    if let Some(foreign) = tile.foreign {
                        foreign_map(foreign, (op, arity, site as usize), span, to, a, b);
                    }
                }
                Code::Round(Round::Fp16) => in_place(span, to, &fp16),
                Code::Round(Round::Bf16) => {
                    in_place(span, to, |row| row.iter_mut().for_each(|x| *x = round::bf16(*x)));
                }
                Code::Round(Round::Whole) => {
                    in_place(span, to, |row| row.iter_mut().for_each(|x| *x = round::whole(*x)));
                }
                Code::Round(Round::Keep | Round::Foreign) => {}
                Code::Move => scatter(span, to, a),
                Code::Rows(op) => reduce_rows(op, span, to, a),
                Code::Columns(op) => reduce_columns(op, span, tile.accumulator, a),
            }
        }
    }
}

#[inline(always)]
fn plane(tile: &Tile<'_>, place: &Place, per_row: bool) -> Plane {
    match place {
        Place::Register(r) => Plane {
            at: tile.registers.wrapping_add(usize::from(*r) * tile.register_len),
            row: tile.columns,
            column: 1,
        },
        Place::RowRegister(r) => {
            let at = tile.row_registers.wrapping_add(usize::from(*r) * tile.row_register_len);
            if per_row { Plane { at, row: 0, column: 1 } } else { Plane { at, row: 1, column: 0 } }
        }
        Place::Operand(o) => {
            let plane = tile.operands[usize::from(*o)];
            if per_row { Plane { at: plane.at, row: 0, column: plane.row } } else { plane }
        }
        Place::Immediate(value) => Plane { at: std::ptr::from_ref(value).cast_mut(), row: 0, column: 0 },
    }
}

#[derive(Clone, Copy)]
struct Span {
    rows: usize,
    columns: usize,
}

impl Span {
    /// The same elements as one row, when every plane allows it.
    #[inline(always)]
    fn flat(self, planes: &[Plane]) -> Span {
        let whole = |p: &Plane| {
            if p.column == 0 { p.row == 0 } else { p.row == self.columns }
        };
        if self.rows > 1 && planes.iter().all(whole) {
            return Span { rows: 1, columns: self.rows * self.columns };
        }
        self
    }
}

impl Plane {
    #[inline(always)]
    unsafe fn get(self, row: usize, column: usize) -> f32 {
        // SAFETY: within the plane, by the caller's promise.
        unsafe { *self.at.add(row * self.row + column * self.column) }
    }

    /// A row whose columns are neighbours.
    #[inline(always)]
    unsafe fn row<'a>(self, row: usize, columns: usize) -> &'a [f32] {
        // SAFETY: within the plane, by the caller's promise.
        unsafe { std::slice::from_raw_parts(self.at.add(row * self.row), columns) }
    }

    /// A row whose columns are neighbours, to write.
    #[inline(always)]
    unsafe fn row_mut<'a>(self, row: usize, columns: usize) -> &'a mut [f32] {
        // SAFETY: within the plane, and the only access to it, by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(row * self.row), columns) }
    }
}

#[inline(always)]
unsafe fn map<const F: bool>(op: MapOp, s: Span, to: Plane, a: Plane, b: Plane) {
    // SAFETY: the caller's promise, for every arm.
    unsafe {
        match op {
            MapOp::Copy => map1(s, to, a, |x| x),
            MapOp::Abs => map1(s, to, a, f32::abs),
            MapOp::Acos => map1(s, to, a, f32::acos),
            MapOp::Asin => map1(s, to, a, f32::asin),
            MapOp::Atan => map1(s, to, a, f32::atan),
            MapOp::Atanh => map1(s, to, a, f32::atanh),
            MapOp::Ceil => map1(s, to, a, f32::ceil),
            MapOp::Cos => map1(s, to, a, f32::cos),
            MapOp::Cosh => map1(s, to, a, f32::cosh),
            MapOp::Erf => map1(s, to, a, math::erf::<F>),
            MapOp::Exp => map1(s, to, a, math::exp::<F>),
            MapOp::Exp2 => map1(s, to, a, math::exp2::<F>),
            MapOp::ExpM1 => map1(s, to, a, f32::exp_m1),
            MapOp::Floor => map1(s, to, a, f32::floor),
            MapOp::Inverse(e) => map1(s, to, a, |x| 1.0 / (x + e)),
            MapOp::Log(e) => map1(s, to, a, |x| math::ln::<F>(x + e)),
            MapOp::Round => map1(s, to, a, f32::round_ties_even),
            MapOp::Rsqrt(e) => map1(s, to, a, |x| 1.0 / (x + e).sqrt()),
            MapOp::Sign => map1(s, to, a, |x| if x == 0.0 { 0.0 } else { x.signum() }),
            MapOp::Softplus => map1(s, to, a, |x| x.max(0.0) + math::ln::<F>(1.0 + math::exp::<F>(-x.abs()))),
            MapOp::Softsign => map1(s, to, a, |x| x / (1.0 + x.abs())),
            MapOp::Sin => map1(s, to, a, f32::sin),
            MapOp::Sinh => map1(s, to, a, f32::sinh),
            MapOp::Sqrt => map1(s, to, a, f32::sqrt),
            MapOp::Square => map1(s, to, a, |x| x * x),
            MapOp::Tan => map1(s, to, a, f32::tan),
            MapOp::Tanh => map1(s, to, a, math::tanh::<F>),
            MapOp::Gelu => map1(s, to, a, math::gelu::<F>),
            MapOp::GeluTanh => map1(s, to, a, math::gelu_tanh::<F>),
            MapOp::GeluSigmoid => map1(s, to, a, |x| x * math::sigmoid::<F>(1.702 * x)),
            MapOp::Relu => map1(s, to, a, |x| if x < 0.0 { 0.0 } else { x }),
            MapOp::Sigmoid => map1(s, to, a, math::sigmoid::<F>),
            MapOp::Silu => map1(s, to, a, |x| x * math::sigmoid::<F>(x)),
            MapOp::Truncate => map1(s, to, a, |x| if x.is_nan() { 0.0 } else { x.trunc() }),
            MapOp::NonZero => map1(s, to, a, |x| if x == 0.0 { 0.0 } else { 1.0 }),
            MapOp::Add => map2(s, to, a, b, |x, y| x + y),
            MapOp::Sub => map2(s, to, a, b, |x, y| x - y),
            MapOp::Mul => map2(s, to, a, b, |x, y| x * y),
            MapOp::Div => map2(s, to, a, b, |x, y| x / y),
            MapOp::FloorDiv => map2(s, to, a, b, floor_div),
            MapOp::Mod => map2(s, to, a, b, modulo),
            MapOp::Max => map2(s, to, a, b, max),
            MapOp::Min => map2(s, to, a, b, min),
            MapOp::Pow => map2(s, to, a, b, f32::powf),
            MapOp::Equal => map2(s, to, a, b, |x, y| truth(x == y)),
            MapOp::NotEqual => map2(s, to, a, b, |x, y| truth(x != y)),
            MapOp::Greater => map2(s, to, a, b, |x, y| truth(x > y)),
            MapOp::GreaterEqual => map2(s, to, a, b, |x, y| truth(x >= y)),
            MapOp::Where => map2(s, to, a, b, |x, y| if x != 0.0 { y } else { -0.0 }),
            MapOp::Otherwise => map2(s, to, a, b, |x, y| if x == 0.0 { y } else { -0.0 }),
        }
    }
}

#[inline(always)]
fn truth(holds: bool) -> f32 {
    if holds { 1.0 } else { 0.0 }
}

/// In fp64, lest a quotient is rounded up to a whole number.
#[inline(always)]
fn floor_div(x: f32, y: f32) -> f32 {
    (f64::from(x) / f64::from(y)).floor() as f32
}

/// The remainder has the sign of the divisor.
#[inline(always)]
fn modulo(x: f32, y: f32) -> f32 {
    let (x, y) = (f64::from(x), f64::from(y));
    (x - y * (x / y).floor()) as f32
}

/// The larger; NaN when either is.
#[inline(always)]
fn max(x: f32, y: f32) -> f32 {
    if x > y || x.is_nan() { x } else { y }
}

/// The smaller; NaN when either is.
#[inline(always)]
fn min(x: f32, y: f32) -> f32 {
    if x < y || x.is_nan() { x } else { y }
}

#[inline(always)]
unsafe fn map1(s: Span, to: Plane, a: Plane, f: impl Fn(f32) -> f32 + Copy) {
    let s = s.flat(&[to, a]);
    for r in 0..s.rows {
        // SAFETY: the caller's promise.
        let to = unsafe { to.row_mut(r, s.columns) };
        if a.column == 1 {
            // SAFETY: as above.
            let a = unsafe { a.row(r, s.columns) };
            to.iter_mut().zip(a).for_each(|(to, &a)| *to = f(a));
        } else {
            // SAFETY: as above.
            to.fill(f(unsafe { a.get(r, 0) }));
        }
    }
}

#[inline(always)]
unsafe fn map2(s: Span, to: Plane, a: Plane, b: Plane, f: impl Fn(f32, f32) -> f32 + Copy) {
    let s = s.flat(&[to, a, b]);
    for r in 0..s.rows {
        // SAFETY: the caller's promise, here and in each arm.
        unsafe {
            let to = to.row_mut(r, s.columns);
            match (a.column, b.column) {
                (1, 1) => {
                    let (a, b) = (a.row(r, s.columns), b.row(r, s.columns));
                    to.iter_mut().zip(a).zip(b).for_each(|((to, &a), &b)| *to = f(a, b));
                }
                (1, _) => {
                    let b = b.get(r, 0);
                    to.iter_mut().zip(a.row(r, s.columns)).for_each(|(to, &a)| *to = f(a, b));
                }
                (_, 1) => {
                    let a = a.get(r, 0);
                    to.iter_mut().zip(b.row(r, s.columns)).for_each(|(to, &b)| *to = f(a, b));
                }
                _ => to.fill(f(a.get(r, 0), b.get(r, 0))),
            }
        }
    }
}

/// An op computed by an arithmetic, row by row.
unsafe fn foreign_map(
    foreign: Foreign<'_>,
    (op, arity, site): (MapOp, Arity, usize),
    s: Span,
    to: Plane,
    a: Plane,
    b: Plane,
) {
    let s = s.flat(&[to, a, b]);
    let mut saturated = 0;
    for r in 0..s.rows {
        // SAFETY: the caller's promise, here and in each arm.
        unsafe {
            let to = to.row_mut(r, s.columns);
            let term = |plane: Plane| match plane.column {
                0 => Term::One(plane.get(r, 0)),
                _ => Term::Each(plane.row(r, s.columns)),
            };
            saturated += match (arity, term(a)) {
                (Arity::Two, a) => foreign.arithmetic.map2(op, a, term(b), to),
                (Arity::One, Term::Each(a)) => foreign.arithmetic.map1(op, a, to),
                (Arity::One, Term::One(a)) => {
                    let mut one = [0.0];
                    let saturated = foreign.arithmetic.map1(op, &[a], &mut one);
                    to.fill(one[0]);
                    saturated * to.len() as u64
                }
            };
        }
    }
    foreign.count(site, saturated);
}

#[inline(always)]
unsafe fn in_place(s: Span, to: Plane, f: impl Fn(&mut [f32])) {
    let s = s.flat(&[to]);
    for r in 0..s.rows {
        // SAFETY: the caller's promise.
        f(unsafe { to.row_mut(r, s.columns) });
    }
}

/// Moves a tile of any strides, in blocks that keep both sides in cache when one is the other transposed.
#[inline(always)]
unsafe fn scatter(s: Span, to: Plane, a: Plane) {
    const BLOCK: usize = 16;
    for first in (0..s.columns).step_by(BLOCK) {
        for r in 0..s.rows {
            for c in first..s.columns.min(first + BLOCK) {
                // SAFETY: the caller's promise.
                unsafe { *to.at.add(r * to.row + c * to.column) = a.get(r, c) };
            }
        }
    }
}

/// Partial results a row reduction keeps; fixed, so that every instruction set adds in the same order.
const LANES: usize = 32;

#[inline(always)]
unsafe fn reduce_rows(op: ReduceOp, s: Span, to: Plane, a: Plane) {
    for r in 0..s.rows {
        // SAFETY: the caller's promise; `to` is a row register.
        unsafe {
            let row = a.row(r, s.columns);
            *to.at.add(r) = match op {
                ReduceOp::Sum => reduce_row(row, 0.0, |x, y| x + y),
                ReduceOp::Prod => reduce_row(row, 1.0, |x, y| x * y),
                ReduceOp::Max => reduce_row(row, f32::NEG_INFINITY, max),
                ReduceOp::Min => reduce_row(row, f32::INFINITY, min),
            };
        }
    }
}

#[inline(always)]
fn reduce_row(row: &[f32], start: f32, f: impl Fn(f32, f32) -> f32 + Copy) -> f32 {
    let mut lanes = [start; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = f(lanes[i], chunk[i]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = f(*lane, x);
    }
    // Loops of known extents, so that lanes stay in registers.
    halve::<16>(&mut lanes, f);
    halve::<8>(&mut lanes, f);
    halve::<4>(&mut lanes, f);
    halve::<2>(&mut lanes, f);
    f(lanes[0], lanes[1])
}

/// Combines each of the first `N` lanes with its counterpart in the next `N`.
#[inline(always)]
fn halve<const N: usize>(lanes: &mut [f32; LANES], f: impl Fn(f32, f32) -> f32 + Copy) {
    for i in 0..N {
        lanes[i] = f(lanes[i], lanes[i + N]);
    }
}

#[inline(always)]
unsafe fn reduce_columns(op: ReduceOp, s: Span, accumulator: *mut f32, a: Plane) {
    // SAFETY: the accumulator holds a tile's columns and is the thread's own.
    let accumulator = unsafe { std::slice::from_raw_parts_mut(accumulator, s.columns) };
    // SAFETY: the caller's promise, for every arm.
    unsafe {
        match op {
            ReduceOp::Sum => fold_rows(s, accumulator, a, |x, y| x + y),
            ReduceOp::Prod => fold_rows(s, accumulator, a, |x, y| x * y),
            ReduceOp::Max => fold_rows(s, accumulator, a, max),
            ReduceOp::Min => fold_rows(s, accumulator, a, min),
        }
    }
}

#[inline(always)]
unsafe fn fold_rows(s: Span, accumulator: &mut [f32], a: Plane, f: impl Fn(f32, f32) -> f32 + Copy) {
    for r in 0..s.rows {
        if a.column == 1 {
            // SAFETY: the caller's promise.
            let row = unsafe { a.row(r, s.columns) };
            accumulator.iter_mut().zip(row).for_each(|(to, &x)| *to = f(*to, x));
        } else {
            // SAFETY: as above.
            let x = unsafe { a.get(r, 0) };
            accumulator.iter_mut().for_each(|to| *to = f(*to, x));
        }
    }
}

/// The value a reduction starts from.
pub(crate) fn start(op: ReduceOp) -> f32 {
    match op {
        ReduceOp::Sum => 0.0,
        ReduceOp::Prod => 1.0,
        ReduceOp::Max => f32::NEG_INFINITY,
        ReduceOp::Min => f32::INFINITY,
    }
}

/// Combines two partial results.
pub(crate) fn combine(op: ReduceOp, x: f32, y: f32) -> f32 {
    match op {
        ReduceOp::Sum => x + y,
        ReduceOp::Prod => x * y,
        ReduceOp::Max => max(x, y),
        ReduceOp::Min => min(x, y),
    }
}
