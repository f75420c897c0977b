//! Shows a run's events: a progress line on a terminal, plain lines elsewhere, JSON for programs, or nothing.

mod demonstration;
mod progress;
mod published;
mod words;

use std::io::{self, IsTerminal as _, Write};
use std::time::Instant;

use ferrane_train::run::Event;

use progress::Progress;
pub(crate) use published::Published;

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Warnings only.
    Quiet,
    /// One JSON object a line.
    Json,
    /// Plain lines, about twenty for the steps of a run.
    Plain,
    /// A line that is drawn over and over, and plain lines above it.
    Terminal {
        /// Whether to use colours.
        colour: bool,
    },
}

impl Style {
    /// What suits the flags and where stdout goes.
    pub(crate) fn choose(quiet: bool, json: bool) -> Self {
        match () {
            () if json => Style::Json,
            () if quiet => Style::Quiet,
            () if io::stdout().is_terminal() && !dumb() => Style::Terminal { colour: !no_colour() },
            () => Style::Plain,
        }
    }
}

fn dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// <https://no-color.org>: any non-empty value.
fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Writes events to `out` and, where they are for people, warnings to `errors`. Training goes on when nobody reads any
/// more, so failed writes are no failures.
pub(crate) struct Renderer<O, E> {
    style: Style,
    out: O,
    errors: E,
    progress: Progress,
    /// Writes to `errors` what a dashboard reads.
    published: Option<Published>,
    /// Whether the progress line is on the screen.
    drawn: bool,
}

impl<O: Write, E: Write> Renderer<O, E> {
    pub(crate) fn new(style: Style, out: O, errors: E) -> Self {
        Self { style, out, errors, progress: Progress::default(), published: None, drawn: false }
    }

    /// Writes the published trainer's lines, too.
    pub(crate) fn with_published(self, published: Option<Published>) -> Self {
        Self { published, ..self }
    }

    /// A line for people that is no event.
    pub(crate) fn say(&mut self, line: &str) {
        if matches!(self.style, Style::Plain | Style::Terminal { .. }) {
            self.erase();
            let _ = writeln!(self.out, "{line}");
        }
    }

    pub(crate) fn show(&mut self, event: &Event) {
        if let Some(published) = &self.published {
            let _ = published.show(event, &mut self.errors);
        }
        match self.style {
            Style::Json => {
                let mut line = serde_json::to_vec(event).unwrap_or_default();
                line.push(b'\n');
                let _ = self.out.write_all(&line).and_then(|()| self.out.flush());
            }
            Style::Quiet => {
                if let Event::Warning { message } = event {
                    let _ = writeln!(self.errors, "warning: {message}");
                }
            }
            Style::Plain | Style::Terminal { .. } => self.show_to_people(event),
        }
    }

    fn show_to_people(&mut self, event: &Event) {
        if let Event::Warning { message } = event {
            self.erase();
            let _ = writeln!(self.errors, "warning: {message}");
            return;
        }
        if let Event::Started { done, steps, .. } = event {
            self.progress.start(*done, *steps);
        }
        if let Event::Step(metrics) = event {
            self.progress.step(metrics);
            match self.style {
                Style::Terminal { colour } if self.progress.is_due(Instant::now()) => self.draw(colour),
                Style::Plain if self.progress.is_milestone() => {
                    let _ = writeln!(self.out, "{}", self.progress.line());
                }
                _ => {}
            }
            return;
        }
        for line in words::lines(event) {
            self.say(&line);
        }
    }

    fn draw(&mut self, colour: bool) {
        let bar = self.progress.bar();
        let bar = if colour { format!("\x1b[36m{bar}\x1b[0m") } else { bar };
        let _ = write!(self.out, "\r\x1b[2K{bar} {}", self.progress.line()).and_then(|()| self.out.flush());
        self.drawn = true;
    }

