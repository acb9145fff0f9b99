//! `POST /api/v1/api-keys/verify`.

use keyward_tests::client::Answer;
use keyward_tests::launch::Launch;
use keyward_tests::records::sample;
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, verify};
use serde_json::json;
use uuid::Uuid;

const PATH: &str = "/api/v1/api-keys/verify";

#[tokio::test]
async fn a_good_key_is_valid_and_shown_as_it_is_listed() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let plain = tenant.create("plain").await;
    let scoped = tenant.create_with_scopes(&["orders:read", "api_keys:read"]).await;
    let bare = tenant.create_with_scopes(&[]).await;
    for key in [plain, scoped, bare] {
        let answer = verify(tenant.client(), &json!({ "key": key.raw() })).await;
        assert_valid(&answer, key);
    }
}

#[tokio::test]
async fn a_bad_key_has_a_code_and_nothing_else() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let (good, revoked) = (tenant.create("good").await, tenant.create("revoked").await);
    tenant.revoke(revoked.id).await;
    let unknown = sample(tenant.workspace().into()).plain;
    let mut changed = good.raw().to_owned();
    let last = if changed.pop() == Some('0') { '1' } else { '0' };
    changed.push(last);
    let longer = format!("{}x", good.raw());
    let padded = format!(" {}", good.raw());
    for (key, code) in [
        ("", "malformed"),
        ("nonsense", "malformed"),
        (&changed, "malformed"),
        (&longer, "malformed"),
        (&padded, "malformed"),
        (&good.raw()[..56], "malformed"),
        (&good.key_prefix, "malformed"),
        ("sk_live_\u{0}", "malformed"),
        (&"é".repeat(30_000), "malformed"),
        (tenant.token(), "malformed"),
        (&unknown, "unknown"),
        (revoked.raw(), "revoked"),
    ] {
        let answer = verify(tenant.client(), &json!({ "key": key })).await;
        assert_invalid(&answer, code);
    }
}

#[tokio::test]
async fn demands_are_judged_for_a_good_key() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    let key = tenant.create_with_scopes(&["orders:read", "orders:write"]).await;
    let (own, foreign) = (tenant.workspace(), other.workspace());
    let ask = async |mut demands: serde_json::Value| {
        demands["key"] = json!(key.raw());
        verify(tenant.client(), &demands).await
    };
    for met in [
        json!({ "scopes": [] }),
        json!({ "scopes": ["orders:read"] }),
        json!({ "scopes": ["orders:write", "orders:read", "orders:read"] }),
        json!({ "workspace_id": own }),
        json!({ "workspace_id": own.to_string().to_uppercase(), "scopes": ["orders:read"] }),
    ] {
        assert_valid(&ask(met).await, key.clone());
    }
    for (unmet, code) in [
        (json!({ "scopes": ["orders"] }), "insufficient_scope"),
        (json!({ "scopes": ["ORDERS:READ"] }), "insufficient_scope"),
        (json!({ "scopes": ["orders:read", "api_keys:read"] }), "insufficient_scope"),
        (json!({ "workspace_id": foreign }), "wrong_workspace"),
        (json!({ "workspace_id": Uuid::nil() }), "wrong_workspace"),
        (json!({ "workspace_id": foreign, "scopes": ["orders:read"] }), "wrong_workspace"),
    ] {
        assert_invalid(&ask(unmet).await, code);
    }
    // A key with no named scopes holds the default.
    let plain = tenant.create("plain").await;
    let demand = json!({ "key": plain.raw(), "scopes": ["api_keys:read"] });
    assert_valid(&verify(tenant.client(), &demand).await, plain.clone());
    let demand = json!({ "key": plain.raw(), "scopes": ["api_keys:write"] });
    assert_invalid(&verify(tenant.client(), &demand).await, "insufficient_scope");
}

#[tokio::test]
async fn a_bad_key_is_called_so_before_its_demands_are_judged() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    tenant.revoke(key.id).await;
    for (key, code) in [("nonsense", "malformed"), (key.raw(), "revoked")] {
        let demand = json!({ "key": key, "scopes": ["x"], "workspace_id": Uuid::nil() });
        assert_invalid(&verify(tenant.client(), &demand).await, code);
    }
}

#[tokio::test]
async fn no_other_credential_is_asked_for_or_looked_at() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    let body = json!({ "key": key.raw() }).to_string();
    for credential in ["nonsense", tenant.token(), key.raw()] {
        let request = tenant.client().post(PATH).json(body.clone()).bearer(credential);
        assert_valid(&request.send().await, key.clone());
    }
}

#[tokio::test]
async fn a_body_that_asks_for_something_else_is_refused() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    let long = "x".repeat(101);
    for (body, pointer) in [
        (json!({}), "/key"),
        (json!({ "key": null }), "/key"),
        (json!({ "key": 5 }), "/key"),
        (json!({ "key": [key.raw()] }), "/key"),
        (json!({ "key": key.raw(), "workspace_id": "x" }), "/workspace_id"),
        (json!({ "key": key.raw(), "workspace_id": 5 }), "/workspace_id"),
        (json!({ "key": key.raw(), "scopes": "orders:read" }), "/scopes"),
        (json!({ "key": key.raw(), "scopes": ["a", "b c"] }), "/scopes/1"),
        (json!({ "key": key.raw(), "scopes": [""] }), "/scopes/0"),
        (json!({ "key": key.raw(), "scopes": [long] }), "/scopes/0"),
        (json!({ "key": key.raw(), "scope": "orders:read" }), "/scope"),
        (json!({ "key": key.raw(), "workspace": Uuid::nil() }), "/workspace"),
    ] {
        let answer = verify(tenant.client(), &body).await.expect_field_error(pointer);
        assert!(!answer.body.contains(key.raw()), "a key is never said back: {pointer}");
    }
    let client = server.client();
    for body in ["", "null", "[]", "\"x\"", "{", r#"{"key":"x"} {}"#, r#"{"key":"a","key":"b"}"#] {
        client.post(PATH).json(body).send().await.expect_problem(400);
    }
    client.post(PATH).body(r#"{"key":"x"}"#).send().await.expect_problem(415);
    client.post(PATH).json(" ".repeat(65_537)).send().await.expect_problem(413);
    let answer = client.get(PATH).send().await.expect_problem(405);
    assert_eq!(answer.header("allow"), "POST");
}

#[tokio::test]
async fn more_lookups_than_are_allowed_are_turned_away() {
    let server = Launch::new().flag("--miss-concurrency", "0").start().await;
    let tenant = server.tenant();
    let client = tenant.client();
    let key = tenant.create("a").await;
    let unknown = sample(tenant.workspace().into()).plain;
    for key in [key.raw(), &*unknown] {
        for answer in [
            verify(client, &json!({ "key": key })).await,
            client.get("/api/v1/auth").bearer(key).send().await,
            tenant.with_credential(key).request("GET").send().await,
        ] {
            let answer = answer.expect_problem(429);
            assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{answer:?}");
        }
    }
    // What needs no lookup is answered.
    assert_eq!(tenant.verdict("nonsense").await, "malformed");
    assert_eq!(tenant.auth("nonsense").await, 401);
    assert_eq!(tenant.list().await.len(), 1);
    tenant.revoke(key.id).await;
}

fn assert_valid(answer: &Answer, key: KeyObject) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json");
    let expected = format!(r#"{{"valid":true,"key":{}}}"#, key.without_raw().text());
    assert_eq!(answer.body, expected);
}

fn assert_invalid(answer: &Answer, code: &str) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.body, format!(r#"{{"valid":false,"code":"{code}"}}"#));
}
