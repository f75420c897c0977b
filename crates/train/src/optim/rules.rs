//! What one update does to parameters that share their factors.

use pulp::{Simd, WithSimd};

use super::{AdamWConfig, LionConfig, SgdConfig, Update};

/// AdamW's scalars of one update, computed in f64 and rounded once.
pub(super) struct AdamWFactors {
    grad_scale: f32,
    keep: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    step_size: f32,
    inv_root_correction2: f32,
    eps: f32,
}

impl AdamWFactors {
    pub(super) fn new(config: &AdamWConfig, update: &Update, decays: bool) -> Self {
        let t = update.number as f64;
        let correction1 = 1.0 - config.beta1.powf(t);
        let correction2 = 1.0 - config.beta2.powf(t);
        Self {
            grad_scale: update.grad_scale,
            keep: keep(update, config.weight_decay, decays),
            one_minus_beta1: (1.0 - config.beta1) as f32,
            beta2: config.beta2 as f32,
            one_minus_beta2: (1.0 - config.beta2) as f32,
            step_size: (update.lr / correction1) as f32,
            inv_root_correction2: correction2.sqrt().recip() as f32,
            eps: config.eps as f32,
        }
    }
}

/// What decoupled decay leaves of a weight.
fn keep(update: &Update, weight_decay: f64, decays: bool) -> f32 {
    if decays { (1.0 - update.lr * weight_decay) as f32 } else { 1.0 }
}

pub(super) struct AdamWPart<'a> {
    pub(super) factors: &'a AdamWFactors,
    pub(super) params: &'a mut [f32],
    pub(super) grads: &'a [f32],
    pub(super) m: &'a mut [f32],
    pub(super) v: &'a mut [f32],
}

impl WithSimd for AdamWPart<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let f = self.factors;
        for (((w, &g), m), v) in self.params.iter_mut().zip(self.grads).zip(self.m).zip(self.v) {
            let g = g * f.grad_scale;
            *m += (g - *m) * f.one_minus_beta1;
            *v = *v * f.beta2 + f.one_minus_beta2 * g * g;
            let denominator = v.sqrt() * f.inv_root_correction2 + f.eps;
            *w = *w * f.keep - f.step_size * (*m / denominator);
        }
    }
}

/// Scalars of the rules that keep one moment: `step` is moved along, `m` becomes `m·decay + g·take`.
pub(super) struct MomentumFactors {
    grad_scale: f32,
    keep: f32,
    lr: f32,
    /// Of the moment, in the direction of this update.
    look: f32,
    decay: f32,
    take: f32,
}

impl MomentumFactors {
    pub(super) fn lion(config: &LionConfig, update: &Update, decays: bool) -> Self {
        Self {
            grad_scale: update.grad_scale,
            keep: keep(update, config.weight_decay, decays),
            lr: update.lr as f32,
            look: config.beta1 as f32,
            decay: config.beta2 as f32,
            take: (1.0 - config.beta2) as f32,
        }
    }

    pub(super) fn sgd(config: &SgdConfig, update: &Update, decays: bool) -> Self {
        Self {
            grad_scale: update.grad_scale,
            keep: keep(update, config.weight_decay, decays),
            lr: update.lr as f32,
            look: 0.0,
            decay: config.momentum as f32,
            take: 1.0,
        }
    }
}

pub(super) struct LionPart<'a> {
    pub(super) factors: &'a MomentumFactors,
    pub(super) params: &'a mut [f32],
    pub(super) grads: &'a [f32],
    pub(super) m: &'a mut [f32],
}

impl WithSimd for LionPart<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let f = self.factors;
        for ((w, &g), m) in self.params.iter_mut().zip(self.grads).zip(self.m) {
            let g = g * f.grad_scale;
            let direction = *m * f.look + (1.0 - f.look) * g;
            // Without a direction there is no step; `signum` would take one.
            let step = if direction == 0.0 { 0.0 } else { f.lr.copysign(direction) };
            *w = *w * f.keep - step;
            *m = *m * f.decay + f.take * g;
        }
    }
}

pub(super) struct SgdPart<'a> {
    pub(super) factors: &'a MomentumFactors,
    pub(super) params: &'a mut [f32],
    pub(super) grads: &'a [f32],
    pub(super) m: &'a mut [f32],
}

impl WithSimd for SgdPart<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let f = self.factors;
        for ((w, &g), m) in self.params.iter_mut().zip(self.grads).zip(self.m) {
            *m = *m * f.decay + f.take * (g * f.grad_scale);
            *w = *w * f.keep - f.lr * *m;
        }
    }
}
