//! The flags of `ferrane plan`, and the question they ask.

use std::path::PathBuf;

use clap::ValueEnum;
use ferrane_plan::{Data, Machines, Model, PlanError, Rate, Request, Sync, Topology, quantity};

/// Say whether these machines can train that model, and what stops them first.
///
/// Nothing is measured: the answer follows from published figures and from the flags. `--explain` prints every formula with the
/// numbers in it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A preset of `ferrane train` [default: stories110m]
    #[arg(long, value_name = "NAME", conflicts_with = "params")]
    model: Option<String>,
    /// Or so many parameters, e.g. 1.5B
    #[arg(long, value_name = "N")]
    params: Option<String>,
    /// Machines by their profile's name, e.g. 8xm4-max,2xm1 or 4xm4-max:128GB
    #[arg(long, value_name = "LIST", default_value = "2xm4")]
    nodes: String,
    /// What joins them: wan, lan, 10gbe, tb5, ndr, nvlink
    #[arg(long, value_name = "NAME", default_value = "wan")]
    link: String,
    /// Uplink of the slowest machine, e.g. 20Mbit [default: the link's]
    #[arg(long, value_name = "RATE")]
    uplink: Option<String>,
    /// One-way latency, e.g. 40ms [default: the link's]
    #[arg(long, value_name = "TIME")]
    latency: Option<String>,
    /// Part of the uplink that a collective reaches [default: 0.6]
    #[arg(long, value_name = "PART")]
    efficiency: Option<String>,
    /// How machines exchange: ring, tree, star:UPLINK, islands:SIZE
    #[arg(long, value_name = "NAME", default_value = "ring")]
    topology: String,
    /// What they exchange: ddp, diloco:H=500,bits=8, streaming:H=100,bits=4,fragments=4,overlap=5
    #[arg(long, value_name = "METHOD", default_value = "diloco")]
    sync: String,
    /// Token budget, e.g. 2.2B, or tokens a parameter, e.g. 20x [default: 20x]
    #[arg(long, value_name = "N")]
    tokens: Option<String>,
    /// Tokens of one inner step on one machine [default: 2560]
    #[arg(long, value_name = "N")]
    step_tokens: Option<String>,
    /// Time of such a step as you measured it, in place of the published
    #[arg(long, value_name = "TIME", conflicts_with = "tflops")]
    step_time: Option<String>,
    /// TFLOPS a machine sustains, counted as 6 FLOP a parameter and token, in place of the published
    #[arg(long, value_name = "N")]
    tflops: Option<f64>,
    /// Part of the time the machines work for this
    #[arg(long, value_name = "PART", default_value = "100%")]
    duty: String,
    /// Mean time between failures of one machine, e.g. 24h [default: the link's]
    #[arg(long, value_name = "TIME")]
    mtbf: Option<String>,
    /// Dollars a kWh [default: 0.17]
    #[arg(long, value_name = "USD")]
    price: Option<f64>,
    /// Dollars an hour of a rented H100 [default: 2.5]
    #[arg(long, value_name = "USD")]
    gpu_price: Option<f64>,
    /// Days it may take [default: 90]
    #[arg(long, value_name = "DAYS")]
    within: Option<f64>,
    /// Part of the time that must go into computing [default: 0.5]
    #[arg(long, value_name = "PART")]
    utilisation: Option<String>,
    /// Probability with which a round must survive [default: 0.9]
    #[arg(long, value_name = "PART")]
    survival: Option<String>,
    /// Vary one input: nodes, params, H, bits, uplink, latency, step-tokens, duty or mtbf, e.g. nodes=1,2,4 or uplink=1Mbit..1Gbit
    #[arg(long, value_name = "KEY=VALUES")]
    pub(crate) sweep: Option<String>,
    /// Draw the sweep (else one over the uplink) as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Print every formula with the numbers in it
    #[arg(long)]
    pub(crate) explain: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Compute the claims of a published text again
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["model", "params", "nodes", "sweep", "plot"])]
    pub(crate) check: Option<Subject>,
}

/// A published text with claims.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Subject {
    /// Section V of the write-up of 3 March 2026 that reproduced the training
    WriteUp,
}

impl Args {
    /// The question.
    pub(crate) fn request(&self, data: &Data) -> Result<Request, PlanError> {
        let model = match (&self.model, &self.params) {
            (_, Some(text)) => Model::of(quantity::count(text)?),
            (Some(name), None) => Model::preset(name)?,
            (None, None) => Model::preset("stories110m")?,
        };
        let machines = Machines::parse(data, &self.nodes)?;
        let mut request = Request::new(data, model, machines, &self.link)?;
        request.sync = Sync::parse(&self.sync)?;
        request.topology = Topology::parse(&self.topology)?;
        request.duty = quantity::ratio(&self.duty)?;
        replace(&mut request.uplink, &self.uplink, quantity::rate)?;
        replace(&mut request.latency, &self.latency, quantity::seconds)?;
        replace(&mut request.efficiency, &self.efficiency, quantity::ratio)?;
        replace(&mut request.mtbf, &self.mtbf, quantity::seconds)?;
        replace(&mut request.step_tokens, &self.step_tokens, quantity::count)?;
        replace(&mut request.limits.utilisation, &self.utilisation, quantity::ratio)?;
        replace(&mut request.limits.survival, &self.survival, quantity::ratio)?;
        if let Some(text) = &self.tokens {
            request.tokens = match text.strip_suffix('x') {
                Some(per_parameter) => quantity::count(per_parameter)? * request.model.parameters,
                None => quantity::count(text)?,
            };
        }
        if let Some(text) = &self.step_time {
            request.rate = Rate::Step { tokens: request.step_tokens, seconds: quantity::seconds(text)? };
        }
        if let Some(tflops) = self.tflops {
            request.rate = Rate::Flops(tflops * 1e12);
        }
        request.electricity = self.price.unwrap_or(request.electricity);
        request.gpu_price = self.gpu_price.unwrap_or(request.gpu_price);
        request.limits.days = self.within.unwrap_or(request.limits.days);
        request.check()?;
        Ok(request)
    }
}

fn replace(
    value: &mut f64,
    text: &Option<String>,
    read: fn(&str) -> Result<f64, PlanError>,
) -> Result<(), PlanError> {
    if let Some(text) = text {
        *value = read(text)?;
    }
    Ok(())
}
