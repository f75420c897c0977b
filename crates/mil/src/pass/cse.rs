//! Common subexpressions.

use std::collections::HashMap;

use super::replace_uses;
use crate::{Constant, Data, Function, Op, Opcode, Payload, ValueId};

/// `f` with each op that computes what an earlier one does removed, and its results replaced by those. Equal constants
/// become one too. An output keeps its own op: ports are found by name.
pub fn cse(f: &Function) -> Function {
    let mut f = f.clone();
    let mut seen: HashMap<Key, Vec<ValueId>> = HashMap::new();
    let mut same: HashMap<ValueId, ValueId> = HashMap::new();
    let ops = std::mem::take(&mut f.ops);
    for mut op in ops {
        replace_uses(&mut op, &same);
        let first = seen.entry(key(&f, &op)).or_insert_with(|| op.results.clone());
        let repeated = *first != op.results;
        if repeated && !op.results.iter().any(|r| f.outputs.contains(r)) {
            same.extend(op.results.iter().copied().zip(first.iter().copied()));
        } else {
            f.ops.push(op);
        }
    }
    super::dce(&f)
}

/// What two ops that compute the same have in common.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    code: Opcode,
    /// Arguments by name, in alphabetical order.
    args: Vec<String>,
    /// Types, and for constants the elements bit by bit.
    results: Vec<String>,
}

fn key(f: &Function, op: &Op) -> Key {
    let mut args: Vec<String> = op
        .args
        .iter()
        .map(|(name, arg)| {
            let operands = arg.operands().iter().map(|o| match o {
                crate::Operand::Value(v) => format!("%{}", v.0),
                crate::Operand::Literal(c) => bits(c),
            });
            format!("{name}={}", operands.collect::<Vec<_>>().join(","))
        })
        .chain(op.attrs.iter().map(|(name, attr)| format!("[{name}={attr:?}")))
        .collect();
    args.sort();
    let result = |r: &ValueId| {
        let value = f.value(*r);
        format!("{}{}", value.ty, value.constant.as_ref().map_or(String::new(), bits))
    };
    Key { code: op.code, args, results: op.results.iter().map(result).collect() }
}

/// A constant so that two are equal exactly when all their bits are.
fn bits(c: &Constant) -> String {
    match &c.payload {
        Payload::Blob(blob) => format!("{}@{}:{}", c.ty, blob.path, blob.offset),
        Payload::Inline(data) => match &**data {
            Data::Fp16(v) => format!("{}{:x?}", c.ty, v.iter().map(|x| x.to_bits()).collect::<Vec<_>>()),
            Data::Bf16(v) => format!("{}{:x?}", c.ty, v.iter().map(|x| x.to_bits()).collect::<Vec<_>>()),
            Data::Fp32(v) => format!("{}{:x?}", c.ty, v.iter().map(|x| x.to_bits()).collect::<Vec<_>>()),
            Data::Fp64(v) => format!("{}{:x?}", c.ty, v.iter().map(|x| x.to_bits()).collect::<Vec<_>>()),
            other => format!("{}{other:?}", c.ty),
        },
    }
}
