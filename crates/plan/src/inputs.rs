//! What a plan is asked for.

use ferrane_model::config::preset::Preset;
use serde::Serialize;

use crate::data::Data;
use crate::error::PlanError;
use crate::quantity;

/// The question: a model, machines, what joins them, and what would be good enough.
#[derive(Clone, Debug)]
pub struct Request {
    /// The model.
    pub model: Model,
    /// The machines, in groups of equal ones.
    pub machines: Vec<Machines>,
    /// The link's name, for people.
    pub link: String,
    /// Uplink of each machine, bytes a second.
    pub uplink: f64,
    /// One-way latency, seconds.
    pub latency: f64,
    /// Part of the uplink that a collective reaches.
    pub efficiency: f64,
    /// How the machines exchange.
    pub topology: Topology,
    /// What they exchange, and when.
    pub sync: Sync,
    /// Token budget.
    pub tokens: f64,
    /// Tokens of one inner step on one worker.
    pub step_tokens: f64,
    /// How fast a machine computes.
    pub rate: Rate,
    /// Part of the time the machines work for us.
    pub duty: f64,
    /// Mean time between failures of one machine, seconds.
    pub mtbf: f64,
    /// Dollars a kWh.
    pub electricity: f64,
    /// Dollars an hour of a rented GPU.
    pub gpu_price: f64,
    /// What would be good enough.
    pub limits: Limits,
}

/// What would be good enough.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Limits {
    /// Longest time, days.
    pub days: f64,
    /// Least utilisation.
    pub utilisation: f64,
    /// Least probability that a round survives.
    pub survival: f64,
}

/// A model by its size, which is all a plan needs of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its parameters.
    pub parameters: f64,
}

impl Model {
    /// A preset of `ferrane train`.
    ///
    /// # Errors
    /// [`PlanError::Unknown`].
    pub fn preset(name: &str) -> Result<Self, PlanError> {
        let preset: Preset = name
            .parse()
            .map_err(|_| PlanError::unknown("model", name, Preset::ALL.into_iter().map(Preset::name)))?;
        Ok(Self { name: Some(name.into()), parameters: preset.config().parameters() as f64 })
    }

    /// A model of so many parameters.
    pub fn of(parameters: f64) -> Self {
        Self { name: None, parameters }
    }
}

/// Equal machines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Machines {
    /// How many.
    pub count: u32,
    /// The name of their profile.
    pub chip: String,
    /// Memory of each in bytes, where it is not the smallest configuration.
    pub ram: Option<f64>,
}

impl Machines {
    /// Reads `8xm4-max:64GB,2xm1`.
    ///
    /// # Errors
    /// [`PlanError::Text`] for another form, [`PlanError::Unknown`] for a machine that is not known.
    pub fn parse(data: &Data, text: &str) -> Result<Vec<Self>, PlanError> {
        text.split(',').map(|group| Self::group(data, group.trim())).collect()
    }

    fn group(data: &Data, text: &str) -> Result<Self, PlanError> {
        let form = || PlanError::text(text, "a group of machines", "8xm4-max or 8xm4-max:64GB");
        let (kind, ram) = match text.split_once(':') {
            Some((kind, ram)) => (kind, Some(quantity::bytes(ram)?)),
            None => (text, None),
        };
        let (count, chip) = match kind.split_once('x') {
            Some((count, chip)) if count.chars().all(|c| c.is_ascii_digit()) && !count.is_empty() => {
                (count.parse().map_err(|_| form())?, chip)
            }
            _ => (1, kind),
        };
        if chip.is_empty() || chip.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(form());
        }
        data.machine(chip)?;
        if count == 0 {
            return Err(PlanError::value(&format!("the number of {chip}"), 0, "give at least 1"));
        }
        Ok(Self { count, chip: chip.into(), ram })
    }
}

/// How fast a machine computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As published for its chip.
    Published,
    /// So many FLOP/s of 6ND, whatever the chip.
    Flops(f64),
    /// As the user measured: an inner step of this model and as many tokens takes so many seconds.
    Step {
        /// Tokens of the step.
        tokens: f64,
        /// Its time.
        seconds: f64,
    },
}

