//! `cargo xtask check`: everything about the code that is not a test.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::process::{self, End};
use crate::{compile, deny, directions, needs, queries, tell, workspace};

const HELP: &str = "\
Checks all that is not a test, and closes with a line that sums it up.

Usage: cargo xtask check

  formatting     cargo fmt --check
  lints          clippy on everything, warnings are errors
  documentation  rustdoc on everything, warnings are errors
  directions     who depends on whom
  queries        what the Postgres driver was compiled against is what a database says
  lengths        files over 400 lines (told, but no failure)
  licences       cargo-deny: licences, bans and sources of every dependency
  advisories     cargo-deny: known vulnerabilities, where the database can be had

Everything runs in the release profile, so that RocksDB is not compiled again. cargo-deny is
installed beside what cargo builds when it is not there. Postgres comes from where `cargo xtask test`
takes it.";

/// The house rule for the length of a file.
const LINES: usize = 400;

/// What a step found.
pub enum Verdict {
    /// It is as it should be. The text, if any, is worth knowing all the same.
    Good(String),
    /// It is not, for these reasons.
    Bad(String),
    /// It could not be looked into, for this reason, which is no fault of the code.
    NotChecked(String),
}

impl Verdict {
    /// The verdict of a program that says on its way out whether all is well.
    pub fn of((end, output): (End, String)) -> Self {
        if end.is_success() { Self::Good(String::new()) } else { Self::Bad(output) }
    }
}

type Step = (&'static str, fn() -> Result<Verdict>);

const STEPS: [Step; 8] = [
    ("formatting", formatting),
    ("lints", lints),
    ("documentation", documentation),
    ("directions", directions::check),
    ("queries", queries::check),
    ("lengths", lengths),
    ("licences", deny::licences),
    ("advisories", deny::advisories),
];

/// Runs the command.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    if crate::asks_for_help(arguments) {
        tell::say(HELP);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(argument) = arguments.first() {
        bail!("check takes no arguments, and {argument:?} is one");
    }
    needs::require(&needs::BUILD)?;
    compile::announce();
    let (mut failed, mut unchecked) = (Vec::new(), Vec::new());
    for (name, step) in STEPS {
        let begun = Instant::now();
        let verdict = step()?;
        let seconds = begun.elapsed().as_secs_f64();
        let (word, text) = match verdict {
            Verdict::Good(text) => ("ok", text),
            Verdict::Bad(text) => {
                failed.push(name);
                ("FAILED", text)
            }
            Verdict::NotChecked(text) => {
                unchecked.push(name);
                ("not checked", text)
            }
        };
        tell::say(format_args!("{name:<13}  {word:<11}  {seconds:>6.1}s"));
        if !text.is_empty() {
            tell::say(indented(&text));
        }
    }
    Ok(close(&failed, &unchecked))
}

fn close(failed: &[&str], unchecked: &[&str]) -> ExitCode {
    let remark = if unchecked.is_empty() {
        String::new()
    } else {
        format!("; not checked: {}", unchecked.join(", "))
    };
    if failed.is_empty() {
        tell::say(format_args!("\nAll is well{remark}."));
        ExitCode::SUCCESS
    } else {
        tell::say(format_args!("\nFailed: {}{remark}.", failed.join(", ")));
        ExitCode::FAILURE
    }
}

fn indented(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn formatting() -> Result<Verdict> {
    let mut cargo = workspace::cargo();
    cargo.args(["fmt", "--all", "--check"]);
    Ok(Verdict::of(process::output(&mut cargo, None)?))
}

fn lints() -> Result<Verdict> {
    let mut cargo = workspace::cargo();
    cargo.args([
        "clippy",
        "--quiet",
        "--release",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]);
    Ok(Verdict::of(compile::kept(&mut cargo, "lints")?))
}

fn documentation() -> Result<Verdict> {
    let mut cargo = workspace::cargo();
    cargo
        .args([
            "doc",
            "--quiet",
            "--release",
            "--workspace",
            "--no-deps",
            "--document-private-items",
        ])
        .env("RUSTDOCFLAGS", "-D warnings");
    Ok(Verdict::of(compile::kept(&mut cargo, "documentation")?))
}

fn lengths() -> Result<Verdict> {
    let mut git = workspace::command("git");
    let (end, files) = process::output(git.args(["ls-files", "--", "*.rs"]), None)?;
    if !end.is_success() {
        return Ok(Verdict::NotChecked("git does not know this directory".into()));
    }
    Ok(Verdict::Good(files.lines().filter_map(too_long).collect()))
}

/// A line about a file that is too long.
fn too_long(file: &str) -> Option<String> {
    let text = std::fs::read_to_string(workspace::root().join(file)).ok()?;
    let lines = text.lines().count();
    (lines > LINES).then(|| format!("{file} has {lines} lines, more than {LINES}\n"))
}
