use super::*;

/// Plain numbers without pattern, in −scale..scale.
fn noise(len: usize, seed: u64, scale: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f32 / (1u32 << 23) as f32 - 1.0) * scale
    };
    (0..len).map(|_| next()).collect()
}

struct Case {
    vocab: usize,
    dim: usize,
    width: usize,
    x: Vec<f32>,
    weight: Vec<f32>,
    targets: Vec<u32>,
}

impl Case {
    fn new(vocab: usize, dim: usize, width: usize, positions: usize) -> Self {
        let targets = (0..positions).map(|p| ((p * 7919 + 13) % vocab) as u32).collect();
        let (x, weight) = (noise(dim * width, 1, 2.0), noise(vocab * dim, 2, 0.7));
        Self { vocab, dim, width, x, weight, targets }
    }

    fn classifier(&self) -> Classifier {
        Classifier::new(self.vocab, self.dim, self.width)
    }

    fn forward(&self) -> Result<f64, LossError> {
        self.classifier().forward(&self.x, &self.weight, &self.targets)
    }

    /// Loss, dx and dweight, the latter two from memory that held other numbers.
    fn train(&self, scale: f32, write: Write) -> Result<(f64, Vec<f32>, Vec<f32>), LossError> {
        let (mut dx, mut dweight) = (vec![7.0; self.x.len()], vec![0.5; self.weight.len()]);
        let gradients = Gradients { dx: &mut dx, dweight: &mut dweight, write };
        let loss =
            self.classifier().forward_backward(&self.x, &self.weight, &self.targets, scale, gradients)?;
        Ok((loss, dx, dweight))
    }

    /// Loss, dx and dweight in f64, with the z-loss `z`, from whole logits and the definition.
    fn reference(&self, scale: f64) -> (f64, Vec<f64>, Vec<f64>) {
        self.reference_with(scale, 0.0)
    }

    fn reference_with(&self, scale: f64, z: f64) -> (f64, Vec<f64>, Vec<f64>) {
        let &Self { vocab, dim, width, .. } = self;
        let (mut loss, mut dx, mut dweight) = (0.0, vec![0.0; dim * width], vec![0.0; vocab * dim]);
        for (p, &target) in self.targets.iter().enumerate() {
            let hidden: Vec<f64> = (0..dim).map(|d| f64::from(self.x[d * width + p])).collect();
            let logit =
                |v: usize| -> f64 { (0..dim).map(|d| f64::from(self.weight[v * dim + d]) * hidden[d]).sum() };
            let logits: Vec<f64> = (0..vocab).map(logit).collect();
            let max = logits.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = logits.iter().map(|l| (l - max).exp()).sum();
            loss += max + sum.ln() - logits[target as usize];
            for v in 0..vocab {
                let hit = if v == target as usize { 1.0 } else { 0.0 };
                let probability = (logits[v] - max).exp() / sum;
                let g = scale * (probability * (1.0 + 2.0 * z * (max + sum.ln())) - hit);
                for d in 0..dim {
                    dx[d * width + p] += g * f64::from(self.weight[v * dim + d]);
                    dweight[v * dim + d] += g * hidden[d];
                }
            }
        }
        (loss, dx, dweight)
    }
}

/// The gradient of Σ nll + z·lnZ²; the loss that is told stays Σ nll, to the bit.
#[test]
fn the_z_loss_is_in_the_gradient_alone() {
    let case = Case::new(1030, 9, 21, 21);
    let plain = case.train(0.5, Write::Set).unwrap();
    let mut classifier = case.classifier();
    classifier.set_z_loss(0.01);
    let (mut dx, mut dweight) = (vec![7.0; case.x.len()], vec![0.5; case.weight.len()]);
    let gradients = Gradients { dx: &mut dx, dweight: &mut dweight, write: Write::Set };
    let loss = classifier.forward_backward(&case.x, &case.weight, &case.targets, 0.5, gradients).unwrap();
    assert_eq!(loss.to_bits(), plain.0.to_bits());
    let (_, expected_dx, expected_dweight) = case.reference_with(0.5, 0.01);
    assert!(error(&dx, &expected_dx) < 1e-5 && error(&dweight, &expected_dweight) < 1e-5);
    assert!(error(&plain.1, &expected_dx) > 1e-2, "the z-loss is too small to be seen");
}

