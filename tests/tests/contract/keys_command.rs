//! `keyward keys`: the API from a shell.

use std::fs::File;
use std::process::Command;

use chrono::{DateTime, TimeDelta, Utc};
use keyward_tests::gateway::free_address;
use keyward_tests::launch::{Ended, Launch, binary, keyward, keyward_reading};
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant};
use keyward_tests::tokens::{self, ACCOUNT};
use keyward_tests::toy::{Toy, answering};
use serde_json::{Value, json};

#[tokio::test]
async fn a_key_lives_its_life_in_a_shell() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let shell = Shell::of(&server, &tenant);

    let ended = shell.run(&["create", "CI/CD Pipeline Key"]).await;
    assert_eq!(ended.status.code(), Some(0), "{ended}");
    assert_eq!(ended.stderr, "keyward: keep the key now: it cannot be had again\n");
    let (id, key) = (value(&ended.stdout, "id"), value(&ended.stdout, "key"));
    assert_eq!(value(&ended.stdout, "name"), "CI/CD Pipeline Key");

    let shown = shell.done(&["get", &id]).await;
    assert_eq!(shown, without_the_key(&ended.stdout));
    assert_eq!(shell.reading(&key, &["verify"]).await.stdout, shown);
    let renamed = shell.done(&["rename", &id, "another name"]).await;
    assert_eq!(value(&renamed, "name"), "another name");
    let successor = shell.done(&["rotate", &id, "--grace", "1d", "--quiet"]).await;
    assert_eq!(tenant.verdict(successor.trim_end()).await, "valid");
    assert_eq!(tenant.verdict(&key).await, "valid");
    let revoked = shell.done(&["revoke", &id, "--reason", "key_compromise"]).await;
    assert_eq!(revoked, "revoked\n");
    assert_eq!(tenant.verdict(&key).await, "revoked");
    assert_eq!(value(&shell.done(&["get", &id]).await, "reason"), "key_compromise");
}

#[tokio::test]
async fn json_is_the_servers_own() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let shell = Shell::of(&server, &tenant);
    let created = shell.json(&["create", "a", "--json"]).await;
    let key: KeyObject = serde_json::from_value(created).unwrap();
    let one = |key: &KeyObject| format!("{}\n", key.text());
    assert_eq!(
        shell.done(&["get", &key.id.to_string(), "--json"]).await,
        one(&tenant.get(key.id).await)
    );
    let rotated = shell.json(&["--json", "rotate", &key.id.to_string()]).await;
    assert_eq!(rotated["rotated_from"], key.id.to_string());
    let revoked = shell.done(&["revoke", &key.id.to_string(), "--json"]).await;
    assert_eq!(revoked, "{\"status\":\"revoked\"}\n");
    let ended = shell.reading(key.raw(), &["verify", "--json"]).await;
    assert_eq!(ended.stdout, "{\"valid\":false,\"code\":\"revoked\"}\n");
    assert_eq!(ended.status.code(), Some(1));
}

#[tokio::test]
async fn a_key_is_made_and_changed_as_it_is_said() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let shell = Shell::of(&server, &tenant);
    let made = shell
        .json(&[
            "create",
            "a",
            "--scope=orders:read",
            "--scope=orders:write",
            "--description=first\nsecond",
            "--metadata=team=pay=ments",
            "--metadata=empty=",
            "--expires-at=2099-01-15T09:30:00+01:00",
            "--json",
        ])
        .await;
    assert_eq!(made["scopes"], json!(["orders:read", "orders:write"]));
    assert_eq!(made["description"], "first\nsecond");
    assert_eq!(made["metadata"], json!({ "empty": "", "team": "pay=ments" }));
    assert_eq!(made["expires_at"], "2099-01-15T08:30:00Z");
    let id = made["id"].as_str().unwrap();
    let shown = shell.done(&["get", id]).await;
    assert!(shown.contains("\ndescription   first\n              second\n"), "{shown}");
    assert!(shown.contains("\nmetadata      empty=\n              team=pay=ments\n"), "{shown}");

    let edit = async |flags: &[&str]| shell.json(&[&["edit", id, "--json"], flags].concat()).await;
    let edited = edit(&["--scope", "orders:read", "--metadata", "a=b", "--ttl", "90d"]).await;
    assert_eq!(edited["scopes"], json!(["orders:read"]));
    assert_eq!(edited["metadata"], json!({ "a": "b" }));
    assert_eq!(edited["description"], "first\nsecond");
    let end = DateTime::parse_from_rfc3339(edited["expires_at"].as_str().unwrap()).unwrap();
    let left = end.to_utc() - DateTime::<Utc>::from_timestamp(tokens::now(), 0).unwrap();
    assert!((left - TimeDelta::days(90)).abs() < TimeDelta::minutes(1), "{left}");
    let edited = edit(&["--no-scopes", "--no-description", "--no-metadata", "--no-expiry"]).await;
    assert_eq!(edited["scopes"], json!([]));
    for gone in ["description", "metadata", "expires_at"] {
        assert_eq!(edited[gone], Value::Null);
    }
    let bare = shell.json(&["create", "b", "--no-scopes", "--json"]).await;
    assert_eq!(bare["scopes"], json!([]));
}

