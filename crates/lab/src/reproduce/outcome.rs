//! What was found, beside what was published, and what follows.

use std::collections::BTreeMap;

use serde::Serialize;

use super::claims::{Claim, Published};

/// How a figure was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// By counting what the programs do.
    Counted,
    /// By the rules and the arithmetic of the simulated engine.
    Simulated,
    /// By the cost model, from published figures of the chip.
    Modelled,
    /// By running, on this machine.
    Measured,
}

impl How {
    /// All of them.
    pub const ALL: [How; 4] = [How::Counted, How::Simulated, How::Modelled, How::Measured];
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            How::Counted => "counted",
            How::Simulated => "simulated",
            How::Modelled => "modelled",
            How::Measured => "measured",
        })
    }
}

/// What follows from a figure here and the published one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The same to the digits published, or within the tolerance; or both fail.
    Agrees,
    /// Neither.
    Differs,
    /// The figure here is of something else.
    NotCompared,
    /// There is no figure here.
    Failed,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Verdict; 4] = [Verdict::Agrees, Verdict::Differs, Verdict::NotCompared, Verdict::Failed];

    /// Of one claim, in words.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Agrees => "agrees",
            Verdict::Differs => "differs",
            Verdict::NotCompared => "not compared",
            Verdict::Failed => "failed",
        }
    }

    /// Of so many claims.
    pub fn of(self, claims: usize) -> String {
        match (self, claims) {
            (Verdict::Agrees, 0 | 2..) => format!("{claims} agree"),
            (Verdict::Differs, 0 | 2..) => format!("{claims} differ"),
            _ => format!("{claims} {}", self.name()),
        }
    }
}

/// A claim and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The claim's name.
    pub id: String,
    /// What is claimed.
    pub claim: String,
    /// The published figure.
    pub published: Option<f64>,
    /// How the published program failed, if it did.
    pub published_failure: Option<String>,
    /// The figure found here.
    pub here: Option<f64>,
    /// Unit of both.
    pub unit: String,
    /// Digits after the point that were published.
    #[serde(skip)]
    pub decimals: usize,
    /// How it was found.
    pub how: Option<How>,
    /// The figure here by the published one.
    pub ratio: Option<f64>,
    /// How far off is near enough, as part of the published figure.
    pub tolerance: f64,
    /// What follows.
    pub verdict: Verdict,
    /// Why there is no figure, or no comparison.
    pub reason: Option<String>,
    /// Who published it.
    pub source: String,
    /// What is worth knowing beside it.
    pub note: Option<String>,
}

impl Row {
    /// What was published, with its unit.
    pub fn published_text(&self) -> String {
        match (self.published, &self.published_failure) {
            (Some(value), _) => self.quantity(value),
            (None, failure) => failure.clone().unwrap_or_default(),
        }
    }

    /// What was found here, with its unit.
    pub fn here_text(&self) -> String {
        match (self.here, self.how) {
            (Some(value), _) => self.quantity(value),
            (None, Some(_)) => "refused".into(),
            (None, None) => "–".into(),
        }
    }

    /// How far off is near enough; none where no figure was published.
    pub fn tolerance_text(&self) -> Option<String> {
        self.published?;
        Some(match self.tolerance {
            0.0 => "to the digit".into(),
            part => format!("within {:.3} %", part * 100.0).replace(".000", ""),
        })
    }

    fn quantity(&self, value: f64) -> String {
        let number = shown(value, self.decimals);
        if self.unit.is_empty() { number } else { format!("{number} {}", self.unit) }
    }
}

/// At least the digits that were published and three in all; whole numbers whole, in groups of three.
fn shown(value: f64, decimals: usize) -> String {
    if decimals == 0 && value.fract() == 0.0 && value.abs() < 1e15 {
        return grouped(&format!("{value:.0}"));
    }
    let needed = [100.0, 10.0, 1.0].iter().take_while(|limit| value.abs() < **limit).count();
    let needed = if value == 0.0 { 0 } else { needed.min(2) };
    let text = format!("{value:.*}", decimals.max(needed));
    match text.split_once('.') {
        Some((whole, part)) => format!("{}.{part}", grouped(whole)),
        None => grouped(&text),
    }
}

