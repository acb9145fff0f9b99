//! A Postgres of a test's own, which the test may stop, pause and kill.

use std::fs::Permissions;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use keyward_test_postgres::local::{Owner, Programs};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;

use crate::tokens;
use crate::wait::{PATIENCE, eventually};

/// The superuser of every cluster, and its role and database for Keyward.
const ADMIN: &str = "admin";
const KEYWARD: &str = "keyward";

/// A cluster with the database `keyward`, which the role `keyward` owns. Its processes end with this
/// value.
#[derive(Debug)]
pub struct Cluster {
    programs: Programs,
    directory: TempDir,
    owner: Option<Owner>,
    port: u16,
    password: String,
    settings: Vec<String>,
    postmaster: Option<Child>,
}

impl Cluster {
    /// A cluster with nothing in its database.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A cluster whose server has these settings.
    pub async fn with(settings: &[&str]) -> Self {
        Self::at(TempDir::with_prefix("keyward-cluster-").expect("there is room"), settings).await
    }

    /// A cluster in this directory, which goes with it.
    pub async fn at(place: TempDir, settings: &[&str]) -> Self {
        let mut cluster = Self::stopped(place, settings);
        cluster.initialise();
        cluster.start_again().await;
        let password = &cluster.password;
        cluster
            .administer(
                "postgres",
                &[
                    &format!("CREATE ROLE {KEYWARD} LOGIN PASSWORD '{password}'"),
                    &format!("CREATE DATABASE {KEYWARD} OWNER {KEYWARD}"),
                ],
            )
            .await;
        cluster
    }

    /// A standby of `primary`, which follows it from now on.
    pub async fn standby_of(primary: &Self) -> Self {
        let place = TempDir::with_prefix("keyward-standby-").expect("there is room");
        let mut standby = Self::stopped(place, &[]);
        standby.password.clone_from(&primary.password);
        let data = standby.data();
        finish(standby.command("pg_basebackup").args(["--write-recovery-conf", "--no-sync"]).args(
            [
                "--checkpoint=fast".into(),
                format!("--pgdata={}", data.display()),
                format!("--dbname={}", primary.url_of(ADMIN, "postgres")),
            ],
        ));
        standby.start_again().await;
        standby
    }

    fn stopped(place: TempDir, settings: &[&str]) -> Self {
        let owner = Owner::needed().expect("there is somebody to run Postgres");
        let programs = Programs::find();
        if let Some(Owner { user, group }) = owner {
            chown(place.path(), Some(user), Some(group)).expect("root gives away what it has");
        }
        Self {
            programs: programs.expect("initdb is needed (on Debian: apt install postgresql)"),
            directory: place,
            owner,
            port: free_port(),
            password: tokens::random_secret(),
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
            postmaster: None,
        }
    }

