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
    WeightsMode,
    cost::{Phase, PlanCost, plan_cost},
};
use serde_json::{Value, json};

use super::{MODELLED, labelled, table};
use crate::failure::Failure;

/// Which step of which model.
#[derive(clap::Args)]
pub(super) struct Step {
    /// Instead of a program: a training step of this preset or Hugging Face model folder
    #[arg(long, value_name = "PRESET|DIR")]
    model: Option<String>,
    /// How layers are cut into kernels: six, extras, fused or fused-recompute
    #[arg(long, value_name = "PLAN", default_value = "six", requires = "model", value_parser = parse_plan)]
    plan: PlanKind,
    /// Where the weights are: streamed (inputs of kernels that all layers share) or baked (constants)
    #[arg(long, value_name = "MODE", default_value = "streamed", requires = "model", value_parser = parse_mode)]
    mode: WeightsMode,
    /// Tokens in a sequence; at most the model's context [default: 256, or the context]
    #[arg(long, value_name = "N", requires = "model")]
    seq: Option<usize>,
    /// Sequences side by side
    #[arg(long, value_name = "N", default_value_t = 1, requires = "model")]
    batch: usize,
}

fn parse_plan(name: &str) -> Result<PlanKind, String> {
    let known = || PlanKind::ALL.map(PlanKind::name).join(", ");
    PlanKind::parse(name).ok_or_else(|| format!("there are {}", known()))
}

fn parse_mode(name: &str) -> Result<WeightsMode, String> {
    match name {
        "streamed" => Ok(WeightsMode::Streamed),
        "baked" => Ok(WeightsMode::Baked),
        "reload" => Ok(WeightsMode::Reload),
        _ => Err("there are streamed, baked, reload".to_owned()),
    }
}

/// What a micro-batch costs on each chip.
pub(super) struct Costs {
    model: String,
    plan: PlanKind,
    mode: WeightsMode,
    tokens: Tokens,
    chips: Vec<(Profile, PlanCost)>,
}

impl Costs {
    pub(super) fn new(args: &Step, profiles: &[Profile]) -> Result<Self, Failure> {
        let name = args.model.clone().unwrap_or_default();
        let config = shape(&name)?;
        let seq = args.seq.unwrap_or(config.max_seq.min(256));
        if seq == 0 || seq > config.max_seq || args.batch == 0 {
            return Err(Failure::Usage(format!(
                "`seq` {seq}, `batch` {}: a sequence has 1 to {} tokens, a batch at least one sequence",
                args.batch, config.max_seq
            )));
        }
        let tokens = Tokens { batch: args.batch, seq };
        let plan = Plan::new(args.plan, &config, tokens).map_err(Failure::failed)?;
        let cost = |profile: &Profile| {
            plan_cost(&plan, &config, profile, args.mode)
                .map(|cost| (profile.clone(), cost))
                .map_err(|error| Failure::Failed(format!("{}: {error}", profile.name)))
        };
        let chips = profiles.iter().map(cost).collect::<Result<_, _>>()?;
        Ok(Self { model: name, plan: args.plan, mode: args.mode, tokens, chips })
    }

    pub(super) fn show(&self, out: &mut impl io::Write) -> io::Result<()> {
        writeln!(
            out,
            "{}, plan {}, weights {}, {} x {} tokens: one micro-batch, forward and backward; {MODELLED}",
            self.model,
            self.plan.name(),
            self.mode,
            self.tokens.batch,
            self.tokens.seq
        )?;
        for (profile, cost) in &self.chips {
            writeln!(out, "\n{profile}")?;
            show_kernels(out, cost)?;
            show_totals(out, cost)?;
        }
        Ok(())
    }

    pub(super) fn json(&self) -> Value {
        let chips: Vec<Value> = self.chips.iter().map(|(profile, cost)| chip_json(profile, cost)).collect();
        labelled(json!({
            "model": self.model,
            "plan": self.plan.name(),
            "mode": self.mode.to_string(),
            "batch": self.tokens.batch,
            "seq": self.tokens.seq,
            "chips": chips,
        }))
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
        "    host, not timed: {:.2} GFLOP of products ({:.2} weight gradients, {:.2} classifier), {:.1} M elements of norms",
        cost.host.flops() / 1e9,
        cost.host.weight_gradients / 1e9,
        cost.host.classifier / 1e9,
        cost.host.elements / 1e6,
    )
}

fn chip_json(profile: &Profile, cost: &PlanCost) -> Value {
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
