//! The processes that are measured.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use keyward_core::clock::{Entropy as _, SystemEntropy};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::floor::Template;
use crate::storage::Storage;

const START_WITHIN: Duration = Duration::from_mins(1);
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// A server that runs as long as this value lives.
pub struct Server {
    child: Child,
    pid: u32,
    address: SocketAddr,
}

impl Server {
    /// Starts the binary under test on `storage`. Its log goes to a file in `directory`, at the
    /// level that a user gets.
    pub async fn start_keyward(
        storage: &Storage,
        directory: &Path,
        secret: &str,
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        Self::start_keyward_under(&[], storage, directory, secret, flags).await
    }

    /// As [`start_keyward`](Self::start_keyward), by a command line that ends where that of the binary
    /// begins, and whose process becomes it.
    pub async fn start_keyward_under(
        wrapper: &[OsString],
        storage: &Storage,
        directory: &Path,
        secret: &str,
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        let log_path = directory.join("keyward.log");
        let mut command = keyward_under(wrapper, secret)?;
        command
            .arg("serve")
            .args(["--listen", "127.0.0.1:0"])
            // As many as the bench may have connections, so that no verification is refused.
            .args(["--miss-concurrency", "10000"])
            .args(flags)
            // It may hold a password.
            .env("KEYWARD_STORAGE", storage.url())
            .stderr(File::create(&log_path)?);
        Self::start(command).await.with_context(|| {
            let log = std::fs::read_to_string(&log_path).unwrap_or_default();
            format!("starting keyward, whose log is\n{}\n", log.trim_end())
        })
    }

    /// Starts a floor that answers what `template` says.
    pub async fn start_floor(template: &Template) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("floor").stdin(Stdio::piped());
        let mut line = serde_json::to_vec(template)?;
        line.push(b'\n');
        let mut child = spawn(&mut command)?;
        // Kept open in the child: when it ends, the floor does.
        let input = child.stdin.as_mut().context("the floor has no standard input")?;
        input.write_all(&line).await?;
        Self::await_ready(child).await.context("starting the floor")
    }

    async fn start(mut command: Command) -> anyhow::Result<Self> {
        Self::await_ready(spawn(command.stdin(Stdio::null()))?).await
    }

    async fn await_ready(mut child: Child) -> anyhow::Result<Self> {
        let output = child.stdout.take().context("the server has no standard output")?;
        let address = timeout(START_WITHIN, announced_address(output)).await??;
        let pid = child.id().context("the server ended at once")?;
        Ok(Self { child, pid, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Asks it to end, and waits until it has. One that was asked must end well.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        // Closing the input is what ends a floor; a signal ends the binary under test.
        if self.child.stdin.take().is_none() {
            let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
            kill_process(pid.context("the server has no process id")?, Signal::TERM)?;
        }
        let status = timeout(STOP_WITHIN, self.child.wait())
            .await
            .context("the server did not end when it was asked to")??;
        if !status.success() {
            bail!("the server ended badly: {status}");
        }
        Ok(())
    }
}

/// Makes the window of the database that `storage` is this long, and waits until it is.
pub async fn set_window(storage: &Storage, window: &str) -> anyhow::Result<()> {
    let mut command = keyward("")?;
    command.args(["window", "set", window]).env("KEYWARD_STORAGE", storage.url());
    let output = command.output().await?;
    if !output.status.success() {
        bail!("the window was not set: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// A secret for caller tokens that nobody else knows.
pub fn random_secret() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    SystemEntropy.fill(&mut bytes)?;
    let mut secret = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(secret, "{byte:02x}")?;
    }
    Ok(secret)
}

/// Has the binary under test mint a token for `workspace`.
pub async fn mint_token(secret: &str, workspace: &str) -> anyhow::Result<String> {
    let mut command = keyward(secret)?;
    command.args(["token", "--workspace", workspace]).stdin(Stdio::null());
    let output = command.output().await.context("running keyward token")?;
    if !output.status.success() {
        bail!("keyward token failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

fn keyward(secret: &str) -> anyhow::Result<Command> {
    keyward_under(&[], secret)
}

/// The binary under test, without settings that the environment of the bench may hold by chance.
fn keyward_under(wrapper: &[OsString], secret: &str) -> anyhow::Result<Command> {
    let keyward = keyward_path()?;
    let mut command = match wrapper {
        [] => Command::new(keyward),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(keyward);
            command
        }
    };
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KEYWARD_") {
            command.env_remove(name);
        }
    }
    // By the environment, because everybody on the machine can read a command line.
    command.env("KEYWARD_TOKEN_SECRET", secret);
    Ok(command)
}

fn keyward_path() -> anyhow::Result<PathBuf> {
    let path = match std::env::var_os("KEYWARD_BIN") {
        Some(path) => path.into(),
        None => std::env::current_exe()?.with_file_name("keyward"),
    };
    if !path.is_file() {
        bail!("{} is not there: build it, or name it in KEYWARD_BIN", path.display());
    }
    Ok(path)
}

fn spawn(command: &mut Command) -> anyhow::Result<Child> {
    let program = command.as_std().get_program().to_owned();
    command
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {}", Path::new(&program).display()))
}

async fn announced_address(output: ChildStdout) -> anyhow::Result<SocketAddr> {
    let mut lines = BufReader::new(output).lines();
    let line = lines.next_line().await?.context("the server ended before it listened")?;
    let url = line.split_whitespace().find_map(|word| word.strip_prefix("http://"));
    url.with_context(|| format!("the server said: {line}"))?.parse().context("reading its address")
}
