//! `cargo xtask test`: everything, driver by driver.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::matrix::{DOC, Job, Selection};
use crate::needs::{self, Need};
use crate::postgres::Postgres;
use crate::suite::{self, Tally, Variable};
use crate::tell::Live;
use crate::{compile, previous, tell};

const HELP: &str = "\
Runs every test, driver by driver, and closes with a table.

Usage: cargo xtask test [flags]

  --driver <name>          only the suites of this driver: memory, rocksdb or postgres; repeatable
  --suite <name>           only this suite: unit, doc, conformance, model, interleaving, or
                           another file of tests/tests; repeatable
  --postgres <source>      where Postgres comes from: url (KEYWARD_TEST_POSTGRES_URL, a superuser's),
                           docker, or local (the programs of Postgres that are installed here)
                           [default: the first of them that there is]
  --postgres-image <name>  what a container is made of
                           [default: KEYWARD_TEST_POSTGRES_IMAGE, else postgres:17]
  --previous <commit>      what the suite upgrade upgrades from [default: HEAD^]
  --long                   the long form of the suite cluster: 10,000 revocations and more

What the suites cluster, interleaving and model find is printed though they pass, and in full,
with the traces, where one of them is named.

An ignored test, a suite without tests and a suite that takes longer than 15 minutes count as
failed, and so does a test that cannot have what it needs. A suite that takes more than a checkout
and Rust is run when it is named; the end of the table tells which were not. What the tests need
beyond Rust is installed with apt where that is allowed.";

/// Runs the command.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    if crate::asks_for_help(arguments) {
        tell::say(HELP);
        return Ok(ExitCode::SUCCESS);
    }
    let selection = Selection::parse(arguments)?;
    needs::require(&needs::BUILD)?;
    compile::announce();
    // It comes first: both are built in one place, and the binary at hand is to be the current one.
    let mut environment = Vec::new();
    if selection.wants_previous() {
        let binary = previous::build(selection.previous.as_deref())?;
        environment.push(Variable::new("KEYWARD_PREVIOUS_BIN", binary));
    }
    if selection.long {
        environment.push(Variable::new("KEYWARD_TEST_LONG", "yes"));
    }
    let executables = suite::build()?;
    let jobs = selection.jobs(&executables)?;
    let mut needs: Vec<Need> = jobs.iter().flat_map(Job::needs).copied().collect();
    let uses_postgres = jobs.iter().any(Job::uses_postgres);
    if uses_postgres && selection.wants_local_postgres() {
        needs.push(Need::Postgres);
    }
    needs::require(&needs)?;
    let postgres = if uses_postgres { Some(Postgres::start(&selection.postgres)?) } else { None };
    if let Some(postgres) = &postgres {
        environment.push(Variable::new("KEYWARD_TEST_POSTGRES_URL", postgres.url()));
    }

    let mut rows = Vec::new();
    let mut live = Live::new();
    for job in &jobs {
        rows.push(run_job(job, &environment, &mut live)?);
    }
    drop(postgres);
    if selection.wants(None, DOC) {
        rows.extend(documentation(&mut live)?);
    }
    drop(live);
    Ok(close(&rows, &selection.left_out(&executables)))
}

fn run_job(job: &Job, environment: &[Variable], live: &mut Live) -> Result<Row> {
    let begun = Instant::now();
    let title = job.title();
    let mut environment = environment.to_vec();
    environment.extend(job.driver.map(|driver| Variable::new("KEYWARD_TEST_DRIVER", driver)));
    let mut tally = Tally::default();
    for executable in &job.executables {
        tally += suite::run(executable, &environment, job, live)?;
    }
    live.clear();
    if tally == Tally::default() && !job.may_be_empty {
        tell::say(format_args!("xtask: {title} has no tests, which counts as failed"));
        tally.failed = 1;
    }
    let row = Row { driver: job.driver, suite: job.suite.clone(), tally, took: begun.elapsed() };
    if !row.is_empty() {
        tell::say(format_args!("{title}: {} passed, {} failed", tally.passed, tally.failed));
    }
    Ok(row)
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

/// Prints the table, what was left out and, last, the sum.
fn close(rows: &[Row], left_out: &[String]) -> ExitCode {
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
    for suite in left_out {
        tell::say(format_args!("not run: {suite} (cargo xtask test --suite {suite})"));
    }
    tell::say(format_args!("\n{} passed, {} failed, 0 skipped", sum.passed, sum.failed));
    if sum.failed == 0 && sum.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
