//! The server under valgrind, which counts its instructions.
//!
//! Counting is cut at two places by valgrind's own monitor: behind the requests that warm up, and behind
//! those that are counted. So nothing of starting and stopping is in a count, and a profile shows these
//! requests and nothing else.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::Command;
use tokio::time::sleep;

use super::rows::{Credential, NEWEST_EVENT, Row, VERIFIED};
use crate::http::Connection;
use crate::over_http::judge;
use crate::server::Server;
use crate::storage::Storage;

/// Between two looks whether the newest event is sealed. Each look is counted, so they are few.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// Looks after which it is not going to be: the sealer is at work twice a second.
const LOOKS: usize = 300;
/// Seconds in which valgrind must have done what it is told.
const COMMAND_WITHIN: u32 = 60;

/// The server under test, counted.
pub struct CountedServer {
    server: Server,
    /// Profiles are written beside it, with a number behind its name.
    profile: PathBuf,
    profiles: usize,
    /// By which the monitor is found.
    monitor: PathBuf,
}

impl CountedServer {
    /// Starts it on `storage`. What it writes besides goes to `directory`.
    pub async fn start(storage: &Storage, directory: &Path, secret: &str) -> anyhow::Result<Self> {
        let (profile, monitor) = (directory.join("profile"), directory.join("monitor"));
        // One worker, so that it is not by chance which thread does what, and how often one wakes another.
        let mut wrapper: Vec<OsString> =
            ["env", "TOKIO_WORKER_THREADS=1", "valgrind", "--tool=callgrind", "--quiet"]
                .map(OsString::from)
                .into();
        wrapper.push(flag("--callgrind-out-file=", &profile));
        wrapper.push(flag("--vgdb-prefix=", &monitor));
        let server = Server::start_keyward_under(&wrapper, storage, directory, secret, &[]).await?;
        Ok(Self { server, profile, profiles: 0, monitor })
    }

    /// The instructions that one request of `row` takes. Leaves its profile in `profiles`.
    pub async fn count(
        &mut self,
        row: &Row,
        keys: &[String],
        token: &str,
        profiles: &Path,
    ) -> anyhow::Result<u64> {
        let requests: Vec<Vec<u8>> = match row.credential {
            Credential::Key => {
                keys.iter().take(VERIFIED).map(|key| (row.question.request)(key)).collect()
            }
            Credential::Token | Credential::RecordedToken => vec![(row.question.request)(token)],
        };
        let mut asking = Asking {
            connection: Connection::open(self.server.address()).await?,
            row,
            requests,
            token,
        };
        asking.ask(row.requests / 10).await?;
        self.tell("zero").await?;
        asking.ask(row.requests).await?;
        self.tell("dump").await?;
        let text = self.take_profile()?;
        let to = profiles.join(row.profile());
        std::fs::write(&to, &text).with_context(|| format!("writing {}", to.display()))?;
        Ok(total(&text)? / row.requests as u64)
    }

    /// What valgrind has just written. What a thread spends below a function that it entered before
    /// counting began is told there as zero calls, which `callgrind_annotate` takes for the function's own.
    fn take_profile(&mut self) -> anyhow::Result<String> {
        self.profiles += 1;
        let mut numbered = self.profile.clone().into_os_string();
        numbered.push(format!(".{}", self.profiles));
        let text = std::fs::read_to_string(&numbered).context("valgrind wrote no profile")?;
        Ok(text.replace("\ncalls=0 ", "\ncalls=1 "))
    }

    /// Ends it.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.server.stop().await
    }

    /// Has valgrind do something, and waits until it has.
    async fn tell(&self, command: &str) -> anyhow::Result<()> {
        let output = Command::new("vgdb")
            .arg(flag("--vgdb-prefix=", &self.monitor))
            .arg(format!("--pid={}", self.server.pid()))
            .arg(format!("--cmd-time-out={COMMAND_WITHIN}"))
            .arg(command)
            .output()
            .await
            .context("running vgdb, which comes with valgrind")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("valgrind was told to {command} and did not: {}", said.trim());
        }
        Ok(())
    }
}

fn flag(name: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(name);
    flag.push(path);
    flag
}

/// One who asks, on one connection.
struct Asking<'a> {
    connection: Connection,
    row: &'a Row,
    requests: Vec<Vec<u8>>,
    token: &'a str,
}

impl Asking<'_> {
    /// Asks so often, but each thing at least once.
    async fn ask(&mut self, times: usize) -> anyhow::Result<()> {
        let times = times.max(self.requests.len());
        for request in self.requests.iter().cycle().take(times) {
            let answer = self.connection.ask(request).await?;
            judge(self.row.question, &answer)?;
        }
        if self.row.credential == Credential::RecordedToken {
            self.await_sealed().await?;
        }
        Ok(())
    }

    /// Waits until the sealer has nothing left to do: how much of its work falls between the two cuts would
    /// be chance otherwise.
    async fn await_sealed(&mut self) -> anyhow::Result<()> {
        let request = (NEWEST_EVENT.request)(self.token);
        for _ in 0..LOOKS {
            let answer = self.connection.ask(&request).await?;
            judge(&NEWEST_EVENT, &answer)?;
            if str::from_utf8(answer.body)?.contains(r#""sequence":"#) {
                return Ok(());
            }
            sleep(BETWEEN_LOOKS).await;
        }
        bail!("the newest event was not sealed")
    }
}

/// The instructions of a whole profile.
fn total(profile: &str) -> anyhow::Result<u64> {
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: "));
    total.context("a profile without a total")?.trim().parse().context("reading a total")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_profile_is_found_behind_its_lines() {
        let profile = "# callgrind format\nevents: Ir\nfn=(1) totals\n3 100\n\ntotals: 33521245\n";
        assert_eq!(total(profile).unwrap(), 33_521_245);
    }

    #[test]
    fn a_profile_that_was_cut_off_is_refused() {
        assert!(total("events: Ir\nfn=(1) main\n3 100\n").is_err());
        assert!(total("totals: many\n").is_err());
    }
}
