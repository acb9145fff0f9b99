//! Running the programs that `cargo test` would run, and reading off how they went.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::matrix::Job;
use crate::process::{self, End, Event, OnSignal};
use crate::tell::{Live, spoken};
use crate::{compile, tell, workspace};

/// How long one program of tests may take.
const LIMIT: Duration = Duration::from_mins(15);

/// The directory of the packages whose integration tests are the suites.
const SUITES_IN: &str = "tests";

/// Tells a program of tests to give what passing tests print, which is then shown in full.
pub const SHOW: &str = "--show-output";

/// A program of tests.
#[derive(Debug, Clone)]
pub struct Executable {
    name: String,
    path: PathBuf,
    /// The directory of its package, in which its tests expect to run.
    directory: PathBuf,
}

/// Everything that the workspace has to run.
#[derive(Debug, Default)]
pub struct Executables {
    /// The tests that stand beside the code, of every package.
    pub unit: Vec<Executable>,
    /// The integration tests by the name of their file.
    pub suites: BTreeMap<String, Executable>,
}

/// Builds all tests, and the server with the same selection of features, so that nothing is
/// built twice.
pub fn build() -> Result<Executables> {
    let arguments = ["build", "--release", "--workspace", "--bins", "--tests"];
    let messages = compile::messages(
        &[&arguments[..], &["--message-format=json-render-diagnostics"]].concat(),
    )?;
    let mut found = Executables::default();
    for message in messages.iter().filter(|message| message["profile"]["test"] == true) {
        let Some(executable) = executable(message) else { continue };
        let is_suite = executable.directory.starts_with(workspace::root().join(SUITES_IN))
            && message["target"]["kind"][0] == "test";
        if is_suite {
            found.suites.insert(executable.name.clone(), executable);
        } else {
            found.unit.push(executable);
        }
    }
    found.unit.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn executable(message: &Value) -> Option<Executable> {
    let manifest = PathBuf::from(message["manifest_path"].as_str()?);
    Some(Executable {
        name: message["target"]["name"].as_str()?.to_owned(),
        path: PathBuf::from(message["executable"].as_str()?),
        directory: manifest.parent()?.to_path_buf(),
    })
}

#[cfg(test)]
impl Executables {
    /// Suites of these names, of programs that are not there.
    pub fn with_suites(names: &[&str]) -> Self {
        let suite = |&name: &&str| {
            let (path, directory) = (PathBuf::new(), PathBuf::new());
            (name.to_owned(), Executable { name: name.to_owned(), path, directory })
        };
        Self { unit: Vec::new(), suites: names.iter().map(suite).collect() }
    }
}

/// Something that tests are told by their environment.
#[derive(Debug, Clone)]
pub struct Variable {
    name: &'static str,
    value: OsString,
}

impl Variable {
    /// A variable with this value.
    pub fn new(name: &'static str, value: impl Into<OsString>) -> Self {
        Self { name, value: value.into() }
    }
}

/// What became of some tests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// How many passed.
    pub passed: u64,
    /// How many failed, did not run though they are there, or could not be counted because their
    /// program broke off.
    pub failed: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Runs one program of tests. Failures are shown in full, all else is only counted, unless the
/// job's arguments ask to [`SHOW`] it.
pub fn run(
    executable: &Executable,
    environment: &[Variable],
    job: &Job,
    live: &mut Live,
) -> Result<Tally> {
    let title = job.title();
    let mut command = workspace::command(&executable.path);
    for (name, _) in std::env::vars_os() {
        // What containers are made of is this machine's affair; all else is the tests' own.
        let text = name.to_string_lossy();
        if text.starts_with("KEYWARD_") && !text.ends_with("_IMAGE") {
            command.env_remove(&name);
        }
    }
    command
        .args(&job.arguments)
        .current_dir(&executable.directory)
        .env("CARGO_MANIFEST_DIR", &executable.directory)
        .env("KEYWARD_BIN", workspace::keyward())
        .env("PATH", workspace::search_path())
        .envs(environment.iter().map(|variable| (variable.name, &variable.value)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut report = Report::default();
    let begun = Instant::now();
    let end = process::watch(&mut command, Some(LIMIT), OnSignal::Kill, &mut |event| {
        if let Event::Out(line) | Event::Err(line) = event {
            report.read(line);
        }
        live.show(&format!(
            "  {title}: {} passed, {}",
            report.seen_to_pass,
            spoken(begun.elapsed())
        ));
        Ok(())
    })?;
    let (tally, complaints) = report.close(&end);
    let shown = job.arguments.iter().any(|argument| argument == SHOW);
    if tally.failed > 0 || shown {
        live.clear();
        let whole = tally.failed > 0 || job.in_full;
        let text = if whole { report.text } else { headlines(&report.text) };
        tell::say(format_args!("\n{title} ({}):\n{}", executable.name, text.trim_end()));
        for complaint in complaints {
            tell::say(format_args!("xtask: {complaint}"));
        }
        tell::say("");
    }
    Ok(tally)
}

/// Runs the examples in the documentation, if there are any.
pub fn run_documentation() -> Result<Tally> {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--release", "--workspace", "--doc"]);
    let (end, text) = compile::kept(&mut cargo, "examples in the documentation")?;
    let mut report = Report::default();
    text.lines().for_each(|line| report.read(line));
    let (tally, complaints) = report.close(&end);
    if tally.failed > 0 {
        tell::say(format_args!("\n{}\n{}\n", report.text.trim_end(), complaints.join("\n")));
    }
    Ok(tally)
}

/// What a program of tests has written so far.
#[derive(Debug, Default)]
struct Report {
    /// All but the lines of tests that passed.
    text: String,
    seen_to_pass: u64,
    counted: Option<Counts>,
}

/// The figures of the closing lines.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Report {
    fn read(&mut self, line: &str) {
        if line.starts_with("test ") && line.ends_with(" ... ok") {
            self.seen_to_pass += 1;
            return;
        }
        if let Some(counts) = closing_line(line) {
            let sum = self.counted.get_or_insert_default();
            sum.passed += counts.passed;
            sum.failed += counts.failed;
            sum.ignored += counts.ignored;
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// The tally, and what the program did not say itself about the failures in it.
    fn close(&self, end: &End) -> (Tally, Vec<String>) {
        let counts = self.counted.unwrap_or_default();
        let mut tally = Tally { passed: counts.passed, failed: counts.failed + counts.ignored };
        let mut complaints = Vec::new();
        if counts.ignored > 0 {
            complaints.push(format!("{} ignored, which counts as failed", counts.ignored));
        }
        match end {
            End::TimedOut => {
                tally.failed += 1;
                complaints.push(format!("killed after {}", spoken(LIMIT)));
            }
            End::Exited(status)
                if self.counted.is_none() || status.success() != (counts.failed == 0) =>
            {
                tally.failed += 1;
                complaints.push(format!("broken off: {status}"));
            }
            End::Exited(_) => {}
        }
        (tally, complaints)
    }
}

/// What tests have said of their results: the lines that are not indented, without those that the
/// program of tests adds of its own.
fn headlines(text: &str) -> String {
    let is_own = |line: &str| {
        line.starts_with("running ")
            || line.starts_with("successes:")
            || line.starts_with("test result: ")
            || (line.starts_with("---- ") && line.ends_with(" ----"))
    };
    let kept = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with(char::is_whitespace) && !is_own(line));
    kept.fold(String::new(), |all, line| all + line + "\n")
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; …`.
fn closing_line(line: &str) -> Option<Counts> {
    let (_, figures) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = Counts::default();
    for figure in figures.split("; ") {
        match figure.split_once(' ') {
            Some((number, "passed")) => counts.passed = number.parse().ok()?,
            Some((number, "failed")) => counts.failed = number.parse().ok()?,
            Some((number, "ignored")) => counts.ignored = number.parse().ok()?,
            _ => {}
        }
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    fn tally(lines: &[&str], end: &End) -> Tally {
        let mut report = Report::default();
        for line in lines {
            report.read(line);
        }
        report.close(end).0
    }

    fn exited(code: i32) -> End {
        End::Exited(ExitStatus::from_raw(code << 8))
    }

    const GOOD: &str = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.01s";
    const BAD: &str = "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
    const IGNORED: &str = "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";

    #[test]
    fn the_closing_lines_are_added_up() {
        assert_eq!(tally(&[GOOD, GOOD], &exited(0)), Tally { passed: 4, failed: 0 });
        assert_eq!(tally(&[BAD], &exited(101)), Tally { passed: 2, failed: 1 });
    }

    #[test]
    fn the_headlines_are_what_a_test_prints_without_its_details() {
        let text = format!(
            "\nrunning 1 test\n\nsuccesses:\n\n---- one stdout ----\nFound after 3 states:\n    \
             A step.\n\n\nsuccesses:\n    one\n\n{GOOD}\n"
        );
        assert_eq!(headlines(&text), "Found after 3 states:\n");
    }

    #[test]
    fn an_ignored_test_counts_as_failed() {
        assert_eq!(tally(&[IGNORED], &exited(0)), Tally { passed: 2, failed: 1 });
    }

    #[test]
    fn a_program_that_breaks_off_counts_as_failed() {
        let killed = End::Exited(ExitStatus::from_raw(9));
        assert_eq!(tally(&["test a ... ok"], &killed), Tally { passed: 0, failed: 1 });
        assert_eq!(tally(&[GOOD], &killed), Tally { passed: 2, failed: 1 });
        assert_eq!(tally(&[], &exited(0)), Tally { passed: 0, failed: 1 });
        assert_eq!(tally(&[], &End::TimedOut), Tally { passed: 0, failed: 1 });
    }
}
