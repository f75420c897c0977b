//! The time to compile and load a program.

use ferrane_mil::{Function, Opcode};

use super::{CostError, rates::need};
use crate::Profile;

/// Seconds to compile and load `function` once, cold. The published figure is a mean over the programs of a training
/// pipeline; three shares say how it divides into a fixed part, one for each op and one for each megabyte of weights.
pub(super) fn seconds(function: &Function, weight_bytes: f64, profile: &Profile) -> Result<f64, CostError> {
    let compile = &profile.compile;
    let mean = need(&compile.program_ms, "compile.program_ms", profile)?;
    let fixed = need(&compile.fixed_share, "compile.fixed_share", profile)?;
    let an_op = need(&compile.op_share, "compile.op_share", profile)?;
    let a_megabyte = need(&compile.megabyte_share, "compile.megabyte_share", profile)?;
    let ops = function.ops.iter().filter(|op| op.code != Opcode::Const).count();
    Ok(mean * (fixed + an_op * ops as f64 + a_megabyte * weight_bytes / 1e6) / 1e3)
}
