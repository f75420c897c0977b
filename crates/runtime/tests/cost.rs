//! The modelled cost of a training step against the published ones.

use ferrane_engine::Profile;
use ferrane_model::{
    ModelConfig, Preset,
    plan::{Plan, PlanKind},
    stage::Tokens,
};
use ferrane_runtime::{
    WeightsMode,
    cost::{Phase, PlanCost, cheapest, plan_cost},
};

const POINTS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/cost-model/points.csv"));
const RESIDUALS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/cost-model/residuals.csv"));

const TOKENS: Tokens = Tokens { batch: 1, seq: 256 };

fn stories110m() -> ModelConfig {
    Preset::Stories110M.config()
}

fn six(chip: &str, mode: WeightsMode) -> PlanCost {
    cost(PlanKind::Six, chip, mode)
}

fn cost(kind: PlanKind, chip: &str, mode: WeightsMode) -> PlanCost {
    let plan = Plan::new(kind, &stories110m(), TOKENS).unwrap();
    plan_cost(&plan, &stories110m(), &Profile::built_in(chip).unwrap(), mode).unwrap()
}

/// Rows of `points.csv` that are training steps: id, chip, published time in us, role.
fn published() -> Vec<[&'static str; 4]> {
    let rows = POINTS.lines().map(|row| row.splitn(7, ',').collect::<Vec<_>>());
    rows.filter(|row| row.get(2) == Some(&"stories110m"))
        .map(|row| [row[0], row[1], row[4], row[5]])
        .collect()
}

fn forward_ms(chip: &str) -> f64 {
    1e3 * six(chip, WeightsMode::Baked).phase_seconds(Phase::Forward)
}

#[test]
fn held_out_the_forward_pass_of_stories110m_takes_what_was_published() {
    let held: Vec<_> = published().into_iter().filter(|[.., role]| *role == "held").collect();
    assert_eq!(held.len(), 7);
    for [id, chip, us, _] in held {
        let (ms, published) = (forward_ms(chip), us.parse::<f64>().unwrap() / 1e3);
        let error = (ms / published - 1.0).abs();
        // One M1 Max ranges from 35 to 45 ms.
        let most = if chip == "m1-max" { 0.2 } else { 0.15 };
        assert!(error < most, "{id}: {ms:.1} ms for {published}");
    }
}

#[test]
fn the_fitted_model_and_the_committed_residuals_are_this_one() {
    for [id, chip, ..] in published() {
        let row = RESIDUALS.lines().find(|row| row.starts_with(&format!("{id},"))).unwrap();
        let there: f64 = row.split(',').nth(3).unwrap().parse().unwrap();
        let here = 1e3 * forward_ms(chip);
        assert!((here / there - 1.0).abs() < 2e-3, "{id}: {here:.1} us here and {there} in residuals.csv");
    }
}

#[test]
fn operations_are_those_of_the_published_formulas() {
    let cost = six("m4", WeightsMode::Baked);
    // L (4·2·D²·S + 6·D·H·S) a pass through the weights, and L·2·h·S²·HD for each of 2 products of attention forward and
    // 5 backward, probabilities recomputed.
    let (layers, dim, hidden, seq) = (12.0, 768.0, 2048.0, 256.0);
    let weights = layers * (8.0 * dim * dim * seq + 6.0 * dim * hidden * seq);
    let attention = layers * 2.0 * seq * seq * dim;
    assert_eq!(cost.flops(), 2.0 * weights + 7.0 * attention);
    assert_eq!(cost.host.weight_gradients, weights);
    assert_eq!(cost.host.classifier, 6.0 * 32000.0 * dim * seq);
    assert_eq!(cost.dispatches(), 72);
}

#[test]
fn baked_weights_are_compiled_for_each_layer_and_again_after_each_update() {
    let baked = six("m4", WeightsMode::Baked);
    // 60 programs with weights, and one without that all layers can share.
    assert_eq!((baked.compiles().0, baked.recompiles().0), (61, 60));
    // Published: 3.31 s on an M4 for the 60.
    let seconds = baked.recompiles().1;
    assert!((seconds / 3.31 - 1.0).abs() < 0.2, "{seconds} s");
    let reload = six("m4", WeightsMode::Reload);
    assert_eq!((reload.compiles().0, reload.recompiles().0), (61, 0));
    let streamed = six("m4", WeightsMode::Streamed);
    assert_eq!((streamed.compiles().0, streamed.recompiles().0), (6, 0));
    // As the fork counts them: two norms a layer, the final norm and the classifier besides.
    assert_eq!(cost(PlanKind::Extras, "m4", WeightsMode::Baked).recompiles().0, 60 + 24 + 2);
}

/// Published were 5 to 9 % of 15.8 TFLOPS over a step, for the host did the rest meanwhile.
#[test]
fn the_cheapest_plan_uses_more_of_the_engine_than_was_published() {
    let used = |cost: &PlanCost| cost.flops() / cost.step_seconds() / 15.8e12;
    let published = used(&six("m4", WeightsMode::Baked));
    assert!(published > 0.05 && published < 0.09, "{published}");
    let profile = Profile::built_in("m4").unwrap();
    let (.., cheapest) = cheapest(&stories110m(), TOKENS, &profile, WeightsMode::Streamed).unwrap();
    assert!(used(&cheapest) > 2.0 * 0.09, "{}", used(&cheapest));
}

#[test]
fn streamed_weights_pass_over_surfaces() {
    let (baked, streamed) = (six("m4", WeightsMode::Baked), six("m4", WeightsMode::Streamed));
    // Each matrix is read forward and backward, in fp16; the rest are the gains of the norms.
    let matrices = 2.0 * 2.0 * 12.0 * (4.0 * 768.0 * 768.0 + 3.0 * 768.0 * 2048.0);
    let more = streamed.surface_bytes() - baked.surface_bytes();
    assert!(more >= matrices && more < 1.01 * matrices, "{more} and {matrices}");
    assert!(streamed.seconds() > baked.seconds());
}

#[test]
fn every_plan_divides_the_same_work() {
    for kind in PlanKind::ALL {
        let cost = cost(kind, "m4", WeightsMode::Streamed);
        let plan = Plan::new(kind, &stories110m(), TOKENS).unwrap();
        assert_eq!(cost.dispatches(), plan.kernels(12).0, "{}", kind.name());
        // Whoever does them: three passes through all weights, classifier included, and attention.
        let weights = 3.0 * 2.0 * 256.0 * (85.0e6 + 24.6e6);
        let all = cost.flops() + cost.host.flops();
        assert!(all > 0.99 * weights && all < 1.6 * weights, "{}: {all:e} of {weights:e}", kind.name());
    }
    let six = six("m4", WeightsMode::Streamed);
    assert!(cost(PlanKind::Fused, "m4", WeightsMode::Streamed).host.flops() < six.host.flops() / 100.0);
}

#[test]
fn every_chip_and_mode_gives_finite_numbers() {
    for chip in Profile::names().filter(|name| *name != "cpu") {
        for mode in [WeightsMode::Baked, WeightsMode::Streamed] {
            let cost = six(chip, mode);
            assert!(cost.seconds() > 0.01 && cost.seconds() < 1.0, "{chip}: {} s", cost.seconds());
            assert!(cost.joules() > 0.005 && cost.joules() < 5.0, "{chip}: {} J", cost.joules());
            assert!(cost.of_peak() > 0.02 && cost.of_peak() < 1.0, "{chip}: {}", cost.of_peak());
        }
    }
}
