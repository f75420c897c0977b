//! `metrics.jsonl`: one JSON object a step.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use ferrane_engine::Clock;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::compiling::Compiling;

/// What is recorded of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Steps done, this one included: the first has 1, and checkpoint `step-N` was written after line N.
    pub step: u64,
    /// Mean negative log-likelihood of a token, in nats.
    pub loss: f64,
    /// Learning rate.
    pub lr: f64,
    /// Norm of the gradient before clipping; null when it overflowed and the update was dropped.
    pub grad_norm: Option<f64>,
    /// Tokens trained on since the run began.
    pub tokens: u64,
    /// Wall time of the step in milliseconds.
    pub step_ms: f64,
    /// Tokens of the step over its wall time.
    pub tokens_per_second: f64,
    /// Where the step's time went.
    #[serde(default)]
    pub parts: Parts,
    /// Loss scale of the step.
    pub loss_scale: f32,
    /// Where gradients overflowed, so that the update was dropped and the loss scale halved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow: Option<String>,
    /// Mean negative log-likelihood of a held-out token after the step, where it was evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_loss: Option<f64>,
    /// Results that became infinite though their operands were finite; absent where none did or the engine does not tell.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub saturated: u64,
    /// The Neural Engine's part of the step, modelled; absent where the engine's time is real.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modelled: Option<Modelled>,
    /// Failures of the engine since the line before, and how many were made good by trying again.
    #[serde(default, skip_serializing_if = "Health::is_good")]
    pub health: Health,
    /// What compiling has cost the run so far.
    #[serde(flatten)]
    pub compiling: Compiling,
}

/// How often an engine failed, and how often it succeeded after all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What failed or was late.
    pub faults: u64,
    /// What had failed and was made good.
    pub recoveries: u64,
}

impl Health {
    /// True where nothing failed.
    pub fn is_good(&self) -> bool {
        *self == Self::default()
    }
}

/// Wall time of a step's parts, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Parts {
    /// Kernels of the engine, here: a simulated one's time is the simulator's.
    pub engine_ms: f64,
    /// Putting weights where kernels read them.
    pub staging_ms: f64,
    /// Final norm, classifier and loss.
    pub head_ms: f64,
    /// Norms of layers on the host.
    pub norms_ms: f64,
    /// Weight gradients.
    pub weight_gradients_ms: f64,
    /// Embedding and the optimiser.
    pub update_ms: f64,
    /// Compiling since the step before, or since the process began; much of it beside the rest.
    #[serde(default)]
    pub compiling_ms: f64,
}

/// What evaluations would have taken on the chip that the engine simulates. Modelled, never measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Modelled {
    /// Time on the Neural Engine, dispatches and the traffic of surfaces included, in milliseconds. The host's work is no
    /// part of it.
    pub ane_ms: f64,
    /// Energy of the Neural Engine, in joules.
    pub ane_joules: f64,
    /// The share of its best published rate at which it multiplied in that time, 0 to 1.
    pub ane_utilisation: f64,
}

