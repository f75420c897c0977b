//! What a profile's compiler and door refuse, and how they bind surfaces.
//!
//! What is refused for the program's sake is decided by `ferrane_engine::legality`, as in `ferrane mil check`. Here are the
//! words the framework says it with, and the rules about surfaces and processes, which no text shows.

use ferrane_engine::legality::{self, Breach};
use ferrane_engine::{Effect, EngineError, Port, Profile, Status, Surface};
use ferrane_mil::Program;
use ferrane_mil::diagnostic::Severity;

/// The framework's words for a refused program.
pub(crate) const REJECTED: &str = "ANECCompile() FAILED";

/// The framework's words for a program that is not MIL to it.
const INVALID: &str = "InvalidMILProgram";

/// A profile's rules as a simulated engine applies them.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) profile: &'a Profile,
    /// Report breaches instead of refusing.
    pub(crate) lenient: bool,
    /// Is told of breaches that are not refused.
    pub(crate) remark: &'a dyn Fn(&str, String),
}

/// What the rules say of a program that is not refused at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// Why loading it fails.
    pub(crate) load: Option<(Status, String)>,
    /// Why every evaluation fails.
    pub(crate) evaluate: Option<String>,
    /// Once it was evaluated, nothing can be any more.
    pub(crate) poisons: bool,
}

impl Rules<'_> {
    /// Judges a program. `name` is the program's in errors.
    ///
    /// # Errors
    /// The first refusal: the framework says no more than one, and we add the cause and the rule.
    pub(crate) fn judge(&self, program: &Program, name: &str) -> Result<Verdict, EngineError> {
        let mut verdict = Verdict::default();
        for breach in legality::breaches(program, self.profile) {
            match breach.rule.severity() {
                Severity::Note => continue,
                Severity::Warning => {
                    (self.remark)(name, breach.message(self.profile));
                    continue;
                }
                Severity::Error if self.lenient => {
                    (self.remark)(name, breach.message(self.profile));
                    continue;
                }
                Severity::Error => {}
            }
            let reason = reason(&breach);
            match breach.rule.effect {
                Effect::RefuseText => return Err(self.refused(name, INVALID, &reason)),
                Effect::RefuseCompile => return Err(self.refused(name, REJECTED, &reason)),
                Effect::Crash => return Err(self.refused(name, "the compile service crashed", &reason)),
                Effect::FailLoad => verdict.load = verdict.load.or(Some((Status::BANK, reason))),
                Effect::FailEvaluate if breach.rule.id == "tile-poisons-process" => verdict.poisons = true,
                Effect::FailEvaluate => verdict.evaluate = verdict.evaluate.or(Some(reason)),
                Effect::Silent | Effect::Slow => {}
            }
        }
        Ok(verdict)
    }

    /// A refusal to compile.
    pub(crate) fn refused(&self, program: &str, words: &str, reason: &str) -> EngineError {
        EngineError::Compile {
            engine: self.title(),
            program: program.into(),
            reason: format!("{words}: {reason}"),
        }
    }

    /// A refusal to load.
    pub(crate) fn not_loaded(&self, program: &str, status: Status, reason: String) -> EngineError {
        EngineError::Load { engine: self.title(), program: program.into(), status, reason }
    }

    /// A refusal to evaluate.
    pub(crate) fn not_evaluated(&self, program: &str, status: Status, reason: String) -> EngineError {
        EngineError::Evaluate { engine: self.title(), program: program.into(), status, reason }
    }

    fn title(&self) -> String {
        format!("sim ({})", self.profile.name)
    }

    /// The reason with the name of the rule that a process breaks, where it holds and is to be acted on.
    pub(crate) fn of_process(&self, id: &str, program: &str, what: String) -> Option<String> {
        let rule = legality::rule(id).filter(|rule| rule.applies_to(self.profile))?;
        let help = rule.help.as_ref().map_or(String::new(), |help| format!("; {help}"));
        let reason = format!("{what} (rule {id}){help}");
        if self.lenient {
            (self.remark)(program, reason);
            return None;
        }
        Some(reason)
    }

    /// Checks what the framework checks of one side's surfaces before it runs a request.
    ///
    /// # Errors
    /// Status 0x1d with the cause.
    pub(crate) fn surfaces(
        &self,
        program: &str,
        side: &str,
        ports: &[Port],
        surfaces: &[&Surface],
    ) -> Result<(), EngineError> {
        let refuse = |cause: String| Err(self.not_evaluated(program, Status::INFERENCE, cause));
        if ports.len() != surfaces.len() {
            return refuse(format!("{} {side} surfaces for {} ports", surfaces.len(), ports.len()));
        }
        let wrong = |(port, surface): &(&Port, &&Surface)| surface.elements() != port.elements();
        if let Some((port, surface)) = ports.iter().zip(surfaces).find(wrong) {
            return refuse(format!(
                "the surface bound to `{}` has {} elements instead of {}",
                port.name,
                surface.elements(),
                port.elements()
            ));
        }
        let claims = || surfaces.iter().map(|s| s.allocation());
        let (min, max) = (claims().min().unwrap_or(0), claims().max().unwrap_or(0));
        if min == max || !self.profile.ports.equal_allocation.value {
            return Ok(());
        }
        match self.of_process(
            "port-sizes",
            program,
            format!("the {side} surfaces claim {min} to {max} bytes"),
        ) {
            Some(reason) => refuse(reason),
            None => Ok(()),
        }
    }
}

fn reason(breach: &Breach) -> String {
    let help = breach.rule.help.as_ref().map_or(String::new(), |help| format!("; {help}"));
    format!("{} (rule {}){help}", breach.what, breach.rule.id)
}

/// For each port, the index of the surface the framework binds to it: the given order, or for doors that bind by name the
/// alphabetical order of the ports.
pub(crate) fn binding(ports: &[Port], profile: &Profile) -> Vec<usize> {
    let mut by_name: Vec<usize> = (0..ports.len()).collect();
    if profile.ports.alphabetical.value {
        by_name.sort_by(|&a, &b| ports[a].name.cmp(&ports[b].name));
    }
    // The n-th surface goes to the n-th port in that order.
    let mut surface_of = vec![0; ports.len()];
    by_name.iter().enumerate().for_each(|(surface, &port)| surface_of[port] = surface);
    surface_of
}
