//! The chores of this repository: `cargo xtask serve`, `test`, `check`, `bench`, `docker` and
//! `queries`.
//!
//! Everything here runs before anything else was built, so it depends on no crate of the workspace
//! and on next to nothing besides, and is compiled in seconds.

mod bench;
mod check;
mod compile;
mod demo;
mod deny;
mod directions;
mod docker;
mod libclang;
mod matrix;
mod needs;
mod postgres;
mod previous;
mod process;
mod queries;
mod serve;
mod suite;
mod tell;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
The chores of this repository.

Usage: cargo xtask <command> [arguments]

Commands:
  serve    build the server, start it, and print three curl commands that work as pasted
  test     run every test, driver by driver, and close with a table
  check    formatting, lints, documentation, dependency directions, licences, advisories
  bench    build and run the benchmark
  docker   build the image of one node
  queries  write down what the Postgres driver's queries are compiled against

`cargo xtask <command> --help` says more.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) if error.is::<process::Interrupted>() => {
            tell::note("\nxtask: interrupted");
            ExitCode::from(130)
        }
        Err(error) => {
            tell::note(format_args!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode> {
    process::watch_signals()?;
    let Some((command, rest)) = arguments.split_first() else {
        tell::say(HELP);
        return Ok(ExitCode::FAILURE);
    };
    match command.as_str() {
        "serve" => serve::run(rest),
        "test" => test::run(rest),
        "check" => check::run(rest),
        "bench" => bench::run(rest),
        "docker" => docker::run(rest),
        "queries" => queries::run(rest),
        "help" | "-h" | "--help" => {
            tell::say(HELP);
            Ok(ExitCode::SUCCESS)
        }
        unknown => bail!("there is no command {unknown:?}; `cargo xtask --help` lists them"),
    }
}

/// Whether the arguments ask for help before they say anything to another program.
fn asks_for_help(arguments: &[String]) -> bool {
    arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .any(|argument| matches!(argument.as_str(), "-h" | "--help"))
}
