//! Attention that heeds its mask otherwise than it says.

use ferrane_mil::{Arg, Function, Op, Opcode, Operand, TensorType};

use super::{ints, literal, push};

/// Attention goes unmasked.
pub(super) fn drop_masks(f: &mut Function) {
    let attentions = f.ops.iter_mut().filter(|op| op.code == Opcode::ScaledDotProductAttention);
    attentions.for_each(|op| op.args.retain(|(name, _)| name != "attn_mask"));
}

/// All heads take the first plane of the mask.
pub(super) fn share_first_plane(f: &mut Function, op: &mut Op) {
    let Some((_, Arg::One(mask))) = op.args.iter_mut().find(|(name, _)| name == "attn_mask") else { return };
    let Some(ty) = f.operand_type(mask).cloned() else { return };
    let planes = ty.rank().saturating_sub(2);
    let size: Vec<usize> =
        ty.shape.iter().enumerate().map(|(i, &n)| if i < planes { 1 } else { n }).collect();
    let name = f.unused_name("first_plane");
    let plane = f.add_value(name, TensorType::new(ty.dtype, size.clone()));
    let whole = std::mem::replace(mask, Operand::Value(plane));
    let args = vec![
        ("x".into(), Arg::One(whole)),
        literal("begin", ints(&vec![0; size.len()])),
        literal("size", ints(&size)),
    ];
    push(f, Opcode::SliceBySize, args, plane);
}
