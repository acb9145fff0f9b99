//! `cargo xtask test`: everything, driver by driver.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::needs::{self, Need};
use crate::suite::{self, Executable, Executables, Tally};
use crate::tell::Live;
use crate::{compile, tell};

const HELP: &str = "\
Runs every test, driver by driver, and closes with a table.

Usage: cargo xtask test [--driver NAME]... [--suite NAME]...

  --driver <name>  only the suites of this driver: memory or rocksdb
  --suite <name>   only this suite: unit, doc, conformance, or another file of tests/tests

An ignored test, a suite without tests and a suite that takes longer than 15 minutes count as
failed. What the tests need beyond Rust is installed with apt where that is allowed.";

/// A storage driver, as its tests see it.
struct Driver {
    name: &'static str,
    /// Whether it keeps anything when the process dies.
    durable: bool,
}

const DRIVERS: [Driver; 2] =
    [Driver { name: "memory", durable: false }, Driver { name: "rocksdb", durable: true }];

/// The suite in which the tests of all drivers stand side by side, each in a module with the
/// driver's name. Every other suite is told by the environment which driver it is to use.
const CONFORMANCE: &str = "conformance";

/// Suites that a driver has to be durable for.
const FOR_DURABLE: [&str; 1] = ["crash"];

/// Suites that need more than the build does.
const NEEDS: [(&str, &[Need]); 1] = [("gateway", &[Need::Nginx, Need::Caddy])];

/// The names of the suites that are not files of `tests/tests`.
const UNIT: &str = "unit";
const DOC: &str = "doc";

/// Runs the command.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    if crate::asks_for_help(arguments) {
        tell::say(HELP);
        return Ok(ExitCode::SUCCESS);
    }
    let selection = Selection::parse(arguments)?;
    needs::require(&needs::BUILD)?;
    compile::announce();
    let executables = suite::build()?;
    let jobs = selection.jobs(&executables)?;
    needs::require(&needs_of(&jobs))?;

    let mut rows = Vec::new();
    let mut live = Live::new();
    for job in &jobs {
        rows.push(job.run(&mut live)?);
    }
    if selection.wants(None, DOC) {
        rows.extend(documentation(&mut live)?);
    }
    drop(live);
    Ok(close(&rows))
}

/// What was asked for. An empty list means all.
#[derive(Default)]
struct Selection {
    drivers: Vec<String>,
    suites: Vec<String>,
}

impl Selection {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut selection = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let (flag, joined) = argument
                .split_once('=')
                .map_or((argument.as_str(), None), |(flag, value)| (flag, Some(value.to_owned())));
            let list = match flag {
                "--driver" => &mut selection.drivers,
                "--suite" => &mut selection.suites,
                unknown => bail!("{unknown:?} is no flag; see `cargo xtask test --help`"),
            };
            let value = joined.or_else(|| rest.next().cloned());
            list.push(value.with_context(|| format!("{flag} needs a name"))?);
        }
        for name in &selection.drivers {
            if !DRIVERS.iter().any(|driver| driver.name == name) {
                let known = DRIVERS.map(|driver| driver.name).join(", ");
                bail!("there is no driver {name:?}; there are {known}");
            }
        }
        Ok(selection)
    }

    /// Whether to run this suite on this driver. What belongs to no driver is run when none is
    /// named, and when it is named itself.
    fn wants(&self, driver: Option<&str>, suite: &str) -> bool {
        let named = self.suites.iter().any(|name| name == suite);
        let driver_wanted = match driver {
            Some(driver) => {
                self.drivers.is_empty() || self.drivers.iter().any(|name| name == driver)
            }
            None => self.drivers.is_empty() || named,
        };
        driver_wanted && (self.suites.is_empty() || named)
    }

    /// What there is to run, in the order of the table.
    fn jobs(&self, executables: &Executables) -> Result<Vec<Job>> {
        self.check_suites(executables)?;
        let mut jobs = Vec::new();
        if self.wants(None, UNIT) {
            jobs.push(Job::new(None, UNIT, executables.unit.clone()));
        }
        if let Some(conformance) = executables.suites.get(CONFORMANCE)
            && self.wants(None, CONFORMANCE)
        {
            jobs.push(Job::conformance_of_no_driver(conformance));
        }
        for driver in &DRIVERS {
            for (name, executable) in &executables.suites {
                let able = driver.durable || !FOR_DURABLE.contains(&name.as_str());
                if able && self.wants(Some(driver.name), name) {
                    jobs.push(Job::new(Some(driver.name), name, vec![executable.clone()]));
                }
            }
        }
        if jobs.is_empty() && !self.wants(None, DOC) {
            bail!("no such suite is run on that driver");
        }
        Ok(jobs)
    }

    fn check_suites(&self, executables: &Executables) -> Result<()> {
        let known: Vec<&str> =
            [UNIT, DOC].into_iter().chain(executables.suites.keys().map(String::as_str)).collect();
        match self.suites.iter().find(|name| !known.contains(&name.as_str())) {
            Some(name) => bail!("there is no suite {name:?}; there are {}", known.join(", ")),
            None => Ok(()),
        }
    }
}

