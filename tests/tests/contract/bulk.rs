//! Many keys in one call.

use keyward_core::secret::KeyFormat;
use keyward_tests::client::Answer;
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant, parse};
use keyward_tests::tokens;
use serde_json::{Value, json};

#[tokio::test]
async fn many_verdicts_stand_in_the_order_of_the_keys() {
    let server = Server::start().await;
    let (ours, theirs) = (server.tenant(), server.tenant());
    let good = ours.create_with_scopes(&["a", "b"]).await;
    let (narrow, elsewhere) = (ours.create_with_scopes(&["a"]).await, theirs.create("x").await);
    let revoked = ours.create_with_scopes(&["a", "b"]).await;
    ours.revoke(revoked.id).await;
    let asked = json!({
        "keys": [revoked.raw(), good.raw(), "nonsense", unknown(), elsewhere.raw(), narrow.raw(), good.raw()],
        "scopes": ["a", "b"],
        "workspace_id": ours.workspace(),
    });
    // Looked up, and then remembered.
    for _ in 0..2 {
        let answer = verify_batch(&server, &asked).await.expect(200).json();
        let valid = json!({ "valid": true, "key": good.clone().without_raw() });
        let code = |code: &str| json!({ "valid": false, "code": code });
        let expected = [
            code("revoked"),
            valid.clone(),
            code("malformed"),
            code("unknown"),
            code("wrong_workspace"),
            code("insufficient_scope"),
            valid,
        ];
        assert_eq!(answer, json!({ "results": expected }));
    }
    let none = verify_batch(&server, &json!({ "keys": [] })).await.expect(200).json();
    assert_eq!(none, json!({ "results": [] }));
}

#[tokio::test]
async fn a_thousand_keys_are_verified_in_one_call_and_no_more() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let mut keys = Vec::new();
    for n in 0..40 {
        keys.push(tenant.create(&format!("key {n}")).await.raw().to_owned());
    }
    let asked: Vec<&String> = keys.iter().cycle().take(1_000).collect();
    let answer = verify_batch(&server, &json!({ "keys": asked })).await.expect(200).json();
    let results = answer["results"].as_array().expect("the results are an array");
    assert_eq!(results.len(), 1_000);
    assert!(results.iter().all(|it| it["valid"] == true));
    let asked: Vec<&str> = std::iter::repeat_n("a", 1_001).collect();
    let answer = verify_batch(&server, &json!({ "keys": asked })).await;
    answer.expect_problem(400).expect_field_error("/keys");
    for wrong in [
        json!({ "keys": ["a", 5] }),
        json!({ "keys": "a" }),
        json!({}),
        json!({ "keys": [], "x": 1 }),
    ] {
        verify_batch(&server, &wrong).await.expect_problem(400);
    }
}

