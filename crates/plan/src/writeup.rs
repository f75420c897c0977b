//! The claims of a published write-up, computed again.
//!
//! `data/writeup.toml` holds each claim with the numbers it gives and the expressions that give ours. The verdict is not
//! written there: it follows from which figures agree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::PlanError;
use crate::formula::{Book, Ledger};
use crate::quantity::{Unit, show};

const FILE: &str = "writeup.toml";

/// How far a figure may be from its claim: claims are rounded to two digits.
const TOLERANCE: f64 = 0.03;

/// What a claim turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All its figures agree.
    Right,
    /// A computation or a premise does not.
    Wrong,
    /// It contradicts itself.
    Inconsistent,
}

/// A claim and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// A short name.
    pub id: String,
    /// What is claimed, in our words.
    pub says: String,
    /// What it turned out to be.
    pub verdict: Verdict,
    /// Why.
    pub why: String,
    /// Its figures.
    pub figures: Vec<CheckedFigure>,
}

/// A figure of a claim.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedFigure {
    /// What it is.
    pub what: String,
    /// What role it has.
    pub kind: Kind,
    /// What is claimed, if anything is.
    pub claimed: Option<String>,
    /// What it is.
    pub found: String,
    /// The same as a number.
    pub value: f64,
    /// Whether the two agree, if something is claimed.
    pub agrees: Option<bool>,
    /// How it is computed.
    pub expression: String,
    /// The same with the numbers in it.
    pub numbers: String,
    /// Sources of the constants in it.
    pub sources: Vec<String>,
}

