//! The figures of a profile as rates in SI units.

use super::{CostError, work::OpWork};
use crate::{Figure, Profile};

/// Rates of one chip.
pub(super) struct Rates {
    /// Seconds of an evaluation that does nothing.
    pub(super) dispatch: f64,
    /// Bytes of surfaces a second.
    pub(super) surfaces: f64,
    /// Bytes of weights and spilled values a second.
    pub(super) weights: f64,
    /// Bytes that stay in the engine.
    pub(super) working_set: f64,
    /// FLOP a second of the array on wide operands.
    mac: f64,
    /// Columns at which the array reaches half of its rate.
    half_width: f64,
    /// How much less a 3x3 convolution takes than its FLOP say.
    conv3_speedup: f64,
    /// How much faster int8 products are.
    int8_speedup: f64,
    /// Elements a second of ops on single elements.
    pub(super) elementwise: f64,
    /// Elements a second of reductions, norms and softmax.
    pub(super) reduction: f64,
    /// True where int8 weights are stored as fp16.
    pub(super) int8_folds: bool,
    peak: f64,
    /// Watts of an engine that is awake and multiplies nothing.
    pub(super) active_w: f64,
    fp16_w: f64,
    int8_w: f64,
}

impl Rates {
    pub(super) fn read(profile: &Profile) -> Result<Self, CostError> {
        let need = |figure: &Option<Figure<f64>>, key| need(figure, key, profile);
        let (speed, cost, power) = (&profile.speed, &profile.cost, &profile.power);
        let fp16_w = need(&power.fp16_w, "power.fp16_w")?;
        Ok(Self {
            dispatch: need(&speed.dispatch_us, "speed.dispatch_us")? * 1e-6,
            surfaces: need(&speed.activations_gbs, "speed.activations_gbs")? * 1e9,
            weights: need(&speed.weights_gbs, "speed.weights_gbs")? * 1e9,
            working_set: need(&speed.working_set_mb, "speed.working_set_mb")? * 1e6,
            mac: need(&cost.mac_tflops, "cost.mac_tflops")? * 1e12,
            half_width: need(&cost.half_width, "cost.half_width")?,
            conv3_speedup: cost.conv3_speedup.as_ref().map_or(1.0, |f| f.value),
            int8_speedup: speed.int8_speedup.as_ref().map_or(1.0, |f| f.value),
            elementwise: need(&cost.elementwise_gps, "cost.elementwise_gps")? * 1e9,
            reduction: need(&cost.reduction_gps, "cost.reduction_gps")? * 1e9,
            int8_folds: profile.quirk("int8-weights-fold").is_some(),
            peak: need(&speed.fp16_tflops, "speed.fp16_tflops")? * 1e12,
            active_w: need(&power.active_w, "power.active_w")?,
            fp16_w,
            int8_w: power.int8_w.as_ref().map_or(fp16_w, |f| f.value),
        })
    }

    /// FLOP a second of the array on this op.
    pub(super) fn mac(&self, op: &OpWork) -> f64 {
        let int8 = if op.int8 { self.int8_speedup } else { 1.0 };
        let conv3 = if op.conv3 { self.conv3_speedup } else { 1.0 };
        self.mac * int8 * conv3 * op.columns / (op.columns + self.half_width)
    }

    /// The best published rate, in FLOP a second.
    pub(super) fn peak(&self, int8: bool) -> f64 {
        self.peak * if int8 { self.int8_speedup } else { 1.0 }
    }

    /// What the products of an op draw above an idle array.
    pub(super) fn mac_joules(&self, op: &OpWork) -> f64 {
        let (watts, rate) = match op.int8 {
            true => (self.int8_w, self.mac * self.int8_speedup),
            false => (self.fp16_w, self.mac),
        };
        (watts - self.active_w).max(0.0) * op.flops / rate
    }
}

pub(super) fn need(
    figure: &Option<Figure<f64>>,
    key: &'static str,
    profile: &Profile,
) -> Result<f64, CostError> {
    match figure {
        Some(figure) => Ok(figure.value),
        None => Err(CostError::Missing { profile: profile.name.clone(), key }),
    }
}