#[tokio::test]
async fn whoever_finds_keys_revokes_them_and_learns_nothing() {
    let server = Server::start().await;
    let (ours, theirs) = (server.tenant(), server.tenant());
    let (leaked, other) = (ours.create("leaked").await, theirs.create("leaked too").await);
    let stays = ours.create("stays").await;
    assert_eq!(ours.verdict(leaked.raw()).await, "valid");
    let asked = json!({ "keys": [unknown(), leaked.raw(), "nonsense", other.raw(), leaked.raw()] });
    for _ in 0..2 {
        let answer = revoke_leaked(&server, &asked).await.expect(200);
        assert_eq!(answer.body, r#"{"status":"revoked"}"#);
    }
    let nothing = revoke_leaked(&server, &json!({ "keys": [unknown(), "x"] })).await.expect(200);
    assert_eq!(nothing.body, r#"{"status":"revoked"}"#);
    assert_eq!(ours.verdict(leaked.raw()).await, "revoked");
    assert_eq!(theirs.verdict(other.raw()).await, "revoked");
    assert_eq!(ours.verdict(stays.raw()).await, "valid");
    let shown = ours.get(leaked.id).await;
    assert_eq!((shown.revoked_by, shown.revoked_reason.as_deref()), (None, Some("key_compromise")));
    let many = vec!["a"; 101];
    let answer = revoke_leaked(&server, &json!({ "keys": many })).await;
    answer.expect_problem(400).expect_field_error("/keys");
}

#[tokio::test]
async fn keys_are_revoked_by_what_they_have_in_common() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    let elsewhere = other.create("ci one").await;
    let early = tenant.create("ci one").await;
    let (late, different) = (tenant.create("ci two").await, tenant.create("app").await);
    let bounded = json!({ "name_prefix": "ci", "created_before": late.created_at,
        "created_by": tokens::ACCOUNT, "reason": "superseded" });
    let with = |field: &str, value: Value| {
        let mut body = bounded.clone();
        body[field] = value;
        body
    };
    let dry = revoke_many(&tenant, &with("dry_run", json!(true))).await.expect(200);
    assert_eq!(dry.body, r#"{"dry_run":true,"count":1}"#);
    assert_eq!(tenant.verdict(early.raw()).await, "valid");
    let nobody = with("created_by", json!("880e8400-e29b-41d4-a716-446655440000"));
    let none = revoke_many(&tenant, &nobody).await.expect(200);
    assert_eq!(none.body, r#"{"dry_run":false,"count":0}"#);
    let done = revoke_many(&tenant, &bounded).await.expect(200);
    assert_eq!(done.body, r#"{"dry_run":false,"count":1}"#);
    assert_eq!(tenant.verdict(early.raw()).await, "revoked");
    assert_eq!(tenant.get(early.id).await.revoked_reason.as_deref(), Some("superseded"));
    for key in [&late, &different] {
        assert_eq!(tenant.verdict(key.raw()).await, "valid");
    }
    let all = revoke_many(&tenant, &json!({ "all": true })).await.expect(200);
    assert_eq!(all.body, r#"{"dry_run":false,"count":2}"#);
    for key in [&late, &different] {
        assert_eq!(tenant.verdict(key.raw()).await, "revoked");
    }
    assert_eq!(other.verdict(elsewhere.raw()).await, "valid");
}

#[tokio::test]
async fn what_does_not_say_which_keys_revokes_none() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    let key = tenant.create("a").await;
    for wrong in [
        json!({}),
        json!({ "all": false }),
        json!({ "dry_run": false, "reason": "superseded" }),
        json!({ "name_prefix": "" }),
        json!({ "all": "true" }),
        json!({ "all": true, "created_befor": "2030-01-01T00:00:00Z" }),
        json!({ "all": true, "reason": "because" }),
    ] {
        revoke_many(&tenant, &wrong).await.expect_problem(400);
    }
    let all = json!({ "all": true });
    revoke_many(&tenant.with_credential(other.token()), &all).await.expect_problem(403);
    let reader = tokens::with(tokens::claims(&[tenant.workspace()]), "scope", "api_keys:read");
    let reader = tenant.with_credential(tokens::hs256(server.secret(), &reader));
    revoke_many(&reader, &all).await.expect_problem(403);
    let page: Vec<KeyObject> = parse(&tenant.request("GET").send().await.expect(200));
    assert_eq!(page, [key.without_raw()]);
}

/// A well-formed key that was never made.
fn unknown() -> String {
    let format = KeyFormat::new("sk_live").expect("the prefix is good");
    let key = format.mint(&keyward_core::clock::SystemEntropy).expect("there is randomness");
    key.reveal().to_string()
}

async fn verify_batch(server: &Server, body: &Value) -> Answer {
    server.client().post("/api/v1/api-keys/verify-batch").json(body.to_string()).send().await
}

async fn revoke_leaked(server: &Server, body: &Value) -> Answer {
    server.client().post("/api/v1/api-keys/revoke").json(body.to_string()).send().await
}

async fn revoke_many(tenant: &Tenant, body: &Value) -> Answer {
    let path = format!("{}/revoke", tenant.keys_path());
    tenant.client().post(&path).bearer(tenant.token()).json(body.to_string()).send().await
}
