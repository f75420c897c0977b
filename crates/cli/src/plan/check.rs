//! Claims and what became of them, for people.

use ferrane_plan::writeup::{Checked, CheckedFigure, Verdict};

use crate::lines::{hanging, table};

pub(super) fn claims(claims: &[Checked], explain: bool) -> String {
    let mut out = String::new();
    for (i, claim) in claims.iter().enumerate() {
        out.push_str(&hanging(&format!("{:>2}  ", i + 1), &format!("\"{}\"", claim.says)));
        out.push_str(&hanging("    ", &format!("{}: {}", verdict(claim.verdict), claim.why)));
        out.push_str(&table(&claim.figures.iter().map(row).collect::<Vec<_>>()));
        if explain {
            claim.figures.iter().for_each(|figure| out.push_str(&computation(figure)));
        }
        out.push('\n');
    }
    let count = |verdict| claims.iter().filter(|claim| claim.verdict == verdict).count();
    out.push_str(&format!(
        "{} claims: {} right, {} wrong, {} inconsistent\n",
        claims.len(),
        count(Verdict::Right),
        count(Verdict::Wrong),
        count(Verdict::Inconsistent)
    ));
    out
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Right => "RIGHT",
        Verdict::Wrong => "WRONG",
        Verdict::Inconsistent => "INCONSISTENT",
    }
}

fn row(figure: &CheckedFigure) -> Vec<String> {
    let claim = match (&figure.claimed, figure.agrees) {
        (Some(claimed), Some(true)) => format!("claimed {claimed}"),
        (Some(claimed), _) => format!("claimed {claimed}  <-"),
        (None, _) => String::new(),
    };
    vec![figure.what.clone(), figure.found.clone(), claim]
}

fn computation(figure: &CheckedFigure) -> String {
    let mut out =
        hanging(&format!("      {}: ", figure.what), &format!("{} = {}", figure.expression, figure.numbers));
    for source in &figure.sources {
        out.push_str(&hanging("        ", source));
    }
    out
}