    /// Makes a file that only the server may read, and returns where it is.
    pub fn add_file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, contents).expect("there is room");
        if let Some(Owner { user, group }) = self.owner {
            chown(&path, Some(user), Some(group)).expect("root gives away what it has");
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("the file is ours");
        path
    }

    fn initialise(&self) {
        let password_file = self.add_file("password", self.password.as_bytes());
        finish(
            self.command("initdb")
                .args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"])
                .arg(format!("--username={ADMIN}"))
                .arg(format!("--pwfile={}", password_file.display()))
                .arg(format!("--pgdata={}", self.data().display())),
        );
    }

    /// Starts the server, on the same port and data as ever, and waits until it answers.
    pub async fn start_again(&mut self) {
        assert!(self.postmaster.is_none(), "it is running");
        let log = std::fs::File::options().create(true).append(true).open(self.log_path());
        let log = log.expect("there is room for a log");
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        // No more than the death of the server is to be outlived, not that of the machine.
        let ours = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"];
        for setting in ours.into_iter().chain(self.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        let also = log.try_clone().expect("a file can be written twice");
        let child = command.stdout(also).stderr(log).spawn().expect("postgres starts");
        self.postmaster = Some(child);
        eventually("Postgres answers", async || {
            let child = self.postmaster.as_mut().expect("it was just started");
            let ended = child.try_wait().expect("the process is ours");
            assert!(ended.is_none(), "Postgres ended: {}", self.log());
            self.try_connect(ADMIN, "postgres").await.is_ok()
        })
        .await;
    }

    /// Has the server end in haste, without a checkpoint, and waits until it has.
    pub async fn stop(&mut self) {
        let child = self.postmaster.as_mut().expect("it is running");
        kill_process(Pid::from_child(child), Signal::QUIT).expect("the process is ours");
        eventually("Postgres ends", async || child.try_wait().is_ok_and(|it| it.is_some())).await;
        self.postmaster = None;
    }

    /// Ends all processes of the server without a warning (SIGKILL).
    pub fn kill(&mut self) {
        let Some(mut postmaster) = self.postmaster.take() else { return };
        // It must not notice that its children die, and do something about it.
        let pid = Pid::from_child(&postmaster);
        let _ = kill_process(pid, Signal::STOP);
        let children = children(pid);
        for &child in &children {
            let _ = kill_process(child, Signal::KILL);
        }
        let _ = postmaster.kill();
        let _ = postmaster.wait();
        // Their memory is shared with the next server until they are gone, which then refuses to start.
        let begun = Instant::now();
        while children.iter().any(|&child| is_running(child)) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Keeps a copy of the data. The server must be stopped.
    pub fn back_up(&self) {
        self.copy(&self.data(), &self.path().join("backup"));
    }

    /// Puts the copy back in place of the data. The server must be stopped.
    pub fn restore(&self) {
        self.copy(&self.path().join("backup"), &self.data());
    }

    fn copy(&self, from: &Path, to: &Path) {
        assert!(self.postmaster.is_none(), "it is running");
        if to.exists() {
            std::fs::remove_dir_all(to).expect("the directory is ours");
        }
        finish(Command::new("cp").arg("--archive").args([from, to]));
    }

    /// Has a standby hear nothing more of its primary.
    pub async fn leave_primary(&self) {
        self.run(&["ALTER SYSTEM SET primary_conninfo = ''"]).await;
        self.run(&["SELECT pg_reload_conf()"]).await;
        eventually("the standby has left", async || {
            self.number("SELECT count(*) FROM pg_stat_wal_receiver").await == 0
        })
        .await;
    }

    /// Makes a primary of a standby.
    pub async fn promote(&self) {
        self.run(&["SELECT pg_promote()"]).await;
    }

    /// Waits until a standby has all that its primary has now.
    pub async fn catch_up_with(&self, primary: &Self) {
        let written = "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint";
        let replayed = "SELECT (pg_last_wal_replay_lsn() - '0/0')::bigint";
        let written = primary.number(written).await;
        eventually("the standby catches up", async || self.number(replayed).await >= written).await;
    }

    /// Stops all processes of the server in their tracks (SIGSTOP): connections stay open, and nobody
    /// answers.
    pub fn pause(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Lets the processes go on.
    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    fn signal_all(&self, signal: Signal) {
        let postmaster = Pid::from_child(self.postmaster.as_ref().expect("it is running"));
        // The postmaster first: a stopped one makes no further children.
        kill_process(postmaster, signal).expect("the process is ours");
        for child in children(postmaster) {
            // It may have ended meanwhile.
            let _ = kill_process(child, signal);
        }
    }

    /// The URL of the database, for its owner.
    pub fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// The URL of the database as something at this address passes it on.
    pub fn url_at(&self, address: SocketAddr) -> String {
        format!("postgres://{KEYWARD}:{}@{address}/{KEYWARD}", self.password)
    }

    fn url_of(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}:{}@{}/{database}", self.password, self.address())
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The password of every role.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The directory of the cluster, where the data is in `data`.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A connection of the superuser to the database.
    pub async fn admin(&self) -> PgConnection {
        self.try_connect(ADMIN, KEYWARD).await.expect("the server answers")
    }

    /// Runs statements as the superuser, in the database `keyward`.
    pub async fn run(&self, statements: &[&str]) {
        self.administer(KEYWARD, statements).await;
    }

    /// Runs statements as the superuser, in this database.
    pub async fn administer(&self, database: &str, statements: &[&str]) {
        let mut connection = self.try_connect(ADMIN, database).await.expect("the server answers");
        for statement in statements {
            let done = sqlx::raw_sql(AssertSqlSafe(*statement)).execute(&mut connection).await;
            done.unwrap_or_else(|error| panic!("{error}: {statement}"));
        }
    }

    /// A number that the superuser asks for, in the database `keyward`.
    pub async fn number(&self, query: &str) -> i64 {
        let mut connection = self.admin().await;
        let row = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut connection).await;
        row.unwrap_or_else(|error| panic!("{error}: {query}"))
    }

    /// How many connections the role `keyward` has.
    pub async fn connections(&self) -> i64 {
        self.number("SELECT count(*) FROM pg_stat_activity WHERE usename = 'keyward'").await
    }

    async fn try_connect(&self, role: &str, database: &str) -> sqlx::Result<PgConnection> {
        PgConnection::connect(&self.url_of(role, database)).await
    }

    fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.path().join("log")
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.directory().join(program));
        command.stdin(Stdio::null()).current_dir(self.path());
        if let Some(Owner { user, group }) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }
}

fn finish(command: &mut Command) {
    let output = command.output().expect("the programs of Postgres run");
    let program = command.get_program().display();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody listens on, and that the kernel gives to nobody as the near end of a connection
/// while the server is down.
fn free_port() -> u16 {
    loop {
        let port = 20_000 + u16::from_le_bytes(tokens::random()) % 12_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// The processes whose parent this is.
fn children(parent: Pid) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").expect("this is Linux").flatten();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    let parent = parent.as_raw_nonzero().to_string();
    pids.filter(|&pid| state(pid).is_some_and(|(_, its)| its == parent)).collect()
}

/// Whether this process is more than a name that its parent has not struck out.
fn is_running(process: Pid) -> bool {
    state(process).is_some_and(|(state, _)| !matches!(&*state, "Z" | "X"))
}

/// The state of a process and its parent, as the kernel tells them.
fn state(process: Pid) -> Option<(String, String)> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    // The name in brackets may hold anything; these two follow it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned);
    Some((fields.next()?, fields.next()?))
}
