//! Whether a chip takes a program: what is known of its compiler and of the system around it, as rules.
//!
//! Rules are data (`rules/legality.toml`): what they are about, what happens when they are broken, how sure that is and
//! who found it. A rule that rests on an anecdote, or that sources disagree about, is reported as a note and never makes a
//! program illegal.

mod condition;
mod rule;
mod subject;

use ferrane_mil::Program;
use ferrane_mil::diagnostic::{Code, Diagnostic, Diagnostics, Severity, SourceMap, Span};

use crate::Profile;
use condition::Finding;
pub use rule::{Certainty, Rule, RulesError, rules};
use subject::Subject;

/// Checks a verified `program` against the rules of `profile`. `map` is the source map of its text.
///
/// Findings are in the order of the rules; [`Diagnostics::locate`] puts them in the order of the text.
pub fn check(program: &Program, map: Option<&SourceMap>, profile: &Profile) -> Diagnostics {
    let mut all = Diagnostics::new();
    // The built-in rules are read by a test of this crate.
    let rules = rules().unwrap_or_default();
    for (index, function) in program.functions.iter().enumerate() {
        let subject = Subject::new(function, profile);
        let spans = map.and_then(|m| m.function(index));
        for rule in rules.iter().filter(|rule| rule.applies_to(profile)) {
            for finding in condition::findings(&rule.condition, rule.threshold(profile), &subject) {
                let place = spans.and_then(|spans| finding.place.span(spans));
                all.push(diagnostic(rule, &finding, place, spans.map(|s| s.name), profile));
            }
        }
    }
    all
}

fn diagnostic(
    rule: &Rule,
    finding: &Finding,
    place: Option<Span>,
    function: Option<Span>,
    profile: &Profile,
) -> Diagnostic {
    let severity = match finding.certain {
        true => rule.severity(),
        false => Severity::Note,
    };
    let message = format!(
        "{}; on {} {} ({})",
        finding.what,
        profile.name,
        rule.consequence(severity != Severity::Note),
        rule.id
    );
    let mut d = Diagnostic { severity, ..Diagnostic::error(Code::CHIP_RULE, message) };
    if let Some(span) = place.or(function) {
        d = d.label(span, "");
    }
    match &rule.help {
        Some(help) => d.help(help.as_str()),
        None => d,
    }
}

#[cfg(test)]
mod tests;
