//! A Postgres server for the tests, for as long as it is needed.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::{process, tell, workspace};

/// The program that provides the server, of the package of the same name.
pub const PROGRAM: &str = "keyward-test-postgres";

/// How often a start that takes its time is looked after.
const TICK: Duration = Duration::from_millis(200);

/// How long the server may take to go.
const GRACE: Duration = Duration::from_secs(30);

/// A server that goes with this value, and when this process ends in whatever way: the program
/// provides it for as long as its standard input is open.
pub struct Postgres {
    program: Child,
    held: Option<ChildStdin>,
    url: String,
}

impl Postgres {
    /// Has a server provided, and waits until it is ready. The program says on standard error which
    /// one it is, or why there is none.
    pub fn start(arguments: &[String]) -> Result<Self> {
        let program = workspace::target().join("release").join(PROGRAM);
        let mut program = workspace::command(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What the terminal sends to our group must not end it before the tests.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {PROGRAM}"))?;
        let (sender, first_line) = channel();
        if let Some(output) = program.stdout.take() {
            std::thread::spawn(move || {
                let mut line = String::new();
                // An empty line tells that it ended without one.
                let _ = BufReader::new(output).read_line(&mut line);
                sender.send(line)
            });
        }
        let held = program.stdin.take();
        let mut postgres = Self { program, held, url: String::new() };
        let line = loop {
            process::fail_if_asked_to_end()?;
            match first_line.recv_timeout(TICK) {
                Ok(line) => break line,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break String::new(),
            }
        };
        if line.is_empty() {
            bail!("there is no Postgres to test with");
        }
        line.trim_end().clone_into(&mut postgres.url);
        Ok(postgres)
    }

    /// What the program provides.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.held.take());
        let asked = Instant::now();
        while matches!(self.program.try_wait(), Ok(None)) {
            if asked.elapsed() > GRACE {
                return tell::note("xtask: Postgres is still being taken away");
            }
            std::thread::sleep(TICK / 10);
        }
    }
}
