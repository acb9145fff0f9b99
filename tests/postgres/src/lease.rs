//! The program of this package, started by a process that needs a server.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The name of the program.
const PROGRAM: &str = "keyward-test-postgres";

/// A server that goes with this value, and with the process that holds it.
#[derive(Debug)]
pub struct Lease {
    program: Child,
    /// Held open for as long as the server is needed.
    held: Option<ChildStdin>,
    url: String,
}

impl Lease {
    /// Has a server provided. Blocks until it is ready; the program says on standard error which one
    /// it is, or why there is none.
    pub fn take(arguments: &[&str]) -> Result<Self> {
        let mut program = Command::new(program()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What ends our group must not end the program before it has cleaned up.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{PROGRAM} cannot be run"))?;
        let (held, output) = (program.stdin.take(), program.stdout.take());
        let mut url = String::new();
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut url)?;
        }
        let url = url.trim_end().to_owned();
        if url.is_empty() {
            let status = program.wait()?;
            bail!("there is no Postgres for the tests ({status})");
        }
        Ok(Self { program, held, url })
    }

    /// What the program provides: the URL of a server for a superuser.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.held.take());
        if let Err(error) = self.program.wait() {
            eprintln!("{PROGRAM} could not be waited for: {error}");
        }
    }
}

/// The program beside the one that is running, or beside the directory that this one is in: cargo
/// puts tests into a directory below that of programs.
fn program() -> Result<PathBuf> {
    let running = std::env::current_exe()?;
    let places = running.ancestors().skip(1).take(2).map(|place| place.join(PROGRAM));
    let found = places.into_iter().find(|program| program.is_file());
    found.with_context(|| format!("there is no {PROGRAM} beside this program: build the workspace"))
}
