//! Passes: functions to functions, each in its own file.
//!
//! A pass takes a well-formed function and returns one that computes what its documentation says. Passes keep the names
//! of the values they keep, because taps, weights and ports are found by name.

mod clean_up;
mod compress_weights;
mod cse;
mod dce;
mod decompose;
mod extract;
mod flatten_ports;
mod fold;
mod lower_dialect;
mod lower_to_fp16;
mod order_ports;
mod order_products;
mod pack_inputs;
mod split_bias;
mod tile_products;
mod transposed_weights;
mod uniform_outputs;
mod weights_to_inputs;
mod widen_inputs;

pub use clean_up::clean_up;
pub use compress_weights::compress_weights;
pub use cse::cse;
pub use dce::dce;
pub use decompose::{decompose, decompose_attention};
pub use extract::{ExtractError, extract};
pub use flatten_ports::flatten_ports;
pub use fold::fold;
pub use lower_dialect::lower_dialect;
pub use lower_to_fp16::lower_to_fp16;
pub use order_ports::order_ports;
pub use order_products::order_products;
pub use pack_inputs::{PackedInput, pack_inputs};
pub use split_bias::split_bias;
pub use tile_products::tile_products;
pub use transposed_weights::{TransposedWeight, transposed_weights};
pub use uniform_outputs::uniform_outputs;
pub use weights_to_inputs::{Streamed, WeightInput, weights_to_inputs};
pub use widen_inputs::widen_inputs;

use std::collections::HashMap;

use crate::{Builder, CallError, Function, Op, Operand, ValueId};

/// Why a pass cannot be done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PassError {
    /// An op of the function, or one the pass adds, does not fit its arguments.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Constants that fp16 cannot hold.
    #[error("fp16 cannot hold the constants {}; the largest magnitude is 65504: rescale them", names.join(", "))]
    OutOfRange {
        /// The constants, or `argument of result` for literals.
        names: Vec<String>,
    },
    /// An input that cannot share a surface with others.
    #[error("the input {input}; inputs that share a surface are [1, C, 1, W] and of one type")]
    Unpackable {
        /// The input and what it is.
        input: String,
    },
}

/// A builder that starts with the values of `f` but none of its ops, and those ops. Ids stay as they are.
fn reopen(f: &Function) -> (Builder, Vec<Op>) {
    let mut f = f.clone();
    let ops = std::mem::take(&mut f.ops);
    (Builder::extend(f), ops)
}

/// Lets the op added last define `value` instead of its own result, which is left without a definition.
fn define(b: &mut Builder, value: ValueId) {
    if let Some(op) = b.function_mut().ops.last_mut() {
        op.results = vec![value];
    }
}

/// Lets `op` read other values in place of those in `same`.
fn replace_uses(op: &mut Op, same: &HashMap<ValueId, ValueId>) {
    for operand in op.args.iter_mut().flat_map(|(_, arg)| arg.operands_mut()) {
        if let Operand::Value(v) = operand
            && let Some(other) = same.get(v)
        {
            *v = *other;
        }
    }
}

#[cfg(test)]
mod testing {
    use crate::{Function, Opcode, Program, verify};

    /// Panics unless `f` verifies; returns it.
    pub(super) fn verified(f: Function) -> Function {
        let program = Program::single(f.clone());
        verify(program).unwrap_or_else(|errors| panic!("{errors:#?}\n{f:#?}"));
        f
    }

    /// The ops of `f`, constants left out.
    pub(super) fn codes(f: &Function) -> Vec<Opcode> {
        f.ops.iter().map(|op| op.code).filter(|&code| code != Opcode::Const).collect()
    }

    /// The names and shapes of the function's inputs.
    pub(super) fn ports(f: &Function) -> Vec<(&str, &[usize])> {
        f.inputs.iter().map(|&v| (f.name_of(v), &f.tensor_type(v).unwrap().shape[..])).collect()
    }
}
