//! Ops that saturated: in a step, and over a run.

use std::collections::BTreeMap;

use ferrane_runtime as runtime;
use serde::Serialize;

/// Results of one op in one layer that became infinite though its operands were finite, over a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Saturated {
    /// The layer; null for what comes after the last.
    pub layer: Option<usize>,
    /// The kernel.
    pub kernel: String,
    /// The op's first result.
    pub value: String,
    /// The op.
    pub op: String,
    /// Such results.
    pub count: u64,
}

impl From<runtime::Saturated> for Saturated {
    fn from(s: runtime::Saturated) -> Self {
        Self { layer: s.layer, kernel: s.kernel.into(), value: s.value, op: s.op.to_string(), count: s.count }
    }
}

/// What of an op saturated over the steps of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SaturationTotal {
    /// The op; its count is that of all steps.
    #[serde(flatten)]
    pub op: Saturated,
    /// Steps in which it saturated.
    pub steps: u64,
    /// The lowest loss scale of those steps.
    pub lowest_scale: f32,
    /// The highest.
    pub highest_scale: f32,
}

/// Sums up what steps tell. Layers come in order, and what is after them last.
#[derive(Debug, Default)]
pub(crate) struct Totals(BTreeMap<(usize, String, String), SaturationTotal>);

impl Totals {
    pub(crate) fn add(&mut self, step: &[Saturated], scale: f32) {
        for op in step {
            let key = (op.layer.unwrap_or(usize::MAX), op.kernel.clone(), op.value.clone());
            let total = self.0.entry(key).or_insert_with(|| SaturationTotal {
                op: Saturated { count: 0, ..op.clone() },
                steps: 0,
                lowest_scale: scale,
                highest_scale: scale,
            });
            total.op.count += op.count;
            total.steps += 1;
            total.lowest_scale = total.lowest_scale.min(scale);
            total.highest_scale = total.highest_scale.max(scale);
        }
    }

    pub(crate) fn all(&self) -> Vec<SaturationTotal> {
        self.0.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(layer: Option<usize>, value: &str, count: u64) -> Saturated {
        Saturated { layer, kernel: "ffn_bwd".into(), value: value.into(), op: "mul".into(), count }
    }

    #[test]
    fn steps_and_loss_scales_are_kept_for_each_op() {
        let mut totals = Totals::default();
        totals.add(&[op(None, "d_final", 1), op(Some(3), "d_h1", 5)], 65536.0);
        totals.add(&[op(Some(3), "d_h1", 2)], 32768.0);
        totals.add(&[], 16384.0);
        let all = totals.all();
        let told: Vec<_> = all
            .iter()
            .map(|t| (t.op.layer, t.op.value.as_str(), t.op.count, t.steps, t.lowest_scale, t.highest_scale))
            .collect();
        assert_eq!(
            told,
            [(Some(3), "d_h1", 7, 2, 32768.0, 65536.0), (None, "d_final", 1, 1, 65536.0, 65536.0)]
        );
    }
}