/// How machines exchange what they share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Topology {
    /// In a ring.
    Ring,
    /// Up and down a binary tree.
    Tree,
    /// Through a parameter server with this uplink, bytes a second.
    Star(f64),
    /// In local rings of so many machines on gigabit Ethernet, then in a ring of these.
    Islands(u32),
}

impl Topology {
    /// Reads `ring`, `tree`, `star:1Gbit`, `islands:4`.
    ///
    /// # Errors
    /// [`PlanError::Text`].
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let form = || PlanError::text(text, "a topology", "ring, tree, star:1Gbit or islands:4");
        match text.split_once(':') {
            None if text == "ring" => Ok(Topology::Ring),
            None if text == "tree" => Ok(Topology::Tree),
            Some(("star", server)) => Ok(Topology::Star(quantity::rate(server)?)),
            Some(("islands", size)) => match size.parse() {
                Ok(size) if size > 0 => Ok(Topology::Islands(size)),
                _ => Err(form()),
            },
            _ => Err(form()),
        }
    }
}

/// What is shared, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Gradients, every step.
    Ddp,
    /// Differences of weights, every H steps.
    Diloco,
    /// The same, a fragment of the weights at a time, while computing goes on.
    Streaming,
}

/// A method with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sync {
    /// The method.
    pub method: Method,
    /// Inner steps between two synchronisations of the same weights; 1 for [`Method::Ddp`].
    pub every: u32,
    /// Bits of a parameter on the wire.
    pub bits: u32,
    /// Fragments, for [`Method::Streaming`]; else 1.
    pub fragments: u32,
    /// Inner steps that hide a fragment's transfer, for [`Method::Streaming`]; else 0.
    pub overlap: u32,
}

impl Sync {
    const EXAMPLE: &str = "ddp, diloco:H=500,bits=8 or streaming:H=100,bits=4,fragments=4,overlap=5";

    /// Reads `ddp`, `ddp:bits=16`, `diloco:H=500,bits=8`, `streaming:H=100,bits=4,fragments=4,overlap=5`.
    ///
    /// # Errors
    /// [`PlanError`] naming the setting.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let form = || PlanError::text(text, "a way of synchronising", Self::EXAMPLE);
        let (name, settings) = text.split_once(':').unwrap_or((text, ""));
        let mut sync = match name {
            "ddp" => Sync { method: Method::Ddp, every: 1, bits: 32, fragments: 1, overlap: 0 },
            "diloco" => Sync { method: Method::Diloco, every: 500, bits: 8, fragments: 1, overlap: 0 },
            "streaming" => Sync { method: Method::Streaming, every: 100, bits: 4, fragments: 4, overlap: 5 },
            _ => return Err(form()),
        };
        for setting in settings.split(',').filter(|s| !s.is_empty()) {
            let (key, value) = setting.split_once('=').ok_or_else(form)?;
            let number = value.parse().map_err(|_| PlanError::text(value, "a whole number", "500"))?;
            match (key, sync.method) {
                ("bits", _) => sync.bits = number,
                ("H", Method::Diloco | Method::Streaming) => sync.every = number,
                ("fragments", Method::Streaming) => sync.fragments = number,
                ("overlap", Method::Streaming) => sync.overlap = number,
                _ => return Err(PlanError::unknown("setting", key, sync.settings())),
            }
        }
        sync.check()?;
        Ok(sync)
    }

    fn settings(self) -> impl Iterator<Item = &'static str> {
        let names: &[&str] = match self.method {
            Method::Ddp => &["bits"],
            Method::Diloco => &["H", "bits"],
            Method::Streaming => &["H", "bits", "fragments", "overlap"],
        };
        names.iter().copied()
    }

    /// Whether the settings fit each other.
    ///
    /// # Errors
    /// [`PlanError::Value`].
    pub fn check(self) -> Result<(), PlanError> {
        if self.every == 0 {
            return Err(PlanError::value("H", 0, "synchronise every 1 step or more"));
        }
        if ![1, 2, 4, 8, 16, 32].contains(&self.bits) {
            return Err(PlanError::value("bits", self.bits, "use 1, 2, 4, 8, 16 or 32"));
        }
        if self.fragments == 0 || !self.every.is_multiple_of(self.fragments) {
            let reason = format!("choose a divisor of H = {}", self.every);
            return Err(PlanError::value("fragments", self.fragments, reason));
        }
        if self.overlap > 0 && self.overlap >= self.every / self.fragments {
            let most = self.every / self.fragments - 1;
            let reason = format!("a fragment has {} steps until the next: at most {most}", most + 1);
            return Err(PlanError::value("overlap", self.overlap, reason));
        }
        Ok(())
    }
}

