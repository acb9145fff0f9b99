//! Raw keys, tokens and secrets are nowhere but where they belong: a raw key in the one answer that
//! shows it.

use std::path::Path;
use std::sync::Mutex;

use keyward_tests::client::{Answer, Client, Request};
use keyward_tests::launch::{Launch, Storage, keyward};
use keyward_tests::postgres;
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant};
use keyward_tests::tokens;
use serde_json::json;

#[tokio::test]
async fn no_secret_is_logged_as_text() {
    no_secret_is_anywhere("text", "trace").await;
}

#[tokio::test]
async fn no_secret_is_logged_as_json() {
    no_secret_is_anywhere("json", "trace").await;
}

#[tokio::test]
async fn no_secret_is_logged_by_default() {
    no_secret_is_anywhere("text", "info").await;
}

#[tokio::test]
async fn a_request_id_that_holds_a_secret_is_not_kept() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    for secret in [key.raw(), &format!("x-{}-y", key.raw()), tenant.token()] {
        let request = server.client().get("/healthz").header("x-request-id", secret);
        let answer = request.send().await.expect(200);
        assert!(!answer.header("x-request-id").contains(key.raw()), "{answer:?}");
        assert_ne!(answer.header("x-request-id"), secret);
    }
}

#[tokio::test]
async fn a_created_key_is_shown_in_its_own_answer_alone() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let answer = tenant.post(r#"{"name":"a"}"#).await.expect(201);
    let key: KeyObject = keyward_tests::tenant::parse(&answer);
    assert_eq!(answer.body.matches(&key.raw()[12..]).count(), 1);
    assert!(!format!("{:?}", answer.headers).contains(&key.raw()[12..]));
    let second = tenant.post(r#"{"name":"b"}"#).await.expect(201);
    assert!(!second.body.contains(&key.raw()[12..]));
}

#[tokio::test]
async fn a_storage_that_cannot_be_opened_is_told_of_without_its_password() {
    let password = tokens::random_secret();
    for url in [
        format!("postgres://user:{password}@127.0.0.1:1/keyward"),
        format!("postgresql://user:{password}@127.0.0.1:1/keyward?sslmode=require"),
        format!("postgres://user@127.0.0.1:1/keyward?password={password}"),
        format!("postgres://user:{password}@127.0.0.1:1/keyward?pasword={password}"),
        format!("postgres://user:{password}@127.0.0.1:port/keyward"),
        format!("postgres://user:{password}%@127.0.0.1:1/keyward"),
        format!("postgres://user:{password}@/%zz?sslmode={password}"),
        format!("postgres:/user:{password}@127.0.0.1/keyward"),
        format!("mysql://user:{password}@127.0.0.1/keyward"),
    ] {
        let secret = tokens::random_secret();
        let ended = keyward(&[
            "serve",
            "--storage",
            &url,
            "--listen",
            "127.0.0.1:0",
            "--log",
            "trace",
            "--token-secret",
            &secret,
        ])
        .await;
        assert!(ended.status.code().is_some_and(|code| code != 0), "{ended}");
        for secret in [&password, &secret] {
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(!said.contains(&secret[..30]), "{url}: {said}");
        }
    }
}

/// Does everything that can be done, right and wrong, and searches what the server left.
async fn no_secret_is_anywhere(format: &str, level: &str) {
    let launch = Launch::new().flag("--log-format", format).flag("--log", level);
    let server = launch.start().await;
    let tenant = server.tenant();
    let (kept, revoked) = (tenant.create("kept").await, tenant.create("revoked").await);
    let run = Run::default();
    run.right_uses(&tenant, &kept, &revoked).await;
    for secret in [kept.raw(), revoked.raw(), tenant.token()] {
        run.wrong_uses(&tenant, secret).await;
    }
    run.record(server.client().get("/metrics")).await;
    run.record(server.client().get("/openapi.json")).await;

    let secrets = Secrets::of(&[&kept, &revoked], &tenant, &launch);
    for answer in run.0.lock().unwrap().iter() {
        secrets.assert_absent("an answer", format!("{answer:?}").as_bytes());
    }
    let storage = launch.storage().clone();
    // While it runs the last changes are in the log of the store, afterwards they are elsewhere.
    search_directory(&secrets, &storage, &kept);
    let ended = server.terminate().await;
    search_directory(&secrets, &storage, &kept);
    search_database(&secrets, &storage, &kept).await;
    secrets.assert_absent("standard error", ended.stderr.as_bytes());
    secrets.assert_absent("standard output", ended.stdout.as_bytes());
    assert!(level != "trace" || ended.stderr.len() > 10_000, "nothing was logged");
}

/// The answers of a run, but for those that create a key.
#[derive(Default)]
struct Run(Mutex<Vec<Answer>>);

impl Run {
    async fn record(&self, request: Request) {
        let answer = request.send().await;
        self.0.lock().unwrap().push(answer);
    }

    async fn right_uses(&self, tenant: &Tenant, kept: &KeyObject, revoked: &KeyObject) {
        let client = tenant.client();
        for _ in 0..2 {
            self.record(tenant.request("GET")).await;
            for key in [kept, revoked] {
                self.record(verify(client, &json!({ "key": key.raw() }))).await;
                self.record(verify(client, &json!({ "key": key.raw(), "scopes": ["x"] }))).await;
                self.record(client.get("/api/v1/auth").bearer(key.raw())).await;
                self.record(client.get("/api/v1/auth/x?y=z").header("x-api-key", key.raw())).await;
                self.record(client.get("/api/v1/auth?scope=x").bearer(key.raw())).await;
                self.record(tenant.with_credential(key.raw()).request("GET")).await;
                self.record(tenant.with_credential(key.raw()).request("POST").json("{}")).await;
            }
            let both = json!({ "keys": [kept.raw(), revoked.raw()], "include": ["metadata"] });
            self.record(client.post("/api/v1/api-keys/verify-batch").json(both.to_string())).await;
            let leaked = json!({ "keys": [revoked.raw()] }).to_string();
            self.record(client.post("/api/v1/api-keys/revoke").json(leaked)).await;
            self.record(client.delete("/api/v1/api-keys/self").bearer(revoked.raw())).await;
            let place = tenant.key_path(kept.id);
            let rename = json!({ "name": "kept still", "description": "for a test" }).to_string();
            let edit = client.request("PATCH", &place).bearer(tenant.token());
            self.record(edit.json(rename)).await;
            self.record(client.get(&place).bearer(tenant.token())).await;
            let path = tenant.key_path(revoked.id);
            self.record(client.delete(&path).bearer(tenant.token())).await;
        }
    }

    /// Plants `secret` where it has no business.
    async fn wrong_uses(&self, tenant: &Tenant, secret: &str) {
        let client = tenant.client();
        let (keys, token) = (tenant.keys_path(), tenant.token());
        let truncated = &secret[..secret.len() - 1];
        for request in [
            client.get(&format!("/{secret}")),
            client.get(&format!("/api/v1/workspaces/{secret}/api-keys")).bearer(token),
            client.delete(&format!("{keys}/{secret}")).bearer(token),
            client.get(&format!("{keys}?key={secret}")).bearer(token),
            client.get(&format!("{keys}?limit={secret}")).bearer(token),
            client.get(&format!("{keys}?cursor={secret}")).bearer(token),
            client.get(&format!("{keys}?created_by={secret}")).bearer(token),
            client.delete(&format!("{keys}/{}?reason={secret}", uuid::Uuid::nil())).bearer(token),
            client.get(&format!("/api/v1/auth?key={secret}")),
            client.get(&format!("/api/v1/auth?{secret}")),
            client.get(&format!("/api/v1/auth?workspace={secret}")),
            client.get(&format!("/api/v1/auth/{secret}?key={secret}")),
            client.get(&keys).bearer(truncated),
            client.get(&keys).header("authorization", secret),
            client.get(&keys).header("authorization", format!("Basic {secret}")),
            client.get(&keys).bearer(token).header("x-workspace-id", secret),
            client.get("/api/v1/auth").bearer(truncated),
            client.get("/api/v1/auth").header("x-api-key", format!("{secret}\u{e9}")),
            client.get("/api/v1/auth").bearer(secret).header("x-api-key", truncated),
            client.get("/api/v1/auth").header("x-keyward-require-workspace", secret),
            client.get("/healthz").header("x-request-id", secret),
            client.get("/healthz").header("user-agent", secret).header("cookie", secret),
            client.get("/healthz").header("referer", format!("http://x/{secret}")),
            tenant.request("POST").json(json!({ "name": "a", secret: "b" }).to_string()),
            tenant.request("POST").json(json!({ "name": "a", "x": secret }).to_string()),
            tenant.request("POST").json(json!({ "name": [secret] }).to_string()),
            tenant.request("POST").json(json!({ "name": { secret: 1 } }).to_string()),
            tenant.request("POST").json(json!(secret).to_string()),
            tenant.request("POST").json(secret),
            tenant.request("POST").json(format!("{{\"name\":\"{secret}")),
            tenant.request("POST").header("content-type", secret).body(secret),
            verify(client, &json!({ "key": truncated })),
            verify(client, &json!({ "key": [secret] })),
            verify(client, &json!({ "kye": secret })),
            verify(client, &json!({ "key": "x", secret: "y" })),
            verify(client, &json!({ "key": "x", "workspace_id": secret })),
            client
                .post("/api/v1/api-keys/verify-batch")
                .json(json!({ "keys": secret }).to_string()),
            client
                .post("/api/v1/api-keys/verify-batch")
                .json(json!({ "kyes": [secret] }).to_string()),
            client.post("/api/v1/api-keys/revoke").json(json!({ "keys": [[secret]] }).to_string()),
            client
                .post(&format!("{keys}/revoke"))
                .bearer(token)
                .json(json!({ secret: 1 }).to_string()),
            client.post("/api/v1/api-keys/verify").json(format!("\"{secret}\"")),
            client.post("/api/v1/api-keys/verify").json(format!("{{\"key\":\"{secret}")),
        ] {
            self.record(request).await;
        }
    }
}

/// What must not be found.
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    /// Of a raw key the part that is not published, of a token what makes it one: its signature.
    fn of(keys: &[&KeyObject], tenant: &Tenant, launch: &Launch) -> Self {
        let raw = keys.iter().map(|key| ("a raw key", key.raw()[12..50].to_owned()));
        let signature = tenant.token().rsplit('.').next().unwrap()[..30].to_owned();
        let others = [("a token", signature), ("the secret", launch.secret()[..30].to_owned())];
        let password = launch.storage().database().map(postgres::Database::password);
        let password = password.map(|password| ("the storage's password", password.to_owned()));
        Self(raw.chain(others).chain(password).collect())
    }

    /// As Postgres writes bytes.
    fn in_hexadecimal(&self) -> Self {
        let hexadecimal = |text: &String| {
            text.bytes().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"))
        };
        Self(self.0.iter().map(|(what, secret)| (*what, hexadecimal(secret))).collect())
    }

    fn assert_absent(&self, place: &str, bytes: &[u8]) {
        for (what, secret) in &self.0 {
            if let Some(at) = find(bytes, secret.as_bytes()) {
                let around = &bytes[at.saturating_sub(300)..(at + 100).min(bytes.len())];
                panic!("{what} is in {place}: {}", String::from_utf8_lossy(around));
            }
        }
    }
}

