//! `ferrane train`.

pub(crate) mod args;
mod render;
mod resolve;
mod restart;
mod tiny;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use ferrane_cpu::CpuEngine;
use ferrane_engine::Profile;
use ferrane_train::run::{self, Ended, EngineChoice, EngineHandle, Event, Outcome, RunFolder, RunSettings};

pub(crate) use args::Args;
use args::Telemetry;

use crate::engine::{self, ane::Meter};
use crate::failure::{Failure, INTERRUPTED};
use crate::interrupt::Interrupt;
use crate::profile;
use render::{Published, Renderer, Style};
use resolve::Said;

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let said = resolve::read(args)?;
    let shown = Shown {
        quiet: said.given.quiet.unwrap_or(false),
        json: said.given.json.unwrap_or(false),
        telemetry: said.given.telemetry,
    };
    match said.given.resume.clone() {
        Some(root) if tiny::is_one(&root) => tiny::resume(&root, &said.given, shown),
        Some(root) => resume(&root, &said, shown),
        None if said.given.preset.is_some() => tiny::start(&said.given, shown),
        None => start(&said, shown),
    }
}

/// What of a run is shown.
#[derive(Clone, Copy)]
struct Shown {
    quiet: bool,
    json: bool,
    telemetry: Option<Telemetry>,
}

fn start(said: &Said, shown: Shown) -> Result<ExitCode, Failure> {
    let settings = resolve::new_run(&said.given)?;
    let mut engine = open_engine(&settings, settings.profile.as_deref())?;
    if matches!(said.given.engine, None | Some(EngineChoice::Auto)) {
        engine.title.push_str(&format!("; auto: {}", engine::why_auto()));
    }
    let folder = match &said.given.out {
        Some(out) => RunFolder::create(out, &settings)?,
        None => RunFolder::create_numbered(Path::new("runs"), &default_name(said, &settings), &settings)?,
    };
    let root = folder.root().to_owned();
    let published = published(shown, &settings, &engine);
    let meter = Meter::start(settings.engine);
    train(shown, published, &meter, &root, |host| run::begin(folder, settings, engine, host))
}

fn resume(root: &Path, said: &Said, shown: Shown) -> Result<ExitCode, Failure> {
    let (folder, saved) = RunFolder::open(root)?;
    let settings = resolve::resumed(root, &saved, &said.given)?;
    let engine = open_engine(&settings, folder.profile().as_deref())?;
    let published = published(shown, &settings, &engine);
    let meter = Meter::start(settings.engine);
    train(shown, published, &meter, root, |host| run::resume(folder, settings, engine, host))
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
    let handle = engine_handle(&wanted, profile)?;
    settings.validate_for(handle.engine.profile()).map_err(Failure::usage)?;
    Ok(handle)
}

fn engine_handle(
    wanted: &engine::Wanted<'_>,
    profile: impl FnOnce() -> Result<Profile, Failure>,
) -> Result<EngineHandle, Failure> {
    let (engine, title) = engine::open(wanted, profile)?;
    let host = Arc::new(CpuEngine::new(engine::threads()));
    Ok(EngineHandle { engine, host, title, threads: engine::threads() })
}

/// What writes the published trainer's lines, if they are asked for.
fn published(shown: Shown, settings: &RunSettings, engine: &EngineHandle) -> Option<Published> {
    let Telemetry::Published = shown.telemetry?;
    let peak = engine.engine.profile().speed.fp16_tflops.as_ref().map(|figure| figure.value);
    Some(Published::new(settings, peak))
}

/// Trains a model, then says what to do next.
fn train(
    shown: Shown,
    published: Option<Published>,
    meter: &Meter,
    root: &Path,
    go: impl FnOnce(run::Host<'_>) -> Result<Outcome, run::RunError>,
) -> Result<ExitCode, Failure> {
    let mut outcome = None;
    let code = work(shown, published, meter, root, |host| {
        let done = go(host)?;
        let ended = done.ended;
        outcome = Some(done);
        Ok(ended)
    })?;
    let mut renderer = Renderer::new(shown.style(), io::stdout(), io::stderr());
    outcome.iter().flat_map(next_commands).for_each(|line| renderer.say(&line));
    Ok(code)
}

impl Shown {
    fn style(self) -> Style {
        Style::choose(self.quiet, self.json)
    }
}

/// Runs with events shown and Ctrl-C watched; goes on in a new process where that is needed.
fn work(
    shown: Shown,
    published: Option<Published>,
    meter: &Meter,
    root: &Path,
    go: impl FnOnce(run::Host<'_>) -> Result<Ended, run::RunError>,
) -> Result<ExitCode, Failure> {
    let interrupt = Interrupt::install(|| {
        let _ = writeln!(io::stderr(), "\nstopping after this step; Ctrl-C again ends at once");
    })?;
    let mut renderer = Renderer::new(shown.style(), io::stdout(), io::stderr()).with_published(published);
    let mut emit = |event: Event| renderer.show(&event);
    let stop = || interrupt.raised();
    let drawn = || meter.drawn();
    let done = go(run::Host { emit: &mut emit, stop: &stop, drawn: &drawn });
    renderer.end();
    match done? {
        Ended::Finished => Ok(ExitCode::SUCCESS),
        Ended::RestartNeeded if !interrupt.raised() => Err(restart::exec(root, shown)),
        Ended::Stopped | Ended::RestartNeeded => Ok(ExitCode::from(INTERRUPTED)),
    }
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
    if outcome.ended != Ended::Finished {
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