impl Request {
    /// The question with what is usually assumed: 20 tokens a parameter, DiLoCo in a ring, machines that do nothing else.
    ///
    /// # Errors
    /// [`PlanError::Unknown`] for a link without a name.
    pub fn new(data: &Data, model: Model, machines: Vec<Machines>, link: &str) -> Result<Self, PlanError> {
        let figures = &data.assumptions;
        let known = data.link(link)?;
        Ok(Self {
            tokens: figures.tokens_per_parameter.value * model.parameters,
            model,
            machines,
            link: format!("{link}, {}", known.title),
            uplink: known.uplink.value,
            latency: known.latency.value,
            efficiency: figures.link_efficiency.value,
            topology: Topology::Ring,
            sync: Sync { method: Method::Diloco, every: 500, bits: 8, fragments: 1, overlap: 0 },
            step_tokens: figures.step_tokens.value,
            rate: Rate::Published,
            duty: 1.0,
            mtbf: known.mtbf.value * 3600.0,
            electricity: figures.electricity.value,
            gpu_price: figures.gpu_price.value,
            limits: Limits {
                days: figures.within_days.value,
                utilisation: figures.least_utilisation.value,
                survival: figures.least_survival.value,
            },
        })
    }

    /// How many machines.
    pub fn workers(&self) -> u64 {
        self.machines.iter().map(|group| u64::from(group.count)).sum()
    }

    /// Whether every number can be.
    ///
    /// # Errors
    /// [`PlanError::Value`] naming the first that cannot.
    pub fn check(&self) -> Result<(), PlanError> {
        let mut positive = vec![
            ("the number of parameters", self.model.parameters),
            ("the token budget", self.tokens),
            ("the number of tokens in a step", self.step_tokens),
            ("the uplink", self.uplink),
            ("the mean time between failures", self.mtbf),
            ("the limit of days", self.limits.days),
        ];
        match self.rate {
            Rate::Published => {}
            Rate::Flops(flops) => positive.push(("the rate", flops)),
            Rate::Step { tokens, seconds } => {
                positive.extend([("the tokens of the measured step", tokens), ("the step's time", seconds)]);
            }
        }
        if let Topology::Star(uplink) = self.topology {
            positive.push(("the server's uplink", uplink));
        }
        for (name, value) in positive {
            if !(value > 0.0 && value.is_finite()) {
                return Err(PlanError::value(name, value, "it must be more than 0"));
            }
        }
        let zero_or_more = [
            ("the latency", self.latency),
            ("the price", self.electricity),
            ("the GPU's price", self.gpu_price),
        ];
        for (name, value) in zero_or_more {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(PlanError::value(name, value, "it must be 0 or more"));
            }
        }
        let parts = [
            ("the duty", self.duty),
            ("the link's efficiency", self.efficiency),
            ("the least utilisation", self.limits.utilisation),
            ("the least survival", self.limits.survival),
        ];
        for (name, value) in parts {
            if !(value > 0.0 && value <= 1.0) {
                return Err(PlanError::value(name, value, "it must be more than 0 and at most 1"));
            }
        }
        if self.machines.is_empty() {
            return Err(PlanError::value("the number of machines", 0, "give at least 1"));
        }
        if let Topology::Islands(size) = self.topology
            && !self.workers().is_multiple_of(u64::from(size))
        {
            let reason = format!("it must divide the number of machines, {}", self.workers());
            return Err(PlanError::value("the size of an island", size, reason));
        }
        self.sync.check()
    }
}
