//! Benchmarks of an engine.
//!
//! Every benchmark is a list of configurations, as published ones have them, and gives a [`Report`] with a row for each. A
//! configuration that the engine refuses is a row with the reason, never the end. Where an engine only models its time
//! ([`Engine::clock`]), programs are compiled, so that refusals are seen, and the times are those of the cost model; else they
//! are run and timed.

pub(crate) mod measure;
pub(crate) mod models;
pub(crate) mod programs;
mod published;
mod report;

use std::sync::Arc;
use std::time::Duration;

use ferrane_engine::Engine;

pub use published::{PublishedError, published, published_names};
pub use report::{Basis, Metric, Report, Row};

use measure::Timing;
use programs::{Arithmetic, Chain, MEBI};

/// A benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Benchmark {
    /// Chains of 1×1 convolutions.
    Peak,
    /// The smallest programs: what an evaluation costs that does nothing.
    Dispatch,
    /// One convolution, from small to larger than any working set.
    Sram,
    /// int8 weights and activations against fp16.
    Int8,
    /// Compiling.
    Compile,
    /// Quality-of-service classes.
    Qos,
    /// A training step without the optimiser.
    Train,
    /// Tokens one after the other.
    Generate,
}

impl Benchmark {
    /// All of them with their names and what they measure.
    pub const ALL: [(Benchmark, &'static str, &'static str); 8] = [
        (Benchmark::Peak, "peak", "Chains of 32 to 256 convolutions: the highest rate"),
        (
            Benchmark::Dispatch,
            "dispatch",
            "The smallest programs: what an evaluation costs that does nothing",
        ),
        (Benchmark::Sram, "sram", "One convolution of 256 to 8192 channels: where the working set ends"),
        (Benchmark::Int8, "int8", "int8 weights and activations against fp16"),
        (Benchmark::Compile, "compile", "Compiling and loading"),
        (Benchmark::Qos, "qos", "Quality-of-service classes"),
        (Benchmark::Train, "train", "A training step of 256 tokens, without the optimiser"),
        (Benchmark::Generate, "generate", "Tokens one after the other"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(b, ..)| *b == self).map_or("", |(_, name, _)| name)
    }

    /// The benchmark of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known, _)| *known == name).map(|(b, ..)| b)
    }
}

/// What benchmarks run on, and how long.
#[derive(Clone)]
pub struct Bench {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// What the engine is called in a report.
    pub title: String,
    /// Threads of the host's part.
    pub threads: usize,
    /// Where the layers of a chain have their weights.
    pub weights: ChainWeights,
    /// How often things are run.
    pub effort: Effort,
}

/// Where the layers of a chain have their weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChainWeights {
    /// All read the same, as in the published programs, whose weight files give every layer the same place.
    #[default]
    Shared,
    /// Each has its own.
    Own,
}

/// How often things are run.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Runs that do not count.
    pub warmup: u32,
    /// Runs that count, at most.
    pub runs: u32,
    /// Time after which a configuration has run often enough. The first run always counts.
    pub budget: Duration,
}

impl Default for Effort {
    fn default() -> Self {
        Self { warmup: 10, runs: 50, budget: Duration::from_secs(2) }
    }
}

impl Bench {
    /// Runs a benchmark. `row` is called with each row as soon as it is there.
    pub fn run(&self, benchmark: Benchmark, mut row: impl FnMut(&Row)) -> Report {
        let mut rows = Vec::new();
        let mut add = |found: Row| {
            row(&found);
            rows.push(found);
        };
        match benchmark {
            Benchmark::Peak => PEAK.iter().for_each(|&c| add(self.peak(c))),
            Benchmark::Dispatch => programs::SMALLEST.iter().for_each(|&c| add(self.dispatch(c))),
            Benchmark::Sram => SRAM.iter().for_each(|&(channels, width)| add(self.sram(channels, width))),
            Benchmark::Int8 => INT8.iter().for_each(|&c| self.int8(c).into_iter().for_each(&mut add)),
            Benchmark::Compile => {
                COMPILE.iter().for_each(|&(depth, channels)| add(self.compile(depth, channels)))
            }
            Benchmark::Qos => QOS.iter().for_each(|class| add(self.qos(*class))),
            Benchmark::Train => {
                models::TRAIN.iter().for_each(|preset| self.train(*preset).into_iter().for_each(&mut add))
            }
            Benchmark::Generate => models::GENERATE.iter().for_each(|preset| add(self.generate(*preset))),
        }
        Report {
            benchmark: benchmark.name().into(),
            on: self.title.clone(),
            basis: self.basis(),
            source: None,
            rows,
            notes: self.notes(benchmark),
        }
    }

    fn basis(&self) -> Basis {
        if self.engine.clock().is_some() { Basis::Modelled } else { Basis::Measured }
    }

    fn notes(&self, benchmark: Benchmark) -> Vec<String> {
        let mut notes = Vec::new();
        if self.basis() == Basis::Modelled {
            notes.push("modelled from published figures of the chip; nothing was timed".to_owned());
        }
        if matches!(benchmark, Benchmark::Peak | Benchmark::Int8) && self.weights == ChainWeights::Shared {
            notes
                .push("all layers read the same weights, as published; W MB counts them for each".to_owned());
        }
        match benchmark {
            Benchmark::Qos if self.basis() == Basis::Modelled => {
                notes.push("the model knows no classes: all are alike, as was published of them".to_owned());
            }
            Benchmark::Int8 => notes.push("64 x 64 positions are one row of 4096".to_owned()),
            Benchmark::Train if self.basis() == Basis::Modelled => {
                notes.push("the engine's part alone: the host's depends on the host".to_owned());
            }
            _ => {}
        }
        notes
    }

