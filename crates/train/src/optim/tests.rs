use super::*;
use proptest::prelude::*;

const CONFIG: AdamWConfig = AdamWConfig { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };

/// Plain numbers without pattern, in -1..1.
fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn adamw(config: AdamWConfig, len: usize, decayed: &[Range<usize>]) -> Result<Optimiser, OptimError> {
    Optimiser::new(OptimiserConfig::AdamW(config), len, decayed)
}

/// AdamW written out once more in f64, one parameter at a time, in the textbook's m̂, v̂ form.
fn reference(config: &AdamWConfig, decays: bool, lr: f64, w0: f64, grads: &[f64]) -> f64 {
    let (mut w, mut m, mut v) = (w0, 0.0, 0.0);
    for (i, g) in grads.iter().enumerate() {
        let t = (i + 1) as i32;
        m = config.beta1 * m + (1.0 - config.beta1) * g;
        v = config.beta2 * v + (1.0 - config.beta2) * g * g;
        let m_hat = m / (1.0 - config.beta1.powi(t));
        let v_hat = v / (1.0 - config.beta2.powi(t));
        let decay = if decays { lr * config.weight_decay * w } else { 0.0 };
        w = w - decay - lr * m_hat / (v_hat.sqrt() + config.eps);
    }
    w
}

#[test]
fn follows_the_reference_over_many_steps_and_ranges() {
    let len = 2 * BLOCK + 777;
    // Ranges that touch, straddle a block's border, and end the arena.
    let decayed = [5..9, 9..100, BLOCK - 3..BLOCK + 5, 2 * BLOCK + 700..len, 7_000..7_000];
    let optimiser = adamw(CONFIG, len, &decayed).unwrap();
    let start = noise(len, 1);
    let steps: Vec<Vec<f32>> = (0..20).map(|s| noise(len, 100 + s)).collect();
    let (mut params, mut m, mut v) = (start.clone(), vec![0.0; len], vec![0.0; len]);
    for (i, grads) in steps.iter().enumerate() {
        let update = Update { lr: 3e-3, number: i as u64 + 1, grad_scale: 0.25 };
        optimiser.update(update, Arenas { params: &mut params, grads, m: &mut m, v: &mut v });
    }
    for i in 0..len {
        let decays = decayed.iter().any(|range| range.contains(&i));
        let grads: Vec<f64> = steps.iter().map(|g| f64::from(g[i]) * 0.25).collect();
        let expected = reference(&CONFIG, decays, 3e-3, f64::from(start[i]), &grads);
        let error = (f64::from(params[i]) - expected).abs();
        assert!(error < 2e-6, "parameter {i}: {} against {expected}", params[i]);
    }
}

/// Worked by hand from PyTorch's documented algorithm: lr 0.1, betas 0.9 and 0.999, decay 0.01, gradient 0.5 twice.
#[test]
fn first_two_updates_match_a_hand_calculation() {
    let config = AdamWConfig { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 };
    let optimiser = adamw(config, 1, std::slice::from_ref(&(0..1))).unwrap();
    let (mut w, mut m, mut v) = ([1.0f32], [0.0f32], [0.0f32]);
    let grads = [0.5f32];
    let mut update = |number| {
        let update = Update { lr: 0.1, number, grad_scale: 1.0 };
        optimiser.update(update, Arenas { params: &mut w, grads: &grads, m: &mut m, v: &mut v });
        (w[0], m[0], v[0])
    };
    // A constant gradient makes both corrected moments exact: every step is lr, besides decay.
    let (w, m, v) = update(1);
    assert!((w - 0.899).abs() < 1e-6 && (m - 0.05).abs() < 1e-8 && (v - 0.000_25).abs() < 1e-9);
    let (w, m, v) = update(2);
    assert!((w - 0.798_101).abs() < 1e-6 && (m - 0.095).abs() < 1e-7 && (v - 0.000_499_75).abs() < 1e-9);
}

#[test]
fn eps_stands_outside_the_root() {
    let config = AdamWConfig { eps: 1.0, weight_decay: 0.0, ..CONFIG };
    let optimiser = adamw(config, 1, &[]).unwrap();
    let (mut w, mut m, mut v) = ([0.0f32], [0.0f32], [0.0f32]);
    let update = Update { lr: 1.0, number: 1, grad_scale: 1.0 };
    optimiser.update(update, Arenas { params: &mut w, grads: &[3.0], m: &mut m, v: &mut v });
    // m̂ = 3, √v̂ = 3: 3 / (3 + 1), where eps under the root would give 3 / √10.
    assert!((w[0] + 0.75).abs() < 1e-6, "{}", w[0]);
}

