//! Making a loop from a group of nodes: one nest of axes for all operands, one program for a tile.

use std::collections::HashMap;

use super::loops::{LoopStep, Mode, Operand, Reduction};
use crate::{
    fuse::Group,
    graph::{Kind, MapOp, ReduceOp, Round},
    memory::Access,
    plan::Planner,
    simd::kernels::{Arity, Code, Instruction, Place},
    view::View,
};

impl Planner {
    /// The loop that computes a group; `trimmed` when of squares it need not know what is above the diagonal.
    pub(crate) fn emit_loop(&mut self, group: &Group, trimmed: bool) -> LoopStep {
        let operands = Operands::gather(self, group);
        let reduced = group.sink.map(|sink| match &self.graph.nodes[sink].kind {
            Kind::Reduce { axes, .. } => axes.clone(),
            _ => Vec::new(),
        });
        let whole_rows = group.rows || trimmed;
        let nest = Nest::new(&group.shape, reduced.as_deref(), whole_rows, &operands.accesses);
        let mut emitter = Emitter {
            planner: self,
            group,
            operands: &operands,
            nest: &nest,
            places: HashMap::new(),
            moved: HashMap::new(),
            instructions: Vec::new(),
            registers: 0,
            row_registers: 0,
        };
        let mode = emitter.group(whole_rows);
        let mut instructions = emitter.instructions;
        let registers = reuse(&mut instructions, &mode);
        LoopStep {
            outer: nest.outer,
            rows: nest.rows,
            columns: nest.columns,
            operands: nest.operands,
            instructions,
            mode,
            trimmed,
            registers,
        }
    }
}

/// The memory a group reads and writes, all with the axes of its loop.
struct Operands {
    accesses: Vec<Access>,
    /// By the view read.
    reads: HashMap<(usize, usize), usize>,
    /// By the node stored.
    writes: HashMap<usize, usize>,
}

impl Operands {
    fn gather(planner: &mut Planner, group: &Group) -> Self {
        let mut operands = Self { accesses: Vec::new(), reads: HashMap::new(), writes: HashMap::new() };
        let all: Vec<usize> = group.nodes.iter().chain(&group.sink).copied().collect();
        for &node in &all {
            let views: Vec<View> = planner.graph.nodes[node].kind.views().into_iter().cloned().collect();
            for (i, view) in views.iter().enumerate() {
                if group.nodes.contains(&view.node) || planner.graph.immediate(view).is_some() {
                    continue;
                }
                let access = planner.access(view);
                let same = operands.accesses.iter().position(|a| *a == access);
                let index = same.unwrap_or_else(|| {
                    operands.accesses.push(access);
                    operands.accesses.len() - 1
                });
                operands.reads.insert((node, i), index);
            }
            if planner.is_stored(node, &all) || group.sink == Some(node) {
                let mut access = planner.result(node);
                // Axes the node does not have, because it reduces them, do not move it.
                let shape = &planner.graph.nodes[node].shape;
                for (axis, stride) in access.strides.iter_mut().enumerate() {
                    if shape[axis] != group.shape[axis] {
                        *stride = 0;
                    }
                }
                operands.writes.insert(node, operands.accesses.len());
                operands.accesses.push(access);
            }
        }
        operands
    }
}

/// The axes of a loop after dropping, ordering and merging, and its operands with their strides.
struct Nest {
    outer: Vec<usize>,
    rows: usize,
    columns: usize,
    operands: Vec<Operand>,
    /// How many outer axes are kept by the reduction.
    kept: usize,
    /// True when the reduction keeps the columns.
    keeps_columns: bool,
}

/// What an axis is for; only neighbours of one class are merged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Kept,
    Reduced,
    Columns,
}

#[derive(Clone)]
struct Axis {
    extent: usize,
    class: Class,
    /// Stride of each operand.
    strides: Vec<usize>,
}

