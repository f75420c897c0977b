//! Going on in a new process.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use super::args::Telemetry;
use super::{Shown, quoted};
use crate::failure::Failure;

/// Replaces this process by one that goes on with `run`, with the same output. It returns only if that fails.
pub(super) fn exec(run: &Path, shown: Shown) -> Failure {
    let Shown { quiet, json, telemetry } = shown;
    let name = env::args_os().next().unwrap_or_else(|| "ferrane".into());
    // Not by its name: that may be looked up in a path, or relative to a folder that is no longer the current one.
    let started = env::current_exe().map(|program| {
        let mut command = Command::new(program);
        command.arg0(&name).args(["train", "--resume"]).arg(run);
        command.args(quiet.then_some("--quiet")).args(json.then_some("--json"));
        if let Some(Telemetry::Published) = telemetry {
            command.args(["--telemetry", "published"]);
        }
        command.exec()
    });
    let error = match started {
        Ok(error) | Err(error) => error,
    };
    Failure::Failed(format!(
        "cannot go on in a new process: {error}; nothing is lost, type {} train --resume {}",
        quoted(&name.to_string_lossy()),
        quoted(&run.to_string_lossy())
    ))
}
