//! `ferrane mil ops`: the op catalogue.

use std::io::{self, Write as _};
use std::process::ExitCode;

use ferrane_mil::Opcode;
use ferrane_mil::ops::{self, ArgKind, ArgSpec, Default, OpSpec};
use serde_json::{Value, json};

use crate::failure::Failure;

/// List the ops of MIL: arguments with their defaults, the op set each appeared in, where it stands on the Neural Engine.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this op
    #[arg(value_name = "OP")]
    op: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the page of the documentation, docs/ops.md
    #[arg(long, conflicts_with_all = ["json", "op"])]
    markdown: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if args.markdown {
        write!(io::stdout(), "{}", ops::markdown())?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<&OpSpec> = match &args.op {
        Some(name) => vec![Opcode::from_name(name).and_then(ops::spec).ok_or_else(|| unknown(name))?],
        None => ops::all().collect(),
    };
    let mut out = io::stdout().lock();
    if args.json {
        let rows: Vec<Value> = rows.into_iter().map(row_json).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&rows).map_err(Failure::failed)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for row in rows {
        let arguments: Vec<String> = row.args.iter().map(argument).collect();
        writeln!(out, "{}({})", row.code, arguments.join(", "))?;
        let executed = if row.executed { "" } else { ", only parsed here" };
        writeln!(out, "    {} ({}, {}{executed})", row.summary, row.since.name(), row.engine.name())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(name: &str) -> Failure {
    let near = ferrane_mil::diagnostic::nearest(name, Opcode::all().map(Opcode::name));
    let hint = near.map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
    Failure::Usage(format!("there is no op `{name}`{hint}; `ferrane mil ops` lists them all"))
}

fn argument(spec: &ArgSpec) -> String {
    let kind = kind(spec.kind);
    match spec.default {
        Default::Required => format!("{}: {kind}", spec.name),
        Default::None => format!("{}?: {kind}", spec.name),
        _ => format!("{}: {kind} = {}", spec.name, default(spec.default)),
    }
}

fn row_json(row: &OpSpec) -> Value {
    let argument = |a: &ArgSpec| {
        json!({
            "name": a.name,
            "kind": kind(a.kind),
            "required": a.default == Default::Required,
            "default": default(a.default),
        })
    };
    let arguments: Vec<Value> = row.args.iter().map(argument).collect();
    json!({
        "op": row.code.name(),
        "summary": row.summary,
        "since": row.since.name(),
        "neural_engine": row.engine.name(),
        "executed": row.executed,
        "arguments": arguments,
    })
}

fn kind(kind: ArgKind) -> &'static str {
    match kind {
        ArgKind::Tensor => "tensor",
        ArgKind::Tensors => "tensors",
        ArgKind::Int => "int",
        ArgKind::Ints => "ints",
        ArgKind::Bool => "bool",
        ArgKind::Bools => "bools",
        ArgKind::Float => "float",
        ArgKind::Str => "string",
    }
}

fn default(value: Default) -> Value {
    match value {
        Default::Required | Default::None => Value::Null,
        Default::Int(v) => json!(v),
        Default::Ints(v) => json!(v),
        Default::Bool(v) => json!(v),
        Default::Float(v) => json!(v),
        Default::Str(v) => json!(v),
    }
}
