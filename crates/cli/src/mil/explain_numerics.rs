//! `ferrane mil run --explain-numerics`: what the arithmetic did to each op's results.

use std::io::{self, Write as _};

use ferrane_sim::{Errors, OpErrors, Rule};
use serde_json::{Value, json};

use crate::failure::Failure;

/// A row an op, on stdout.
pub(crate) fn show(rows: &[OpErrors], as_json: bool) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if as_json {
        let rows: Vec<Value> = rows.iter().map(row_json).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&rows).map_err(Failure::failed)?)?;
        return Ok(());
    }
    let width = rows.iter().map(|row| row.value.len()).chain([5]).max().unwrap_or(5);
    writeln!(
        out,
        "{:width$}  {:16} {:11} {:>9} {:>9} {:>7}  {:>9} {:>9}  {:>9}",
        "value", "op", "rule", "max abs", "max rel", "ulp", "total abs", "total rel", "saturated"
    )?;
    for row in rows {
        write!(out, "{:width$}  {:16} {:11} ", row.value, row.op.name(), row.rule)?;
        write!(out, "{:>9.2e} {:>9.2e} {:>7.1}  ", row.local.absolute, row.local.relative, row.local.ulps)?;
        match &row.accumulated {
            Some(total) => write!(out, "{:>9.2e} {:>9.2e}  ", total.absolute, total.relative)?,
            None => write!(out, "{:>9} {:>9}  ", "-", "-")?,
        }
        writeln!(out, "{:>9}", row.saturated)?;
    }
    writeln!(
        out,
        "max and ulp: against fp32 on the same operands; total: against the program in fp32; both over finite results"
    )?;
    if rows.iter().any(|row| row.rule == Rule::Rounded) {
        writeln!(
            out,
            "rounded: nothing is published of the op, so its fp32 result is rounded by the engine's rule"
        )?;
    }
    Ok(())
}

fn row_json(row: &OpErrors) -> Value {
    json!({
        "value": row.value,
        "op": row.op.name(),
        "rule": row.rule.name(),
        "results": row.results,
        "saturated": row.saturated,
        "local": errors_json(&row.local),
        "accumulated": row.accumulated.as_ref().map(errors_json),
    })
}

fn errors_json(errors: &Errors) -> Value {
    json!({
        "absolute": errors.absolute,
        "relative": errors.relative,
        "ulps": errors.ulps,
        "lost": errors.lost,
    })
}
