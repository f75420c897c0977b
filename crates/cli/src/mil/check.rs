//! `ferrane mil check`: whether programs are well-formed, and whether a chip takes them.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ferrane_engine::{Profile, legality};
use ferrane_mil::diagnostic::{Code, Diagnostic, Diagnostics, Severity, SourceMap};
use ferrane_mil::{Program, Verified, verify};
use serde_json::Value;

use super::report::Report;
use super::source::{self, LoadError, Model};
use super::weights::FolderWeights;
use crate::engine::{RuleFlags, assuming};
use crate::failure::Failure;
use crate::profile;

/// Check programs: their text, names, types and shapes, their weight files and, with --chip, the chip's rules.
///
/// Exit codes: 0 no errors (there may be warnings and notes), 1 errors, 2 nothing to check.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// .mil files, folders with model.mil, folders of those, or packages
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
    /// Also check the rules of this chip, e.g. m4
    #[arg(long, value_name = "CHIP")]
    chip: Option<String>,
    /// Also check the rules of a profile of your own in TOML
    #[arg(long, value_name = "FILE", conflicts_with = "chip")]
    profile: Option<PathBuf>,
    #[command(flatten)]
    rules: RuleFlags,
    /// Print what was found as JSON, one object a line for each file
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (own, rules) = (args.profile.as_deref().map(profile::read), &args.rules);
    let profile = own.or(args.chip.as_deref().map(profile::built_in)).transpose()?;
    if profile.is_none() && (rules.lenient || !rules.assume.is_empty()) {
        return Err(Failure::usage("--assume and --lenient are about the rules of a chip; give --chip too"));
    }
    let profile = profile.map(|profile| assuming(profile, &rules.assume)).transpose()?;
    let chip = profile.as_ref().map(|profile| Chip { profile, lenient: rules.lenient });
    let mut files = Vec::new();
    for path in &args.paths {
        files.extend(source::texts(path)?);
    }
    let mut failed = false;
    for file in &files {
        failed |= check_file(file, chip, args.json)?;
    }
    Ok(ExitCode::from(u8::from(failed)))
}

/// The chip whose rules are checked, and whether breaches are only reported.
#[derive(Clone, Copy)]
pub(crate) struct Chip<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) lenient: bool,
}

impl Chip<'_> {
    fn check(self, program: &Program, map: Option<&SourceMap>) -> Diagnostics {
        let mut found = legality::check(program, map, self.profile);
        if self.lenient {
            let errors = found.0.iter_mut().filter(|d| d.severity == Severity::Error);
            errors.for_each(|d| d.severity = Severity::Warning);
        }
        found
    }
}

/// True when there are errors.
fn check_file(path: &Path, chip: Option<Chip<'_>>, json: bool) -> Result<bool, Failure> {
    let file = path.display().to_string();
    let (source, diagnostics, summary) = match source::load(path) {
        Ok(model) => {
            let diagnostics = check_model(&model, chip);
            let summary = summary(&model, chip);
            (model.text.map(|t| t.source).unwrap_or_default(), diagnostics, summary)
        }
        Err(LoadError::Text(unreadable)) => (unreadable.source, unreadable.errors, String::new()),
        Err(LoadError::Failure(failure)) => return Err(failure),
    };
    let report = Report { file, source: &source, diagnostics: &diagnostics };
    if json {
        let value: Value = report.json();
        writeln!(io::stdout(), "{value}")?;
    } else {
        report.draw()?;
        let errors = diagnostics.errors().count();
        match errors {
            0 => writeln!(io::stdout(), "{}: {summary}", report.file)?,
            _ => writeln!(io::stderr(), "{}: {}", report.file, counted(errors, "error"))?,
        }
    }
    Ok(diagnostics.has_errors())
}

/// Everything there is to say of a program that could be read.
pub(crate) fn check_model(model: &Model, chip: Option<Chip<'_>>) -> Diagnostics {
    let mut all = Diagnostics::new();
    let text = model.text.as_ref();
    all.0.extend(text.iter().flat_map(|t| t.warnings.iter().cloned()));
    all.0.extend(model.warnings.iter().map(|w| Diagnostic::warning(Code::PACKAGE_INVALID, w)));
    let map = text.map(|t| &t.map);
    match verify(model.program.clone()) {
        Err(errors) => all.0.extend(Diagnostics::of_verifier(&errors, &model.program, map)),
        Ok(verified) => {
            check_weights(model, &verified, &mut all);
            if let Some(chip) = chip {
                all.0.extend(chip.check(&model.program, map));
            }
        }
    }
    if let Some(text) = text {
        all.locate(&text.source);
    }
    all
}

fn check_weights(model: &Model, verified: &Verified, all: &mut Diagnostics) {
    let files = FolderWeights::new(&model.folder);
    for (index, function) in verified.program().functions.iter().enumerate() {
        for (value, blob, ty) in function.weights() {
            let Err((code, why)) = files.check(blob, ty) else { continue };
            let name = function.name_of(value);
            let d = Diagnostic::error(code, format!("the weight `{name}`: {why}"));
            let span = model.text.as_ref().and_then(|t| t.map.function(index)?.value(value));
            all.push(match span {
                Some(span) => d.label(span, ""),
                None => d,
            });
        }
    }
}

fn summary(model: &Model, chip: Option<Chip<'_>>) -> String {
    let ops: usize = model.program.functions.iter().map(|f| f.ops.len()).sum();
    let chip = chip.map_or(String::new(), |chip| {
        let verdict = if chip.lenient { "checked leniently for" } else { "legal on" };
        format!(", {verdict} {}", chip.profile.name)
    });
    format!("{} in {}{chip}", counted(ops, "op"), counted(model.program.functions.len(), "function"))
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
