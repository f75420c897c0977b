//! Which nodes run together: chains of elementwise nodes, and reductions with what feeds and follows them, become one
//! loop.
//!
//! Nodes are taken in order. A group stays open as long as nobody outside needs its results; whoever does closes it.
//! Open groups therefore never depend on each other, and two of the same shape can be merged at any time.

use crate::{
    graph::{Graph, Kind},
    view::View,
};

/// Longest row that is kept in cache whole, in elements.
pub(crate) const LONGEST_ROW: usize = 4096;
/// Most nodes in a group.
const MOST_NODES: usize = 40;

/// A piece of work, in execution order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Work {
    /// One loop over the nodes of a group.
    Loop(Group),
    /// A node with a step of its own.
    Alone(usize),
}

/// Nodes that run in one loop over `shape`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    /// Extents of the loop.
    pub(crate) shape: Vec<usize>,
    /// Elementwise nodes and row reductions, in order.
    pub(crate) nodes: Vec<usize>,
    /// True when rows are taken whole, because nodes reduce them.
    pub(crate) rows: bool,
    /// A reduction at the end that is not over rows.
    pub(crate) sink: Option<usize>,
}

impl Group {
    /// Extents of what a row reduction of this group gives.
    fn row_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if let Some(last) = shape.last_mut() {
            *last = 1;
        }
        shape
    }
}

/// Orders the live nodes of `graph` into work.
pub(crate) fn fuse(graph: &Graph) -> Vec<Work> {
    let mut fuser =
        Fuser { graph, group_of: vec![None; graph.nodes.len()], groups: Vec::new(), work: Vec::new() };
    let live = graph.live();
    for i in (0..graph.nodes.len()).filter(|&i| live[i]) {
        match &graph.nodes[i].kind {
            Kind::Input(_) | Kind::Const(_) | Kind::Concat { .. } => {}
            Kind::Map { args, .. } => fuser.map(i, args),
            Kind::Reduce { x, axes, .. } => fuser.reduce(i, x, axes),
            kind => {
                kind.views().iter().for_each(|v| fuser.ready(v.node));
                fuser.work.push(Work::Alone(i));
            }
        }
    }
    for g in 0..fuser.groups.len() {
        fuser.close(g);
    }
    fuser.work
}

struct Fuser<'a> {
    graph: &'a Graph,
    /// The open group of each node.
    group_of: Vec<Option<usize>>,
    /// Groups; `None` once closed or merged.
    groups: Vec<Option<Group>>,
    work: Vec<Work>,
}

impl Fuser<'_> {
    /// Makes the elements of a node be in memory by now.
    fn ready(&mut self, node: usize) {
        if let Some(g) = self.group_of[node] {
            self.close(g);
        }
        if let Kind::Concat { parts } = &self.graph.nodes[node].kind {
            parts.iter().for_each(|(part, _)| self.ready(*part));
        }
    }

    fn is_pending(&self, node: usize) -> bool {
        match &self.graph.nodes[node].kind {
            Kind::Concat { parts } => parts.iter().any(|(part, _)| self.is_pending(*part)),
            _ => self.group_of[node].is_some(),
        }
    }

    fn close(&mut self, g: usize) {
        if let Some(group) = self.groups[g].take() {
            group.nodes.iter().chain(&group.sink).for_each(|&n| self.group_of[n] = None);
            self.work.push(Work::Loop(group));
        }
    }

    fn open(&mut self, shape: &[usize]) -> usize {
        let group = Group { shape: shape.to_vec(), nodes: Vec::new(), rows: false, sink: None };
        self.groups.push(Some(group));
        self.groups.len() - 1
    }

    fn join(&mut self, g: usize, node: usize) {
        if let Some(group) = &mut self.groups[g] {
            group.nodes.push(node);
            self.group_of[node] = Some(g);
        }
    }

    /// The open group in which a node of `shape` can read `view` as it is computed.
    fn joinable(&self, view: &View, shape: &[usize]) -> Option<usize> {
        let g = self.group_of[view.node]?;
        let group = self.groups[g].as_ref()?;
        let own = &self.graph.nodes[view.node].shape;
        let row_shape = group.row_shape();
        let fits = if shape == group.shape {
            let repeated =
                group.rows && *own == row_shape && *view == View::whole(view.node, own).broadcast(shape);
            repeated || (*own == shape && view.is_whole(shape))
        } else {
            group.rows && shape == row_shape && *own == shape && view.is_whole(shape)
        };
        fits.then_some(g)
    }

    /// The open group for a node of `shape` with these operands: theirs, merged, or none.
    fn group_for(&mut self, args: &[View], shape: &[usize]) -> Option<usize> {
        for view in args {
            if self.is_pending(view.node) && self.joinable(view, shape).is_none() {
                self.ready(view.node);
            }
        }
        let mut found: Option<usize> = None;
        for view in args {
            // Closing or merging for an earlier operand may have settled this one.
            let Some(g) = self.joinable(view, shape) else { continue };
            match found {
                Some(first) if first != g => self.merge(first, g),
                _ => found = Some(g),
            }
        }
        let full = |group: &Group| group.nodes.len() >= MOST_NODES;
        if let Some(g) = found.filter(|&g| self.groups[g].as_ref().is_some_and(full)) {
            self.close(g);
            return None;
        }
        found
    }

    /// Moves the nodes of `from` into `into`, or closes `from` when they do not fit together.
    fn merge(&mut self, into: usize, from: usize) {
        let (Some(a), Some(b)) = (&self.groups[into], &self.groups[from]) else { return };
        if a.shape != b.shape || a.nodes.len() + b.nodes.len() > MOST_NODES {
            return self.close(from);
        }
        let Some(taken) = self.groups[from].take() else { return };
        if let Some(group) = &mut self.groups[into] {
            group.rows |= taken.rows;
            group.nodes.extend(&taken.nodes);
            group.nodes.sort_unstable();
        }
        taken.nodes.iter().for_each(|&n| self.group_of[n] = Some(into));
    }

    fn map(&mut self, node: usize, args: &[View]) {
        let shape = &self.graph.nodes[node].shape;
        let g = self.group_for(args, shape).unwrap_or_else(|| self.open(shape));
        self.join(g, node);
    }

    fn reduce(&mut self, node: usize, x: &View, axes: &[usize]) {
        let last = x.shape.len() - 1;
        let row = axes == [last] && x.shape[last] <= LONGEST_ROW;
        let joined = self.group_for(std::slice::from_ref(x), &x.shape);
        let is_rows = |g: usize| self.groups[g].as_ref().is_some_and(|group| group.rows);
        let g = match joined {
            // Only a row reduction can stand where rows are taken whole.
            Some(g) if !row && is_rows(g) => {
                self.close(g);
                self.open(&x.shape)
            }
            Some(g) => g,
            None => self.open(&x.shape),
        };
        if row {
            self.join(g, node);
            if let Some(group) = &mut self.groups[g] {
                group.rows = true;
            }
        } else if let Some(group) = &mut self.groups[g] {
            group.sink = Some(node);
            self.close(g);
        }
    }
}
