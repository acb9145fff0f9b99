//! Several prefixes: how the beginning of keys is changed while keys are in use.

use keyward_core::secret::KeyFormat;
use keyward_tests::launch::{Launch, Storage};
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant, verify};
use serde_json::json;

#[tokio::test]
async fn keys_begin_with_the_configured_prefix() {
    let server = Launch::new().flag("--key-prefix", "acme_test").start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    assert_begins("acme_test", &key);
    assert_eq!(tenant.verdict(key.raw()).await, "valid");
    let foreign = keyward_tests::records::sample(tenant.workspace().into());
    assert_eq!(tenant.verdict(&foreign.plain).await, "malformed");
}

#[tokio::test]
async fn the_prefix_is_changed_without_breaking_the_keys_in_use() {
    let launch = Launch::on(durable());
    let server = launch.start().await;
    let tenant = server.tenant();
    let old = tenant.create_with_scopes(&["api_keys:read", "api_keys:write"]).await;
    let (leaked, retired) = (tenant.create("leaked").await, tenant.create("retired").await);
    assert_begins("sk_live", &old);

    let server = restarted(server, &launch, "acme_live,sk_live").await;
    let tenant = tenant.on(server.client());
    let new = tenant.create_with_scopes(&["api_keys:read", "api_keys:write"]).await;
    assert_begins("acme_live", &new);
    for key in [&old, &new] {
        assert_is_good(&tenant, key).await;
    }
    let asked = json!({ "keys": [old.raw(), new.raw()] });
    let batch = server.client().post("/api/v1/api-keys/verify-batch").json(asked.to_string());
    let results = batch.send().await.expect(200).json()["results"].clone();
    assert_eq!((&results[0]["valid"], &results[1]["valid"]), (&json!(true), &json!(true)));

    let report = json!({ "keys": [leaked.raw()] }).to_string();
    let report = server.client().post("/api/v1/api-keys/revoke").json(report);
    report.send().await.expect(200);
    let own = server.client().delete("/api/v1/api-keys/self").bearer(retired.raw());
    own.send().await.expect(200);
    for key in [&leaked, &retired] {
        assert_eq!(tenant.verdict(key.raw()).await, "revoked");
        assert_eq!(tenant.auth(key.raw()).await, 401);
    }
    let rotated = tenant.rotate(old.id, 3_600).await;
    assert_begins("acme_live", &rotated);
    assert_eq!(rotated.rotated_from, Some(old.id));
    assert_eq!(tenant.verdict(old.raw()).await, "valid", "it is in its grace");

    let server = restarted(server, &launch, "acme_live").await;
    let tenant = tenant.on(server.client());
    assert_eq!(tenant.verdict(old.raw()).await, "malformed");
    assert_eq!(tenant.auth(old.raw()).await, 401);
    tenant.with_credential(old.raw()).request("GET").send().await.expect_problem(401);
    assert_is_good(&tenant, &new).await;
    assert_eq!(tenant.list().await.len(), 5, "the records stay");
}

#[tokio::test]
async fn a_prefix_may_begin_another() {
    let launch = Launch::on(durable());
    let server = launch.clone().flag("--key-prefix", "sk").start().await;
    let short = server.tenant().create("short").await;
    assert_begins("sk", &short);
    let workspace = short.workspace_id;
    server.terminate().await;
    let server = launch.flag("--key-prefix", "sk_live,sk").start().await;
    let tenant = server.tenant();
    let long = tenant.create("long").await;
    assert_begins("sk_live", &long);
    for (key, workspace) in [(&short, workspace), (&long, tenant.workspace())] {
        let asked = json!({ "key": key.raw(), "workspace_id": workspace });
        let answer = verify(&server.client(), &asked).await.expect(200).json();
        assert_eq!(answer["key"]["id"], key.id.to_string(), "{answer}");
        // One with the other's secret part is no key.
        let crossed = key.raw().replacen("sk_", "sk_live_", 1);
        assert_eq!(tenant.verdict(&crossed).await, "malformed");
    }
}

#[tokio::test]
async fn a_request_id_with_any_of_the_prefixes_is_not_echoed() {
    let server = Launch::new().flag("--key-prefix", "acme_live,sk_live").start().await;
    for (id, echoed) in [
        ("trace-1", true),
        ("acme_live", true),
        ("acme_live_abc1", false),
        ("a-sk_live_abc1", false),
        ("sk_test_abc1", true),
    ] {
        let request = server.client().get("/healthz").header("x-request-id", id);
        let answer = request.send().await.expect(200);
        assert_eq!(answer.header("x-request-id") == id, echoed, "{id}");
    }
}

/// An empty store of the tested driver that outlives the server: of RocksDB, where it has none.
fn durable() -> Storage {
    match Storage::new() {
        Storage::Memory => Storage::rocksdb(),
        durable => durable,
    }
}

async fn restarted(server: Server, launch: &Launch, prefixes: &str) -> Server {
    server.terminate().await;
    launch.clone().env("KEYWARD_KEY_PREFIX", prefixes).start().await
}

fn assert_begins(prefix: &str, key: &KeyObject) {
    let raw = key.raw();
    assert!(KeyFormat::new(prefix).unwrap().digest(raw).is_ok(), "another prefix than {prefix}");
    assert_eq!(key.key_prefix, raw[..prefix.len() + 5]);
}

/// As a key that is presented, and as a caller; in its own workspace and in no other.
async fn assert_is_good(tenant: &Tenant, key: &KeyObject) {
    assert_eq!(tenant.verdict(key.raw()).await, "valid");
    assert_eq!(tenant.auth(key.raw()).await, 200);
    let bearer = tenant.client().get("/api/v1/auth").bearer(key.raw());
    assert_eq!(bearer.send().await.status, 200);
    let caller = tenant.with_credential(key.raw());
    assert!(caller.list().await.iter().any(|listed| listed.id == key.id));
    let elsewhere = format!("/api/v1/workspaces/{}/api-keys", key.id);
    tenant.client().get(&elsewhere).bearer(key.raw()).send().await.expect_problem(403);
}