/// Largest difference, relative to the largest expected number.
fn error(actual: &[f32], expected: &[f64]) -> f64 {
    let largest = expected.iter().fold(0.0f64, |m, e| m.max(e.abs()));
    let difference = actual.iter().zip(expected).fold(0.0f64, |m, (a, e)| m.max((f64::from(*a) - e).abs()));
    difference / largest
}

/// Vocabularies and widths beside every internal block: one token, odd sizes, several tiles, padding columns.
fn cases() -> Vec<Case> {
    vec![
        Case::new(1, 3, 2, 2),
        Case::new(17, 5, 1, 1),
        Case::new(600, 24, 40, 33),
        Case::new(513, 8, 2 * TILE + 9, 2 * TILE + 9),
        Case::new(2_000, 48, TILE + 30, TILE + 1),
    ]
}

#[test]
fn loss_and_gradients_match_the_definition() {
    for case in cases() {
        let name = format!("V {} D {} W {}", case.vocab, case.dim, case.width);
        let (loss, dx, dweight) = case.reference(0.125);
        let (actual, actual_dx, actual_dweight) = case.train(0.125, Write::Set).unwrap();
        assert!((actual - loss).abs() <= 2e-6 * loss.abs().max(1.0), "{name}: {actual} against {loss}");
        assert_eq!(case.forward().unwrap(), actual, "{name}: the forward pass alone differs");
        if case.vocab > 1 {
            assert!(error(&actual_dx, &dx) < 2e-6, "{name}: dx {:e}", error(&actual_dx, &dx));
            let e = error(&actual_dweight, &dweight);
            assert!(e < 2e-6, "{name}: dweight {e:e}");
        } else {
            assert!(actual_dx.iter().chain(&actual_dweight).all(|&g| g == 0.0), "one token has no gradient");
        }
    }
}

#[test]
fn gradients_match_central_differences() {
    let mut case = Case::new(30, 6, 5, 4);
    let (_, dx, dweight) = case.train(1.0, Write::Set).unwrap();
    let h = 1e-3f32;
    let mut difference = |pick: fn(&mut Case) -> &mut Vec<f32>, i: usize| {
        let old = pick(&mut case)[i];
        pick(&mut case)[i] = old + h;
        let (up, above) = (case.reference(0.0).0, f64::from(pick(&mut case)[i]));
        pick(&mut case)[i] = old - h;
        let (down, below) = (case.reference(0.0).0, f64::from(pick(&mut case)[i]));
        pick(&mut case)[i] = old;
        (up - down) / (above - below)
    };
    for (i, &g) in dx.iter().enumerate() {
        assert!((difference(|c| &mut c.x, i) - f64::from(g)).abs() < 2e-5, "dx[{i}]");
    }
    for (i, &g) in dweight.iter().enumerate() {
        assert!((difference(|c| &mut c.weight, i) - f64::from(g)).abs() < 2e-5, "dweight[{i}]");
    }
}

#[test]
fn the_weight_gradient_accumulates_over_calls() {
    let case = Case::new(100, 8, TILE + 5, TILE + 5);
    let (_, _, set) = case.train(1.0, Write::Set).unwrap();
    let (_, _, added) = case.train(1.0, Write::Add).unwrap();
    for (set, added) in set.iter().zip(added) {
        assert!((set + 0.5 - added).abs() < 1e-5);
    }
}

#[test]
fn results_do_not_depend_on_scheduling() {
    let case = Case::new(3_000, 32, 2 * TILE, 2 * TILE);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let first = pool.install(|| case.train(1.0, Write::Set).unwrap());
    for _ in 0..5 {
        assert!(pool.install(|| case.train(1.0, Write::Set).unwrap()) == first);
    }
}

