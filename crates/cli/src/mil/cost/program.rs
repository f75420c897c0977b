//! The cost of one program.

use std::io;

use ferrane_engine::{
    Profile,
    cost::{Cost, OpCost, estimate},
};
use ferrane_mil::Function;
use serde_json::{Value, json};

use super::{MODELLED, labelled, table};
use crate::failure::Failure;

/// Ops shown for each chip; JSON has all.
const SHOWN: usize = 15;

/// What a function costs on each chip.
pub(super) struct Costs {
    file: String,
    function: String,
    chips: Vec<(Profile, Cost)>,
}

impl Costs {
    pub(super) fn new(file: &str, function: &Function, profiles: &[Profile]) -> Result<Self, Failure> {
        let cost = |profile: &Profile| {
            estimate(function, profile).map(|cost| (profile.clone(), cost)).map_err(Failure::failed)
        };
        let chips = profiles.iter().map(cost).collect::<Result<_, _>>()?;
        Ok(Self { file: file.to_owned(), function: function.name.clone(), chips })
    }

    pub(super) fn show(&self, out: &mut impl io::Write) -> io::Result<()> {
        let ops = self.chips.first().map_or(0, |(_, cost)| cost.ops.len());
        writeln!(out, "{}: {}, {ops} ops, one evaluation; {MODELLED}\n", self.file, self.function)?;
        let headings = [
            "chip",
            "ms",
            "mJ",
            "TFLOPS",
            "% of peak",
            "limited by",
            "MB of surfaces",
            "MB of weights",
            "compile ms",
            "confidence",
        ];
        let rows: Vec<_> = self.chips.iter().map(|(profile, cost)| row(profile, cost)).collect();
        table(out, &headings, &rows)?;
        for (profile, cost) in &self.chips {
            writeln!(out, "\n{}: where the time goes", profile.name)?;
            let parts = cost.parts.iter().map(|part| {
                vec![format!("    {}", part.resource), us(part.seconds), part.confidence.to_string()]
            });
            table(out, &["    waits for", "us", "confidence"], &parts.collect::<Vec<_>>())?;
            show_ops(out, profile, cost)?;
        }
        Ok(())
    }

    pub(super) fn json(&self) -> Value {
        let chips: Vec<Value> = self.chips.iter().map(|(profile, cost)| chip_json(profile, cost)).collect();
        labelled(json!({ "file": self.file, "function": self.function, "chips": chips }))
    }
}

fn row(profile: &Profile, cost: &Cost) -> Vec<String> {
    vec![
        profile.name.clone(),
        format!("{:.3}", cost.seconds * 1e3),
        format!("{:.3}", cost.joules * 1e3),
        format!("{:.2}", cost.tflops()),
        format!("{:.1}", cost.of_peak * 1e2),
        cost.limited_by().to_string(),
        format!("{:.2}", cost.surface_bytes / 1e6),
        format!("{:.2}", cost.weight_bytes / 1e6),
        format!("{:.0}", cost.compile_seconds * 1e3),
        cost.confidence.to_string(),
    ]
}

fn show_ops(out: &mut impl io::Write, profile: &Profile, cost: &Cost) -> io::Result<()> {
    let mut ops: Vec<&OpCost> = cost.ops.iter().filter(|op| op.seconds > 0.0).collect();
    ops.sort_by(|a, b| b.seconds.total_cmp(&a.seconds).then(a.index.cmp(&b.index)));
    let more = ops.len().saturating_sub(SHOWN);
    ops.truncate(SHOWN);
    writeln!(out, "\n{}: ops, slowest first", profile.name)?;
    let rows: Vec<_> = ops
        .iter()
        .map(|op| {
            vec![
                format!("    {}", op.name),
                op.code.to_string(),
                us(op.seconds),
                op.limited_by.to_string(),
                format!("{:.3}", op.flops / 1e9),
                format!("{:.2}", op.bytes / 1e6),
            ]
        })
        .collect();
    table(out, &["    result", "op", "us", "limited by", "GFLOP", "MB"], &rows)?;
    match more {
        0 => Ok(()),
        n => writeln!(out, "    and {n} more, all shorter (--json has them)"),
    }
}

fn us(seconds: f64) -> String {
    format!("{:.1}", seconds * 1e6)
}

fn chip_json(profile: &Profile, cost: &Cost) -> Value {
    let parts: Vec<Value> = cost
        .parts
        .iter()
        .map(|p| json!({ "resource": p.resource.to_string(), "ms": p.seconds * 1e3, "confidence": p.confidence.to_string() }))
        .collect();
    let ops: Vec<Value> = cost
        .ops
        .iter()
        .map(|op| {
            json!({
                "result": op.name,
                "op": op.code.name(),
                "us": op.seconds * 1e6,
                "limited_by": op.limited_by.to_string(),
                "gflop": op.flops / 1e9,
                "bytes": op.bytes,
            })
        })
        .collect();
    json!({
        "chip": profile.name,
        "ms": cost.seconds * 1e3,
        "mj": cost.joules * 1e3,
        "tflops": cost.tflops(),
        "percent_of_peak": cost.of_peak * 1e2,
        "limited_by": cost.limited_by().to_string(),
        "surface_bytes": cost.surface_bytes,
        "weight_bytes": cost.weight_bytes,
        "compile_ms": cost.compile_seconds * 1e3,
        "confidence": cost.confidence.to_string(),
        "parts": parts,
        "ops": ops,
    })
}
