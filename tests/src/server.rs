//! The server under test.

use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

use crate::client::Client;
use crate::deployment::Deployment;
use crate::launch::{Ended, Launch, Process};
use crate::raw::Raw;
use crate::tenant::Tenant;
use crate::tokens;

const NOT_OURS: &str = "a deployment's processes are not this test's to handle";

/// A running `keyward serve`, which ends with this value; or a deployment, which does not.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    secret: String,
    /// Nothing of this is known of a deployment.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    launch: Launch,
    process: Process,
}

impl Server {
    /// A server of the tested driver with nothing in it; or the [`Deployment`] that is tested in
    /// its place, where every workspace that a test makes for itself is as empty.
    pub async fn start() -> Self {
        match Deployment::under_test() {
            Some(deployment) => Self::of(deployment),
            None => Launch::new().start().await,
        }
    }

    /// A deployment that runs already.
    pub fn of(deployment: Deployment) -> Self {
        let Deployment { address, secret } = deployment;
        Self { address, secret, own: None }
    }

    pub(crate) fn new(launch: Launch, process: Process, ready_line: &str) -> Self {
        let driver = launch.storage().driver();
        let address = ready_line
            .strip_prefix("keyward listening on http://")
            .and_then(|rest| rest.strip_suffix(&format!(" ({driver})\n")))
            .and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no ready line: {ready_line:?}"));
        let secret = launch.secret().to_owned();
        Self { address, secret, own: Some(Own { launch, process }) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The secret that its tokens are signed with.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// How it was started, to start it again.
    pub fn launch(&self) -> &Launch {
        &self.own.as_ref().expect(NOT_OURS).launch
    }

    /// The data directory, where the driver has one.
    pub fn directory(&self) -> Option<PathBuf> {
        self.launch().storage().directory()
    }

    /// A client of its own, with no connection yet.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// A new connection to write bytes to.
    pub async fn raw(&self) -> Raw {
        Raw::connect(self.address).await
    }

    /// A new workspace, with a caller who may do everything in it.
    pub fn tenant(&self) -> Tenant {
        let workspace = Uuid::from_bytes(tokens::random());
        let claims = tokens::claims(&[workspace]);
        let token = tokens::hs256(&self.secret, &claims);
        Tenant::new(self.client(), workspace, token)
    }

    /// What it has logged so far. Those of a deployment are read by whoever brought it up.
    pub fn logs(&self) -> String {
        self.own.as_ref().map(|own| own.process.stderr()).unwrap_or_default()
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        self.own.as_ref().expect(NOT_OURS).process.stdout()
    }

    /// Its process.
    pub fn pid(&mut self) -> Pid {
        Pid::from_child(self.process().child())
    }

    /// Bytes of memory that it has in use (`VmRSS`).
    pub fn resident_bytes(&mut self) -> u64 {
        let path = format!("/proc/{}/status", self.process().child().id());
        let status = std::fs::read_to_string(path).expect("the server is running");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        1024 * kilobytes.and_then(|n| n.parse::<u64>().ok()).expect("the kernel tells VmRSS")
    }

    /// Whether it is still running. The processes of a deployment are watched by whoever brought it
    /// up.
    pub fn is_alive(&mut self) -> bool {
        self.own.as_mut().is_none_or(|own| {
            own.process.child().try_wait().expect("the process is ours").is_none()
        })
    }

    /// Asks it to end (SIGTERM), without waiting.
    pub fn ask_to_end(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Stops it in its tracks (SIGSTOP): its connections stay open, and nobody answers.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub async fn terminate(mut self) -> Ended {
        self.ask_to_end();
        self.finish().await
    }

    /// Waits until it ends by itself.
    pub async fn finish(self) -> Ended {
        self.own.expect(NOT_OURS).process.finish().await
    }

    /// Ends it without a warning (SIGKILL), as a crash would.
    pub async fn kill(mut self) -> Ended {
        self.signal(Signal::KILL);
        self.finish().await
    }

    fn signal(&mut self, signal: Signal) {
        let pid = self.pid();
        kill_process(pid, signal).expect("the server is running");
    }

    fn process(&mut self) -> &mut Process {
        &mut self.own.as_mut().expect(NOT_OURS).process
    }
}
