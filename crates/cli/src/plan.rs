//! `ferrane plan`: can these machines train that model?

mod args;
mod check;
mod picture;
mod report;

use std::io::{self, Write as _};
use std::process::ExitCode;

use ferrane_plan::sweep::Sweep;
use ferrane_plan::{Planner, writeup};
use serde_json::json;

pub(crate) use args::Args;

use crate::failure::Failure;
use crate::files;

/// What `--plot` varies if nothing else is asked for.
const USUAL_SWEEP: &str = "uplink=1Mbit..10Gbit";

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let planner = Planner::new().map_err(Failure::failed)?;
    let text = match args.check {
        Some(args::Subject::WriteUp) => {
            let claims = writeup::check(&planner.data().book).map_err(Failure::failed)?;
            if args.json { pretty(&claims)? } else { check::claims(&claims, args.explain) }
        }
        None => answer(&planner, &args)?,
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn answer(planner: &Planner, args: &Args) -> Result<String, Failure> {
    let request = args.request(planner.data()).map_err(Failure::usage)?;
    let mut plan = planner.plan(&request).map_err(Failure::usage)?;
    let sweep = args.sweep.as_deref().map(Sweep::parse).transpose().map_err(Failure::usage)?;
    let rows = match &sweep {
        Some(sweep) => sweep.plans(planner, &request).map_err(Failure::usage)?,
        None => Vec::new(),
    };
    if let Some(path) = &args.plot {
        let drawn = match &sweep {
            Some(sweep) => sweep.clone(),
            None => Sweep::parse(USUAL_SWEEP).map_err(Failure::failed)?,
        };
        files::write(path, picture::svg(planner, &request, &drawn)?.as_bytes())?;
    }
    if args.json {
        if !args.explain {
            plan.steps.clear();
        }
        return match &sweep {
            None => pretty(&plan),
            Some(sweep) => {
                let mut rows = rows;
                rows.iter_mut().for_each(|(_, plan)| plan.steps.clear());
                let rows: Vec<_> =
                    rows.iter().map(|(value, plan)| json!({ "value": value, "plan": plan })).collect();
                pretty(&json!({ "key": sweep.key, "rows": rows }))
            }
        };
    }
    let mut text = match &sweep {
        None => report::plan(&request, &plan),
        Some(sweep) => report::sweep(&request, sweep, &rows),
    };
    if args.explain {
        text.push_str(&report::explanation(&plan));
    }
    if let Some(path) = &args.plot {
        text.push_str(&format!(
            "\n{} shows {}\n",
            path.display(),
            args.sweep.as_deref().unwrap_or(USUAL_SWEEP)
        ));
    }
    Ok(text)
}

fn pretty(value: &impl serde::Serialize) -> Result<String, Failure> {
    Ok(serde_json::to_string_pretty(value).map_err(Failure::failed)? + "\n")
}