impl Nest {
    fn new(shape: &[usize], reduced: Option<&[usize]>, whole_rows: bool, accesses: &[Access]) -> Self {
        let last = shape.len().wrapping_sub(1);
        let axis = |i: usize| Axis {
            extent: shape[i],
            class: match reduced {
                Some(axes) if axes.contains(&i) => Class::Reduced,
                None if whole_rows && i == last => Class::Columns,
                _ => Class::Kept,
            },
            strides: accesses.iter().map(|a| a.strides[i]).collect(),
        };
        let mut axes: Vec<Axis> = (0..shape.len()).filter(|&i| shape[i] != 1).map(axis).collect();
        let keeps_columns = reduced.is_some() && axes.last().is_some_and(|a| a.class == Class::Kept);
        if reduced.is_some() {
            let columns = if keeps_columns { axes.pop() } else { None };
            axes.sort_by_key(|a| a.class == Class::Reduced);
            axes.extend(columns.map(|a| Axis { class: Class::Columns, ..a }));
        }
        let mut axes = merge(axes);
        // A row and a column axis there must be. Rows of a reduction must be reduced.
        let unit = |class| Axis { extent: 1, class, strides: vec![0; accesses.len()] };
        if axes.is_empty() {
            axes.push(Axis { strides: vec![1; accesses.len()], ..unit(Class::Kept) });
        }
        let single = axes.len() < 2 || (reduced.is_some() && axes[axes.len() - 2].class == Class::Kept);
        if single {
            let class = if reduced.is_some() { Class::Reduced } else { Class::Kept };
            axes.insert(axes.len() - 1, unit(class));
        }
        let outer = &axes[..axes.len() - 2];
        let (row, column) = (&axes[axes.len() - 2], &axes[axes.len() - 1]);
        let operand = |i: usize| Operand {
            buffer: accesses[i].buffer,
            offset: accesses[i].offset,
            outer: outer.iter().map(|a| a.strides[i]).collect(),
            row: row.strides[i],
            column: column.strides[i],
        };
        Self {
            operands: (0..accesses.len()).map(operand).collect(),
            kept: outer.iter().filter(|a| a.class == Class::Kept).count(),
            outer: outer.iter().map(|a| a.extent).collect(),
            rows: row.extent,
            columns: column.extent,
            keeps_columns,
        }
    }
}

/// Joins neighbours that every operand walks with one stride.
fn merge(axes: Vec<Axis>) -> Vec<Axis> {
    let mut merged: Vec<Axis> = Vec::new();
    for axis in axes {
        if let Some(outer) = merged.last_mut() {
            let one_stride = outer.strides.iter().zip(&axis.strides).all(|(&o, &i)| o == i * axis.extent);
            if outer.class == axis.class && one_stride {
                *outer = Axis { extent: outer.extent * axis.extent, ..axis };
                continue;
            }
        }
        merged.push(axis);
    }
    merged
}

struct Emitter<'a> {
    planner: &'a Planner,
    group: &'a Group,
    operands: &'a Operands,
    nest: &'a Nest,
    /// Where each node of the group is in a tile.
    places: HashMap<usize, Place>,
    /// Registers that hold operands which instructions cannot read in place, by operand and kind.
    moved: HashMap<(usize, bool), Place>,
    instructions: Vec<Instruction>,
    registers: u16,
    row_registers: u16,
}

impl Emitter<'_> {
    fn group(&mut self, whole_rows: bool) -> Mode {
        for &node in &self.group.nodes {
            self.node(node);
        }
        let Some(sink) = self.group.sink else { return Mode::Map { whole_rows } };
        let node = &self.planner.graph.nodes[sink];
        let Kind::Reduce { op, x, .. } = &node.kind else { return Mode::Map { whole_rows: false } };
        let reduction =
            Reduction { op: *op, round: node.round, to: self.operands.writes[&sink], kept: self.nest.kept };
        if self.nest.keeps_columns {
            let a = self.read(sink, 0, x, false);
            self.push(Code::Columns(*op), Place::Immediate(0.0), a, a, false);
            return Mode::Columns(reduction);
        }
        // A fold has no other row registers, so this is the first.
        let row = self.row_register();
        self.rows(*op, Place::RowRegister(row), sink, x);
        Mode::Fold { reduction, row: usize::from(row) }
    }

    fn push(&mut self, code: Code, to: Place, a: Place, b: Place, per_row: bool) {
        self.instructions.push(Instruction { code, to, a, b, per_row });
    }

    fn register(&mut self) -> u16 {
        self.registers += 1;
        self.registers - 1
    }

    fn row_register(&mut self) -> u16 {
        self.row_registers += 1;
        self.row_registers - 1
    }

    fn fresh(&mut self, per_row: bool) -> Place {
        if per_row { Place::RowRegister(self.row_register()) } else { Place::Register(self.register()) }
    }

    fn node(&mut self, id: usize) {
        let node = &self.planner.graph.nodes[id];
        let write = self.operands.writes.get(&id).copied();
        match &node.kind {
            Kind::Map { op, args } => {
                let per_row = self.group.rows && node.shape != self.group.shape;
                let a = self.read(id, 0, &args[0], per_row);
                let b = args.get(1).map_or(a, |view| self.read(id, 1, view, per_row));
                // Results go straight to memory where columns are neighbours.
                let direct = write.filter(|&w| !per_row && self.nest.operands[w].column == 1);
                let to = direct.map_or_else(|| self.fresh(per_row), |w| Place::Operand(w as u16));
                if node.round == Round::Foreign {
                    let arity = if args.len() == 1 { Arity::One } else { Arity::Two };
                    self.push(Code::Foreign(*op, arity, node.site as u32), to, a, b, per_row);
                } else {
                    self.push(Code::Map(simplify(*op, b)), to, a, b, per_row);
                    self.round(node.round, to, per_row);
                }
                self.places.insert(id, to);
                if let Some(w) = write.filter(|_| direct.is_none()) {
                    self.push(Code::Move, Place::Operand(w as u16), to, to, per_row);
                }
            }
            Kind::Reduce { op, x, .. } => {
                let to = self.fresh(true);
                self.rows(*op, to, id, x);
                self.round(node.round, to, true);
                self.places.insert(id, to);
                if let Some(w) = write {
                    self.push(Code::Move, Place::Operand(w as u16), to, to, true);
                }
            }
            _ => {}
        }
    }

    fn round(&mut self, round: Round, to: Place, per_row: bool) {
        if round != Round::Keep {
            self.push(Code::Round(round), to, to, to, per_row);
        }
    }

    /// Reduces rows of `x`, which must be neighbours in memory.
    fn rows(&mut self, op: ReduceOp, to: Place, node: usize, x: &View) {
        let mut a = self.read(node, 0, x, false);
        let apart = match a {
            Place::Operand(o) => self.nest.operands[usize::from(o)].column != 1,
            Place::Register(_) => false,
            Place::RowRegister(_) | Place::Immediate(_) => true,
        };
        if apart {
            let register = self.fresh(false);
            self.push(Code::Move, register, a, a, false);
            a = register;
        }
        self.push(Code::Rows(op), to, a, a, false);
    }

    /// Where an operand of a node is in a tile.
    fn read(&mut self, node: usize, arg: usize, view: &View, per_row: bool) -> Place {
        if let Some(place) = self.places.get(&view.node).filter(|_| self.group.nodes.contains(&view.node)) {
            return *place;
        }
        if let Some(value) = self.planner.graph.immediate(view) {
            return Place::Immediate(value);
        }
        let index = self.operands.reads[&(node, arg)];
        let operand = &self.nest.operands[index];
        let place = Place::Operand(index as u16);
        let apart = if per_row { operand.row } else { operand.column };
        if apart <= 1 {
            return place;
        }
        if let Some(moved) = self.moved.get(&(index, per_row)) {
            return *moved;
        }
        let register = self.fresh(per_row);
        self.push(Code::Move, register, place, place, per_row);
        self.moved.insert((index, per_row), register);
        register
    }
}

