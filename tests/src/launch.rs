//! Starting the real binary.

use std::io::{BufRead as _, BufReader, Read, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use keyward_test_postgres::database::Database;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::deployment::Deployment;
use crate::server::Server;
use crate::wait::{eventually, soon};
use crate::{postgres, tokens};

/// Where the keys of a server are, for as long as anybody may start one there.
#[derive(Debug, Clone)]
pub enum Storage {
    /// In the server's memory.
    Memory,
    /// In a RocksDB directory, which goes with the last clone of this value.
    Rocks(Arc<TempDir>),
    /// In a Postgres database, which goes with the last clone of this value.
    Postgres(Arc<Database>),
    /// In the Postgres database with this URL, which the test keeps itself.
    Elsewhere(String),
}

impl Storage {
    /// An empty store of the driver that `KEYWARD_TEST_DRIVER` names (`rocksdb` where it is not
    /// set).
    pub fn new() -> Self {
        match std::env::var("KEYWARD_TEST_DRIVER").as_deref() {
            Ok("memory") => Self::Memory,
            Ok("rocksdb") | Err(_) => Self::rocksdb(),
            Ok("postgres") => Self::postgres(),
            Ok(other) => {
                panic!("KEYWARD_TEST_DRIVER names the driver {other:?}, which is not known")
            }
        }
    }

    /// An empty RocksDB directory, whatever driver is tested.
    pub fn rocksdb() -> Self {
        Self::Rocks(Arc::new(TempDir::new().expect("there is room for a directory")))
    }

    /// An empty Postgres database, whatever driver is tested.
    pub fn postgres() -> Self {
        Self::Postgres(Arc::new(postgres::database()))
    }

    /// The directory, where there is one. It is the server's alone.
    pub fn directory(&self) -> Option<PathBuf> {
        match self {
            Self::Memory | Self::Postgres(_) | Self::Elsewhere(_) => None,
            Self::Rocks(directory) => Some(directory.path().join("data")),
        }
    }

    /// The database, where there is one.
    pub fn database(&self) -> Option<&Database> {
        match self {
            Self::Memory | Self::Rocks(_) | Self::Elsewhere(_) => None,
            Self::Postgres(database) => Some(database),
        }
    }

    /// As `--storage` takes it.
    pub fn url(&self) -> String {
        match self {
            Self::Memory => "memory://".into(),
            Self::Rocks(directory) => {
                format!("rocksdb://{}", directory.path().join("data").display())
            }
            Self::Postgres(database) => database.url().into(),
            Self::Elsewhere(url) => url.clone(),
        }
    }

    /// The name that the ready line has for it.
    pub fn driver(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Rocks(_) => "rocksdb",
            Self::Postgres(_) | Self::Elsewhere(_) => "postgres",
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self::new()
    }
}

/// The key that all servers of tests sign the audit trail with: several may share a store.
pub const AUDIT_KEY: &str = "what the servers of tests sign their audit trail with";

/// How a server is to be started: `keyward serve` on a free port, with a token secret of its own.
#[derive(Debug, Clone)]
pub struct Launch {
    storage: Storage,
    binary: PathBuf,
    secret: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    file_size_signal_ignored: bool,
}

impl Launch {
    /// On an empty store of the tested driver.
    pub fn new() -> Self {
        Self::on(Storage::new())
    }

    /// On this store.
    pub fn on(storage: Storage) -> Self {
        let secret = tokens::random_secret();
        // Short, so that no test spends its time on waiting for revocations.
        let window = ("KEYWARD_REVOCATION_WINDOW".into(), "10ms".into());
        Self {
            environment: vec![
                ("KEYWARD_TOKEN_SECRET".into(), secret.clone()),
                ("KEYWARD_AUDIT_KEY".into(), AUDIT_KEY.into()),
                window,
            ],
            storage,
            binary: binary(),
            secret,
            arguments: Vec::new(),
            file_size_signal_ignored: false,
        }
    }

    /// The same server on another store, or on another way to the same.
    #[must_use]
    pub fn moved_to(self, storage: Storage) -> Self {
        Self { storage, ..self }
    }

    /// Starts this binary instead of the one under test.
    #[must_use]
    pub fn binary(self, binary: PathBuf) -> Self {
        Self { binary, ..self }
    }

    /// Adds a flag with its value.
    #[must_use]
    pub fn flag(mut self, name: &str, value: impl Into<String>) -> Self {
        self.arguments.extend([name.to_owned(), value.into()]);
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Takes the token secret away again.
    #[must_use]
    pub fn without_secret(mut self) -> Self {
        self.environment.retain(|(name, _)| name != "KEYWARD_TOKEN_SECRET");
        self
    }

    /// Has writes beyond the process's file size limit fail, instead of ending the process with
    /// SIGXFSZ. Which signals are ignored is inherited, and a shell can set it.
    #[must_use]
    pub fn surviving_full_files(mut self) -> Self {
        self.file_size_signal_ignored = true;
        self
    }

    /// The secret that the server's tokens are signed with.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Where the keys are.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Starts the server and waits until it says that it is ready.
    pub async fn start(&self) -> Server {
        // Else a test that was meant for the deployment would pass without having asked it.
        let deployment = Deployment::under_test();
        assert!(deployment.is_none(), "a test that starts a server is no test of a deployment");
        self.try_start().await.unwrap_or_else(|ended| panic!("the server is not ready: {ended}"))
    }

    /// Starts the server and waits until it says that it is ready, or has ended.
    pub async fn try_start(&self) -> Result<Server, Ended> {
        let mut process = Process::start(self.command());
        match soon(process.first_line()).await {
            Some(line) => Ok(Server::new(self.clone(), process, &line)),
            None => Err(process.finish().await),
        }
    }

    /// Starts a server that must end by itself, and returns what it left.
    pub async fn run(&self) -> Ended {
        Process::start(self.command()).finish().await
    }

    fn command(&self) -> Command {
        let mut command = if self.file_size_signal_ignored {
            let mut shell = bare("/bin/sh");
            shell.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(&self.binary);
            shell
        } else {
            bare(&self.binary)
        };
        command.arg("serve").args(["--listen", "127.0.0.1:0"]);
        command.args(["--storage", &self.storage.url()]);
        command.args(&self.arguments).envs(self.environment.iter().cloned());
        command
    }
}

impl Default for Launch {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs `keyward` with these arguments to its end.
pub async fn keyward(arguments: &[&str]) -> Ended {
    begin_keyward(arguments).finish().await
}

/// Starts `keyward` with these arguments.
pub fn begin_keyward(arguments: &[&str]) -> Process {
    let mut command = bare(binary());
    command.args(arguments);
    Process::start(command)
}

/// Runs `keyward` with these arguments and environment variables, and `input` on standard input, to
/// its end.
pub async fn keyward_reading(
    input: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Ended {
    let mut command = bare(binary());
    command.args(arguments).envs(environment.iter().copied());
    let mut file = tempfile::tempfile().expect("there is room for a file");
    file.write_all(input.as_bytes()).and_then(|()| file.rewind()).expect("the file takes it");
    Process::reading(file.into(), command).finish().await
}

/// The binary under test: `KEYWARD_BIN`, else the one that was built beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("KEYWARD_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a process knows its executable");
    let beside = test.ancestors().nth(2).unwrap_or(Path::new(".")).join("keyward");
    assert!(
        beside.exists(),
        "there is no {}: build the workspace, or set KEYWARD_BIN",
        beside.display()
    );
    beside
}

/// A command with nothing of this process's environment that the server would read.
fn bare(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

/// A process whose output is collected, and which ends with this value.
#[derive(Debug)]
pub struct Process {
    child: Child,
    first_line: Option<oneshot::Receiver<String>>,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    readers: Vec<thread::JoinHandle<()>>,
}

/// What a process left when it ended.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it wrote to standard output.
    pub stdout: String,
    /// All that it wrote to standard error.
    pub stderr: String,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{}{}", self.status, self.stdout, self.stderr)
    }
}

impl Process {
    /// Starts `command`.
    pub fn start(command: Command) -> Self {
        Self::reading(Stdio::null(), command)
    }

    /// Starts `command` with this standard input.
    fn reading(input: Stdio, mut command: Command) -> Self {
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let (tell, first_line) = oneshot::channel();
        let out = child.stdout.take().expect("standard output is a pipe");
        let err = child.stderr.take().expect("standard error is a pipe");
        let readers = vec![
            thread::spawn({
                let stdout = Arc::clone(&stdout);
                move || collect_lines(out, &stdout, tell)
            }),
            thread::spawn({
                let stderr = Arc::clone(&stderr);
                move || collect(err, &stderr)
            }),
        ];
        Self { child, first_line: Some(first_line), stdout, stderr, readers }
    }

    /// The first line on standard output, or `None` where the process ended without one.
    async fn first_line(&mut self) -> Option<String> {
        self.first_line.take()?.await.ok()
    }

    /// The process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// What the process has written to standard output so far.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// What the process has written to standard error so far.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Waits until the process ends by itself.
    pub async fn finish(mut self) -> Ended {
        let mut status = None;
        eventually("the process ends", async || {
            status = self.child.try_wait().expect("the process is ours");
            status.is_some()
        })
        .await;
        // What it wrote last may still be in the pipes.
        for reader in self.readers.drain(..) {
            reader.join().expect("reading a pipe does not panic");
        }
        let status = status.expect("it has ended");
        Ended { status, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect_lines(pipe: impl Read, into: &Mutex<Vec<u8>>, first_line: oneshot::Sender<String>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = String::new();
    if pipe.read_line(&mut line).is_ok_and(|length| length > 0) {
        into.lock().unwrap_or_else(PoisonError::into_inner).extend(line.as_bytes());
        let _ = first_line.send(line);
    }
    collect(pipe, into);
}

fn collect(mut pipe: impl Read, into: &Mutex<Vec<u8>>) {
    let mut chunk = [0; 1 << 14];
    while let Ok(length @ 1..) = pipe.read(&mut chunk) {
        into.lock().unwrap_or_else(PoisonError::into_inner).extend(&chunk[..length]);
    }
}

fn text(collected: &Mutex<Vec<u8>>) -> String {
    let bytes = collected.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&bytes).into_owned()
}
