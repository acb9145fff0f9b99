//! The documented gateways, run from the very files that the documentation shows, in front of a toy
//! application.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use keyward_tests::client::Client;
use keyward_tests::launch::Process;
use keyward_tests::server::Server;
use keyward_tests::tenant::KeyObject;
use keyward_tests::tokens;
use keyward_tests::toy::Toy;
use keyward_tests::wait::eventually;
use tempfile::TempDir;
use tokio::net::TcpStream;

#[tokio::test]
async fn nginx_lets_a_key_in_and_then_out() {
    let story = Story::begin(Gateway::nginx).await;
    story.everything().await;
}

#[tokio::test]
async fn caddy_lets_a_key_in_and_then_out() {
    let story = Story::begin(Gateway::caddy).await;
    story.everything().await;
}

/// A gateway before an application, and the server that it asks.
struct Story {
    server: Server,
    application: Toy,
    gateway: Gateway,
    client: Client,
}

impl Story {
    async fn begin(start: fn(&Addresses) -> Gateway) -> Self {
        let (server, application) = (Server::start().await, Toy::start("\"hello\"").await);
        let addresses = Addresses {
            gateway: free_address(),
            keyward: server.address(),
            application: application.address(),
        };
        let mut gateway = start(&addresses);
        eventually("the gateway listens", async || {
            gateway.assert_alive();
            TcpStream::connect(addresses.gateway).await.is_ok()
        })
        .await;
        Self { server, application, gateway, client: Client::new(addresses.gateway) }
    }

    async fn everything(self) {
        self.nobody_gets_in_without_a_key().await;
        self.a_key_opens_and_the_application_knows_whose_it_is().await;
        self.what_the_client_claims_to_be_is_taken_away().await;
        self.a_demanded_scope_is_needed_where_it_is_demanded().await;
        self.the_query_and_the_body_are_the_applications().await;
        self.a_revoked_key_is_out_at_once().await;
        self.nobody_gets_in_while_keyward_is_down().await;
    }

    async fn nobody_gets_in_without_a_key(&self) {
        let before = self.application.heads().len();
        let token = self.server.tenant().token().to_owned();
        for path in ["/", "/orders/1", "/_keyward", "/_keyward/orders", "/a?scope=x"] {
            let answer = self.client.get(path).send().await;
            assert!(answer.status == 401 || answer.status == 404, "{path}: {answer:?}");
            assert_eq!(self.client.get("/").bearer(&token).send().await.status, 401);
        }
        let answer = self.client.get("/").send().await.expect(401);
        assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="keyward""#);
        assert_eq!(self.application.heads().len(), before);
    }

    async fn a_key_opens_and_the_application_knows_whose_it_is(&self) {
        let key = self.server.tenant().create_with_scopes(&["orders:read", "x"]).await;
        for request in [
            self.client.get("/a/path").bearer(key.raw()),
            self.client.get("/orders/1").bearer(key.raw()),
            self.client.get("/a/path").header("x-api-key", key.raw()),
        ] {
            assert_eq!(request.send().await.expect(200).body, "\"hello\"");
            self.assert_identity(&key, "orders:read x");
        }
    }

    async fn what_the_client_claims_to_be_is_taken_away(&self) {
        let key = self.server.tenant().create_with_scopes(&[]).await;
        for path in ["/", "/?workspace=x"] {
            let mut request = self.client.get(path).bearer(key.raw());
            for name in [
                "x-keyward-key-id",
                "x-keyward-workspace-id",
                "x-keyward-account-id",
                "x-keyward-scopes",
                "x-keyward-require-scope",
                "x-keyward-require-workspace",
            ] {
                request = request.header(name, "forged");
            }
            request.send().await.expect(200);
            self.assert_identity(&key, "");
            assert!(!self.last_head().contains("forged"), "{}", self.last_head());
        }
    }

    async fn a_demanded_scope_is_needed_where_it_is_demanded(&self) {
        let key = self.server.tenant().create_with_scopes(&["orders:write"]).await;
        let before = self.application.heads().len();
        self.client.get("/orders/1").bearer(key.raw()).send().await.expect(403);
        let generous = self.client.get("/orders/1?scope=orders:write").bearer(key.raw());
        generous.header("x-keyward-require-scope", "orders:write").send().await.expect(403);
        assert_eq!(self.application.heads().len(), before);
        self.client.get("/").bearer(key.raw()).send().await.expect(200);
    }

    async fn the_query_and_the_body_are_the_applications(&self) {
        let key = self.server.tenant().create("a").await;
        let target = "/a/path?scope=api_keys:write&workspace=1&workspace=2&x=%ff";
        for method in ["GET", "POST", "PUT", "DELETE", "PURGE"] {
            let request = self.client.request(method, target).bearer(key.raw());
            request.json(r#"{"some":"body"}"#).send().await.expect(200);
            let line = format!("{method} {target} HTTP/1.");
            assert!(self.last_head().starts_with(&line), "{}", self.last_head());
        }
    }

    async fn a_revoked_key_is_out_at_once(&self) {
        let tenant = self.server.tenant();
        for _ in 0..20 {
            let key = tenant.create("a").await;
            self.client.get("/").bearer(key.raw()).send().await.expect(200);
            tenant.revoke(key.id).await;
            let answer = self.client.get("/").bearer(key.raw()).send().await.expect(401);
            let challenge = r#"Bearer realm="keyward", error="invalid_token""#;
            assert_eq!(answer.header("www-authenticate"), challenge);
        }
    }

    async fn nobody_gets_in_while_keyward_is_down(self) {
        let key = self.server.tenant().create("a").await;
        self.client.get("/").bearer(key.raw()).send().await.expect(200);
        let before = self.application.heads().len();
        self.server.kill().await;
        let answer = self.client.get("/").bearer(key.raw()).send().await;
        assert!(answer.status >= 500, "{answer:?}");
        assert_eq!(self.application.heads().len(), before);
        drop(self.gateway);
    }

    /// The application was told whose the key is, and not the key.
    fn assert_identity(&self, key: &KeyObject, scopes: &str) {
        let head = self.last_head().to_lowercase();
        for (name, value) in [
            ("key-id", key.id.to_string()),
            ("workspace-id", key.workspace_id.to_string()),
            ("account-id", tokens::ACCOUNT.to_owned()),
        ] {
            assert!(head.contains(&format!("\r\nx-keyward-{name}: {value}\r\n")), "{head}");
        }
        let told = head.lines().find_map(|line| line.strip_prefix("x-keyward-scopes:"));
        assert_eq!(told.unwrap_or_default().trim(), scopes);
        assert!(!head.contains("authorization") && !head.contains("x-api-key"), "{head}");
    }

    fn last_head(&self) -> String {
        self.application.heads().pop().expect("the application was asked")
    }
}

/// Where everybody listens.
struct Addresses {
    gateway: SocketAddr,
    keyward: SocketAddr,
    application: SocketAddr,
}

/// A running gateway, which ends with this value.
struct Gateway {
    process: Process,
    _directory: TempDir,
}

impl Gateway {
    fn nginx(addresses: &Addresses) -> Self {
        let directory = TempDir::new().expect("there is room for a directory");
        let place = directory.path().display();
        let own = |name: &str| format!("{name}_temp_path {place}/{name};\n");
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(own).concat();
        let site = addresses.put_into(&example("nginx.conf"));
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

    fn caddy(addresses: &Addresses) -> Self {
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
            ("127.0.0.1:8080", self.keyward),
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
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("a bound socket has an address")
}
