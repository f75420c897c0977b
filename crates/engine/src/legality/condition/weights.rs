//! Constants, their files, and what stands in for constants.

use std::collections::BTreeMap;

use ferrane_mil::{Call, Constant, DType, Op, Opcode, Operand, ValueId};

use super::{Finding, Place, Subject};

/// The constants in weight files.
fn in_files<'s>(s: &'s Subject<'_>) -> impl Iterator<Item = (ValueId, &'s Constant)> {
    let constants = (0..s.f.values.len() as u32).map(ValueId);
    constants.filter_map(|v| Some((v, s.f.value(v).constant.as_ref().filter(|c| c.blob_ref().is_some())?)))
}

fn over(s: &Subject<'_>, most: u64) -> Vec<Finding> {
    let bytes = in_files(s).fold(0u64, |n, (_, c)| n.saturating_add(c.ty.bytes() as u64));
    let what = || format!("`{}` has {bytes} bytes of weights, over {most}", s.f.name);
    (bytes > most).then(|| Finding::new(Place::Function, what())).into_iter().collect()
}

pub(super) fn bytes(s: &Subject<'_>) -> Vec<Finding> {
    s.profile.limits.max_weight_bytes.as_ref().map_or(Vec::new(), |most| over(s, most.value))
}

pub(super) fn bank(s: &Subject<'_>, threshold: Option<f64>) -> Vec<Finding> {
    threshold.map_or(Vec::new(), |most| over(s, most as u64))
}

/// The second constant at another place of a file.
pub(super) fn combined_file(s: &Subject<'_>) -> Vec<Finding> {
    let mut first: BTreeMap<&str, u64> = BTreeMap::new();
    let mut found = Vec::new();
    for (v, constant) in in_files(s) {
        let Some(blob) = constant.blob_ref() else { continue };
        if *first.entry(&blob.path).or_insert(blob.offset) != blob.offset {
            let what = format!("`{}` is not the only weight in {}", s.f.name_of(v), blob.path);
            found.push(Finding::new(Place::Value(v), what));
        }
    }
    found
}

/// Any convolution by a computed weight where the profile takes none, or those of such a batch that none survives.
pub(super) fn runtime_conv(s: &Subject<'_>, batch: Option<f64>) -> Vec<Finding> {
    if batch.is_none() && s.profile.ports.runtime_conv_weights.value {
        return Vec::new();
    }
    let met = |(i, op): (usize, &Op)| {
        let call = Call::new(s.f, op);
        let Ok(Operand::Value(weight)) = call.required("weight") else { return None };
        let size = *call.tensor("x").ok()?.shape.first()?;
        // What a constexpr op gives is known to the compiler.
        let constexpr = s.definition(*weight).is_some_and(|op| op.code.is_constexpr());
        let constant = constexpr || s.f.value(*weight).constant.is_some();
        let computed = !constant && batch.is_none_or(|least| size as f64 >= least);
        let what = || {
            let (name, by) = (s.name(op), s.f.name_of(*weight));
            format!("`{name}` is a {} of batch {size} by `{by}`, which is not constant", op.code)
        };
        computed.then(|| Finding::new(Place::Op(i), what()))
    };
    let conv = |op: &Op| matches!(op.code, Opcode::Conv | Opcode::ConvTranspose);
    s.ops().filter(|(_, op)| conv(op)).filter_map(met).collect()
}

pub(super) fn look_up_table(s: &Subject<'_>, most: Option<f64>) -> Vec<Finding> {
    let Some(most) = most else { return Vec::new() };
    let met = |(i, op): (usize, &Op)| {
        let table = Call::new(s.f, op).tensor("lut").ok()?.shape.clone();
        // [.., entries, vector] from ios18 on, entries alone before.
        let entries = match table[..] {
            [.., entries, vector] => entries.saturating_mul(vector),
            [entries] => entries,
            [] => 0,
        };
        let what = || format!("`{}` looks up {entries} values, over {most}", s.name(op));
        (entries as f64 > most).then(|| Finding::new(Place::Op(i), what()))
    };
    s.ops().filter(|(_, op)| op.code == Opcode::ConstexprLutToDense).filter_map(met).collect()
}

pub(super) fn fp8(s: &Subject<'_>) -> Vec<Finding> {
    let met = |(i, op): (usize, &Op)| {
        let dtype = Call::new(s.f, op).tensor("data").ok()?.dtype;
        let what = || format!("`{}` makes weights of {dtype}", s.name(op));
        matches!(dtype, DType::Fp8E4M3 | DType::Fp8E5M2).then(|| Finding::new(Place::Op(i), what()))
    };
    s.ops().filter(|(_, op)| op.code == Opcode::ConstexprBlockwiseShiftScale).filter_map(met).collect()
}
