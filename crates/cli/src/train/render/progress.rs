//! Where a run stands, in one line.

use std::time::{Duration, Instant};

use ferrane_train::metrics::Metrics;

/// Lines a run's steps get where every line stays.
const MILESTONES: u64 = 20;
/// Time between two drawings of the line.
const REDRAW: Duration = Duration::from_millis(100);
/// Weight of the newest step in the running mean of step times.
const NEWEST: f64 = 0.1;
/// Characters of the bar.
const BAR: u64 = 24;

/// The last step and the running mean of step times.
#[derive(Debug, Default)]
pub(super) struct Progress {
    first: u64,
    step: u64,
    steps: u64,
    loss: f64,
    step_ms: f64,
    tokens_per_second: f64,
    /// Milliseconds of the engine in the last step, modelled.
    modelled_ms: Option<f64>,
    drawn: Option<Instant>,
}

impl Progress {
    pub(super) fn start(&mut self, done: u64, steps: u64) {
        *self = Self { first: done + 1, step: done, steps, ..Self::default() };
    }

    pub(super) fn step(&mut self, metrics: &Metrics) {
        let newest = if self.step_ms == 0.0 { 1.0 } else { NEWEST };
        self.step_ms += newest * (metrics.step_ms - self.step_ms);
        self.tokens_per_second += newest * (metrics.tokens_per_second - self.tokens_per_second);
        self.step = metrics.step;
        self.loss = metrics.loss;
        self.modelled_ms = metrics.modelled.map(|modelled| modelled.ane_ms);
    }

    /// Whether the line is to be drawn again; the last step always is.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.step >= self.steps || self.drawn.is_none_or(|drawn| now - drawn >= REDRAW);
        if due {
            self.drawn = Some(now);
        }
        due
    }

    /// Whether this step gets a line where every line stays.
    pub(super) fn is_milestone(&self) -> bool {
        let every = (self.steps / MILESTONES).max(1);
        self.step == self.first || self.step == self.steps || self.step.is_multiple_of(every)
    }

    /// `step 120/600  loss 3.214  98 ms/step  ANE 12.3 ms modelled  10.4k tok/s  0:47 left`
    pub(super) fn line(&self) -> String {
        let width = self.steps.to_string().len();
        let left = self.steps.saturating_sub(self.step) as f64 * self.step_ms / 1e3;
        let modelled = self.modelled_ms.map_or(String::new(), |ms| format!("  ANE {ms:.1} ms modelled"));
        format!(
            "step {:>width$}/{}  loss {:.3}  {:.0} ms/step{modelled}  {} tok/s  {} left",
            self.step,
            self.steps,
            self.loss,
            self.step_ms,
            short(self.tokens_per_second),
            clock(left),
        )
    }

    /// `[=======>      ]`
    pub(super) fn bar(&self) -> String {
        let full = (BAR * self.step.min(self.steps)) / self.steps.max(1);
        let (full, empty) = ("=".repeat(full as usize), " ".repeat((BAR - full) as usize));
        format!("[{full}{empty}]")
    }
}

/// A number with at most one decimal and k or M.
pub(super) fn short(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{:.2}M", n / 1e6),
        n if n >= 1e3 => format!("{:.1}k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

/// Minutes and seconds, with hours when there are any.
pub(super) fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrane_train::metrics::Health;

    fn after(step: u64) -> Progress {
        let mut progress = Progress::default();
        progress.start(0, 600);
        for step in 1..=step {
            progress.step(&Metrics {
                step,
                loss: 3.2136,
                lr: 0.0,
                grad_norm: None,
                tokens: 0,
                step_ms: 98.0,
                tokens_per_second: 10_400.0,
                parts: Default::default(),
                loss_scale: 1.0,
                overflow: None,
                eval_loss: None,
                saturated: 0,
                modelled: None,
                health: Health::default(),
                compiling: Default::default(),
            });
        }
        progress
    }

    #[test]
    fn the_line_says_what_a_user_waits_for() {
        assert_eq!(after(120).line(), "step 120/600  loss 3.214  98 ms/step  10.4k tok/s  0:47 left");
        let mut simulated = after(120);
        simulated.modelled_ms = Some(12.34);
        let line = "step 120/600  loss 3.214  98 ms/step  ANE 12.3 ms modelled  10.4k tok/s  0:47 left";
        assert_eq!(simulated.line(), line);
        assert_eq!(after(300).bar(), format!("[{}{}]", "=".repeat(12), " ".repeat(12)));
    }

    #[test]
    fn times_and_numbers_are_short() {
        assert_eq!(clock(3_725.2), "1:02:05");
        assert_eq!(clock(59.6), "1:00");
        assert_eq!(
            (short(950.0), short(1_500.0), short(2.5e6)),
            ("950".into(), "1.5k".into(), "2.50M".into())
        );
    }

    #[test]
    fn drawing_is_throttled_but_the_end_is_always_drawn() {
        let now = Instant::now();
        let mut progress = after(10);
        assert!(progress.is_due(now) && !progress.is_due(now + Duration::from_millis(99)));
        assert!(progress.is_due(now + Duration::from_millis(100)));
        let mut done = after(600);
        assert!(done.is_due(now) && done.is_due(now));
    }
}
