//! The published demonstration's network: `y = W2·relu(W1·x)`, which learns to be the identity on one fixed batch.

use ferrane_mil::{
    Builder, CallError, DType, Function, Opcode, Opset, TensorType, ValueId,
    diff::{Joint, differentiate},
    pass::extract,
};

use crate::plan::{Piece, Place, PlanError};

/// Channels of input and output.
pub const DIM: usize = 64;
/// Channels between the layers.
pub const HIDDEN: usize = 128;
/// Columns of the batch.
pub const COLUMNS: usize = 16;
/// Elements of either weight.
pub const WEIGHT: usize = DIM * HIDDEN;
/// Both weights.
pub const PARAMETERS: usize = 2 * WEIGHT;
/// Floating-point operations of a step: forward and backward on the engine, weight gradients on the host.
pub const FLOPS: u64 = 12 * (WEIGHT * COLUMNS) as u64;

/// Names of values and weights.
pub mod names {
    /// Input, `[1, 64, 1, 16]`.
    pub const X: &str = "x";
    /// First product, `[1, 128, 1, 16]`.
    pub const PRE: &str = "pre";
    /// Its positive part.
    pub const H: &str = "h";
    /// Output, `[1, 64, 1, 16]`.
    pub const Y: &str = "y";
    /// Weight `[128, 64]`.
    pub const W1: &str = "w1";
    /// Weight `[64, 128]`.
    pub const W2: &str = "w2";
}

/// The network in the four kernels of the published demonstration, in the order in which a step runs them: `k1_fwd` and
/// `k2_fwd` hold the weights, `k2_bwd` and `k1_bwd` their transposes. The backward
/// ones are cut from the derivative; the gradient of the input is computed, as there, though nobody wants it.
///
/// # Errors
/// None that a caller could cause.
pub fn pieces() -> Result<[Piece; 4], PlanError> {
    let forward = forward()?;
    let wrt: Vec<ValueId> = [names::X, names::W1, names::W2].iter().filter_map(|n| forward.find(n)).collect();
    let joint = differentiate(&forward, &wrt)?;
    Ok([
        piece(&joint, "k1_fwd", &[names::X], &[names::PRE, names::H])?,
        piece(&joint, "k2_fwd", &[names::H], &[names::Y])?,
        piece(&joint, "k2_bwd", &["d_y", names::PRE], &["d_pre"])?,
        piece(&joint, "k1_bwd", &["d_pre"], &["d_x"])?,
    ])
}

fn forward() -> Result<Function, CallError> {
    let mut b = Builder::new("tiny_mlp", Opset::Ios18);
    let x = b.input(names::X, TensorType::new(DType::Fp32, [1, DIM, 1, COLUMNS]));
    let w1 = b.weight(names::W1, TensorType::new(DType::Fp32, [HIDDEN, DIM, 1, 1]));
    let pre = b.linear(x, w1)?;
    b.rename(pre, names::PRE);
    let h = b.unary(Opcode::Relu, pre)?;
    b.rename(h, names::H);
    let w2 = b.weight(names::W2, TensorType::new(DType::Fp32, [DIM, HIDDEN, 1, 1]));
    let y = b.linear(h, w2)?;
    b.rename(y, names::Y);
    Ok(b.finish(&[y]))
}

fn piece(joint: &Joint, name: &'static str, inputs: &[&str], outputs: &[&str]) -> Result<Piece, PlanError> {
    let f = &joint.function;
    let ids = |values: &[&str]| -> Result<Vec<ValueId>, PlanError> {
        let id = |value: &&str| {
            let (stage, value) = (f.name.clone(), (*value).to_owned());
            f.find(&value).ok_or(PlanError::NoValue { piece: name, stage, value })
        };
        values.iter().map(id).collect()
    };
    let function = extract(f, name, &ids(inputs)?, &ids(outputs)?)
        .map_err(|source| PlanError::Extract { piece: name, source })?;
    Ok(Piece { name, place: Place::Engine, function })
}

/// The weights it begins with, the first and then the second, row by row.
pub fn initial_weights() -> Vec<f32> {
    let first = (0..WEIGHT).map(|i| 0.01 * (1.3 * i as f32 + 0.7).sin());
    let second = (0..WEIGHT).map(|i| 0.01 * (0.9 * i as f32 + 1.1).cos());
    first.chain(second).collect()
}

/// The batch, channel after channel: column t of channel c is sin(0.1·(64·t + c)). It is also the target.
pub fn batch() -> Vec<f32> {
    let element = |i: usize| {
        let (channel, column) = (i / COLUMNS, i % COLUMNS);
        (0.1 * (column * DIM + channel) as f32).sin()
    };
    (0..DIM * COLUMNS).map(element).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_kernels_hold_one_weight_each() {
        let pieces = pieces().unwrap();
        let weights = pieces.each_ref().map(|piece| {
            let values = piece.function.values.iter();
            let held = values.filter(|v| v.constant.as_ref().is_some_and(|c| c.blob_ref().is_some()));
            held.map(|v| v.name.clone()).collect::<Vec<_>>()
        });
        assert_eq!(weights, [["w1"], ["w2"], ["w2"], ["w1"]]);
    }

    /// The published program prints 1 048 576 + 524 288 = 1 572 864.
    #[test]
    fn a_step_has_the_published_number_of_operations() {
        assert_eq!(FLOPS, 1_572_864);
    }
}
