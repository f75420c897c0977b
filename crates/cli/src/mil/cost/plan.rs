//! The cost of a training step of a plan.

use std::io;
use std::path::Path;

use ferrane_engine::Profile;
use ferrane_model::{
    ModelConfig, Preset, hf,
    plan::{Plan, PlanKind},
    stage::Tokens,
};
use ferrane_runtime::{
    RuntimeError, WeightsMode,
    cost::{Phase, PlanCost, cheapest, plan_cost},
};
use serde_json::{Value, json};

use super::super::dump::tokens;
use super::{MODELLED, labelled, table};
use crate::failure::Failure;
use crate::train::args::parse_weights;

/// Which step of which model.
#[derive(clap::Args)]
pub(super) struct Step {
    /// Instead of a program: a training step of this preset or Hugging Face model folder
    #[arg(long, value_name = "PRESET|DIR")]
    model: Option<String>,
    /// How layers are cut into kernels: six, extras, five, fused, fused-recompute, auto (the cheapest), or all to compare them
    #[arg(long, value_name = "PLAN", default_value = "six", requires = "model", value_parser = parse_plans)]
    plan: Plans,
    /// Where the weights are: streamed (inputs of kernels that all layers share) or baked (constants)
    #[arg(long, value_name = "MODE", default_value = "streamed", requires = "model", value_parser = parse_weights)]
    mode: WeightsMode,
    /// Tokens in a sequence; at most the model's context [default: 256, or the context]
    #[arg(long, value_name = "N", requires = "model")]
    seq: Option<usize>,
    /// Sequences side by side
    #[arg(long, value_name = "N", default_value_t = 1, requires = "model")]
    batch: usize,
}

/// Which plans.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plans {
    One(PlanKind),
    Auto,
    All,
}

fn parse_plans(name: &str) -> Result<Plans, String> {
    match name {
        "auto" => Ok(Plans::Auto),
        "all" => Ok(Plans::All),
        _ => PlanKind::parse(name)
            .map(Plans::One)
            .ok_or_else(|| format!("there are {}, auto, all", PlanKind::ALL.map(PlanKind::name).join(", "))),
    }
}

/// What a micro-batch costs on each chip.
pub(super) struct Costs {
    model: String,
    mode: WeightsMode,
    tokens: Tokens,
    chips: Vec<(Profile, Vec<Planned>)>,
}

/// A plan and its cost.
struct Planned {
    name: String,
    cost: PlanCost,
}

impl Costs {
    pub(super) fn new(args: &Step, profiles: &[Profile]) -> Result<Self, Failure> {
        let name = args.model.clone().unwrap_or_default();
        let config = shape(&name)?;
        let tokens = tokens(&config, args.batch, args.seq)?;
        let planned = |profile: &Profile| {
            let of = |plan| Planned::new(plan, &config, tokens, profile, args.mode);
            let named = || PlanKind::ALL.map(Plans::One).into_iter();
            let plans = match args.plan {
                Plans::All => named().chain([Plans::Auto]).map(of).collect::<Result<_, _>>(),
                one => of(one).map(|planned| vec![planned]),
            };
            plans
                .map(|plans: Vec<Planned>| (profile.clone(), plans))
                .map_err(|error| Failure::Failed(format!("{}: {error}", profile.name)))
        };
        let chips = profiles.iter().map(planned).collect::<Result<_, _>>()?;
        Ok(Self { model: name, mode: args.mode, tokens, chips })
    }

    pub(super) fn show(&self, out: &mut impl io::Write) -> io::Result<()> {
        writeln!(
            out,
            "{}, weights {}, {} x {} tokens: one micro-batch, forward and backward; {MODELLED}",
            self.model, self.mode, self.tokens.batch, self.tokens.seq
        )?;
        for (profile, plans) in &self.chips {
            writeln!(out, "\n{profile}")?;
            match &plans[..] {
                [Planned { name, cost }] => {
                    writeln!(out, "    plan {name}")?;
                    show_kernels(out, cost)?;
                    show_totals(out, cost)?;
                }
                plans => show_comparison(out, plans)?,
            }
        }
        Ok(())
    }