#[tokio::test]
async fn a_list_is_a_table() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let shell = Shell::of(&server, &tenant);
    assert_eq!(shell.done(&["list"]).await.lines().count(), 1, "the heads alone");
    assert_eq!(shell.done(&["list", "--json"]).await, "[]\n");
    let first = tenant.create("a").await;
    tenant.revoke(first.id).await;
    let body = json!({ "name": "日本語", "expires_at": "2099-01-15T09:30:00.5Z" });
    let second = tenant.created(body).await;
    let table = shell.done(&["list"]).await;
    let seconds = |time: &str| format!("{}Z", &time[..19]);
    let (at, then) = (seconds(&first.created_at), seconds(&second.created_at));
    let (a, b) = (&first.key_prefix, &second.key_prefix);
    let expected = format!(
        "ID                                    NAME    PREFIX        STATUS   CREATED               EXPIRES               LAST USED\n\
         {}  日本語  {b}  active   {then}  2099-01-15T09:30:00Z  -\n\
         {}  a       {a}  revoked  {at}  never                 -\n",
        second.id, first.id
    );
    assert_eq!(table, expected);

    let ids = async |flags: &[&str]| {
        let list = shell.json(&[&["list", "--json"], flags].concat()).await;
        let ids = list.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids(&["--status", "revoked"]).await, [first.id.to_string()]);
    assert_eq!(ids(&["--name", "日本語", "--created-by", ACCOUNT]).await, [second.id.to_string()]);
    let nobody = "880e8400-e29b-41d4-a716-446655440000";
    assert!(ids(&["--created-by", nobody]).await.is_empty());
}

#[tokio::test]
async fn a_list_goes_on_to_the_last_page() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let shell = Shell::of(&server, &tenant);
    for n in 0..1_001 {
        tenant.create(&format!("key {n}")).await;
    }
    let list = tenant.list().await;
    let objects: Vec<_> = list.iter().map(KeyObject::text).collect();
    assert_eq!(shell.done(&["list", "--json"]).await, format!("[{}]\n", objects.join(",")));
    assert_eq!(shell.done(&["list"]).await.lines().count(), 1_002);
}

#[tokio::test]
async fn a_key_that_is_not_good_is_told_by_the_exit_code() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    let shell = Shell::of(&server, &tenant);
    let key = tenant.create_with_scopes(&["orders:read"]).await;
    let good = shell.reading(key.raw(), &["verify", "--scope", "orders:read"]).await;
    assert_eq!(value(&good.stdout, "id"), key.id.to_string());
    assert_eq!((good.status.code(), &*good.stderr), (Some(0), ""));
    let ended = shell.run(&["verify", key.raw()]).await;
    assert_eq!(ended.status.code(), Some(0), "{ended}");

    let elsewhere = Shell::of(&server, &other);
    let lacks = &["verify", "--scope=orders:read", "--scope=orders:write"];
    for (ended, code) in [
        (shell.reading(key.raw(), lacks).await, "insufficient_scope"),
        (elsewhere.reading(key.raw(), &["verify"]).await, "wrong_workspace"),
        (shell.reading("sk_live_x", &["verify"]).await, "malformed"),
        (shell.reading("", &["verify"]).await, "malformed"),
    ] {
        assert_eq!((ended.status.code(), &*ended.stdout), (Some(1), ""), "{ended}");
        assert_eq!(ended.stderr, format!("keyward: the key is not good: {code}\n"));
    }
    // Whoever verifies needs no token and no workspace.
    let url = [("KEYWARD_URL", &*shell.url)];
    let ended = keyward_reading(key.raw(), &["keys", "verify"], &url).await;
    assert_eq!(ended.status.code(), Some(0), "{ended}");
}

