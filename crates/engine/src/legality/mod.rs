//! Whether a chip takes a program: what is known of its compiler and of the system around it, as rules.
//!
//! Rules are data (`rules/legality.toml`): what they are about, what happens when they are broken, how sure that is and
//! who found it. [`check`] reports breaches with their places in a text; the simulated engine acts on the same
//! [`breaches`], so the two cannot disagree. A rule that rests on an anecdote, or that sources disagree about, is a note and
//! never makes a program illegal, unless a profile decided that it holds on its chip.

mod condition;
mod rule;
mod subject;

use ferrane_mil::Program;
use ferrane_mil::diagnostic::{Code, Diagnostic, Diagnostics, Severity, SourceMap};

use crate::Profile;
pub use rule::{Certainty, Rule, RulesError, rule, rules};
use subject::{Place, Subject};

/// A rule that a program breaks.
#[derive(Clone, Debug)]
pub struct Breach {
    /// The rule.
    pub rule: &'static Rule,
    /// What breaks it, in words.
    pub what: String,
    /// Index of the function.
    pub function: usize,
    place: Place,
}

impl Breach {
    /// The index of the op that breaks it, where one does.
    pub fn op(&self) -> Option<usize> {
        match self.place {
            Place::Op(op) | Place::Arg(op, _) => Some(op),
            Place::Function | Place::Value(_) | Place::Output(_) => None,
        }
    }

    /// What breaks it, what comes of it on the profile's chip, and the rule's id.
    pub fn message(&self, profile: &Profile) -> String {
        let surely = self.rule.severity() != Severity::Note;
        format!("{}; on {} {} ({})", self.what, profile.name, self.rule.consequence(surely), self.rule.id)
    }
}

/// Everything in `program`, which must be verified, that breaks a rule of `profile`: in the order of its functions, then of
/// the rules.
pub fn breaches(program: &Program, profile: &Profile) -> Vec<Breach> {
    // The built-in rules are read by a test of this crate.
    let rules = rules().unwrap_or_default();
    let mut all = Vec::new();
    for (index, function) in program.functions.iter().enumerate() {
        let subject = Subject::new(program, function, profile);
        for rule in rules.iter().filter(|rule| rule.applies_to(profile)) {
            let found = condition::findings(&rule.condition, rule.threshold(profile), &subject);
            all.extend(found.into_iter().map(|f| Breach {
                rule,
                what: f.what,
                function: index,
                place: f.place,
            }));
        }
    }
    all
}

/// Checks a verified `program` against the rules of `profile`. `map` is the source map of its text.
///
/// Findings are in the order of the rules; [`Diagnostics::locate`] puts them in the order of the text.
pub fn check(program: &Program, map: Option<&SourceMap>, profile: &Profile) -> Diagnostics {
    let mut all = Diagnostics::new();
    for breach in breaches(program, profile) {
        let spans = map.and_then(|m| m.function(breach.function));
        let span = spans.and_then(|spans| breach.place.span(spans).or(Some(spans.name)));
        let message = breach.message(profile);
        let mut d =
            Diagnostic { severity: breach.rule.severity(), ..Diagnostic::error(Code::CHIP_RULE, message) };
        if let Some(span) = span {
            d = d.label(span, "");
        }
        all.push(match &breach.rule.help {
            Some(help) => d.help(help.as_str()),
            None => d,
        });
    }
    all
}

#[cfg(test)]
mod tests;
