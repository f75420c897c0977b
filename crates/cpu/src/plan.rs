//! From the graph to steps and memory.

use crate::{
    CompileError,
    fuse::{Work, fuse},
    graph::{Graph, Kind},
    memory::{Access, Buffer, Origin},
    place::{Home, place},
    step::Step,
    triangle::Triangles,
    view::{View, elements, row_major},
};

/// Steps in order, and the memory they need.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) buffers: Vec<Buffer>,
    pub(crate) constants: Vec<Vec<f32>>,
    /// Elements of the arena.
    pub(crate) arena: usize,
}

/// Plans a graph. `name` is the function's, for errors.
pub(crate) fn plan(mut graph: Graph, name: &str) -> Result<Plan, CompileError> {
    let homes = place(&mut graph);
    let work = fuse(&graph);
    let triangles = Triangles::new(&graph, &work);
    let consumers = graph.consumers();
    let live = graph.live();
    let mut planner = Planner {
        places: vec![None; graph.nodes.len()],
        buffers: Vec::new(),
        constants: Vec::new(),
        broken: false,
        live,
        consumers,
        homes,
        triangles,
        graph,
    };
    let steps: Vec<Step> = work
        .into_iter()
        .enumerate()
        .map(|(index, work)| match work {
            Work::Loop(group) => Step::Loop(planner.emit_loop(&group, planner.triangles.is_trimmed(index))),
            Work::Alone(node) => Step::alone(&mut planner, node),
        })
        .collect();
    if planner.broken {
        return Err(CompileError::Plan { value: name.into() });
    }
    let mut buffers = planner.buffers;
    let arena = lay_out(&steps, &mut buffers);
    Ok(Plan { steps, buffers, constants: planner.constants, arena })
}

/// Where the elements of a node are.
#[derive(Clone, Debug)]
struct Place {
    access: Access,
    /// True when they lie one after the other.
    dense: bool,
}

/// Resolves nodes to memory while steps are made.
pub(crate) struct Planner {
    pub(crate) graph: Graph,
    pub(crate) triangles: Triangles,
    homes: Vec<Home>,
    consumers: Vec<Vec<usize>>,
    live: Vec<bool>,
    places: Vec<Option<Place>>,
    buffers: Vec<Buffer>,
    constants: Vec<Vec<f32>>,
    /// Set when an access does not fit its buffer.
    broken: bool,
}

impl Planner {
    /// True when a node's elements must be in memory after the nodes of `group` have run together.
    pub(crate) fn is_stored(&self, node: usize, group: &[usize]) -> bool {
        self.homes[node] != Home::Own
            || self.consumers[node].iter().any(|c| self.live[*c] && !group.contains(c))
    }

    /// The memory of a node's elements.
    pub(crate) fn result(&mut self, node: usize) -> Access {
        let access = self.place(node).access;
        let shape = self.graph.nodes[node].shape.clone();
        self.check(access, &shape)
    }

    /// The memory a view reads.
    pub(crate) fn access(&mut self, view: &View) -> Access {
        let Place { mut access, dense } = self.place(view.node);
        access.strides = if dense {
            view.strides.clone()
        } else {
            // Only the node as it is is ever read from a strided place, with axes of extent 1 repeated.
            let own = &self.graph.nodes[view.node].shape;
            (0..own.len()).map(|i| if own[i] == view.shape[i] { access.strides[i] } else { 0 }).collect()
        };
        access.offset += view.offset;
        self.check(access, &view.shape)
    }

    /// True when a buffer holds a constant.
    pub(crate) fn is_constant(&self, buffer: usize) -> bool {
        matches!(self.buffers[buffer].origin, Origin::Constant(_))
    }

    fn check(&mut self, access: Access, shape: &[usize]) -> Access {
        self.broken |= !access.fits(shape, self.buffers[access.buffer].len);
        access
    }

    fn buffer(&mut self, origin: Origin, len: usize) -> usize {
        let buffer = Buffer { origin, len };
        let shared =
            self.buffers.iter().position(|b| *b == buffer).filter(|_| !matches!(origin, Origin::Arena(_)));
        shared.unwrap_or_else(|| {
            self.buffers.push(buffer);
            self.buffers.len() - 1
        })
    }

    fn place(&mut self, node: usize) -> Place {
        if let Some(place) = &self.places[node] {
            return place.clone();
        }
        let shape = self.graph.nodes[node].shape.clone();
        let place = match self.homes[node].clone() {
            Home::Own => self.own(node, &shape),
            Home::Output(i) => {
                let buffer = self.buffer(Origin::Output(i), elements(&shape));
                Place { access: Access { buffer, offset: 0, strides: row_major(&shape) }, dense: true }
            }
            Home::Within(view) => {
                // A concatenation is never kept strided itself, so its elements lie where its views say.
                let parent = self.place(view.node).access;
                let dense = view.is_dense();
                let strides = if dense { row_major(&shape) } else { view.strides };
                let offset = parent.offset + view.offset;
                Place { access: Access { buffer: parent.buffer, offset, strides }, dense }
            }
        };
        self.places[node] = Some(place.clone());
        place
    }

    fn own(&mut self, node: usize, shape: &[usize]) -> Place {
        let origin = match &mut self.graph.nodes[node].kind {
            Kind::Input(i) => Origin::Input(*i),
            Kind::Const(data) => {
                // Constants of one element are also read as immediates.
                self.constants.push(if data.len() == 1 { data.clone() } else { std::mem::take(data) });
                Origin::Constant(self.constants.len() - 1)
            }
            _ => Origin::Arena(0),
        };
        let buffer = self.buffer(origin, elements(shape));
        Place { access: Access { buffer, offset: 0, strides: row_major(shape) }, dense: true }
    }
}

/// Elements that arena buffers are aligned to: a cache line.
pub(crate) const ALIGNMENT: usize = 16;

/// Gives every arena buffer a place that no buffer in use at the same time has, and returns the arena's size. Larger
/// buffers choose first, each takes the lowest gap that fits.
fn lay_out(steps: &[Step], buffers: &mut [Buffer]) -> usize {
    let mut spans: Vec<Option<(usize, usize)>> = vec![None; buffers.len()];
    for (i, step) in steps.iter().enumerate() {
        for b in step.buffers() {
            let span = spans[b].get_or_insert((i, i));
            span.1 = i;
        }
    }
    let arena = |b: &Buffer| matches!(b.origin, Origin::Arena(_));
    let mut order: Vec<usize> = (0..buffers.len()).filter(|&b| arena(&buffers[b])).collect();
    order.sort_by_key(|&b| (std::cmp::Reverse(buffers[b].len), b));
    let mut placed: Vec<(usize, usize, usize)> = Vec::new();
    let mut size = 0;
    for b in order {
        let Some((first, last)) = spans[b] else { continue };
        let len = buffers[b].len.next_multiple_of(ALIGNMENT);
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|(other, ..)| spans[*other].is_some_and(|(f, l)| f <= last && first <= l))
            .map(|&(_, at, len)| (at, at + len))
            .collect();
        taken.sort_unstable();
        let mut at = 0;
        for (begin, end) in taken {
            if at + len <= begin {
                break;
            }
            at = at.max(end);
        }
        buffers[b].origin = Origin::Arena(at);
        placed.push((b, at, len));
        size = size.max(at + len);
    }
    size
}