#[tokio::test]
async fn what_the_server_refuses_ends_with_1() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    let shell = Shell::of(&server, &tenant);
    let foreign = Shell { token: other.token().to_owned(), ..shell.clone() };
    let forged = Shell { token: "eyJhbGciOiJIUzI1NiJ9.e30.forged".into(), ..shell.clone() };
    let theirs = other.create("a").await.id.to_string();
    let key = tenant.create("a").await;
    let (id, reader) = (key.id.to_string(), Shell { token: key.raw().into(), ..shell.clone() });
    for action in [&["get", &*theirs][..], &["revoke", &theirs], &["rename", &theirs, "b"]] {
        refused(&shell.run(action).await, 1, "no key of this workspace");
    }
    for ended in [
        foreign.run(&["list"]).await,
        foreign.run(&["create", "a"]).await,
        foreign.run(&["revoke", &id]).await,
        foreign.run(&["rotate", &id]).await,
    ] {
        refused(&ended, 1, "not valid for this workspace");
    }
    refused(&forged.run(&["list"]).await, 1, "the credential is malformed");
    refused(&reader.run(&["create", "a"]).await, 1, "api_keys:write");
    refused(&shell.run(&["create", " "]).await, 1, "1 field is not valid: name is empty");
    let past = &["create", "a", "--expires-at", "2020-01-01T00:00:00Z"];
    refused(&shell.run(past).await, 1, ": expires_at ");
    assert_eq!(tenant.list().await.len(), 1);
    // Somebody else listens there.
    let toy = Toy::start("\"hello\"").await;
    let stranger = Shell { url: format!("http://{}", toy.address()), ..shell.clone() };
    refused(&stranger.run(&["list"]).await, 1, "--url");
}

#[tokio::test]
async fn a_command_line_that_is_wrong_ends_with_2() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let shell = Shell::of(&server, &tenant);
    let key = tenant.create("a").await;
    let id = key.id.to_string();
    for (arguments, word) in [
        (&["get", key.raw()][..], "ID"),
        (&["revoke", &key.key_prefix], "ID"),
        (&["revoke", &id, "--reason", "because"], "key_compromise"),
        (&["edit", &id], "nothing"),
        (&["edit", &id, "--ttl", "1d", "--no-expiry"], "--no-expiry"),
        (&["edit", &id, "--scope", "a", "--no-scopes"], "--no-scopes"),
        (&["rotate", &id, "--grace", "8d"], "7d"),
        (&["rotate", &id, "--quiet", "--json"], "--json"),
        (&["create"], "NAME"),
        (&["create", "a", "--metadata", "b"], "--metadata"),
        (&["create", "a", "--ttl", "1d", "--expires-at", "2099-01-01T00:00:00Z"], "--ttl"),
        (&["create", "a", "--expires-at", "tomorrow"], "--expires-at"),
        (&["list", "--status", "dead"], "revoked"),
        (&["list", "--workspace", "here"], "--workspace"),
        (&["list", "--url", "https://u:hunter2@keys.example"], "--url"),
        (&["list", "--token-file", "/nowhere/token"], "--token-file"),
        (&["no-such-action"], "no-such-action"),
    ] {
        let ended = shell.run(arguments).await;
        refused(&ended, 2, word);
        assert!(!ended.stderr.contains("hunter2"), "{ended}");
    }
    let url = ("KEYWARD_URL", &*shell.url);
    let workspace = ("KEYWARD_WORKSPACE", &*shell.workspace);
    refused(&keyward_reading("", &["keys", "list"], &[url, workspace]).await, 2, "--token");
    let token = ("KEYWARD_TOKEN", &*shell.token);
    refused(&keyward_reading("", &["keys", "list"], &[url, token]).await, 2, "--workspace");
    let unreadable = [url, workspace, ("KEYWARD_TOKEN_FILE", "/nowhere/token")];
    refused(&keyward_reading("", &["keys", "list"], &unreadable).await, 2, "/nowhere/token");
    assert_eq!(tenant.list().await.len(), 1);
}

