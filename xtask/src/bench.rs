//! `cargo xtask bench`: the measurements.

use std::process::{ExitCode, Stdio};

use anyhow::{Result, bail};

use crate::process::{self, End, OnSignal};
use crate::{compile, needs, tell, workspace};

const HELP: &str = "\
Builds the server and the benchmark, and runs it.

Usage: cargo xtask bench [--] [arguments of the benchmark]

`cargo xtask bench -- --help` lists what the benchmark itself takes.";

/// Runs the command.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    if crate::asks_for_help(arguments) {
        tell::say(HELP);
        return Ok(ExitCode::SUCCESS);
    }
    needs::require(&needs::BUILD)?;
    compile::announce();
    compile::shown(&["build", "--release", "--workspace", "--bins"])?;
    let mut bench = workspace::command(workspace::target().join("release/keyward-bench"));
    bench
        .args(arguments.iter().skip_while(|argument| *argument == "--"))
        .env("KEYWARD_BIN", workspace::keyward())
        .stdout(Stdio::inherit());
    match process::watch(&mut bench, None, OnSignal::Kill, &mut |_| Ok(()))? {
        End::Exited(status) if status.success() => Ok(ExitCode::SUCCESS),
        End::Exited(status) => bail!("the benchmark failed: {status}"),
        End::TimedOut => bail!("the benchmark took too long"),
    }
}
