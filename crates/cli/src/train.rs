//! `ferrane train`.

pub(crate) mod args;
mod render;
mod resolve;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use ferrane_train::run::{self, EngineChoice, EngineHandle, Event, Outcome, RunFolder, RunSettings};

pub(crate) use args::Args;

use crate::engine;
use crate::failure::{Failure, INTERRUPTED};
use crate::interrupt::Interrupt;
use crate::profile;
use render::{Renderer, Style};
use resolve::Said;

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let said = resolve::read(args)?;
    let quiet = said.given.quiet.unwrap_or(false);
    let style = Style::choose(quiet, said.given.json.unwrap_or(false));
    match said.given.resume.clone() {
        Some(root) => resume(&root, &said, style),
        None => start(&said, style),
    }
}

fn start(said: &Said, style: Style) -> Result<ExitCode, Failure> {
    let settings = resolve::new_run(&said.given)?;
    let mut engine = open_engine(&settings, settings.profile.as_deref())?;
    if matches!(said.given.engine, None | Some(EngineChoice::Auto)) {
        engine.title.push_str(engine::WHY_AUTO);
    }
    let folder = match &said.given.out {
        Some(out) => RunFolder::create(out, &settings)?,
        None => RunFolder::create_numbered(Path::new("runs"), &default_name(said, &settings), &settings)?,
    };
    work(style, |host| run::begin(folder, settings, engine, host))
}

fn resume(root: &Path, said: &Said, style: Style) -> Result<ExitCode, Failure> {
    let (folder, saved) = RunFolder::open(root)?;
    let settings = resolve::resumed(root, &saved, &said.given)?;
    let engine = open_engine(&settings, folder.profile().as_deref())?;
    work(style, |host| run::resume(folder, settings, engine, host))
}

/// The engine of a run; `own` is the profile of the user's own that it follows, if it does.
fn open_engine(settings: &RunSettings, own: Option<&Path>) -> Result<EngineHandle, Failure> {
    let profile = || own.map_or_else(|| profile::built_in(&settings.chip), profile::read);
    let wanted = engine::Wanted {
        engine: settings.engine,
        numerics: settings.numerics,
        assume: &settings.assume,
        lenient: settings.lenient,
        faults: settings.faults.as_deref(),
    };
    let (engine, title) = engine::open(&wanted, profile)?;
    settings.validate_for(engine.profile()).map_err(Failure::usage)?;
    Ok(EngineHandle { engine, title, threads: engine::threads() })
}

/// Runs with events shown and Ctrl-C watched, then says what to do next.
fn work(
    style: Style,
    go: impl FnOnce(run::Host<'_>) -> Result<Outcome, run::RunError>,
) -> Result<ExitCode, Failure> {
    let interrupt = Interrupt::install(|| {
        let _ = writeln!(io::stderr(), "\nstopping after this step; Ctrl-C again ends at once");
    })?;
    let mut renderer = Renderer::new(style, io::stdout(), io::stderr());
    let mut emit = |event: Event| renderer.show(&event);
    let stop = || interrupt.raised();
    let done = go(run::Host { emit: &mut emit, stop: &stop });
    renderer.end();
    let outcome = done?;
    next_commands(&outcome).iter().for_each(|line| renderer.say(line));
    Ok(if outcome.interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// `runs/NAME-N`: the name of the settings file, else of the model.
fn default_name(said: &Said, settings: &RunSettings) -> String {
    let model = Path::new(&settings.model).file_name().map(|name| name.to_string_lossy().into_owned());
    said.name.clone().or(model).unwrap_or_else(|| "run".to_owned())
}

/// Commands that make sense now, ready to be typed.
fn next_commands(outcome: &Outcome) -> Vec<String> {
    let program = std::env::args().next().unwrap_or_else(|| "ferrane".to_owned());
    let (program, run) = (quoted(&program), quoted(&outcome.run.to_string_lossy()));
    let resume = |more: String| format!("    {program} train --resume {run}{more}");
    let generate = if outcome.has_tokenizer {
        format!("    {program} generate --model {run} --prompt {}", quoted(outcome.prompt))
    } else {
        format!("    {program} generate --model {run} --prompt-tokens 1,2,3")
    };
    if outcome.interrupted {
        return vec!["to go on:".to_owned(), resume(String::new())];
    }
    vec!["next:".to_owned(), generate, resume(format!(" --steps {}", outcome.steps.saturating_mul(2)))]
}

/// As a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:=@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_are_quoted_when_a_shell_would_change_them() {
        assert_eq!(quoted("runs/nano-1"), "runs/nano-1");
        assert_eq!(quoted("my runs"), "'my runs'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