#[test]
fn huge_logits_neither_overflow_nor_lose_the_loss() {
    // Logits of ±3e4: the naive sum of exponentials would be infinite.
    let mut case = Case::new(4, 1, 2, 2);
    case.weight = vec![1.0, -1.0, 0.5, 0.0];
    case.x = vec![3e4, -3e4];
    case.targets = vec![1, 1];
    assert_eq!(case.forward().unwrap(), 6e4);
    // A certain and right prediction has loss 0 and no gradient.
    case.targets = vec![0, 1];
    let (loss, dx, _) = case.train(1.0, Write::Set).unwrap();
    assert_eq!((loss, dx), (0.0, vec![0.0, 0.0]));
}

#[test]
fn an_impossible_token_counts_for_nothing() {
    // A logit of −∞ is a probability of 0, not an error.
    let mut case = Case::new(3, 1, 1, 1);
    case.weight = vec![0.0, f32::NEG_INFINITY, 0.0];
    case.x = vec![1.0];
    case.targets = vec![0];
    assert!((case.forward().unwrap() - 2f64.ln()).abs() < 1e-7);
}

#[test]
fn a_non_finite_loss_names_its_first_position_and_cause() {
    for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut case = Case::new(50, 4, TILE + 20, TILE + 20);
        let width = case.width;
        case.x[2 * width + TILE + 3] = poison;
        case.x[width + TILE + 7] = poison;
        let expected = LossError::NonFinite { position: TILE + 3, cause: NonFinite::Hidden };
        assert_eq!(case.forward(), Err(expected.clone()), "{poison}");
        assert_eq!(case.train(1.0, Write::Set), Err(expected), "{poison}");
    }
    let mut case = Case::new(50, 4, 9, 9);
    case.weight[13] = f32::NAN;
    assert_eq!(case.forward(), Err(LossError::NonFinite { position: 0, cause: NonFinite::Classifier }));
}

#[test]
fn a_poisoned_padding_column_is_ignored() {
    let mut case = Case::new(50, 4, 9, 6);
    case.x[8] = f32::NAN;
    let (_, dx, dweight) = case.train(1.0, Write::Set).unwrap();
    assert!(dx.iter().chain(&dweight).all(|g| g.is_finite()));
    assert!(dx.chunks(9).all(|channel| channel[6..] == [0.0; 3]));
}

#[test]
fn a_target_outside_the_vocabulary_is_named_and_nothing_written() {
    let mut case = Case::new(50, 4, 9, 9);
    case.targets[5] = 50;
    let expected = LossError::Target { position: 5, token: 50, vocab: 50 };
    assert_eq!(case.forward(), Err(expected.clone()));
    assert_eq!(case.train(1.0, Write::Set), Err(expected));
}

#[test]
fn no_targets_mean_no_loss_and_no_gradient() {
    let mut case = Case::new(50, 4, 9, 9);
    case.targets.clear();
    let (loss, dx, dweight) = case.train(1.0, Write::Set).unwrap();
    assert_eq!(loss, 0.0);
    assert!(dx.iter().chain(&dweight).all(|&g| g == 0.0));
}

#[test]
fn logits_of_a_position_match_plain_sums() {
    for (vocab, dim) in [(5, 3), (700, 67)] {
        let case = Case::new(vocab, dim, 6, 6);
        let mut logits = vec![0.0; vocab];
        case.classifier().logits(&case.x, &case.weight, 4, &mut logits);
        for (v, &logit) in logits.iter().enumerate() {
            let exact: f64 =
                (0..dim).map(|d| f64::from(case.weight[v * dim + d]) * f64::from(case.x[d * 6 + 4])).sum();
            assert!((f64::from(logit) - exact).abs() < 1e-5, "token {v}");
        }
    }
}