/// Powers that have ops of their own.
fn simplify(op: MapOp, exponent: Place) -> MapOp {
    match (op, exponent) {
        (MapOp::Pow, Place::Immediate(-0.5)) => MapOp::Rsqrt(0.0),
        (MapOp::Pow, Place::Immediate(0.5)) => MapOp::Sqrt,
        (MapOp::Pow, Place::Immediate(-1.0)) => MapOp::Inverse(0.0),
        (MapOp::Pow, Place::Immediate(1.0)) => MapOp::Copy,
        (MapOp::Pow, Place::Immediate(2.0)) => MapOp::Square,
        _ => op,
    }
}

/// Renumbers registers so that one is used again once its last reader is past. Returns how many of either kind remain.
fn reuse(instructions: &mut [Instruction], mode: &Mode) -> (usize, usize) {
    let pinned = match mode {
        Mode::Fold { row, .. } => Some(Place::RowRegister(*row as u16)),
        _ => None,
    };
    let is_register = |p: &Place| matches!(p, Place::Register(_) | Place::RowRegister(_));
    let mut last: Vec<(Place, usize)> = Vec::new();
    for (i, instruction) in instructions.iter().enumerate() {
        for place in [instruction.to, instruction.a, instruction.b].into_iter().filter(is_register) {
            match last.iter_mut().find(|(p, _)| *p == place) {
                Some(entry) => entry.1 = i,
                None => last.push((place, i)),
            }
        }
    }
    let mut names: Vec<(Place, Place)> = Vec::new();
    let mut free: Vec<Place> = Vec::new();
    let mut counts = (0u16, u16::from(pinned.is_some()));
    let same_kind = |a: &Place, b: &Place| matches!(a, Place::Register(_)) == matches!(b, Place::Register(_));
    for (i, instruction) in instructions.iter_mut().enumerate() {
        let used = [instruction.to, instruction.a, instruction.b];
        for place in [&mut instruction.a, &mut instruction.b, &mut instruction.to] {
            if !is_register(place) || Some(*place) == pinned {
                continue;
            }
            if let Some((_, name)) = names.iter().find(|(p, _)| p == place) {
                *place = *name;
                continue;
            }
            let again = free.iter().position(|f| same_kind(f, place)).map(|at| free.swap_remove(at));
            let name = again.unwrap_or_else(|| match place {
                Place::Register(_) => {
                    counts.0 += 1;
                    Place::Register(counts.0 - 1)
                }
                _ => {
                    counts.1 += 1;
                    Place::RowRegister(counts.1 - 1)
                }
            });
            names.push((*place, name));
            *place = name;
        }
        for place in used.iter().filter(|p| is_register(p) && Some(**p) != pinned) {
            let done = last.iter().any(|(p, at)| p == place && *at == i);
            if let Some(at) = names.iter().position(|(p, _)| p == place).filter(|_| done) {
                free.push(names.swap_remove(at).1);
            }
        }
    }
    (usize::from(counts.0), usize::from(counts.1))
}
