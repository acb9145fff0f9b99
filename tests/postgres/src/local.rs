//! A throw-away cluster of the Postgres that is installed here.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::random_text;

/// How long a new cluster may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often it is asked.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// How many ports are tried. Somebody else may take a free one before the server does.
const ATTEMPTS: usize = 3;

/// Where Debian keeps the programs: `VERSION/bin` below it, and not on the `PATH`.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The directory that holds `initdb` and `postgres`.
#[derive(Debug)]
pub struct Programs(PathBuf);

impl Programs {
    /// Those on the `PATH`, else the newest that are installed. Links are followed: the directory that
    /// they lead to holds all programs of that version.
    pub fn find() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
        on_path.into_iter().chain(installed()).find_map(|place| {
            let initdb = place.join("initdb").canonicalize().ok()?;
            let programs = initdb.parent()?;
            programs.join("postgres").is_file().then(|| Self(programs.to_owned()))
        })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.0
    }

    fn command(&self, name: &str, owner: Option<Owner>) -> Command {
        let mut command = Command::new(self.0.join(name));
        command.stdin(Stdio::null()).kill_on_drop(true);
        // A group of its own, so that Ctrl-C in a terminal does not end it before its databases.
        command.process_group(0);
        if let Some(Owner { user, group }) = owner {
            command.uid(user).gid(group);
        }
        command
    }
}

/// Debian's directories of programs, the newest version first.
fn installed() -> Vec<PathBuf> {
    let Ok(versions) = std::fs::read_dir(DEBIAN) else { return Vec::new() };
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| {
            let version = version.ok()?;
            let number = version.file_name().to_str()?.parse().ok()?;
            Some((number, version.path().join("bin")))
        })
        .collect();
    versions.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    versions.into_iter().map(|(_, programs)| programs).collect()
}

/// Who the cluster belongs to, where that is not who we are.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    /// The number of the user.
    pub user: u32,
    /// The number of its group.
    pub group: u32,
}

impl Owner {
    /// Somebody, where we are root: Postgres refuses to be run by root.
    ///
    /// # Errors
    ///
    /// Where there is nobody else.
    pub fn needed() -> Result<Option<Self>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let accounts = std::fs::read_to_string("/etc/passwd").context("who could run Postgres?")?;
        let owner = ["postgres", "nobody"].iter().find_map(|name| Self::named(name, &accounts));
        owner.map(Some).context("there is no user but root to run Postgres, which root must not")
    }

    /// The account of this name in the text of `/etc/passwd`.
    fn named(name: &str, accounts: &str) -> Option<Self> {
        let rest = accounts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let mut fields = rest.split(':').skip(1);
        Some(Self { user: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
    }
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Goes with this value.
    _directory: TempDir,
    server: Child,
    url: String,
}

impl Cluster {
    /// Makes a cluster and starts its server with these arguments.
    pub async fn start(programs: &Programs, arguments: &[&str]) -> Result<Self> {
        let owner = Owner::needed()?;
        let directory = TempDir::with_prefix("keyward-postgres-")?;
        give(directory.path(), owner)?;
        let password = random_text()?;
        initialise(programs, directory.path(), owner, &password).await?;
        for attempt in 1.. {
            let port = free_port()?;
            let url = format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres");
            let mut server = serve(programs, directory.path(), owner, port, arguments)?;
            match wait_until_ready(&mut server, &url, directory.path()).await {
                Ok(()) => return Ok(Self { _directory: directory, server, url }),
                Err(error) if attempt == ATTEMPTS => return Err(error),
                Err(_) => {}
            }
        }
        bail!("no port was tried")
    }

    /// The URL of its `postgres` database.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Ends the server at once, whoever is connected, and takes the cluster away.
    pub async fn remove(mut self) -> Result<()> {
        if let Some(pid) = self.server.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            kill_process(pid, Signal::QUIT)
                .context("the server of the tests is not to be ended")?;
        }
        self.server.wait().await?;
        Ok(())
    }
}

fn give(path: &Path, owner: Option<Owner>) -> Result<()> {
    let Some(Owner { user, group }) = owner else { return Ok(()) };
    let given = std::os::unix::fs::chown(path, Some(user), Some(group));
    given.with_context(|| format!("{} cannot be given away", path.display()))
}

async fn initialise(
    programs: &Programs,
    directory: &Path,
    owner: Option<Owner>,
    password: &str,
) -> Result<()> {
    let password_file = directory.join("password");
    std::fs::write(&password_file, password)?;
    give(&password_file, owner)?;
    let output = programs
        .command("initdb", owner)
        .args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"])
        .arg("--no-sync")
        .arg("--pwfile")
        .arg(&password_file)
        .arg("--pgdata")
        .arg(directory.join("data"))
        .output()
        .await
        .context("initdb cannot be run")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("initdb failed: {}", last_line(&said));
    }
    Ok(())
}

fn serve(
    programs: &Programs,
    directory: &Path,
    owner: Option<Owner>,
    port: u16,
    arguments: &[&str],
) -> Result<Child> {
    let log = std::fs::File::create(log_of(directory))?;
    let port = format!("port={port}");
    programs
        .command("postgres", owner)
        .arg("-D")
        .arg(directory.join("data"))
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", &port])
        .args(arguments)
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("postgres cannot be run")
}

async fn wait_until_ready(server: &mut Child, url: &str, directory: &Path) -> Result<()> {
    let begun = Instant::now();
    loop {
        let said = || std::fs::read_to_string(log_of(directory)).unwrap_or_default();
        if let Some(status) = server.try_wait()? {
            bail!("postgres ended at its start ({status}): {}", last_line(&said()));
        }
        match PgConnection::connect(url).await {
            Ok(connection) => return Ok(connection.close().await?),
            Err(_) if begun.elapsed() < PATIENCE => tokio::time::sleep(BETWEEN_LOOKS).await,
            Err(error) => bail!("postgres does not answer ({error}): {}", last_line(&said())),
        }
    }
}

fn log_of(directory: &Path) -> PathBuf {
    directory.join("log")
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or("it said nothing")
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("there is no free port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\npostgresql:x:7:8::/:/bin/sh\n\
                        postgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        let owner = Owner::named("postgres", accounts).unwrap();
        assert_eq!((owner.user, owner.group), (101, 104));
        assert!(Owner::named("nobody", accounts).is_none());
    }
}