    /// Leaves the screen fit for whoever writes next.
    pub(crate) fn end(&mut self) {
        self.erase();
    }

    fn erase(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(self.out, "\r\x1b[2K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrane_train::metrics::{Health, Metrics};
    use ferrane_train::run::{ModelSummary, PlanChoice, WeightsMode};

    fn events() -> Vec<Event> {
        let step = |step| {
            Event::Step(Metrics {
                step,
                loss: 2.5,
                lr: 1e-3,
                grad_norm: Some(1.0),
                tokens: step * 10,
                step_ms: 100.0,
                tokens_per_second: 100.0,
                parts: Default::default(),
                loss_scale: 1.0,
                overflow: None,
                eval_loss: None,
                saturated: 0,
                modelled: None,
                health: Health::default(),
                compiling: Default::default(),
            })
        };
        let started = Event::Started {
            run: "runs/a".into(),
            engine: "cpu (fp32)".into(),
            parameters: 1_234_567,
            vocab: 2048,
            trained_vocab: 2048,
            model: ModelSummary {
                dim: 128,
                hidden: 344,
                heads: 4,
                kv_heads: 2,
                seq: 256,
                layers: 4,
                plan: PlanChoice::Six,
                kernels: 24,
                kernels_with_weights: 20,
                weights: WeightsMode::Streamed,
                flops: 3_000_000,
                engine_flops: Some(2_000_000),
            },
            train_tokens: 1_000_000,
            held_out_tokens: 50_000,
            tokens_per_step: 1024,
            done: 0,
            steps: 100,
        };
        let mut events = vec![started];
        events.extend((1..=100).map(step));
        events.push(Event::Warning { message: "careful".into() });
        events.push(Event::Evaluated { step: 100, loss: 1.5, best: true });
        events.push(Event::Sample { step: 100, text: "Once\nupon".into() });
        events
    }

    fn shown(style: Style) -> (String, String) {
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        {
            let mut renderer = Renderer::new(style, &mut out, &mut errors);
            events().iter().for_each(|event| renderer.show(event));
        }
        (String::from_utf8(out).unwrap(), String::from_utf8(errors).unwrap())
    }

    #[test]
    fn json_is_one_object_an_event_and_nothing_else() {
        let (out, errors) = shown(Style::Json);
        let lines: Vec<serde_json::Value> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), events().len());
        assert_eq!((lines[0]["event"].as_str(), lines[3]["event"].as_str()), (Some("started"), Some("step")));
        assert_eq!((lines[3]["step"].as_u64(), lines[3]["loss"].as_f64()), (Some(3), Some(2.5)));
        assert_eq!(lines[101]["message"], "careful");
        assert!(errors.is_empty());
    }

    #[test]
    fn quiet_shows_warnings_alone() {
        assert_eq!(shown(Style::Quiet), (String::new(), "warning: careful\n".to_owned()));
    }

    #[test]
    fn plain_has_few_whole_lines_and_no_control_characters() {
        let (out, errors) = shown(Style::Plain);
        assert!(!out.contains(['\r', '\x1b']), "{out}");
        let steps = out.lines().filter(|line| line.starts_with("step ")).count();
        assert!((18..=25).contains(&steps), "{steps} lines of steps\n{out}");
        assert!(out.contains("1.23 M parameters") && out.contains("Once") && out.contains("1.500"), "{out}");
        assert_eq!(errors, "warning: careful\n");
    }

    #[test]
    fn colours_are_absent_when_not_wanted_and_the_progress_line_is_erased() {
        let (out, _) = shown(Style::Terminal { colour: false });
        assert!(out.contains("\r\x1b[2K") && !out.contains("\x1b[36m"));
        let last = out.rsplit("\r\x1b[2K").next().unwrap();
        assert!(!last.contains("step 100/100"), "the line is erased before what follows: {last}");
        assert!(shown(Style::Terminal { colour: true }).0.contains("\x1b[36m"));
    }
}