#[tokio::test]
async fn where_no_answer_comes_it_ends_with_3() {
    let server = Server::start().await;
    let shell = Shell::of(&server, &server.tenant());
    let nobody = Shell { url: format!("http://{}", free_address()), ..shell.clone() };
    refused(&nobody.run(&["list"]).await, 3, "cannot be reached");
    let problem = r#"{"detail":"the storage is away","status":503,"instance":"abc-1"}"#;
    for (answer, word) in [
        (format!("HTTP/1.1 503 Oops\r\n\r\n{problem}"), "the storage is away (request abc-1)"),
        ("HTTP/1.1 429 Slowly\r\n\r\n".into(), "429"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[".into(), "may have been done"),
    ] {
        let stranger = Shell { url: answering(answer).await, ..shell.clone() };
        refused(&stranger.run(&["list"]).await, 3, word);
    }
}

#[tokio::test]
async fn a_token_goes_nowhere_else() {
    let server = Server::start().await;
    let shell = Shell::of(&server, &server.tenant());
    let other = Toy::start("[]").await;
    let there = format!("http://{}/api", other.address());
    let moved = format!("HTTP/1.1 307 There\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n");
    let stranger = Shell { url: answering(moved).await, ..shell.clone() };
    refused(&stranger.run(&["list"]).await, 1, "307");
    assert!(shell.run(&["list", "--help"]).await.status.success());
    // Nor to a proxy, where the server is on this machine.
    let proxy = format!("http://{}", other.address());
    let mut environment = shell.environment().to_vec();
    environment.extend([("HTTP_PROXY", &*proxy), ("http_proxy", &proxy), ("ALL_PROXY", &proxy)]);
    let ended = keyward_reading("", &["keys", "list"], &environment).await;
    assert_eq!(ended.status.code(), Some(0), "{ended}");
    assert_eq!(other.heads(), [""; 0]);
}

#[tokio::test]
async fn a_token_may_be_in_a_file_and_a_flag_names_the_server() {
    let server = Launch::new().start().await;
    let tenant = server.tenant();
    let shell = Shell::of(&server, &tenant);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}\n", shell.token)).unwrap();
    let path = file.path().to_str().unwrap();
    let flags = ["--url", &shell.url, "--workspace", &shell.workspace, "--token-file", path];
    let before = keyward(&[&["keys"], &flags[..], &["list"]].concat()).await;
    let after = keyward(&[&["keys", "list"], &flags[..]].concat()).await;
    for ended in [before, after] {
        assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), ""), "{ended}");
    }
    let ended = shell.run(&["list", "--url", &format!("{}/below", shell.url)]).await;
    refused(&ended, 1, "openapi");
}

#[tokio::test]
async fn a_key_that_nobody_saw_is_named_so_that_it_can_be_revoked() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let shell = Shell::of(&server, &tenant);
    for flags in [&[][..], &["--quiet"], &["--json"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(binary());
        command.env_clear().envs(shell.environment()).args(["keys", "create", "a"]).args(flags);
        let output = command.stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let id = tenant.list().await[0].id.to_string();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&id) && said.contains("revoke it"), "{said}");
        assert!(!said.contains("sk_live_"), "{said}");
    }
}

/// Somebody who works with one workspace.
#[derive(Clone)]
struct Shell {
    url: String,
    token: String,
    workspace: String,
}

impl Shell {
    fn of(server: &Server, tenant: &Tenant) -> Self {
        Self {
            url: format!("http://{}", server.address()),
            token: tenant.token().into(),
            workspace: tenant.workspace().to_string(),
        }
    }

    fn environment(&self) -> [(&str, &str); 3] {
        [
            ("KEYWARD_URL", &self.url),
            ("KEYWARD_TOKEN", &self.token),
            ("KEYWARD_WORKSPACE", &self.workspace),
        ]
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        self.reading("", arguments).await
    }

    /// Runs it, and sees to it that no secret is where it should not be.
    async fn reading(&self, input: &str, arguments: &[&str]) -> Ended {
        let arguments = [&["keys"], arguments].concat();
        let ended = keyward_reading(input, &arguments, &self.environment()).await;
        assert!(!ended.stderr.contains(&self.token), "{ended}");
        assert!(!ended.stdout.contains(&self.token), "{ended}");
        assert!(!ended.stderr.contains("sk_live_"), "{ended}");
        assert!(!ended.stderr.contains("panicked"), "{ended}");
        ended
    }

    /// What a command that must succeed, and has nothing else to say, prints.
    async fn done(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments).await;
        assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), ""), "{ended}");
        ended.stdout
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.done(arguments).await).expect("it is JSON")
    }
}

/// It ended with this code, and said why.
fn refused(ended: &Ended, code: i32, word: &str) {
    assert_eq!((ended.status.code(), &*ended.stdout), (Some(code), ""), "{ended}");
    assert!(ended.stderr.contains(word), "{word}: {ended}");
}

/// What the line with this name says.
fn value(shown: &str, name: &str) -> String {
    let start = format!("{name:<14}");
    let line = shown.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("{name}: {shown}")).to_owned()
}

fn without_the_key(shown: &str) -> String {
    shown.split_inclusive('\n').filter(|line| !line.starts_with("key ")).collect()
}