    fn peak(&self, (depth, channels): (usize, usize)) -> Row {
        let chain =
            Chain { depth, channels, width: 64, arithmetic: Arithmetic::Float, weights: self.weights };
        let values = |timing: Timing| {
            let mut values =
                vec![(Metric::WeightsMb, chain.weight_bytes() / MEBI), (Metric::Gflop, chain.flops() / 1e9)];
            values.extend(self.rate(chain.flops(), &timing));
            values
        };
        Row::new(chain.name(), self.time(&chain).map(values))
    }

    fn dispatch(&self, smallest: programs::Smallest) -> Row {
        let found = smallest.function(self.compute()).map_err(|e| e.to_string());
        Row::new(smallest.name(), found.and_then(|f| self.time_function(f)).map(Timing::values))
    }

    fn sram(&self, channels: usize, width: usize) -> Row {
        let chain = Chain { depth: 1, channels, width, arithmetic: Arithmetic::Float, weights: self.weights };
        let (weights, activation) = (chain.weight_bytes() / MEBI, chain.activation() / MEBI);
        let values = |timing: Timing| {
            let mut values = vec![
                (Metric::WeightsMb, weights),
                (Metric::ActivationMb, activation),
                (Metric::TotalMb, weights + 2.0 * activation),
                (Metric::GflopsPerMb, chain.flops() / timing.seconds / 1e9 / weights),
            ];
            values.extend(self.rate(chain.flops(), &timing));
            values
        };
        Row::new(chain.name(), self.time(&chain).map(values))
    }

    fn int8(&self, (depth, channels): (usize, usize)) -> [Row; 2] {
        let chain = |arithmetic| Chain { depth, channels, width: 64 * 64, arithmetic, weights: self.weights };
        let (float, int8) = (chain(Arithmetic::Float), chain(Arithmetic::Int8));
        let (of_float, of_int8) = (self.time(&float), self.time(&int8));
        let ratio = match (&of_float, &of_int8) {
            (Ok(float), Ok(int8)) => Some(float.seconds / int8.seconds),
            _ => None,
        };
        let row = |chain: &Chain, found: Result<Timing, String>, ratio: Option<f64>| {
            let values = |timing: Timing| {
                let mut values = vec![
                    (Metric::WeightsMb, chain.weight_bytes() / MEBI),
                    (Metric::Gflop, chain.flops() / 1e9),
                ];
                values.extend(self.rate(chain.flops(), &timing));
                values.extend(ratio.map(|ratio| (Metric::Ratio, ratio)));
                values
            };
            Row::new(chain.name(), found.map(values))
        };
        [row(&float, of_float, None), row(&int8, of_int8, ratio)]
    }

    fn compile(&self, depth: usize, channels: usize) -> Row {
        let weights = ChainWeights::Own;
        let chain = Chain { depth, channels, width: 64, arithmetic: Arithmetic::Float, weights };
        let values = |seconds: f64| {
            [(Metric::WeightsMb, chain.weight_bytes() / MEBI), (Metric::CompileMs, seconds * 1e3)]
        };
        Row::new(chain.name(), self.time_compile(&chain).map(values))
    }

    /// A model of time has no term for classes, which is what was published of them.
    fn qos(&self, class: u32) -> Row {
        let found = match self.engine.with_qos(class) {
            Some(engine) => Self { engine, ..self.clone() }.small(),
            None if self.basis() == Basis::Modelled => self.small(),
            None => Err(format!("engine {} knows no quality-of-service classes", self.engine.name())),
        };
        Row::new(format!("class {class}"), found)
    }

    /// One small program, and compiling it.
    fn small(&self) -> Result<Vec<(Metric, f64)>, String> {
        let (width, weights) = (64, ChainWeights::Shared);
        let chain = Chain { depth: 1, channels: 256, width, arithmetic: Arithmetic::Float, weights };
        let mut values = self.time(&chain)?.values();
        values.push((Metric::CompileMs, self.time_compile(&chain)? * 1e3));
        Ok(values)
    }

    /// Time, rate, share of the best published rate, energy.
    fn rate(&self, flops: f64, timing: &Timing) -> Vec<(Metric, f64)> {
        let mut values = timing.clone().values();
        values.push((Metric::Tflops, flops / timing.seconds / 1e12));
        values
    }
}

/// Depth and channels of the published chains.
const PEAK: [(usize, usize); 10] = [
    (32, 512),
    (48, 512),
    (64, 512),
    (96, 512),
    (128, 512),
    (64, 256),
    (128, 256),
    (256, 256),
    (64, 384),
    (128, 384),
];

/// Channels and width of the published single convolutions.
const SRAM: [(usize, usize); 13] = [
    (256, 64),
    (512, 64),
    (1024, 64),
    (1536, 64),
    (2048, 64),
    (2560, 64),
    (3072, 64),
    (3584, 64),
    (4096, 64),
    (4608, 64),
    (5120, 64),
    (6144, 64),
    (8192, 32),
];

/// Depth and channels of the published comparison of int8 and fp16.
const INT8: [(usize, usize); 5] = [(128, 512), (64, 512), (256, 256), (128, 256), (128, 384)];

/// Depth and channels of programs to compile.
const COMPILE: [(usize, usize); 6] = [(1, 256), (1, 1024), (1, 2560), (4, 512), (16, 512), (64, 512)];

/// Classes that were published.
const QOS: [u32; 8] = [0, 1, 5, 10, 21, 33, 47, 63];
