//! Every published point: the model here is the one that was fitted, and reproduces what it was not fitted to.

use std::collections::BTreeMap;

use ferrane_engine::{Profile, cost::estimate};

use crate::programs::program;

const POINTS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/cost-model/points.csv"));
const RESIDUALS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/cost-model/residuals.csv"));

/// A row of `points.csv`, and what we say of it.
struct Point {
    id: &'static str,
    role: &'static str,
    published: f64,
    modelled: f64,
}

impl Point {
    fn error(&self) -> f64 {
        (self.modelled / self.published - 1.0).abs()
    }
}

fn points() -> Vec<Point> {
    // Training steps are compared where plans are known, in ferrane-runtime.
    let rows = POINTS.lines().filter(|row| !row.starts_with('#') && !row.contains(",stories110m,")).skip(1);
    let point = |row: &'static str| {
        let [id, chip, kind, dims, us, role] = row.splitn(7, ',').take(6).collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let profile = Profile::built_in(chip).unwrap();
        let modelled = estimate(&program(kind, dims), &profile).unwrap().seconds * 1e6;
        Point { id, role, published: us.parse().unwrap(), modelled }
    };
    rows.map(point).collect()
}

fn held<'a>(points: &'a [Point], prefix: &str) -> Vec<&'a Point> {
    points.iter().filter(|p| p.id.starts_with(prefix) && p.role == "held").collect()
}

fn median(points: &[&Point]) -> f64 {
    let mut errors: Vec<f64> = points.iter().map(|p| p.error()).collect();
    errors.sort_by(f64::total_cmp);
    errors[errors.len() / 2]
}

#[test]
fn the_fitted_model_and_the_committed_residuals_are_this_one() {
    let residuals: BTreeMap<&str, f64> = RESIDUALS
        .lines()
        .skip(1)
        .filter(|row| !row.starts_with("train-"))
        .map(|row| row.split(',').collect::<Vec<_>>())
        .map(|row| (row[0], row[3].parse().unwrap()))
        .collect();
    let points = points();
    assert_eq!(points.len(), residuals.len());
    for p in &points {
        let there = residuals[p.id];
        assert!(
            (p.modelled / there - 1.0).abs() < 2e-3,
            "{}: {:.1} us here and {there} in residuals.csv; run tools/cost-model/fit.py --residuals",
            p.id,
            p.modelled
        );
    }
}

#[test]
fn held_out_the_m4_max_peak_table_is_within_15_percent() {
    let all = points();
    let table = held(&all, "m4-max-");
    assert_eq!(table.len(), 5);
    for p in table {
        assert!(p.error() < 0.15, "{}: {:.1} us for {}", p.id, p.modelled, p.published);
    }
}

#[test]
fn held_out_the_m4_mini_is_within_20_percent_in_the_median() {
    let all = points();
    let rows = held(&all, "m4-mini-");
    assert_eq!(rows.len(), 14);
    assert!(median(&rows) < 0.2, "{}", median(&rows));
    // Chains, which the model describes best, all of them.
    for p in rows.iter().filter(|p| !p.id.contains("conv")) {
        assert!(p.error() < 0.1, "{}: {:.1} us for {}", p.id, p.modelled, p.published);
    }
}

#[test]
fn held_out_single_products_of_the_m4_show_the_working_set() {
    let all = points();
    for p in held(&all, "m4-matmul-") {
        assert!(p.error() < 0.15, "{}: {:.1} us for {}", p.id, p.modelled, p.published);
    }
}

#[test]
fn held_out_the_m5_pro_is_within_20_percent() {
    let all = points();
    let rows = held(&all, "m5-pro-");
    assert!(rows.len() >= 20);
    assert!(median(&rows) < 0.06, "{}", median(&rows));
    for p in rows {
        assert!(p.error() < 0.2, "{}: {:.1} us for {}", p.id, p.modelled, p.published);
    }
}

#[test]
fn held_out_all_chips_are_within_10_percent_in_the_median() {
    let all = points();
    let rows = held(&all, "");
    assert!(rows.len() >= 50);
    assert!(median(&rows) < 0.1, "{}", median(&rows));
}

#[test]
fn held_out_width_64_to_2048_raises_the_m3_pro_as_published() {
    let all = points();
    let us = |id: &str| all.iter().find(|p| p.id == id).unwrap().modelled;
    // 32 times the work: 9.98 and 16.77 TFLOPS, a factor of 1.68.
    let factor = 32.0 * us("m3-pro-narrow") / us("m3-pro-wide");
    assert!((factor / (16.77 / 9.98) - 1.0).abs() < 0.1, "{factor}");
}

#[test]
fn int8_is_as_much_faster_as_published() {
    let all = points();
    let us = |id: &str| all.iter().find(|p| p.id == id).unwrap().modelled;
    let of_128 = us("m4-64x64-128") / us("m4-int8-128");
    assert!((of_128 / 1.88 - 1.0).abs() < 0.05, "{of_128}");
    // Held out.
    let of_64 = us("m4-64x64-64") / us("m4-int8-64");
    assert!((of_64 / 1.85 - 1.0).abs() < 0.05, "{of_64}");
}