fn grouped(digits: &str) -> String {
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// What was found of one claim.
#[derive(Clone, Debug)]
enum Outcome {
    Figure(f64, How),
    /// The engine refused, which may be what was published.
    Refused(String, How),
    /// Something was found that the published figure says nothing about.
    Apart(Option<(f64, How)>, String),
    Failed(String),
}

/// What an experiment found, by claim.
#[derive(Debug, Default)]
pub(super) struct Findings(BTreeMap<String, Outcome>);

impl Findings {
    pub(super) fn all_failed(claims: &[Claim], reason: &str) -> Self {
        Self(claims.iter().map(|claim| (claim.id.clone(), Outcome::Failed(reason.to_owned()))).collect())
    }

    pub(super) fn figure(&mut self, id: impl Into<String>, value: f64, how: How) {
        self.0.insert(id.into(), Outcome::Figure(value, how));
    }

    /// A figure, or why there is none.
    pub(super) fn result(&mut self, id: impl Into<String>, found: Result<f64, String>, how: How) {
        let outcome = match found {
            Ok(value) => Outcome::Figure(value, how),
            Err(reason) => Outcome::Failed(reason),
        };
        self.0.insert(id.into(), outcome);
    }

    /// A figure, or how the engine refused to give one.
    pub(super) fn refusable(&mut self, id: impl Into<String>, found: Result<f64, String>, how: How) {
        let outcome = match found {
            Ok(value) => Outcome::Figure(value, how),
            Err(reason) => Outcome::Refused(reason, how),
        };
        self.0.insert(id.into(), outcome);
    }

    /// Something that is not compared, and why.
    pub(super) fn apart(
        &mut self,
        id: impl Into<String>,
        found: Option<(f64, How)>,
        reason: impl Into<String>,
    ) {
        self.0.insert(id.into(), Outcome::Apart(found, reason.into()));
    }

    /// The claim's row. A claim about which nothing was found has failed.
    pub(super) fn row(&self, claim: &Claim) -> Row {
        let nothing = Outcome::Failed("the experiment found nothing about it".into());
        let outcome = self.0.get(&claim.id).unwrap_or(&nothing).clone();
        let (here, how, reason) = match outcome.clone() {
            Outcome::Figure(value, how) => (Some(value), Some(how), None),
            Outcome::Refused(reason, how) => (None, Some(how), Some(reason)),
            Outcome::Apart(Some((value, how)), reason) => (Some(value), Some(how), Some(reason)),
            Outcome::Apart(None, reason) | Outcome::Failed(reason) => (None, None, Some(reason)),
        };
        let (published, published_failure) = match &claim.published {
            Published::Figure(value) => (Some(*value), None),
            Published::Failure(failure) => (None, Some(failure.clone())),
        };
        let ratio = here.zip(published).filter(|(_, published)| *published != 0.0).map(|(a, b)| a / b);
        Row {
            id: claim.id.clone(),
            claim: claim.says.clone(),
            published,
            published_failure,
            here,
            unit: claim.unit.clone(),
            decimals: claim.decimals,
            how,
            ratio,
            tolerance: claim.tolerance,
            verdict: verdict(claim, &outcome),
            reason,
            source: claim.source.clone(),
            note: claim.note.clone(),
        }
    }
}

fn verdict(claim: &Claim, outcome: &Outcome) -> Verdict {
    match (&claim.published, outcome) {
        (_, Outcome::Apart(..)) => Verdict::NotCompared,
        (_, Outcome::Failed(_)) | (Published::Figure(_), Outcome::Refused(..)) => Verdict::Failed,
        (Published::Failure(_), Outcome::Refused(..)) => Verdict::Agrees,
        (Published::Failure(_), Outcome::Figure(..)) => Verdict::Differs,
        (Published::Figure(published), Outcome::Figure(here, _)) => {
            let last_digit = 0.5 * 10f64.powi(-(claim.decimals as i32));
            // Not `<`: a figure that is not a number agrees with none.
            let near = (here - published).abs() <= claim.tolerance * published.abs() + last_digit;
            if near { Verdict::Agrees } else { Verdict::Differs }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(published: Published, decimals: usize, tolerance: f64) -> Claim {
        let text = String::new;
        Claim {
            id: "a".into(),
            says: text(),
            published,
            unit: text(),
            decimals,
            tolerance,
            source: text(),
            note: None,
        }
    }

    fn of(claim: &Claim, found: impl FnOnce(&mut Findings)) -> Row {
        let mut findings = Findings::default();
        found(&mut findings);
        findings.row(claim)
    }

    #[test]
    fn numbers_have_the_published_digits_or_three() {
        for (value, decimals, text) in [
            (174_248.0, 0, "174,248"),
            (43_486.5, 0, "43,486"),
            (109.529_856, 2, "109.53"),
            (93.23, 0, "93.2"),
            (0.5, 0, "0.50"),
            (0.000_012, 6, "0.000012"),
            (0.0, 6, "0.000000"),
            (-1234.0, 0, "-1,234"),
        ] {
            assert_eq!(shown(value, decimals), text);
        }
    }

    #[test]
    fn a_verdict_follows_from_the_figures_and_the_tolerance() {
        let exact = claim(Published::Figure(109.53), 2, 0.0);
        let near = claim(Published::Figure(10.0), 1, 0.25);
        for (claim, here, verdict) in [
            (&exact, 109.529_856, Verdict::Agrees),
            (&exact, 109.54, Verdict::Differs),
            (&near, 12.5, Verdict::Agrees),
            (&near, 7.4, Verdict::Differs),
            (&near, f64::NAN, Verdict::Differs),
        ] {
            let row = of(claim, |f| f.figure("a", here, How::Counted));
            assert_eq!(row.verdict, verdict, "{here}");
        }
        let row = of(&near, |f| f.figure("a", 5.0, How::Modelled));
        assert_eq!((row.ratio, row.here, row.how), (Some(0.5), Some(5.0), Some(How::Modelled)));
    }

    #[test]
    fn to_fail_as_published_is_to_agree_and_to_fail_alone_is_not() {
        let refused = claim(Published::Failure("FAIL(-3)".into()), 0, 0.0);
        let figure = claim(Published::Figure(1.0), 0, 0.0);
        let no = |f: &mut Findings| f.refusable("a", Err("no".into()), How::Simulated);
        let yes = |f: &mut Findings| f.refusable("a", Ok(1.0), How::Simulated);
        assert_eq!(of(&refused, no).verdict, Verdict::Agrees);
        assert_eq!(of(&refused, yes).verdict, Verdict::Differs);
        assert_eq!(of(&figure, yes).verdict, Verdict::Agrees);
        let row = of(&figure, no);
        assert_eq!((row.verdict, row.reason.as_deref()), (Verdict::Failed, Some("no")));
        assert_eq!(of(&figure, |_| ()).verdict, Verdict::Failed);
        let row = of(&figure, |f| f.apart("a", Some((1.0, How::Measured)), "of another machine"));
        assert_eq!((row.verdict, row.here), (Verdict::NotCompared, Some(1.0)));
    }
}