/// One row of the table that is still to be run.
struct Job {
    driver: Option<&'static str>,
    suite: String,
    executables: Vec<Executable>,
    arguments: Vec<String>,
    may_be_empty: bool,
}

impl Job {
    fn new(driver: Option<&'static str>, suite: &str, executables: Vec<Executable>) -> Self {
        let arguments = match driver {
            Some(driver) if suite == CONFORMANCE => vec![format!("{driver}::")],
            _ => Vec::new(),
        };
        Self { driver, suite: suite.to_owned(), executables, arguments, may_be_empty: false }
    }

    /// Tests in the conformance suite that stand in no driver's module: there need not be any,
    /// but none may be lost.
    fn conformance_of_no_driver(executable: &Executable) -> Self {
        let skips =
            DRIVERS.iter().flat_map(|driver| ["--skip".into(), format!("{}::", driver.name)]);
        Self {
            arguments: skips.collect(),
            may_be_empty: true,
            ..Self::new(None, CONFORMANCE, vec![executable.clone()])
        }
    }

    fn title(&self) -> String {
        self.driver.map_or_else(|| self.suite.clone(), |driver| format!("{driver} {}", self.suite))
    }

    fn run(&self, live: &mut Live) -> Result<Row> {
        let begun = Instant::now();
        let title = self.title();
        let mut tally = Tally::default();
        for executable in &self.executables {
            tally += suite::run(executable, self.driver, &self.arguments, live, &title)?;
        }
        live.clear();
        if tally == Tally::default() && !self.may_be_empty {
            tell::say(format_args!("xtask: {title} has no tests, which counts as failed"));
            tally.failed = 1;
        }
        let row =
            Row { driver: self.driver, suite: self.suite.clone(), tally, took: begun.elapsed() };
        if !row.is_empty() {
            tell::say(format_args!("{title}: {} passed, {} failed", tally.passed, tally.failed));
        }
        Ok(row)
    }
}

fn needs_of(jobs: &[Job]) -> Vec<Need> {
    NEEDS
        .iter()
        .filter(|(suite, _)| jobs.iter().any(|job| job.suite == *suite))
        .flat_map(|(_, needs)| needs.iter().copied())
        .collect()
}

fn documentation(live: &mut Live) -> Result<Option<Row>> {
    let begun = Instant::now();
    live.clear();
    let tally = suite::run_documentation()?;
    let row = Row { driver: None, suite: DOC.to_owned(), tally, took: begun.elapsed() };
    Ok((!row.is_empty()).then_some(row))
}

/// One row of the table.
struct Row {
    driver: Option<&'static str>,
    suite: String,
    tally: Tally,
    took: Duration,
}

impl Row {
    fn is_empty(&self) -> bool {
        self.tally == Tally::default()
    }
}

/// Prints the table and, last, the sum.
fn close(rows: &[Row]) -> ExitCode {
    let mut sum = Tally::default();
    tell::say(format_args!(
        "\n{:<8}  {:<12}  {:>6}  {:>6}  {:>7}",
        "driver", "suite", "passed", "failed", "seconds"
    ));
    for row in rows.iter().filter(|row| !row.is_empty()) {
        let Tally { passed, failed } = row.tally;
        let driver = row.driver.unwrap_or("–");
        let seconds = row.took.as_secs_f64();
        tell::say(format_args!(
            "{driver:<8}  {:<12}  {passed:>6}  {failed:>6}  {seconds:>7.1}",
            row.suite
        ));
        sum += row.tally;
    }
    tell::say(format_args!("\n{} passed, {} failed, 0 skipped", sum.passed, sum.failed));
    if sum.failed == 0 && sum.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(arguments: &[&str]) -> Result<Selection> {
        let arguments: Vec<String> =
            arguments.iter().map(|&argument| argument.to_owned()).collect();
        Selection::parse(&arguments)
    }

    #[test]
    fn everything_is_run_when_nothing_is_named() {
        let all = selection(&[]).unwrap();
        assert!(all.wants(None, UNIT));
        assert!(all.wants(Some("memory"), "contract"));
    }

    #[test]
    fn a_named_driver_leaves_out_the_others_and_what_belongs_to_none() {
        let one = selection(&["--driver", "rocksdb"]).unwrap();
        assert!(one.wants(Some("rocksdb"), "contract"));
        assert!(!one.wants(Some("memory"), "contract"));
        assert!(!one.wants(None, UNIT));
    }

    #[test]
    fn a_suite_that_belongs_to_no_driver_is_run_when_it_is_named() {
        let unit = selection(&["--driver=rocksdb", "--suite=unit"]).unwrap();
        assert!(unit.wants(None, UNIT));
        assert!(!unit.wants(Some("rocksdb"), "contract"));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        assert!(selection(&["--driver", "oracle"]).is_err());
        assert!(selection(&["--driver"]).is_err());
        assert!(selection(&["--verbose"]).is_err());
        let absent = selection(&["--suite", "absent"]).unwrap();
        assert!(absent.jobs(&Executables::default()).is_err());
    }
}
