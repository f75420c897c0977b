//! Where nodes live: results go straight into outputs and into their part of a concatenation where possible.

use crate::{
    graph::{Graph, Kind},
    view::View,
};

/// Where the elements of a node are kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Home {
    /// In memory of its own: for inputs and constants theirs, else the arena.
    Own,
    /// In the slice of this output.
    Output(usize),
    /// In a place of a concatenation.
    Within(View),
}

/// Chooses the home of every node. Outputs that cannot be computed in place get a copy; copies into concatenations whose
/// source can be computed in place are dropped.
pub(crate) fn place(graph: &mut Graph) -> Vec<Home> {
    let mut homes = vec![Home::Own; graph.nodes.len()];
    for i in 0..graph.outputs.len() {
        let view = graph.outputs[i].clone();
        let node = &graph.nodes[view.node];
        let direct = node.kind.is_computed() && view.covers(&node.shape) && homes[view.node] == Home::Own;
        let node = if direct { view.node } else { graph.copy(&view).node };
        homes.resize(graph.nodes.len(), Home::Own);
        homes[node] = Home::Output(i);
        graph.outputs[i] = View::whole(node, &graph.nodes[node].shape);
    }
    let live = graph.live();
    let mut consumers = graph.consumers();
    for c in (0..graph.nodes.len()).rev().filter(|&c| live[c]) {
        let Kind::Concat { parts } = &graph.nodes[c].kind else { continue };
        let mut parts = parts.clone();
        for (part, place) in &mut parts {
            if let Some(source) = direct_source(graph, &homes, &consumers, *part, place) {
                consumers[source].retain(|r| r != part);
                *part = source;
            }
            homes[*part] = Home::Within(place.clone());
        }
        graph.nodes[c].kind = Kind::Concat { parts };
    }
    homes
}

/// The node that can be computed into `place` instead of being copied there by `part`.
fn direct_source(
    graph: &Graph,
    homes: &[Home],
    consumers: &[Vec<usize>],
    part: usize,
    place: &View,
) -> Option<usize> {
    let Kind::Map { args, .. } = &graph.nodes[part].kind else { return None };
    let source = args[0].node;
    let node = &graph.nodes[source];
    let free = node.kind.is_computed() && homes[source] == Home::Own && args[0].covers(&node.shape);
    // In a dense place views of the node still hold; in a strided one only the node as it is can be read.
    let as_it_is = || {
        let readers = || consumers[source].iter().map(|&c| &graph.nodes[c].kind);
        let reads = readers().flat_map(Kind::views);
        !matches!(node.kind, Kind::Concat { .. })
            && !node.is_written_dense()
            && !readers().any(|kind| matches!(kind, Kind::Lines { .. }))
            && args[0].shape == node.shape
            && reads.filter(|v| v.node == source).all(|v| reads_as_it_is(v, &node.shape))
    };
    (free && (place.is_dense() || as_it_is())).then_some(source)
}

/// True when the view keeps the node's axes, though it may repeat those of extent 1.
fn reads_as_it_is(view: &View, shape: &[usize]) -> bool {
    let dense = crate::view::row_major(shape);
    view.offset == 0
        && view.shape.len() == shape.len()
        && (0..shape.len())
            .all(|i| shape[i] == 1 || (view.shape[i] == shape[i] && view.strides[i] == dense[i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{MapOp, Round};

    #[test]
    fn a_result_is_computed_into_its_concatenation_and_the_concatenation_into_the_output() {
        let mut g = Graph::default();
        let x = g.push(&[1, 2, 1, 4], Kind::Input(0), Round::Keep);
        let y = g.map(MapOp::Exp, &[1, 2, 1, 4], &[&x], Round::Keep);
        let z = g.concat(&[y.clone(), x], 3, false);
        g.outputs = vec![z.clone(), y.clone()];
        let homes = place(&mut g);
        assert_eq!(homes[z.node], Home::Output(0));
        // `y` is an output itself, so the concatenation takes a copy.
        assert_eq!(homes[y.node], Home::Output(1));

        g.outputs = vec![z.clone()];
        let homes = place(&mut g);
        assert!(matches!(&homes[y.node], Home::Within(v) if v.node == z.node));
    }
}