/// What role a figure has in its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Computed from the write-up's own inputs.
    Arithmetic,
    /// Taken for granted there.
    Premise,
    /// Two of its statements, held to each other.
    Consistency,
    /// Not claimed.
    Context,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    constants: BTreeMap<String, Constant>,
    claim: Vec<Claim>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Constant {
    value: f64,
    unit: Unit,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    id: String,
    says: String,
    why: String,
    #[serde(default)]
    given: BTreeMap<String, f64>,
    #[serde(default)]
    apply: Vec<String>,
    figures: Vec<Figure>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Figure {
    what: String,
    kind: Kind,
    expression: String,
    unit: Unit,
    claimed: Option<Claimed>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Claimed {
    Number(f64),
    Range(f64, f64),
}

impl Claimed {
    fn agrees(self, value: f64) -> bool {
        match self {
            Claimed::Number(number) => (value - number).abs() <= TOLERANCE * number.abs(),
            Claimed::Range(low, high) => (low..=high).contains(&value),
        }
    }

    fn shown(self, unit: Unit) -> String {
        match self {
            Claimed::Number(number) => show(number, unit),
            Claimed::Range(low, high) => format!("{} to {}", show(low, unit), show(high, unit)),
        }
    }
}

/// Computes every claim again.
///
/// # Errors
/// [`PlanError::Data`], which the tests exclude.
pub fn check(book: &Book) -> Result<Vec<Checked>, PlanError> {
    let file: File =
        toml::from_str(include_str!("../data/writeup.toml")).map_err(|e| PlanError::data(FILE, e))?;
    file.claim.iter().map(|claim| check_claim(book, &file.constants, claim)).collect()
}

fn check_claim(
    book: &Book,
    constants: &BTreeMap<String, Constant>,
    claim: &Claim,
) -> Result<Checked, PlanError> {
    let mut ledger = Ledger::new(book);
    for (name, constant) in constants {
        ledger.define(name, constant.value, constant.unit);
    }
    for (symbol, value) in &claim.given {
        ledger.set(symbol, *value);
    }
    for formula in &claim.apply {
        ledger.apply(formula)?;
    }
    let figures: Vec<CheckedFigure> =
        claim.figures.iter().map(|f| check_figure(&ledger, constants, f)).collect::<Result<_, _>>()?;
    Ok(Checked {
        id: claim.id.clone(),
        says: claim.says.clone(),
        verdict: verdict(&figures),
        why: claim.why.clone(),
        figures,
    })
}

fn check_figure(
    ledger: &Ledger<'_>,
    constants: &BTreeMap<String, Constant>,
    figure: &Figure,
) -> Result<CheckedFigure, PlanError> {
    let wrong = |reason| PlanError::data(FILE, format!("figure `{}` {reason}", figure.what));
    let value = ledger.evaluate(&figure.expression).map_err(wrong)?;
    let sources = constants
        .iter()
        .filter(|(name, _)| uses(&figure.expression, name))
        .map(|(name, constant)| format!("{name}: {}", constant.source))
        .collect();
    Ok(CheckedFigure {
        what: figure.what.clone(),
        kind: figure.kind,
        claimed: figure.claimed.map(|claimed| claimed.shown(figure.unit)),
        found: show(value, figure.unit),
        value,
        agrees: figure.claimed.map(|claimed| claimed.agrees(value)),
        expression: figure.expression.clone(),
        numbers: ledger.substitute(&figure.expression),
        sources,
    })
}

fn uses(expression: &str, name: &str) -> bool {
    expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|word| word == name)
}

fn verdict(figures: &[CheckedFigure]) -> Verdict {
    let failing = |kind| figures.iter().any(|f| f.kind == kind && f.agrees == Some(false));
    if failing(Kind::Consistency) {
        Verdict::Inconsistent
    } else if failing(Kind::Arithmetic) || failing(Kind::Premise) {
        Verdict::Wrong
    } else {
        Verdict::Right
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Data;

    fn checked() -> Vec<Checked> {
        check(&Data::built_in().unwrap().book).unwrap()
    }

    fn figure(claim: &str, what: &str) -> f64 {
        let claims = checked();
        let claim = claims.iter().find(|c| c.id == claim).unwrap();
        claim.figures.iter().find(|f| f.what == what).unwrap_or_else(|| panic!("{what}")).value
    }

    /// By hand, from the inputs alone.
    #[test]
    fn every_claim_is_computed_as_by_hand() {
        let near = |found: f64, by_hand: f64, digits: f64| {
            assert!((found / by_hand - 1.0).abs() < digits, "{found} and {by_hand}");
        };
        near(figure("sync-times", "at home") / 60.0, 25.64, 1e-3);
        near(figure("sync-times", "over NVLink"), 0.022222, 1e-3);
        near(figure("sync-times", "ratio"), 69_231.0, 1e-4);
        near(figure("sync-times", "over NVLink in a ring, one direction"), 0.0889, 1e-3);
        near(figure("home-upload", "too high by"), 9.2, 1e-2);
        near(figure("diloco", "utilisation, H = 500 in int8"), 0.866, 1e-3);
        near(figure("diloco", "fewer bytes"), 2000.0, 1e-9);
        near(figure("diloco", "memory a Mac needs"), 260e9, 1e-9);
        near(figure("diloco", "days to 200 B tokens"), 1728.0, 1e-3);
        near(figure("utilisation", "3 % of the peak"), 0.57e12, 1e-9);
        near(figure("utilisation", "best seen, of the stated peak"), 0.092, 1e-2);
        near(figure("cpu-dominates", "named parts to engine"), 2.448, 1e-3);
        near(figure("cpu-dominates", "whole rest to engine"), 10.15, 1e-3);
        near(figure("step-time", "a step by the clock"), 0.505, 1e-9);
        near(figure("step-time", "6ND rate by the clock"), 0.333e12, 1e-2);
        near(figure("step-time", "6ND rate, weights as inputs"), 1.3e12, 1e-2);
        near(figure("aggregate", "sum of peaks"), 95e18, 1e-9);
        near(figure("colossus", "dense bf16"), 197.8e18, 1e-3);
        near(figure("colossus", "with 2:4 sparsity"), 395.8e18, 1e-3);
        near(figure("gap", "sustained, against 10 EFLOP/s"), 7.91, 1e-3);
        near(figure("gap", "sustained, against 5 EFLOP/s"), 15.82, 1e-3);
        near(figure("gap-idle", "against 2 TFLOPS a Mac"), 39.56, 1e-3);
        near(figure("gap-idle", "Macs to equal it, sustained"), 273e6, 2e-3);
        near(figure("gap-idle", "Macs to equal it, by peaks"), 52e6, 2e-3);
        near(figure("wages", "worth of an hour"), 0.00916, 1e-3);
        near(figure("wages", "its electricity"), 0.0102, 1e-9);
        near(figure("wages", "$1 is too much by"), 109.0, 1e-2);
        near(figure("wages", "$2.80 is too much by"), 305.7, 1e-2);
        near(figure("per-watt", "an A100, TFLOPS a watt"), 0.78, 1e-9);
        near(figure("per-watt", "ratio"), 8.7, 1e-2);
        near(figure("per-watt", "to an H100"), 4.8, 1e-2);
        near(figure("int8", "int8 to fp16"), 1.887, 1e-3);
        near(figure("power", "engines alone"), 14e6, 1e-9);
        near(figure("power", "at the wall"), 200e6, 1e-9);
    }

    #[test]
    fn verdicts_follow_from_the_figures() {
        let verdicts: BTreeMap<String, Verdict> =
            checked().into_iter().map(|claim| (claim.id, claim.verdict)).collect();
        use Verdict::{Inconsistent, Right, Wrong};
        for (id, verdict) in [
            ("sync-times", Right),
            ("home-upload", Wrong),
            ("diloco", Wrong),
            ("utilisation", Inconsistent),
            ("cpu-dominates", Inconsistent),
            ("step-time", Wrong),
            ("aggregate", Right),
            ("colossus", Wrong),
            ("gap", Wrong),
            ("gap-idle", Right),
            ("compile-limit", Wrong),
            ("paid", Wrong),
            ("wages", Right),
            ("per-watt", Wrong),
            ("int8", Wrong),
            ("power", Wrong),
            ("peak-table", Right),
        ] {
            assert_eq!(verdicts[id], verdict, "{id}");
        }
        assert_eq!(verdicts.len(), 17);
    }

    #[test]
    fn every_constant_is_used_and_has_a_source() {
        let file: File = toml::from_str(include_str!("../data/writeup.toml")).unwrap();
        for (name, constant) in &file.constants {
            assert!(!constant.source.is_empty(), "{name}");
            let used = file.claim.iter().flat_map(|claim| &claim.figures).any(|f| uses(&f.expression, name));
            assert!(used, "{name}");
        }
    }
}
