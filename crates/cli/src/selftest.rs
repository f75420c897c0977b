//! `ferrane selftest`: every kernel of a plan on an engine, against the host's fp32.

use std::io::{self, Write as _};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;

use ferrane_engine::Engine;
use ferrane_model::plan::{Plan, PlanKind};
use ferrane_runtime::{
    Weights, WeightsMode,
    selftest::{KernelTest, ULP_BUCKETS, selftest},
};
use serde_json::{Value, json};

use crate::engine;
use crate::failure::Failure;
use crate::layers::Layers;
use crate::lines;
use crate::mil::dump::{parameters, tokens};
use crate::train::args::parse_weights;

/// Run every kernel of a plan on an engine and compare what it computes with fp32 on the host. Exit code 1 if any is off.
///
/// Kernels are tested one by one on equal inputs, with the weights of a layer. A refusal is a failure of that kernel.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A preset, or a Hugging Face model folder, of which the shape and weights are taken
    #[arg(long, value_name = "PRESET|DIR", default_value = "nano")]
    model: String,
    /// six, extras, five, fused, fused-recompute, or all
    #[arg(long, value_name = "PLAN", default_value = "all", value_parser = parse_plans)]
    plan: Plans,
    /// streamed, baked, reload (which no Neural Engine is known to heed); without it, the first two
    #[arg(long, value_name = "MODE", value_parser = parse_weights)]
    mode: Option<WeightsMode>,
    /// The layer whose weights they have; `all` tests them with those of every layer
    #[arg(long, value_name = "N|all", default_value = "0")]
    layer: Layers,
    #[command(flatten)]
    engine: engine::EngineFlags,
    /// Tokens in a sequence
    #[arg(long, value_name = "N", default_value_t = 64)]
    seq: usize,
    /// Sequences side by side
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which plans.
#[derive(Clone)]
struct Plans(Vec<PlanKind>);

fn parse_plans(name: &str) -> Result<Plans, String> {
    match (name, PlanKind::parse(name)) {
        ("all", _) => Ok(Plans(PlanKind::ALL.into())),
        (_, Some(kind)) => Ok(Plans(vec![kind])),
        _ => Err(format!("there are {}, all", PlanKind::ALL.map(PlanKind::name).join(", "))),
    }
}

/// The kernels of one plan and weights mode.
struct Tested {
    plan: PlanKind,
    mode: WeightsMode,
    kernels: Vec<KernelTest>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let weights = Weights::new(parameters(&args.model, 1)?);
    let config = weights.table().config().clone();
    let tokens = tokens(&config, args.batch, Some(args.seq))?;
    let layers = args.layer.of(config.layers)?;
    let (engine, title) = args.engine.open(None)?;
    if !args.json {
        writeln!(io::stdout(), "{} on {title}, against fp32\n", args.model)?;
    }
    let modes = args.mode.map_or_else(|| vec![WeightsMode::Streamed, WeightsMode::Baked], |mode| vec![mode]);
    let mut all = Vec::new();
    for &kind in &args.plan.0 {
        let plan = Plan::new(kind, &config, tokens).map_err(Failure::usage)?;
        for &mode in &modes {
            let tested = one(&engine, &weights, &plan, (kind, mode), layers.clone(), args.json)?;
            all.push(tested);
        }
    }
    let kernels = || all.iter().flat_map(|tested| &tested.kernels);
    let failed = kernels().filter(|test| !test.passes()).count();
    let summary = format!("{} of {} kernels pass", kernels().count() - failed, kernels().count());
    if args.json {
        let value = json!({ "model": args.model, "engine": title, "ulps_up_to": ULP_BUCKETS, "plans":
            all.iter().map(to_json).collect::<Vec<_>>(), "failed": failed });
        writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&value).map_err(Failure::failed)?)?;
    } else {
        writeln!(io::stdout(), "{summary}")?;
    }
    engine::tell(&*engine)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn one(
    engine: &Arc<dyn Engine>,
    weights: &Weights,
    plan: &Plan,
    (kind, mode): (PlanKind, WeightsMode),
    layers: Range<usize>,
    quiet: bool,
) -> Result<Tested, Failure> {
    let kernels = selftest(engine, weights, plan, mode, layers, |_| {}).map_err(Failure::failed)?;
    if !quiet {
        let table = lines::table(&rows(&kernels));
        writeln!(io::stdout(), "plan {}, weights {mode}\n{table}", kind.name())?;
    }
    Ok(Tested { plan: kind, mode, kernels })
}

/// A line for each output, with those of the same kernel together.
fn rows(kernels: &[KernelTest]) -> Vec<Vec<String>> {
    let mut rows = vec![
        ["kernel", "layer", "output", "", "max error", "relative", "of rms", "within 1 ulp", "16 ulp", ""]
            .map(String::from)
            .to_vec(),
    ];
    for test in kernels {
        let layer = test.layer.map_or("head".to_owned(), |layer| layer.to_string());
        match &test.result {
            Err(refusal) => {
                rows.push(vec![test.kernel.into(), layer, String::new(), "FAIL".into(), refusal.clone()])
            }
            Ok(outputs) => {
                for (output, d) in outputs {
                    let share = |buckets: usize| {
                        let within: usize = d.ulps[..buckets].iter().sum();
                        format!("{:.1} %", 100.0 * within as f64 / d.elements.max(1) as f64)
                    };
                    rows.push(vec![
                        test.kernel.into(),
                        layer.clone(),
                        output.clone(),
                        if d.passes() { "ok" } else { "FAIL" }.into(),
                        format!("{:.2e}", d.largest),
                        format!("{:.2e}", d.relative),
                        format!("{:.2e}", d.worst),
                        share(2),
                        share(5),
                        if d.lost > 0 { format!("{} lost", d.lost) } else { String::new() },
                    ]);
                }
            }
        }
    }
    rows
}

fn to_json(tested: &Tested) -> Value {
    let kernel = |test: &KernelTest| {
        let outputs = test.result.as_ref().ok().map(|outputs| {
            let outputs = outputs.iter().map(|(name, difference)| {
                json!({ "name": name, "passes": difference.passes(), "difference": difference })
            });
            outputs.collect::<Vec<_>>()
        });
        json!({ "kernel": test.kernel, "layer": test.layer, "passes": test.passes(), "outputs": outputs, "refusal": test.result.as_ref().err() })
    };
    let kernels: Vec<Value> = tested.kernels.iter().map(kernel).collect();
    json!({ "plan": tested.plan.name(), "mode": tested.mode.to_string(), "kernels": kernels })
}
