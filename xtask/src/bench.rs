//! `cargo xtask bench`: the measurements.

use std::process::{ExitCode, Stdio};

use anyhow::{Result, bail};

use crate::needs::{self, Need};
use crate::process::{self, End, OnSignal};
use crate::{compile, tell, workspace};

const HELP: &str = "\
Builds the server and the benchmark, and runs it: what each thing costs beside the least that the
same could cost on this machine, and whether the goals are met. It takes under 15 minutes, 2 GB of
memory and 6 GB of disk; with --quick a few, and little of either.

Usage: cargo xtask bench [--] [arguments of the benchmark]
       cargo xtask bench --instructions [--keep]

With --instructions nothing is timed. The instructions of single requests are counted under valgrind
and compared with those in tests/instructions.json: 5 % more or fewer is a failure. With --keep what
is counted takes their place.

The table is printed, and saved as report.md, report.json and report.svg in the directory `bench` of
the one that cargo builds into. `cargo xtask bench -- --help` lists what the benchmark itself takes.";

/// Asks for counts in place of times.
const INSTRUCTIONS: &str = "--instructions";

/// Runs the command.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    if crate::asks_for_help(arguments) {
        tell::say(HELP);
        return Ok(ExitCode::SUCCESS);
    }
    let counts = arguments.iter().any(|argument| argument == INSTRUCTIONS);
    let others = arguments.iter().skip_while(|argument| *argument == "--");
    needs::require(&needs::BUILD)?;
    if counts {
        needs::require(&[Need::Valgrind])?;
    }
    compile::announce();
    compile::shown(&["build", "--release", "--workspace", "--bins"])?;
    let mut bench = workspace::command(workspace::target().join("release/keyward-bench"));
    bench
        // To the benchmark it is a command of its own.
        .args(counts.then_some("instructions"))
        .args(others.filter(|argument| *argument != INSTRUCTIONS))
        .env("KEYWARD_BIN", workspace::keyward())
        .stdout(Stdio::inherit());
    match process::watch(&mut bench, None, OnSignal::Kill, &mut |_| Ok(()))? {
        End::Exited(status) if status.success() => Ok(ExitCode::SUCCESS),
        End::Exited(status) => bail!("the benchmark failed: {status}"),
        End::TimedOut => bail!("the benchmark took too long"),
    }
}
