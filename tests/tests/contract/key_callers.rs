//! Who may call: API keys, which never do more than they hold.

use keyward_tests::client::Answer;
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant, parse};
use keyward_tests::tokens::ALL_SCOPES;
use serde_json::json;
use uuid::Uuid;

#[tokio::test]
async fn a_key_acts_for_the_account_that_created_it() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let caller = with_scopes(&tenant, ALL_SCOPES).await;
    let key = caller.create("by a key").await;
    assert_eq!(key.created_by, tenant.list().await[1].created_by);
    assert_eq!(key.workspace_id, tenant.workspace());
    assert_eq!(caller.list().await.len(), 2);
    caller.revoke(key.id).await;
    assert_eq!(tenant.verdict(key.raw()).await, "revoked");
}

#[tokio::test]
async fn a_key_is_good_for_its_own_workspace_alone() {
    let server = Server::start().await;
    let (ours, theirs) = (server.tenant(), server.tenant());
    let target = theirs.create("a").await;
    let caller = theirs.with_credential(with_scopes(&ours, ALL_SCOPES).await.token());
    for answer in [
        caller.request("GET").send().await,
        caller.post(r#"{"name":"b"}"#).await,
        caller.delete(target.id).await,
    ] {
        let answer = answer.expect_problem(403);
        assert!(!answer.header("www-authenticate").contains("scope="), "{answer:?}");
    }
    assert_eq!(theirs.list().await, [target.without_raw()]);
}

#[tokio::test]
async fn a_key_with_no_named_scopes_lists_and_cannot_mint_its_successor() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    assert_eq!(key.scopes, None);
    let caller = tenant.with_credential(key.raw());
    assert_eq!(caller.list().await.len(), 1);
    assert_lacks("api_keys:write", caller.post(r#"{"name":"successor"}"#).await);
    assert_lacks("api_keys:write", caller.post(r#"{"name":"successor","scopes":[]}"#).await);
    let other = tenant.create("b").await;
    assert_lacks("api_keys:write", caller.delete(other.id).await);
    assert_eq!(tenant.list().await.len(), 2);
}

#[tokio::test]
async fn a_key_without_scopes_may_do_nothing_but_revoke_itself() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let (key, other) = (tenant.create_with_scopes(&[]).await, tenant.create("b").await);
    let caller = tenant.with_credential(key.raw());
    assert_lacks("api_keys:read", caller.request("GET").send().await);
    assert_lacks("api_keys:write", caller.post(r#"{"name":"b"}"#).await);
    assert_lacks("api_keys:write", caller.delete(other.id).await);
    assert_lacks("api_keys:write", caller.delete(Uuid::nil()).await);

    assert_eq!(caller.delete(key.id).await.expect(200).body, r#"{"status":"revoked"}"#);
    // From now on it is no credential any more, not even for that.
    let answer = caller.delete(key.id).await.expect_problem(401);
    let challenge = r#"Bearer realm="keyward", error="invalid_token""#;
    assert_eq!(answer.header("www-authenticate"), challenge);
    assert_eq!(tenant.verdict(other.raw()).await, "valid");
}

#[tokio::test]
async fn a_key_revokes_itself_only_in_its_own_workspace() {
    let server = Server::start().await;
    let (ours, theirs) = (server.tenant(), server.tenant());
    let key = ours.create_with_scopes(&[]).await;
    let elsewhere = theirs.with_credential(key.raw());
    elsewhere.delete(key.id).await.expect_problem(403);
    assert_eq!(ours.verdict(key.raw()).await, "valid");
}

#[tokio::test]
async fn a_key_grants_only_scopes_that_it_holds() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let caller = with_scopes(&tenant, "api_keys:write orders:read").await;
    for (granted, lacking) in [
        (json!(["api_keys:read"]), "api_keys:read"),
        (json!(["orders:write"]), "orders:write"),
        (json!(["orders:read", "orders:write"]), "orders:write"),
    ] {
        let body = json!({ "name": "b", "scopes": granted }).to_string();
        assert_lacks(lacking, caller.post(body).await);
    }
    for granted in [json!([]), json!(["orders:read"]), json!(["api_keys:write", "orders:read"])] {
        let body = json!({ "name": "b", "scopes": granted }).to_string();
        let key: KeyObject = parse(&caller.post(body).await.expect(201));
        assert_eq!(json!(key.scopes), granted);
    }
    assert_eq!(tenant.list().await.len(), 4, "what was refused was not stored");
}

#[tokio::test]
async fn the_default_scopes_are_cut_to_what_the_caller_holds() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let reader_and_writer = with_scopes(&tenant, ALL_SCOPES).await;
    assert_eq!(reader_and_writer.create("whole").await.scopes, None);
    let writer = with_scopes(&tenant, "api_keys:write").await;
    let cut = writer.create("cut").await;
    assert_eq!(cut.scopes, Some(vec![]));
    let caller = tenant.with_credential(cut.raw());
    assert_lacks("api_keys:read", caller.request("GET").send().await);
}

#[tokio::test]
async fn a_token_grants_foreign_scopes_freely_and_own_ones_that_it_has() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let claims = keyward_tests::tokens::claims(&[tenant.workspace()]);
    let claims = keyward_tests::tokens::with(claims, "scope", "api_keys:write");
    let token = keyward_tests::tokens::hs256(server.secret(), &claims);
    let writer = tenant.with_credential(token);
    writer.create_with_scopes(&["any:thing", "api_keys:write"]).await;
    let body = r#"{"name":"b","scopes":["any:thing","api_keys:read"]}"#;
    assert_lacks("api_keys:read", writer.post(body).await);
    assert_eq!(writer.create("cut").await.scopes, Some(vec![]));
    assert_eq!(tenant.list().await.len(), 2);
}

#[tokio::test]
async fn a_revoked_or_unknown_key_is_no_credential() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    let caller = tenant.with_credential(key.raw());
    assert_eq!(caller.list().await.len(), 1);
    tenant.revoke(key.id).await;
    let unknown = keyward_tests::records::sample(tenant.workspace().into()).plain;
    let malformed = format!("{}x", &unknown[..56]);
    for credential in [key.raw(), &*unknown, &*malformed] {
        let caller = tenant.with_credential(credential);
        for answer in [
            caller.request("GET").send().await,
            caller.post(r#"{"name":"b"}"#).await,
            caller.delete(key.id).await,
        ] {
            let challenge = r#"Bearer realm="keyward", error="invalid_token""#;
            let answer = answer.expect_problem(401);
            assert_eq!(answer.header("www-authenticate"), challenge);
        }
    }
}

/// The tenant with a new key of these scopes as its credential.
async fn with_scopes(tenant: &Tenant, scopes: &str) -> Tenant {
    let scopes: Vec<&str> = scopes.split(' ').collect();
    tenant.with_credential(tenant.create_with_scopes(&scopes).await.raw())
}

fn assert_lacks(scope: &str, answer: Answer) {
    let expected =
        format!(r#"Bearer realm="keyward", error="insufficient_scope", scope="{scope}""#);
    assert_eq!(answer.expect_problem(403).header("www-authenticate"), expected);
}
