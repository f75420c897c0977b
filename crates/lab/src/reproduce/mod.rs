//! The write-up's experiments, run again and held to what it reports.
//!
//! What was published is data (`data/reproduction.toml`, and tables of `data/published.toml`); what is found here comes from an
//! engine; a verdict follows from the two and a stated tolerance. The result is a [`Reproduction`], which is also a page
//! ([`Reproduction::to_html`]).

mod claims;
mod outcome;
mod page;
mod peak;
mod probes;
mod stories;
mod tiny;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ferrane_engine::Engine;
use serde::Serialize;

pub use claims::ClaimsError;
pub use outcome::{How, Row, Verdict};

use crate::bench::{Bench, ChainWeights, Effort};
use crate::chart::Chart;
use claims::Script;
use outcome::Findings;

/// What the experiments run on.
pub struct Setup<'a> {
    /// Opens the engine as a new process would find it.
    pub engine: &'a dyn Fn() -> Result<Arc<dyn Engine>, String>,
    /// Trains the small network for 2000 steps, in as many processes as its compile budget asks for, and says where its
    /// metrics are.
    pub demonstration: &'a dyn Fn() -> Result<PathBuf, String>,
    /// What the engine is called.
    pub title: String,
    /// Threads of the host's part.
    pub threads: usize,
    /// How often things are timed.
    pub effort: Effort,
    /// Leave out the pass through the large model.
    pub quick: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Reproduction {
    /// The text that is reproduced.
    pub text: String,
    /// What it ran on here.
    pub on: String,
    /// Whether the engine's time is that of a cost model.
    pub modelled: bool,
    /// The chip here, if it is another than the text's.
    pub other_chip: Option<String>,
    /// The machine there and here.
    pub environment: Vec<Fact>,
    /// The experiments in the order of the text.
    pub steps: Vec<Step>,
}

/// One thing about a machine.
#[derive(Debug, Serialize)]
pub struct Fact {
    /// Which.
    pub what: String,
    /// As published.
    pub published: String,
    /// Of this machine.
    pub here: String,
}

/// One experiment.
#[derive(Debug, Serialize)]
pub struct Step {
    /// Its name.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What is done.
    pub about: String,
    /// Its claims.
    pub rows: Vec<Row>,
    /// Wall time here, in seconds.
    pub seconds: f64,
    /// What can be drawn of it.
    #[serde(skip)]
    pub figure: Option<Figure>,
}

/// A picture.
#[derive(Debug)]
pub struct Figure {
    /// What is shown.
    pub chart: Chart,
    /// What to see in it.
    pub caption: String,
}

impl Setup<'_> {
    /// Runs every experiment. `told` is called with each when it is done. One that fails has rows with the reason.
    ///
    /// # Errors
    /// [`ClaimsError`] for embedded data that is malformed, which the tests exclude.
    pub fn run(
        &self,
        mut begins: impl FnMut(&str),
        mut told: impl FnMut(&Step),
    ) -> Result<Reproduction, ClaimsError> {
        let script = Script::read()?;
        let mut steps = Vec::new();
        let mut modelled = false;
        let mut other_chip = None;
        for part in script.steps {
            begins(&part.title);
            let begun = Instant::now();
            let done = self.bench().and_then(|bench| {
                modelled |= bench.engine.clock().is_some();
                let profile = bench.engine.profile();
                other_chip = (profile.name != script.chip).then(|| profile.title.clone());
                self.experiment(&part.id, &bench)
            });
            let (findings, figure) = match done {
                Ok(done) => done,
                Err(reason) => (Findings::all_failed(&part.claims, &reason), None),
            };
            let rows = part.claims.iter().map(|claim| findings.row(claim)).collect();
            let seconds = begun.elapsed().as_secs_f64();
            let step = Step { id: part.id, title: part.title, about: part.about, rows, seconds, figure };
            told(&step);
            steps.push(step);
        }
        let environment = self.environment(&script.machine);
        Ok(Reproduction {
            text: script.writeup,
            on: self.title.clone(),
            modelled,
            other_chip,
            environment,
            steps,
        })
    }

    fn experiment(&self, id: &str, bench: &Bench) -> Result<(Findings, Option<Figure>), String> {
        match id {
            "peak" => peak::run(bench),
            "tiny" => tiny::run(bench, self.demonstration),
            "stories110m" => stories::run(bench, self.quick),
            "probes" => probes::run(bench),
            other => Err(format!("there is no experiment `{other}`")),
        }
    }

    fn bench(&self) -> Result<Bench, String> {
        Ok(Bench {
            engine: (self.engine)()?,
            title: self.title.clone(),
            threads: self.threads,
            weights: ChainWeights::Shared,
            effort: self.effort,
        })
    }

    fn environment(&self, machine: &str) -> Vec<Fact> {
        let fact = |what: &str, published: &str, here: String| Fact {
            what: what.into(),
            published: published.into(),
            here,
        };
        let (os, arch, threads) = (std::env::consts::OS, std::env::consts::ARCH, self.threads);
        let profile = match (self.engine)() {
            Ok(engine) => engine.profile().title.clone(),
            Err(reason) => format!("none: {reason}"),
        };
        vec![
            fact("Machine", machine, format!("{os} {arch}, {threads} threads")),
            fact("Engine", "the Neural Engine, through the private framework", self.title.clone()),
            fact("Profile", "", profile),
            fact(
                "Program",
                "C and Objective-C, one file for each experiment",
                concat!("ferrane ", env!("CARGO_PKG_VERSION")).into(),
            ),
        ]
    }
}

/// How times are found.
fn timed_how(bench: &Bench) -> How {
    if bench.engine.clock().is_some() { How::Modelled } else { How::Measured }
}

/// How what an engine computes or refuses is found.
fn ruled_how(bench: &Bench) -> How {
    if bench.engine.clock().is_some() { How::Simulated } else { How::Measured }
}

impl Reproduction {
    /// How many claims have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.steps.iter().flat_map(|step| &step.rows).filter(|row| row.verdict == verdict).count()
    }

    /// The report as one page that loads nothing.
    ///
    /// # Errors
    /// [`crate::chart::ChartError`] if a picture cannot be drawn.
    pub fn to_html(&self) -> Result<String, crate::chart::ChartError> {
        page::html(self)
    }
}
