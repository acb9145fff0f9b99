//! The audit trail.

use keyward_tests::client::Answer;
use keyward_tests::launch::{AUDIT_KEY, Launch, Storage, keyward, keyward_reading};
use keyward_tests::server::Server;
use keyward_tests::tenant::Tenant;
use keyward_tests::tokens::{self, ACCOUNT};
use keyward_tests::wait::eventually;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

#[tokio::test]
async fn everything_that_is_done_to_a_key_leaves_an_event() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let created = tenant
        .request("POST")
        .header("user-agent", "a test/1.0")
        .header("x-request-id", "the-first")
        .json(r#"{"name":"a"}"#);
    let key = created.send().await.expect(201).json();
    let id: Uuid = key["id"].as_str().unwrap().parse().unwrap();
    tenant.edit(id, json!({ "name": "b" })).await;
    tenant.edit(id, json!({ "name": "c", "scopes": [] })).await;
    tenant.edit(id, json!({ "name": "c" })).await;
    let successor = tenant.rotate(id, 60).await;
    let path = format!("{}?reason=superseded", tenant.key_path(id));
    for _ in 0..2 {
        server.client().delete(&path).bearer(tenant.token()).send().await.expect(200);
    }
    let events = events(&tenant, "").await;
    let actions: Vec<&str> = events.iter().map(|it| it["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["revoked", "rotated", "changed", "renamed", "created"]);
    for event in &events {
        assert_eq!(event["key_id"], json!(id));
        assert_eq!(event["workspace_id"], json!(tenant.workspace()));
        assert_eq!(event["account_id"], ACCOUNT);
        assert!(event["address"].is_string() && event["credential_id"].is_null(), "{event}");
    }
    assert_eq!(events[0]["reason"], "superseded");
    assert_eq!(events[1]["new_key_id"], json!(successor.id));
    assert_eq!(events[2]["fields"], json!(["name", "scopes"]));
    let first = &events[4];
    assert_eq!(
        (&first["user_agent"], &first["request_id"]),
        (&json!("a test/1.0"), &json!("the-first"))
    );
    assert_eq!(first["created_at"], key["created_at"]);
}

#[tokio::test]
async fn events_are_sealed_within_moments() {
    let server = Server::start().await;
    let tenant = server.tenant();
    for n in 0..3 {
        tenant.create(&format!("key {n}")).await;
    }
    let sealed = sealed_events(&tenant).await;
    let mut numbers: Vec<u64> = sealed.iter().filter_map(|it| it["sequence"].as_u64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(sealed.iter().all(|it| it["hash"].as_str().is_some_and(|hash| hash.len() == 64)));
}

#[tokio::test]
async fn who_may_not_read_the_keys_may_not_read_what_was_done_to_them() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    tenant.create("a").await;
    assert_eq!(events(&other, "").await, [] as [Value; 0]);
    let path = path(&tenant);
    let get = |credential: &str| server.client().get(&path).bearer(credential).send();
    get(other.token()).await.expect_problem(403);
    let writer = tokens::with(tokens::claims(&[tenant.workspace()]), "scope", "api_keys:write");
    get(&tokens::hs256(server.secret(), &writer)).await.expect_problem(403);
    get("nonsense").await.expect_problem(401);
    server.client().get(&path).send().await.expect_problem(401);
    let post = server.client().post(&path).bearer(tenant.token()).json("{}").send().await;
    assert_eq!(post.expect_problem(405).header("allow"), "GET");
    for wrong in ["limit=0", "limit=1001", "cursor=x", "status=active", "limit=1&limit=1"] {
        let get = server.client().get(&format!("{path}?{wrong}")).bearer(tenant.token());
        get.send().await.expect_problem(400);
    }
}

#[tokio::test]
async fn pages_show_every_event_once() {
    let server = Server::start().await;
    let tenant = server.tenant();
    for n in 0..7 {
        tenant.create(&format!("key {n}")).await;
    }
    let whole = ids(&events(&tenant, "").await);
    let mut next = Some(format!("{}?limit=3", path(&tenant)));
    let mut seen = Vec::new();
    while let Some(path) = next {
        let answer = server.client().get(&path).bearer(tenant.token()).send().await.expect(200);
        seen.extend(ids(&list(&answer)));
        tenant.create("made meanwhile").await;
        let link = answer.header("link");
        next = link
            .strip_prefix('<')
            .and_then(|it| it.strip_suffix(r#">; rel="next""#))
            .map(Into::into);
    }
    assert_eq!(seen, whole);
}

#[tokio::test]
async fn the_credential_is_told_where_it_is_a_key_and_nobody_where_it_was_found() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let own = tenant.create_with_scopes(&["api_keys:read", "api_keys:write"]).await;
    let caller = tenant.with_credential(own.raw());
    let made = caller.create("by a key").await;
    let newest = events(&caller, "?limit=1").await.remove(0);
    assert_eq!((&newest["key_id"], &newest["credential_id"]), (&json!(made.id), &json!(own.id)));
    assert_eq!(newest["account_id"], ACCOUNT);
    let report = json!({ "keys": [made.raw()] }).to_string();
    server.client().post("/api/v1/api-keys/revoke").json(report).send().await.expect(200);
    let newest = events(&caller, "?limit=1").await.remove(0);
    assert_eq!(
        (&newest["action"], &newest["reason"]),
        (&json!("revoked"), &json!("key_compromise"))
    );
    assert!(newest["account_id"].is_null() && newest["credential_id"].is_null(), "{newest}");
}

#[tokio::test]
async fn only_a_trusted_proxy_is_believed_where_a_request_came_from() {
    for (proxies, expected) in [(None, "127.0.0.1"), (Some("127.0.0.0/8,::1"), "198.51.100.9")] {
        let launch = Launch::new();
        let launch = match proxies {
            Some(proxies) => launch.flag("--trusted-proxies", proxies),
            None => launch,
        };
        let server = launch.start().await;
        let tenant = server.tenant();
        let forwarded = "203.0.113.5, 198.51.100.9";
        let create = tenant.request("POST").header("x-forwarded-for", forwarded);
        create.json(r#"{"name":"a"}"#).send().await.expect(201);
        assert_eq!(events(&tenant, "").await[0]["address"], expected);
    }
    let ended = Launch::new().flag("--trusted-proxies", "everybody").run().await;
    assert!(ended.status.code() == Some(2) && ended.stderr.contains("10.0.0.0/8"), "{ended}");
}

#[tokio::test]
async fn the_command_verifies_a_trail_beside_its_server_and_keeps_its_end() {
    let storage = Storage::new();
    let server = Launch::on(storage.clone()).start().await;
    let tenant = server.tenant();
    let url = storage.url();
    if matches!(storage, Storage::Memory) {
        let ended = audit(&["verify", "--storage", &url]).await;
        assert!(!ended.status.success() && ended.stderr.contains("memory"), "{ended}");
        return;
    }
    for n in 0..3 {
        tenant.create(&format!("key {n}")).await;
    }
    sealed_events(&tenant).await;
    let ended = audit(&["verify", "--storage", &url, "--json"]).await;
    assert!(ended.status.success(), "{ended}");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["sealed"], 3);
    assert_eq!(report["workspace_id"], json!(tenant.workspace()));
    assert_eq!((&report["unsealed"], &report["fault_count"]), (&json!(0), &json!(0)));
    let heads = audit(&["head", "--storage", &url]).await;
    let head = report["head"].as_str().unwrap();
    assert_eq!(heads.stdout, format!("{} {head}\n", tenant.workspace()));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &heads.stdout).unwrap();
    let kept = file.path().to_str().unwrap();
    tenant.create("one more").await;
    let ended = audit(&["verify", "--storage", &url, "--heads", kept]).await;
    assert!(ended.status.success(), "{ended}");
    assert!(ended.stdout.starts_with("WORKSPACE "), "{ended}");
    // Of a trail that was cut, or made anew.
    std::fs::write(file.path(), heads.stdout.replace(" 3:", " 9:")).unwrap();
    let ended = audit(&["verify", "--storage", &url, "--heads", kept]).await;
    assert_eq!(ended.status.code(), Some(1), "{ended}");
    assert!(ended.stdout.contains("link 9, which was kept, is not in the chain"), "{ended}");
    // With another key nothing is what was signed.
    let other = "another key that nobody has signed with";
    let flags = ["verify", "--storage", &url, "--audit-key", other];
    let ended = keyward(&[&["audit"], &flags[..]].concat()).await;
    assert_eq!(ended.status.code(), Some(1), "{ended}");
    assert!(ended.stdout.contains("is not what was signed") && !ended.stdout.contains(other));
}

#[tokio::test]
async fn an_event_that_was_changed_in_the_database_is_found() {
    let storage = Storage::new();
    let server = Launch::on(storage.clone()).start().await;
    let tenant = server.tenant();
    let Some(database) = storage.database() else { return };
    for n in 0..3 {
        tenant.create(&format!("key {n}")).await;
    }
    sealed_events(&tenant).await;
    let mut owner = PgConnection::connect(database.url()).await.unwrap();
    for forbidden in [
        "DELETE FROM keyward.audit_events",
        "TRUNCATE keyward.audit_events",
        "UPDATE keyward.audit_events SET account_id = NULL",
        "UPDATE keyward.audit_events SET number = NULL, hash = NULL",
    ] {
        let refused = sqlx::query(forbidden).execute(&mut owner).await.unwrap_err().to_string();
        assert!(refused.contains("neither changed nor removed"), "{forbidden}: {refused}");
    }
    // Whoever owns the table can do it all the same.
    for forge in [
        "ALTER TABLE keyward.audit_events DISABLE TRIGGER USER",
        "UPDATE keyward.audit_events SET account_id = NULL WHERE number = 2",
    ] {
        sqlx::query(forge).execute(&mut owner).await.unwrap();
    }
    let ended = audit(&["verify", "--storage", &storage.url()]).await;
    assert_eq!(ended.status.code(), Some(1), "{ended}");
    assert_eq!(ended.stdout.matches("is not what was signed").count(), 1, "{ended}");
}

#[tokio::test]
async fn a_shell_lists_what_was_done() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    tenant.revoke(key.id).await;
    let url = format!("http://{}", server.address());
    let workspace = tenant.workspace().to_string();
    let token = ("KEYWARD_TOKEN", tenant.token());
    let flags = ["audit", "list", "--url", &url, "--workspace", &workspace];
    let ended = keyward_reading("", &flags, &[token]).await;
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(ended.status.success() && lines.len() == 3, "{ended}");
    assert!(lines[1].contains("  revoked ") && lines[2].contains("  created "), "{ended}");
    let ended =
        keyward_reading("", &[&flags[..], &["--limit=1", "--json"]].concat(), &[token]).await;
    let events: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(events.len(), 1, "{ended}");
    assert_eq!(events[0]["action"], "revoked");
}

fn path(tenant: &Tenant) -> String {
    format!("/api/v1/workspaces/{}/audit-events", tenant.workspace())
}

/// All events of the workspace, once all of them are sealed.
async fn sealed_events(tenant: &Tenant) -> Vec<Value> {
    eventually("the events are sealed", async || {
        events(tenant, "").await.iter().all(|event| event["sequence"].is_u64())
    })
    .await;
    events(tenant, "").await
}

async fn events(tenant: &Tenant, query: &str) -> Vec<Value> {
    let path = format!("{}{query}", path(tenant));
    list(&tenant.client().get(&path).bearer(tenant.token()).send().await.expect(200))
}

fn list(answer: &Answer) -> Vec<Value> {
    answer.json().as_array().cloned().expect("a list of events")
}

fn ids(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| event["id"].to_string()).collect()
}

/// `keyward audit`, with the key that servers of tests sign with.
async fn audit(arguments: &[&str]) -> keyward_tests::launch::Ended {
    keyward_reading("", &[&["audit"], arguments].concat(), &[("KEYWARD_AUDIT_KEY", AUDIT_KEY)])
        .await
}
