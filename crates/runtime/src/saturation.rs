//! Which ops of which layer saturated.

use std::collections::{BTreeMap, HashSet};

use ferrane_engine::OpSaturation;
use ferrane_mil::Opcode;

/// Results of an op in one layer that became infinite though its operands were finite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saturated {
    /// The layer; none for what comes after the last.
    pub layer: Option<usize>,
    /// The piece of the plan.
    pub kernel: &'static str,
    /// The op's first result.
    pub value: String,
    /// The op.
    pub op: Opcode,
    /// Such results.
    pub count: u64,
}

/// What saturated in a pass, in the order in which it first did.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    seen: Vec<(usize, &'static str, OpSaturation)>,
}

impl Watch {
    pub(crate) fn note(&mut self, layer: usize, kernel: &'static str, ops: Vec<OpSaturation>) {
        for op in ops {
            let same = |(l, k, o): &&mut (usize, &'static str, OpSaturation)| {
                (*l, *k, &o.value) == (layer, kernel, &op.value)
            };
            match self.seen.iter_mut().find(same) {
                Some((.., known)) => known.saturated += op.saturated,
                None => self.seen.push((layer, kernel, op)),
            }
        }
    }

    /// Values of a layer that saturated.
    pub(crate) fn of_layer(&self, layer: usize) -> impl Iterator<Item = &str> {
        self.seen.iter().filter(move |(l, ..)| *l == layer).map(|(.., op)| op.value.as_str())
    }

    /// The first value of a layer that saturated here and not in `forward`, which recomputed values did already: no loss scale
    /// helps those.
    pub(crate) fn gradient(&self, layer: usize, forward: &Watch) -> Option<&str> {
        let known: HashSet<&str> = forward.of_layer(layer).collect();
        self.of_layer(layer).find(|value| !known.contains(value))
    }

    /// What was seen since this was last asked. `layers` says whether the pass runs through layers.
    pub(crate) fn take(&mut self, layers: bool) -> Vec<Saturated> {
        let of = |(layer, kernel, op): (usize, &'static str, OpSaturation)| Saturated {
            layer: layers.then_some(layer),
            kernel,
            value: op.value,
            op: op.op,
            count: op.saturated,
        };
        std::mem::take(&mut self.seen).into_iter().map(of).collect()
    }
}

/// Adds up what is told of the same op in the same layer. Layers come in order, and what is after them last.
pub(crate) fn merged(all: Vec<Saturated>) -> Vec<Saturated> {
    let mut sums: BTreeMap<(usize, &'static str, String), Saturated> = BTreeMap::new();
    for one in all {
        let key = (one.layer.unwrap_or(usize::MAX), one.kernel, one.value.clone());
        sums.entry(key).and_modify(|sum| sum.count += one.count).or_insert(one);
    }
    sums.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(value: &str, saturated: u64) -> OpSaturation {
        OpSaturation { value: value.into(), op: Opcode::Mul, saturated }
    }

    #[test]
    fn recomputed_values_are_no_gradients() {
        let (mut forward, mut backward) = (Watch::default(), Watch::default());
        forward.note(1, "ffn_fwd", vec![op("h1", 2)]);
        backward.note(1, "ffn_bwd", vec![op("h1", 2), op("d_h1", 1)]);
        backward.note(0, "ffn_bwd", vec![op("h1", 2)]);
        assert_eq!(backward.gradient(1, &forward), Some("d_h1"));
        // In layer 0 it did not saturate on the way forward.
        assert_eq!(backward.gradient(0, &forward), Some("h1"));
        assert_eq!(backward.gradient(2, &forward), None);
    }

    #[test]
    fn counts_of_one_op_add_up_by_layer() {
        let mut watch = Watch::default();
        watch.note(1, "a", vec![op("y", 2)]);
        watch.note(0, "a", vec![op("y", 3)]);
        watch.note(1, "a", vec![op("y", 5)]);
        let mut head = Watch::default();
        head.note(0, "final", vec![op("z", 1)]);
        let mut all = head.take(false);
        all.extend(watch.take(true));
        let told: Vec<_> = merged(all).into_iter().map(|s| (s.layer, s.value, s.count)).collect();
        assert_eq!(told, [(Some(0), "y".into(), 3), (Some(1), "y".into(), 7), (None, "z".into(), 1)]);
        assert!(watch.take(true).is_empty());
    }
}
