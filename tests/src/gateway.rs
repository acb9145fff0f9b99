//! The documented gateways, run from the very files that the documentation shows.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::launch::Process;
use crate::wait::eventually;

/// Where everybody listens.
#[derive(Debug)]
pub struct Addresses {
    /// The gateway.
    pub gateway: SocketAddr,
    /// The nodes that it asks: nginx in turn, Caddy the first alone.
    pub keyward: Vec<SocketAddr>,
    /// The application.
    pub application: SocketAddr,
}

/// A running gateway, which ends with this value.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    _directory: TempDir,
}

impl Gateway {
    /// Starts one, and waits until it listens.
    pub async fn start(start: fn(&Addresses) -> Self, addresses: &Addresses) -> Self {
        let mut gateway = start(addresses);
        eventually("the gateway listens", async || {
            gateway.assert_alive();
            TcpStream::connect(addresses.gateway).await.is_ok()
        })
        .await;
        gateway
    }

    /// nginx, from the documented example.
    pub fn nginx(addresses: &Addresses) -> Self {
        let directory = TempDir::new().expect("there is room for a directory");
        let place = directory.path().display();
        let own = |name: &str| format!("{name}_temp_path {place}/{name};\n");
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(own).concat();
        let nodes = addresses.keyward.iter().map(|node| format!("server {node};\n"));
        let example = example("nginx.conf");
        let site = example.replace("server 127.0.0.1:8080;", &nodes.collect::<String>());
        let site = addresses.put_into(&site);
        let configuration = format!(
            "daemon off; master_process off; pid {place}/pid; error_log stderr;\n\
             events {{}}\nhttp {{\naccess_log off;\n{temporary}{site}}}\n"
        );
        let path = directory.path().join("nginx.conf");
        std::fs::write(&path, configuration).expect("the directory is ours");
        let mut command = Command::new(find_program("nginx", "nginx-light"));
        command.arg("-p").arg(directory.path()).args(["-e", "stderr", "-c"]).arg(path);
        Self { process: Process::start(command), _directory: directory }
    }

    /// Caddy, from the documented example.
    pub fn caddy(addresses: &Addresses) -> Self {
        let directory = TempDir::new().expect("there is room for a directory");
        let site = addresses.put_into(&example("Caddyfile"));
        let options = "{\nadmin off\nauto_https off\n}\n";
        let path = directory.path().join("Caddyfile");
        std::fs::write(&path, format!("{options}{site}")).expect("the directory is ours");
        let mut command = Command::new(find_program("caddy", "caddy"));
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(path);
        for home in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(home, directory.path());
        }
        Self { process: Process::start(command), _directory: directory }
    }

    fn assert_alive(&mut self) {
        let ended = self.process.child().try_wait().expect("the process is ours");
        assert!(ended.is_none(), "the gateway ended: {}", self.process.stderr());
    }
}

impl Addresses {
    /// The example with these addresses in the place of the documented ones.
    fn put_into(&self, example: &str) -> String {
        let mut text = example.to_owned();
        for (documented, real) in [
            ("127.0.0.1:8000", self.gateway),
            ("127.0.0.1:8080", self.keyward[0]),
            ("127.0.0.1:3000", self.application),
        ] {
            assert!(text.contains(documented), "the example has no {documented}");
            text = text.replace(documented, &real.to_string());
        }
        text
    }
}

/// A documented example.
fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/gateways").join(name);
    std::fs::read_to_string(path).expect("the example is in the repository")
}

/// A program from `PATH` or from where Debian keeps those of the administrator. A gateway that is
/// not installed fails its test.
fn find_program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.push("/usr/sbin".into());
    let found = places.into_iter().map(|place| place.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not installed: apt-get install {package}"))
}

/// An address that nobody listens on.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("a bound socket has an address")
}