/// No file of the data directory holds a secret. That the search would find one is shown by what
/// may be found: the published beginning of a key.
fn search_directory(secrets: &Secrets, storage: &Storage, key: &KeyObject) {
    let Some(directory) = storage.directory() else { return };
    let mut files = Vec::new();
    collect_files(&directory, &mut files);
    let mut published = false;
    for (name, bytes) in files {
        secrets.assert_absent(&name, &bytes);
        published |= find(&bytes, key.key_prefix.as_bytes()).is_some();
    }
    assert!(published, "the records were not found at all");
}

/// No table of the database holds a secret, neither as text nor as bytes.
async fn search_database(secrets: &Secrets, storage: &Storage, key: &KeyObject) {
    let Some(database) = storage.database() else { return };
    let mut published = false;
    for (table, rows) in postgres::contents(database).await {
        secrets.assert_absent(&table, rows.as_bytes());
        secrets.in_hexadecimal().assert_absent(&table, rows.as_bytes());
        published |= rows.contains(&key.key_prefix);
    }
    assert!(published, "the records were not found at all");
}

fn collect_files(directory: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).expect("the directory can be read") {
        let path = entry.expect("the directory can be read").path();
        if path.is_dir() {
            collect_files(&path, into);
        } else {
            let bytes = std::fs::read(&path).expect("the file can be read");
            into.push((path.display().to_string(), bytes));
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn verify(client: &Client, body: &serde_json::Value) -> Request {
    client.post("/api/v1/api-keys/verify").json(body.to_string())
}
