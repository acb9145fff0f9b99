//! The cluster of `docker-compose.yml`, brought up under a name of its own and taken down again.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use keyward_tests::client::Client;
use keyward_tests::deployment::Deployment;
use keyward_tests::launch::binary;
use keyward_tests::tokens;
use keyward_tests::wait::within;
use tempfile::TempDir;
use tokio::process::Command;

/// The services that are nodes.
pub const NODES: [&str; 3] = ["keyward-1", "keyward-2", "keyward-3"];

/// What a command to Docker may take, on a busy machine.
const LIMIT: Duration = Duration::from_mins(5);

/// A port for each node besides the gateway's, so that it can be asked by itself.
const PORTS: &str = r#"services:
  keyward-1: {ports: ["127.0.0.1::8080"]}
  keyward-2: {ports: ["127.0.0.1::8080"]}
  keyward-3: {ports: ["127.0.0.1::8080"]}
"#;

/// A cluster that is up. It is taken down when this value goes, and also when this process is killed.
pub struct Cluster {
    project: String,
    ports: PathBuf,
    reaper: Reaper,
}

impl Cluster {
    /// Builds the image from the binary under test and brings everything up.
    pub async fn up() -> Self {
        let project = format!("keyward-test-{}", &tokens::random_secret()[..12]);
        let directory = TempDir::new().expect("there is room for a directory").keep();
        let ports = directory.join("ports.yml");
        fs::write(&ports, PORTS).expect("the directory is ours");
        // From here on there may be something to take down.
        let reaper = Reaper::start(&project, &ports, &directory);
        let cluster = Self { project, ports, reaper };
        cluster.build(&directory.join("image")).await;
        cluster.compose(&["up", "--detach", "--wait", "--quiet-pull"]).await;
        cluster
    }

    /// The cluster as its clients see it, through the gateway.
    pub async fn deployment(&self) -> Deployment {
        let secret = ["exec", "-T", NODES[0], "cat", "/run/keyward/token.secret"];
        Deployment { address: self.port("nginx").await, secret: self.compose(&secret).await }
    }

    /// A client of one node, past the gateway. Its port is another one each time that the node is
    /// started.
    pub async fn node(&self, node: &str) -> Client {
        Client::new(self.port(node).await)
    }

    /// Where the gateway finds a node.
    pub async fn address_behind_the_gateway(&self, node: &str) -> String {
        let network = format!("{}_front", self.project);
        let format =
            format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}:8080");
        let container = self.compose(&["ps", "--quiet", node]).await;
        docker(&["inspect", "--format", &format, &container]).await
    }

    /// Everything that Docker tells about the containers to whoever may ask it.
    pub async fn inspection(&self) -> String {
        let containers = self.compose(&["ps", "--all", "--quiet"]).await;
        let containers: Vec<&str> = containers.lines().collect();
        docker(&[&["inspect"], &*containers].concat()).await
    }

    /// What a service has written.
    pub async fn logs(&self, service: &str) -> String {
        self.compose(&["logs", "--no-color", "--no-log-prefix", service]).await
    }

    /// How often the containers were started again because they had ended.
    pub async fn restarts(&self) -> u32 {
        let containers = self.compose(&["ps", "--quiet"]).await;
        let containers: Vec<&str> = containers.lines().collect();
        let inspect = ["inspect", "--format", "{{.RestartCount}}"];
        let counts = docker(&[&inspect[..], &*containers].concat()).await;
        counts.lines().map(|count| count.parse::<u32>().expect("a count is a number")).sum()
    }

    /// Runs `docker compose` on this cluster and returns what it prints.
    pub async fn compose(&self, arguments: &[&str]) -> String {
        let mut command = Command::from(compose(&self.project, &self.ports));
        command.args(arguments);
        output(command).await
    }

    /// Takes everything down and looks whether it is gone.
    pub async fn down(self) {
        let project = self.project.clone();
        drop(self);
        let of_project = format!("label=com.docker.compose.project={project}");
        for kind in ["container", "network", "volume"] {
            let mut list = vec![kind, "ls", "--quiet", "--filter", &of_project];
            list.extend((kind == "container").then_some("--all"));
            assert_eq!(docker(&list).await, "", "a {kind} is left");
        }
        assert_eq!(docker(&["image", "ls", "--quiet", &project]).await, "", "the image is left");
    }

    /// As `cargo xtask docker` builds it, but for the symbols, which nobody misses here.
    async fn build(&self, tree: &Path) {
        let (programs, authorities) = (tree.join("usr/local/bin"), tree.join("etc"));
        for directory in [&programs, &authorities] {
            fs::create_dir_all(directory).expect("the directory is ours");
        }
        fs::copy(binary(), programs.join("keyward")).expect("the binary can be read");
        let dockerfile = root().join("Dockerfile");
        let mut command = Command::new("docker");
        command.args(["build", "--quiet", "--target", "prebuilt", "--tag", &self.project]);
        command.arg("--file").arg(dockerfile).arg(tree);
        output(command).await;
    }

    async fn port(&self, service: &str) -> SocketAddr {
        let address = self.compose(&["port", service, "8080"]).await;
        address.parse().unwrap_or_else(|error| panic!("{error}: {address}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // For whoever has to find out why.
            let mut logs = compose(&self.project, &self.ports);
            let _ = logs.args(["logs", "--no-color", "--tail", "40"]).status();
        }
        self.reaper.reap();
    }
}

/// What takes the cluster down: a process of its own, which does so as soon as this one lets go of it
/// or is no more. Nothing that ends this one, or its process group, ends that.
struct Reaper(Child);

impl Reaper {
    fn start(project: &str, ports: &Path, directory: &Path) -> Self {
        const SCRIPT: &str = r#"
trap '' HUP INT TERM
cat
"$@" down --volumes --timeout 2 --remove-orphans
docker image rm --force "$0"
rm -rf "$KEYWARD_TEST_DIRECTORY"
"#;
        let down = compose(project, ports);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", SCRIPT, project]).arg(down.get_program()).args(down.get_args());
        let environment = down.get_envs().filter_map(|(name, value)| Some((name, value?)));
        shell.envs(environment).env("KEYWARD_TEST_DIRECTORY", directory).process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(shell.spawn().expect("there is a shell"))
    }

    /// Has it do its work and waits until that is done.
    fn reap(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// `docker compose` on one project. The images of Postgres and nginx are those of the file, unless
/// this process's own environment names others.
fn compose(project: &str, ports: &Path) -> std::process::Command {
    let mut command = std::process::Command::new("docker");
    command.args(["compose", "--project-name", project]);
    command.arg("--file").arg(root().join("docker-compose.yml")).arg("--file").arg(ports);
    command.env("KEYWARD_IMAGE", project).env("KEYWARD_PUBLISH", "127.0.0.1:0");
    command.env_remove("KEYWARD_SECRETS").stdin(Stdio::null());
    command
}

async fn docker(arguments: &[&str]) -> String {
    let mut command = Command::new("docker");
    command.args(arguments);
    output(command).await
}

/// Runs a command that must succeed, and returns what it prints.
async fn output(mut command: Command) -> String {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = within(LIMIT, "a command to Docker", command.output()).await;
    let output = output.expect("Docker is installed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let (said, complaints) = (text(&output.stdout), text(&output.stderr));
    let command = command.as_std();
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{complaints}", output.status);
    said
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
