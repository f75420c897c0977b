//! Attention, products and normalisations that single chips get wrong.

use ferrane_mil::{Call, Op, Opcode};

use super::{Finding, Place, Subject};

fn attentions<'s>(s: &'s Subject<'_>) -> impl Iterator<Item = (usize, &'s Op)> {
    s.ops().filter(|(_, op)| op.code == Opcode::ScaledDotProductAttention)
}

pub(super) fn mask_planes(s: &Subject<'_>) -> Vec<Finding> {
    let met = |(i, op): (usize, &Op)| {
        let mask = Call::new(s.f, op).tensor("attn_mask").ok()?;
        let planes = mask.shape.iter().rev().skip(2).product::<usize>();
        let what = || format!("the mask of `{}` has {planes} planes", s.name(op));
        (planes > 1).then(|| Finding::new(Place::Op(i), what()))
    };
    attentions(s).filter_map(met).collect()
}

pub(super) fn extent(s: &Subject<'_>, least: Option<f64>) -> Vec<Finding> {
    let Some(least) = least else { return Vec::new() };
    let met = |(i, op): (usize, &Op)| {
        let call = Call::new(s.f, op);
        let rows = |name| call.tensor(name).ok()?.shape.iter().rev().nth(1).copied();
        let (queries, keys) = (rows("query")?, rows("key")?);
        let what = || format!("`{}` has {queries} queries and {keys} keys", s.name(op));
        (queries.min(keys) as f64 >= least).then(|| Finding::new(Place::Op(i), what()))
    };
    attentions(s).filter_map(met).collect()
}

pub(super) fn transposed_products(s: &Subject<'_>) -> Vec<Finding> {
    let fed = |op: &Op| {
        let operands = op.args.iter().flat_map(|(_, arg)| arg.operands());
        operands.filter_map(|o| s.producer(o)).any(|p| transposes_matrices(Call::new(s.f, p)))
    };
    let products: Vec<_> = s.ops().filter(|(_, op)| op.code == Opcode::Matmul && fed(op)).collect();
    match products[..] {
        [_, (i, op), ..] => {
            let what = format!("`{}` is the second product that a transpose feeds", s.name(op));
            vec![Finding::new(Place::Op(i), what)]
        }
        _ => Vec::new(),
    }
}

/// True for a transpose of the last two axes, for which an argument of the product could stand.
fn transposes_matrices(call: Call<'_>) -> bool {
    let Ok(Some(perm)) = call.ints("perm") else { return false };
    let rank = perm.len() as i64;
    let from_the_end = |axis: i64| (axis - rank) % rank;
    call.code() == Opcode::Transpose
        && matches!(perm[..], [.., a, b] if from_the_end(a) == -1 && from_the_end(b) == -2)
}

pub(super) fn layer_norm_gamma(s: &Subject<'_>, least: Option<f64>) -> Vec<Finding> {
    let Some(least) = least else { return Vec::new() };
    let met = |(i, op): (usize, &Op)| {
        let call = Call::new(s.f, op);
        let reshaped = s.producer(call.required("x").ok()?).is_some_and(|p| p.code == Opcode::Reshape);
        let gamma = call.tensor("gamma").ok()?.elements();
        let what = || format!("`{}` normalises a reshape by a gamma of {gamma}", s.name(op));
        (reshaped && gamma as f64 >= least).then(|| Finding::new(Place::Op(i), what()))
    };
    s.ops().filter(|(_, op)| op.code == Opcode::LayerNorm).filter_map(met).collect()
}
