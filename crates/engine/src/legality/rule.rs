//! One rule, as it is written in the data.

use std::sync::LazyLock;

use ferrane_mil::DType;
use ferrane_mil::diagnostic::Severity;
use serde::Deserialize;

use super::condition::Condition;
use crate::{Effect, Profile};

/// How sure a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// Two independent measurements agree.
    High,
    /// One good measurement.
    Medium,
    /// An anecdote or an untested statement.
    Low,
    /// Sources contradict each other.
    Contradicted,
}

impl Certainty {
    fn words(self) -> &'static str {
        match self {
            Certainty::High => "high: independent measurements agree",
            Certainty::Medium => "medium: measured once",
            Certainty::Low => "low: an anecdote",
            Certainty::Contradicted => "contradicted by other sources",
        }
    }
}

/// Something a chip or the system around it does not take although it is valid MIL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Short name, e.g. `conv-bias`.
    pub id: String,
    /// The rule in a sentence.
    pub what: String,
    /// When it is broken.
    pub(super) condition: Condition,
    /// What the system does then.
    pub effect: Effect,
    /// How sure that is.
    pub confidence: Certainty,
    /// Who found it, and who contradicts.
    pub sources: String,
    /// What to do instead.
    #[serde(default)]
    pub help: Option<String>,
    /// It holds where the profile says that this quirk does.
    #[serde(default)]
    pub quirk: Option<String>,
    /// It is about how the program is used or about values that the text does not show: worth knowing, no more.
    #[serde(default)]
    advice: bool,
}

impl Rule {
    /// True when the rule holds on the profile's chip and was not turned off.
    pub fn applies_to(&self, profile: &Profile) -> bool {
        profile.compute.value == DType::Fp16
            && !profile.assumes(&self.id)
            && self.quirk.as_ref().is_none_or(|quirk| profile.quirk(quirk).is_some())
    }

    /// The number from which it applies, where the profile has one.
    pub(super) fn threshold(&self, profile: &Profile) -> Option<f64> {
        profile.quirk(self.quirk.as_ref()?)?.threshold
    }

    /// How bad it is to break it: an error where the system refuses, a warning where it silently goes wrong. A rule that
    /// nothing surer than an anecdote speaks for is a note, unless a profile decided that it holds.
    pub fn severity(&self) -> Severity {
        let unsure = matches!(self.confidence, Certainty::Low | Certainty::Contradicted);
        match self.effect {
            _ if self.advice || (unsure && self.quirk.is_none()) => Severity::Note,
            Effect::Slow => Severity::Note,
            Effect::Silent => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// What happens when it is broken; `surely` or perhaps.
    pub(super) fn consequence(&self, surely: bool) -> &'static str {
        match (self.effect, surely) {
            (Effect::RefuseCompile, true) => "the compiler refuses it",
            (Effect::RefuseCompile, false) => "the compiler may refuse it",
            (Effect::RefuseText, true) => "the text is refused as InvalidMILProgram",
            (Effect::RefuseText, false) => "the text may be refused as InvalidMILProgram",
            (Effect::FailLoad, true) => "it does not load",
            (Effect::FailLoad, false) => "it may not load",
            (Effect::FailEvaluate, true) => "evaluating it fails",
            (Effect::FailEvaluate, false) => "evaluating it may fail",
            (Effect::Silent, true) => "the results are wrong without an error",
            (Effect::Silent, false) => "the results may be wrong without an error",
            (Effect::Slow, _) => "it is slow",
            (Effect::Crash, true) => "the compiler or a service crashes",
            (Effect::Crash, false) => "the compiler or a service may crash",
        }
    }

    /// The chips on which it holds, by the names of their profiles.
    pub fn chips(&self) -> Vec<&'static str> {
        let holds = |name: &&str| Profile::built_in(name).is_ok_and(|profile| self.applies_to(&profile));
        Profile::names().filter(holds).collect()
    }

    /// All there is to say about it, for `ferrane mil explain`.
    pub fn explanation(&self) -> String {
        let severity = self.severity();
        let help = self.help.as_ref().map_or(String::new(), |help| format!("\nInstead: {help}."));
        let chips = match self.chips() {
            none if none.is_empty() => "none: the profiles follow the sources that deny it".to_owned(),
            chips => chips.join(", "),
        };
        format!(
            "{0}: {1}\n\nWhen it is broken, {2} ({severity}).{help}\nHolds on: {chips}.\nConfidence: {3}.\n\
             Sources: {4}.\nTo do as if it were not: --assume {0}-ok",
            self.id,
            self.what,
            self.consequence(severity != Severity::Note),
            self.confidence.words(),
            self.sources
        )
    }
}

/// The built-in rules cannot be read: a defect of ours.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the built-in rules cannot be read: {0}")]
pub struct RulesError(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: Vec<Rule>,
}

/// Every rule, in the order of the file.
///
/// # Errors
/// Never, which a test holds.
pub fn rules() -> Result<&'static [Rule], RulesError> {
    static RULES: LazyLock<Result<File, RulesError>> = LazyLock::new(|| {
        toml::from_str(include_str!("../../rules/legality.toml")).map_err(|e| RulesError(e.to_string()))
    });
    match &*RULES {
        Ok(file) => Ok(&file.rule),
        Err(error) => Err(error.clone()),
    }
}

/// The rule of this id.
pub fn rule(id: &str) -> Option<&'static Rule> {
    rules().unwrap_or_default().iter().find(|rule| rule.id == id)
}