    pub(super) fn json(&self) -> Value {
        let plans = |(profile, plans): &(Profile, Vec<Planned>)| {
            plans.iter().map(|planned| plan_json(profile, planned)).collect::<Vec<_>>()
        };
        labelled(json!({
            "model": self.model,
            "mode": self.mode.to_string(),
            "batch": self.tokens.batch,
            "seq": self.tokens.seq,
            "plans": self.chips.iter().flat_map(plans).collect::<Vec<_>>(),
        }))
    }
}

impl Planned {
    fn new(
        plan: Plans,
        config: &ModelConfig,
        tokens: Tokens,
        profile: &Profile,
        mode: WeightsMode,
    ) -> Result<Self, RuntimeError> {
        if let Plans::One(kind) = plan {
            let cost = plan_cost(&Plan::new(kind, config, tokens)?, config, profile, mode)?;
            return Ok(Self { name: kind.name().to_owned(), cost });
        }
        let (layer, head, cost) = cheapest(config, tokens, profile, mode)?;
        Ok(Self { name: format!("auto ({}; {})", layer.describe(), head.describe()), cost })
    }
}

/// A line a plan. The last column is the modelled step against that of the first plan.
fn show_comparison(out: &mut impl io::Write, plans: &[Planned]) -> io::Result<()> {
    let first = plans.first().map_or(1.0, |planned| planned.cost.step_seconds());
    let row = |Planned { name, cost }: &Planned| {
        vec![
            format!("    {}", name.split(' ').next().unwrap_or(name)),
            cost.dispatches().to_string(),
            format!("{:.1}", cost.surface_bytes() / 1e6),
            format!("{:.2}", 1e3 * cost.seconds()),
            format!("{:.2}", cost.host.flops() / 1e9),
            format!("{:.2}", 1e3 * cost.host_seconds),
            format!("{:.2}", 1e3 * cost.step_seconds()),
            format!("{:.2}", cost.step_seconds() / first),
            cost.confidence().to_string(),
        ]
    };
    let headings = [
        "    plan",
        "dispatches",
        "MB",
        "ANE ms",
        "host GFLOP",
        "host ms",
        "step ms",
        "to six",
        "confidence",
    ];
    table(out, &headings, &plans.iter().map(row).collect::<Vec<_>>())?;
    match plans.last().and_then(|planned| planned.name.strip_prefix("auto ")) {
        Some(parts) => writeln!(out, "    auto is {}", parts.trim_matches(['(', ')'])),
        None => Ok(()),
    }
}

fn shape(name: &str) -> Result<ModelConfig, Failure> {
    if Path::new(name).is_dir() {
        return Ok(hf::load_config(Path::new(name)).map_err(Failure::failed)?.model);
    }
    let preset: Preset = name.parse().map_err(|error| {
        Failure::Usage(format!("`model` {name}: no such folder, and as a preset: {error}"))
    })?;
    Ok(preset.config())
}

fn show_kernels(out: &mut impl io::Write, cost: &PlanCost) -> io::Result<()> {
    let rows: Vec<_> = cost
        .kernels
        .iter()
        .map(|k| {
            let times = k.dispatches as f64;
            vec![
                format!("    {}", k.name),
                k.dispatches.to_string(),
                format!("{:.3}", 1e3 * k.cost.seconds),
                format!("{:.2}", 1e3 * times * k.cost.seconds),
                format!("{:.2}", k.cost.surface_bytes / 1e6),
                format!("{:.1}", 1e2 * k.cost.of_peak),
                k.cost.limited_by().to_string(),
                k.cost.confidence.to_string(),
            ]
        })
        .collect();
    let headings =
        ["    kernel", "dispatches", "ms each", "ms", "MB each", "% of peak", "limited by", "confidence"];
    table(out, &headings, &rows)
}