/// Runs twenty updates of a rule that keeps one moment and compares each parameter with `reference(decays, w, grads)`.
fn compare_with(config: OptimiserConfig, bar: f64, reference: impl Fn(bool, f64, &[f64]) -> f64) {
    let len = BLOCK + 777;
    let decayed = [5..100, BLOCK - 3..BLOCK + 5];
    let optimiser = Optimiser::new(config, len, &decayed).unwrap();
    let start = noise(len, 1);
    let steps: Vec<Vec<f32>> = (0..20).map(|s| noise(len, 100 + s)).collect();
    let (mut params, mut m) = (start.clone(), vec![0.0; len]);
    for (i, grads) in steps.iter().enumerate() {
        let update = Update { lr: 3e-3, number: i as u64 + 1, grad_scale: 0.25 };
        optimiser.update(update, Arenas { params: &mut params, grads, m: &mut m, v: &mut [] });
    }
    for i in 0..len {
        let decays = decayed.iter().any(|range| range.contains(&i));
        let grads: Vec<f64> = steps.iter().map(|g| f64::from(g[i]) * 0.25).collect();
        let expected = reference(decays, f64::from(start[i]), &grads);
        let error = (f64::from(params[i]) - expected).abs();
        assert!(error < bar, "parameter {i}: {} against {expected}", params[i]);
    }
}

/// Chen et al. 2023, Algorithm 2.
#[test]
fn lion_follows_the_paper() {
    let config = LionConfig { beta1: 0.9, beta2: 0.99, weight_decay: 0.1 };
    compare_with(OptimiserConfig::Lion(config), 2e-6, |decays, w, grads| {
        let (mut w, mut m) = (w, 0.0);
        for g in grads {
            let c = 0.9 * m + (1.0 - 0.9) * g;
            let decay = if decays { 0.1 * w } else { 0.0 };
            w -= 3e-3 * (c.signum() + decay);
            m = 0.99 * m + (1.0 - 0.99) * g;
        }
        w
    });
}

#[test]
fn lion_does_not_step_without_a_direction() {
    let config = LionConfig { beta1: 0.9, beta2: 0.99, weight_decay: 0.0 };
    let optimiser = Optimiser::new(OptimiserConfig::Lion(config), 2, &[]).unwrap();
    let (mut w, mut m) = ([1.0f32, 1.0], [0.0f32, 0.0]);
    let update = Update { lr: 0.5, number: 1, grad_scale: 1.0 };
    optimiser.update(update, Arenas { params: &mut w, grads: &[0.0, -0.0], m: &mut m, v: &mut [] });
    assert_eq!(w, [1.0, 1.0]);
}

/// `torch.optim.SGD(momentum=0.9)` written out, with decay taken from the weight as AdamW does.
#[test]
fn sgd_follows_pytorch() {
    let config = SgdConfig { momentum: 0.9, weight_decay: 0.1 };
    compare_with(OptimiserConfig::Sgd(config), 2e-6, |decays, w, grads| {
        let (mut w, mut buffer) = (w, 0.0);
        for g in grads {
            buffer = 0.9 * buffer + g;
            w = w * if decays { 1.0 - 3e-3 * 0.1 } else { 1.0 } - 3e-3 * buffer;
        }
        w
    });
}

#[test]
fn plain_gradient_descent_has_no_memory() {
    let config = SgdConfig { momentum: 0.0, weight_decay: 0.0 };
    let optimiser = Optimiser::new(OptimiserConfig::Sgd(config), 1, &[]).unwrap();
    let (mut w, mut m) = ([1.0f32], [7.0f32]);
    let update = Update { lr: 0.5, number: 3, grad_scale: 2.0 };
    optimiser.update(update, Arenas { params: &mut w, grads: &[0.25], m: &mut m, v: &mut [] });
    assert_eq!(w, [0.75]);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let len = 5 * BLOCK + 11;
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (mut params, mut m, mut v) = (noise(len, 3), noise(len, 4), vec![0.5; len]);
            let grads = noise(len, 5);
            let optimiser = adamw(CONFIG, len, std::slice::from_ref(&(100..2 * BLOCK))).unwrap();
            let update = Update { lr: 1e-2, number: 7, grad_scale: 0.5 };
            optimiser.update(update, Arenas { params: &mut params, grads: &grads, m: &mut m, v: &mut v });
            (params, m, v, global_norm(&grads).to_bits())
        })
    };
    let alone = run(1);
    assert_eq!(run(2), alone);
    assert_eq!(run(5), alone);
}