impl From<Clock> for Modelled {
    fn from(clock: Clock) -> Self {
        Self {
            ane_ms: clock.milliseconds(),
            ane_joules: clock.joules(),
            ane_utilisation: clock.utilisation(),
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The system refused something about the metrics file.
#[derive(Debug, Error)]
#[error("cannot {action} {path}: {source}; check free space and permissions", path = path.display())]
pub struct MetricsError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Appends to a metrics file, each line in one write so that a reader sees whole lines and a kill loses none before it.
#[derive(Debug)]
pub struct MetricsLog {
    file: File,
    path: PathBuf,
    line: Vec<u8>,
}

impl MetricsLog {
    /// Opens `path` for a run that goes on after `steps_done` steps (0: from its beginning). Lines of later steps, torn
    /// ones, and such of a step already seen are dropped first, so that every step comes to appear once.
    ///
    /// # Errors
    /// When the file cannot be read, rewritten or opened.
    pub fn open(path: &Path, steps_done: u64) -> Result<Self, MetricsError> {
        let error = |action| move |source| MetricsError { action, path: path.to_owned(), source };
        match File::open(path) {
            Ok(old) => rewrite(path, old, steps_done).map_err(error("shorten"))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(error("read")(e)),
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(error("open"))?;
        Ok(Self { file, path: path.to_owned(), line: Vec::new() })
    }

    /// Appends one line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&mut self, metrics: &impl Serialize) -> Result<(), MetricsError> {
        self.line.clear();
        let written =
            serde_json::to_writer(&mut self.line, metrics).map_err(io::Error::from).and_then(|()| {
                self.line.push(b'\n');
                self.file.write_all(&self.line)
            });
        written.map_err(|source| self.error("write", source))
    }

    /// Waits until all lines are on disk: before a checkpoint, so that it never is ahead of its metrics.
    ///
    /// # Errors
    /// When the system cannot.
    pub fn sync(&self) -> Result<(), MetricsError> {
        self.file.sync_data().map_err(|source| self.error("sync", source))
    }

    fn error(&self, action: &'static str, source: io::Error) -> MetricsError {
        MetricsError { action, path: self.path.clone(), source }
    }
}

/// Replaces the file, in one rename, by those of its lines that stay.
fn rewrite(path: &Path, old: File, steps_done: u64) -> io::Result<()> {
    #[derive(Deserialize)]
    struct Step {
        step: u64,
    }
    let temporary = path.with_extension("jsonl.tmp");
    let mut new = BufWriter::new(File::create(&temporary)?);
    let mut old = BufReader::new(old);
    let mut line = Vec::new();
    let mut last = 0;
    while old.read_until(b'\n', &mut line)? > 0 {
        let step = serde_json::from_slice::<Step>(&line).ok().map(|line| line.step);
        if let Some(step) = step.filter(|step| line.ends_with(b"\n") && *step > last && *step <= steps_done) {
            new.write_all(&line)?;
            last = step;
        }
        line.clear();
    }
    new.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(step: u64) -> Metrics {
        Metrics {
            step,
            loss: 1.0 / step as f64,
            lr: 1e-3,
            grad_norm: (step != 3).then_some(0.5),
            tokens: step * 256,
            step_ms: 12.5,
            tokens_per_second: 20_480.0,
            parts: Parts { engine_ms: 7.5, ..Parts::default() },
            loss_scale: 256.0,
            overflow: (step == 3).then(|| "`d_h1` of layer 2".to_owned()),
            eval_loss: (step == 4).then_some(2.5),
            saturated: if step == 3 { 17 } else { 0 },
            modelled: (step == 2).then_some(Modelled { ane_ms: 9.5, ane_joules: 0.02, ane_utilisation: 0.1 }),
            health: Health { faults: step / 5, recoveries: step / 6 },
            compiling: Compiling { compiles: step, compile_ms: 0.5, restarts: 1 },
        }
    }

    fn write(path: &Path, steps_done: u64, steps: std::ops::RangeInclusive<u64>) {
        let mut log = MetricsLog::open(path, steps_done).unwrap();
        steps.for_each(|step| log.append(&metrics(step)).unwrap());
        log.sync().unwrap();
    }

    fn read(path: &Path) -> Vec<Metrics> {
        fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn all(steps: std::ops::RangeInclusive<u64>) -> Vec<Metrics> {
        steps.map(metrics).collect()
    }

    #[test]
    fn resuming_leaves_every_step_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        write(&path, 0, 1..=7);
        assert_eq!(read(&path), all(1..=7));
        write(&path, 5, 6..=9);
        assert_eq!(read(&path), all(1..=9));
        write(&path, 0, 1..=2);
        assert_eq!(read(&path), all(1..=2));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing temporary stays");
    }

    #[test]
    fn torn_and_repeated_lines_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        write(&path, 0, 1..=4);
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        // A repeated line, a blank one, and the last cut short, once in its middle and once before its line feed.
        for cut in [10, 1] {
            fs::write(&path, format!("{first}\n\n{}", &text[..text.len() - cut])).unwrap();
            write(&path, 4, 4..=5);
            assert_eq!(read(&path), all(1..=5));
        }
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent/metrics.jsonl");
        let error = MetricsLog::open(&path, 0).unwrap_err().to_string();
        assert!(error.contains("absent/metrics.jsonl"), "{error}");
    }
}