fn show_totals(out: &mut impl io::Write, cost: &PlanCost) -> io::Result<()> {
    let ms = |phase| 1e3 * cost.phase_seconds(phase);
    writeln!(
        out,
        "    ANE, modelled: {:.2} ms a micro-batch ({:.2} forward, {:.2} backward), {:.1} mJ, {:.2} TFLOPS, {:.1} % of peak \
         ({})",
        1e3 * cost.seconds(),
        ms(Phase::Forward),
        ms(Phase::Backward),
        1e3 * cost.joules(),
        cost.flops() / cost.seconds() / 1e12,
        1e2 * cost.of_peak(),
        cost.confidence(),
    )?;
    writeln!(
        out,
        "    {} dispatches, {:.1} MB over surfaces",
        cost.dispatches(),
        cost.surface_bytes() / 1e6
    )?;
    let ((programs, first), (again, after)) = (cost.compiles(), cost.recompiles());
    writeln!(
        out,
        "    compiles, modelled: {programs} programs in {first:.2} s, and {again} in {after:.2} s after each update"
    )?;
    writeln!(
        out,
        "    host, modelled: {:.2} ms for {:.2} GFLOP of products ({:.2} weight gradients, {:.2} classifier), {:.1} M elements of \
         norms",
        1e3 * cost.host_seconds,
        cost.host.flops() / 1e9,
        cost.host.weight_gradients / 1e9,
        cost.host.classifier / 1e9,
        cost.host.elements / 1e6,
    )?;
    writeln!(
        out,
        "    step, engine and host one after the other, modelled: {:.2} ms",
        1e3 * cost.step_seconds()
    )
}

fn plan_json(profile: &Profile, Planned { name, cost }: &Planned) -> Value {
    let kernels: Vec<Value> = cost
        .kernels
        .iter()
        .map(|k| {
            json!({
                "kernel": k.name,
                "phase": if k.phase == Phase::Forward { "forward" } else { "backward" },
                "dispatches": k.dispatches,
                "ms_each": 1e3 * k.cost.seconds,
                "mj_each": 1e3 * k.cost.joules,
                "surface_bytes_each": k.cost.surface_bytes,
                "weight_bytes_each": k.cost.weight_bytes,
                "gflop_each": k.cost.flops / 1e9,
                "percent_of_peak": 1e2 * k.cost.of_peak,
                "limited_by": k.cost.limited_by().to_string(),
                "confidence": k.cost.confidence.to_string(),
            })
        })
        .collect();
    let ((programs, first), (again, after)) = (cost.compiles(), cost.recompiles());
    json!({
        "chip": profile.name,
        "plan": name,
        "step_ms": 1e3 * cost.step_seconds(),
        "host_ms": 1e3 * cost.host_seconds,
        "ane_ms": 1e3 * cost.seconds(),
        "ane_forward_ms": 1e3 * cost.phase_seconds(Phase::Forward),
        "ane_backward_ms": 1e3 * cost.phase_seconds(Phase::Backward),
        "ane_mj": 1e3 * cost.joules(),
        "ane_gflop": cost.flops() / 1e9,
        "percent_of_peak": 1e2 * cost.of_peak(),
        "confidence": cost.confidence().to_string(),
        "dispatches": cost.dispatches(),
        "surface_bytes": cost.surface_bytes(),
        "compiles": { "programs": programs, "seconds": first },
        "compiles_after_update": { "programs": again, "seconds": after },
        "host": {
            "gflop": cost.host.flops() / 1e9,
            "weight_gradients_gflop": cost.host.weight_gradients / 1e9,
            "classifier_gflop": cost.host.classifier / 1e9,
            "norm_elements": cost.host.elements,
        },
        "kernels": kernels,
    })
}