#[test]
fn senseless_settings_are_named() {
    let with = |config: AdamWConfig| adamw(config, 1, &[]).unwrap_err();
    assert!(matches!(with(AdamWConfig { beta1: 1.0, ..CONFIG }), OptimError::Setting { name: "beta1", .. }));
    assert!(matches!(with(AdamWConfig { beta2: -0.1, ..CONFIG }), OptimError::Setting { name: "beta2", .. }));
    assert!(matches!(with(AdamWConfig { eps: f64::NAN, ..CONFIG }), OptimError::Setting { name: "eps", .. }));
    let lion = |beta2| LionConfig { beta1: 0.9, beta2, weight_decay: 0.0 };
    let error = Optimiser::new(OptimiserConfig::Lion(lion(1.0)), 1, &[]).unwrap_err();
    assert!(matches!(error, OptimError::Setting { name: "beta2", .. }));
    let sgd = SgdConfig { momentum: -0.5, weight_decay: 0.0 };
    let error = Optimiser::new(OptimiserConfig::Sgd(sgd), 1, &[]).unwrap_err();
    assert!(matches!(error, OptimError::Setting { name: "momentum", .. }));
    for ranges in [vec![0..5, 4..6], vec![8..11, 1..2], vec![Range { start: 3, end: 2 }]] {
        assert!(matches!(adamw(CONFIG, 10, &ranges), Err(OptimError::DecayRange { .. })), "{ranges:?}");
    }
}

#[test]
fn clipping_uses_pytorchs_formula() {
    assert_eq!(clip_coefficient(2.0, 1.0), (1.0 / (2.0 + 1e-6)) as f32);
    assert_eq!(clip_coefficient(0.5, 1.0), 1.0);
    assert_eq!(clip_coefficient(0.0, 1.0), 1.0);
    assert_eq!(clip_coefficient(100.0, 0.0), 1.0, "0 is off");
}

#[test]
fn the_norm_shows_non_finite_gradients() {
    let mut grads = vec![1.0f32; 3 * BLOCK];
    assert!((global_norm(&grads) - (3.0 * BLOCK as f64).sqrt()).abs() < 1e-9);
    grads[BLOCK + 1] = f32::INFINITY;
    assert!(global_norm(&grads).is_infinite());
    grads[2] = f32::NAN;
    assert!(global_norm(&grads).is_nan());
    // Squares that overflow f32 do not overflow the norm.
    assert!((global_norm(&[3e30, 4e30]) / 5e30 - 1.0).abs() < 1e-6);
    assert_eq!(global_norm(&[]), 0.0);
}

proptest! {
    #[test]
    fn the_norm_matches_a_plain_f64_sum(values in prop::collection::vec(-1e3f32..1e3, 0..200)) {
        let plain = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        prop_assert!((global_norm(&values) - plain).abs() <= 1e-12 * plain);
    }

    #[test]
    fn blocks_split_into_all_their_elements(
        cuts in prop::collection::btree_set(0usize..200, 0..12),
        start in 0usize..200,
        len in 0usize..100,
    ) {
        let cuts: Vec<usize> = cuts.into_iter().collect();
        let ranges: Vec<Range<usize>> = cuts.chunks_exact(2).map(|c| c[0]..c[1]).collect();
        let optimiser = adamw(CONFIG, 300, &ranges).unwrap();
        let mut seen = Vec::new();
        for (part, decays) in optimiser.split(start, len) {
            prop_assert!(!part.is_empty());
            seen.extend(part.map(|i| (start + i, decays)));
        }
        let expected: Vec<(usize, bool)> =
            (start..start + len).map(|i| (i, ranges.iter().any(|r| r.contains(&i)))).collect();
        prop_assert_eq!(seen, expected);
    }
}
