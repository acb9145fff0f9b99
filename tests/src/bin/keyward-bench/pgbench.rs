//! `pgbench`: the floor of what is done in Postgres.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use keyward_core::clock::{Clock as _, SystemClock, Timestamp};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{ChildStderr, Command};
use tokio::time::sleep;

use crate::cpu::Processes;
use crate::questions::{KEY_NAME, WORKSPACE};
use crate::report::Sample;
use crate::side::Side;
use crate::watch::Tally;

/// It says how far it is this often, for the first time when it has had all its connections for so
/// long. What went before is not measured.
const RUN_UP: Duration = Duration::from_secs(1);
/// The measuring ends so long before it does.
const MARGIN: Duration = Duration::from_millis(200);

/// One record a transaction, as the driver writes it: ids ascend with time, digests do not.
const INSERT: &str = "\
\\set n :n + 1
\\set random random(1, 9223372036854775807)
INSERT INTO keyward.api_keys (id, workspace_id, digest, name, key_prefix, status, created_by, \
created_at, updated_at, scopes) \
VALUES (encode(int8send(:n) || int8send(:random), 'hex')::uuid, :workspace, \
sha256(int8send(:random)), :name, 'sk_live_0000', 'active', :workspace, now(), now(), NULL);
";

/// One record by its digest, of those that [`records`] has made.
const SELECT: &str = "\
\\set n random(1, :records)
SELECT id, workspace_id, digest, name, key_prefix, status, created_by, created_at, updated_at, \
scopes FROM keyward.api_keys WHERE digest = sha256(int8send(:n));
";

/// The statement that makes `count` records for `pgbench` to find: it cannot tell a digest other
/// than by a number.
pub fn records(count: usize) -> String {
    format!(
        "INSERT INTO keyward.api_keys (id, workspace_id, digest, name, key_prefix, status,
                                       created_by, created_at, updated_at, scopes)
        SELECT gen_random_uuid(), '{WORKSPACE}', sha256(int8send(n)), '{KEY_NAME}',
               'sk_live_0000', 'active', '{WORKSPACE}', now(), now(), NULL
        FROM generate_series(1, {count}) AS n"
    )
}

/// What it does.
#[derive(Debug, Clone, Copy)]
pub enum Script {
    Insert,
    /// Of this many [`records`].
    Select(usize),
}

/// `pgbench` with one script.
pub struct Pgbench {
    program: PathBuf,
    url: String,
    postmaster: Option<u32>,
    clients: usize,
    script: Script,
    /// For the script and for what is logged.
    directory: TempDir,
}

impl Pgbench {
    pub fn new(
        program: &Path,
        url: &str,
        postmaster: Option<u32>,
        clients: usize,
        script: Script,
    ) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("keyward-pgbench-").tempdir()?;
        let text = match script {
            Script::Insert => INSERT,
            Script::Select(_) => SELECT,
        };
        std::fs::write(directory.path().join("script"), text)?;
        let (program, url) = (program.to_owned(), url.to_owned());
        Ok(Self { program, url, postmaster, clients, script, directory })
    }

    fn command(&self, time: Duration) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["--protocol=prepared", "--no-vacuum", "--log"])
            .arg(format!("--client={}", self.clients))
            .arg(format!("--time={}", time.as_secs()))
            .arg(format!("--progress={}", RUN_UP.as_secs()))
            .arg("--file=script")
            .current_dir(self.directory.path())
            // A command line can be read by everybody on the machine.
            .env("PGDATABASE", &self.url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        match self.script {
            Script::Insert => {
                // The first half of an id of version 7 that is made now.
                let millis = SystemClock.now().as_micros() / 1000;
                command
                    .arg(format!("--define=n={}", (millis << 16) | 0x7000))
                    .arg(format!("--define=workspace={WORKSPACE}"))
                    .arg(format!("--define=name={KEY_NAME}"));
            }
            Script::Select(records) => {
                command.arg(format!("--define=records={records}"));
            }
        }
        command
    }

    /// What was done between two moments, by the log. The log is removed.
    fn tally(&self, begun: Timestamp, ended: Timestamp) -> anyhow::Result<Tally> {
        let mut tally = Tally::new()?;
        for file in std::fs::read_dir(self.directory.path())? {
            let path = file?.path();
            if !path.file_name().is_some_and(|it| it.to_string_lossy().starts_with("pgbench_log")) {
                continue;
            }
            for line in std::fs::read_to_string(&path)?.lines() {
                let (at, took) = logged(line).with_context(|| format!("pgbench logged {line}"))?;
                if (begun..ended).contains(&at) {
                    tally.count(took, 0);
                }
            }
            std::fs::remove_file(&path)?;
        }
        Ok(tally)
    }
}

#[async_trait(?Send)]
impl Side for Pgbench {
    fn name(&self) -> &'static str {
        "pgbench"
    }

    async fn slice(&mut self, time: Duration) -> anyhow::Result<Sample> {
        let mut child = self.command(RUN_UP + time).spawn().context("starting pgbench")?;
        let own = child.id().context("pgbench ended at once")?;
        let processes = Processes { own: vec![own], postmaster: self.postmaster };
        let mut said = BufReader::new(child.stderr.take().context("pgbench has an output")?);
        run_up(&mut said).await?;
        let (begun, cpu) = (SystemClock.now(), processes.read()?);
        sleep(time.saturating_sub(MARGIN)).await;
        let (ended, used) = (SystemClock.now(), processes.read()?.since(&cpu));
        let mut rest = String::new();
        said.read_to_string(&mut rest).await?;
        let status = child.wait().await?;
        if !status.success() {
            bail!("pgbench failed ({status}): {}", rest.trim_end());
        }
        let elapsed = u64::try_from(ended.as_micros() - begun.as_micros())?;
        self.tally(begun, ended)?.sample(Duration::from_micros(elapsed), used)
    }

    async fn end(self: Box<Self>) -> anyhow::Result<()> {
        Ok(self.directory.close()?)
    }
}

/// Waits until it says for the first time how far it is.
async fn run_up(said: &mut BufReader<ChildStderr>) -> anyhow::Result<()> {
    let mut before = String::new();
    let mut line = String::new();
    while said.read_line(&mut line).await? > 0 {
        if line.starts_with("progress:") {
            return Ok(());
        }
        before.push_str(&line);
        line.clear();
    }
    bail!("pgbench failed: {}", before.trim_end())
}

/// When a transaction ended, and how long it took: a line has client, number, microseconds, script,
/// and the time of its end in seconds and microseconds.
fn logged(line: &str) -> Option<(Timestamp, Duration)> {
    let fields: Vec<&str> = line.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse::<i64>().ok();
    let at = number(4)?.checked_mul(1_000_000)?.checked_add(number(5)?)?;
    Some((Timestamp::from_micros(at)?, Duration::from_micros(number(2)?.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_tells_when_and_how_long() {
        let (at, took) = logged("3 199 2241 0 1175850568 995598").unwrap();
        assert_eq!((at.as_micros(), took.as_micros()), (1_175_850_568_995_598, 2241));
        assert!(logged("3 199 failed 0 1175850568 995598").is_none());
        assert!(logged("").is_none());
    }
}
