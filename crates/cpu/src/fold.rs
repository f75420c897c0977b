//! Computing at compile time what depends on constants alone.

use crate::{
    CompileError, Options,
    executable::Executable,
    graph::{Graph, Kind, Node, Round},
    view::View,
};

/// Replaces nodes that depend on constants alone, where others read them, by their elements.
pub(crate) fn fold(graph: &mut Graph, name: &str, options: &Options) -> Result<(), CompileError> {
    let known = known(graph);
    let live = graph.live();
    let mut wanted = vec![false; graph.nodes.len()];
    for (i, node) in graph.nodes.iter().enumerate().filter(|(i, _)| live[*i] && !known[*i]) {
        node.kind.views().iter().for_each(|v| wanted[v.node] = known[v.node]);
        debug_assert!(!wanted[i], "a node is computed after what it reads");
    }
    graph.outputs.iter().for_each(|v| wanted[v.node] |= known[v.node]);
    let wanted: Vec<usize> =
        (0..wanted.len()).filter(|&i| wanted[i] && graph.nodes[i].kind.is_computed()).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let results = evaluate(graph, &wanted, &known, name, options)?;
    for (i, elements) in wanted.into_iter().zip(results) {
        let node = &mut graph.nodes[i];
        (node.kind, node.round) = (Kind::Const(elements), Round::Keep);
    }
    Ok(())
}

/// For every node, whether it depends on constants alone. A part of a concatenation does only if all parts do, for it has
/// to be written into its place.
fn known(graph: &Graph) -> Vec<bool> {
    let mut known = vec![false; graph.nodes.len()];
    for (i, node) in graph.nodes.iter().enumerate() {
        match &node.kind {
            Kind::Input(_) => {}
            Kind::Const(_) => known[i] = true,
            Kind::Concat { parts } => {
                let all = parts.iter().all(|(part, _)| known[*part]);
                parts.iter().for_each(|(part, _)| known[*part] = all);
                known[i] = all;
            }
            kind => known[i] = kind.views().iter().all(|v| known[v.node]),
        }
    }
    known
}

/// The elements of the `wanted` nodes.
fn evaluate(
    graph: &Graph,
    wanted: &[usize],
    known: &[bool],
    name: &str,
    options: &Options,
) -> Result<Vec<Vec<f32>>, CompileError> {
    let outputs: Vec<View> = wanted.iter().map(|&i| View::whole(i, &graph.nodes[i].shape)).collect();
    let live = Graph::live_from(&graph.nodes, &outputs);
    // Nodes that take no part keep their index and lose their elements.
    let nodes = graph.nodes.iter().enumerate().map(|(i, node)| {
        let kind = if live[i] && known[i] { node.kind.clone() } else { Kind::Const(Vec::new()) };
        Node { shape: node.shape.clone(), kind, ..*node }
    });
    let part = Graph { nodes: nodes.collect(), outputs, sites: graph.sites.clone() };
    let mut results: Vec<Vec<f32>> = part.outputs.iter().map(|v| vec![0.0; v.elements()]).collect();
    let mut slices: Vec<&mut [f32]> = results.iter_mut().map(Vec::as_mut_slice).collect();
    let ports = wanted.iter().zip(&slices).map(|(i, s)| (i.to_string(), s.len())).collect();
    let mut executable = Executable::from_graph(part, name, Vec::new(), ports, options)?;
    executable.run(&[], &mut slices).map_err(|_| CompileError::Plan { value: name.into() })?;
    Ok(results)
}
