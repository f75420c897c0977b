//! Dead code elimination.

use crate::{Function, Operand, ValueId};

/// `f` without the ops whose results nothing needs and without the values nothing defines. Inputs stay, used or not:
/// they are the function's signature.
pub fn dce(f: &Function) -> Function {
    let mut f = f.clone();
    let live = live(&f, &f.outputs);
    f.ops.retain(|op| op.results.iter().any(|r| live[r.index()]));
    compact(&mut f);
    f
}

/// For every value, whether `outputs` need it.
fn live(f: &Function, outputs: &[ValueId]) -> Vec<bool> {
    let mut live = vec![false; f.values.len()];
    for &v in outputs {
        live[v.index()] = true;
    }
    for op in f.ops.iter().rev() {
        if op.results.iter().any(|r| live[r.index()]) {
            for v in op.uses() {
                live[v.index()] = true;
            }
        }
    }
    live
}

/// Drops the values that are neither inputs nor results and renumbers the rest in their old order.
pub(super) fn compact(f: &mut Function) {
    let mut kept = vec![false; f.values.len()];
    for v in f.inputs.iter().chain(f.ops.iter().flat_map(|op| &op.results)) {
        kept[v.index()] = true;
    }
    let mut next = 0;
    let renumbered: Vec<ValueId> = kept
        .iter()
        .map(|&k| {
            let id = ValueId(next);
            next += u32::from(k);
            id
        })
        .collect();
    let mut keep = kept.iter();
    f.values.retain(|_| keep.next().copied().unwrap_or(false));
    let renumber = |v: &mut ValueId| *v = renumbered[v.index()];
    f.inputs.iter_mut().for_each(renumber);
    f.outputs.iter_mut().for_each(renumber);
    for op in &mut f.ops {
        op.results.iter_mut().for_each(renumber);
        for operand in op.args.iter_mut().flat_map(|(_, arg)| arg.operands_mut()) {
            if let Operand::Value(v) = operand {
                renumber(v);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::{Builder, Opcode, Opset, TensorType};

    #[test]
    fn only_what_the_outputs_need_stays() {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", TensorType::fp16([1, 4, 1, 8]));
        b.input("unused", TensorType::fp16([1, 1, 1, 1]));
        let dead = b.scale(x, 3.0).unwrap();
        b.unary(Opcode::Exp, dead).unwrap();
        let y = b.unary(Opcode::Tanh, x).unwrap();
        let f = verified(dce(&b.finish(&[y])));
        assert_eq!(codes(&f), [Opcode::Tanh]);
        assert_eq!(f.values.len(), 3);
        assert_eq!(f.name_of(f.outputs[0]), "tanh");
        assert_eq!(ports(&f).len(), 2);
    }

    #[test]
    fn an_op_with_one_live_result_keeps_the_others() {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", TensorType::fp16([1, 4, 1, 8]));
        let (axis, parts) = (crate::Constant::int(1), crate::Constant::int(2));
        let halves = b
            .op_results(
                Opcode::Split,
                vec![("x", x.into()), ("axis", axis.into()), ("num_splits", parts.into())],
            )
            .unwrap();
        let f = verified(dce(&b.finish(&[halves[1]])));
        assert_eq!(f.ops.last().unwrap().results.len(), 2);
    }
}
