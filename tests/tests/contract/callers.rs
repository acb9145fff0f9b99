//! Who may call: tokens.

use jsonwebtoken::Algorithm;
use keyward_core::id::AccountId;
use keyward_tests::client::Answer;
use keyward_tests::launch::Launch;
use keyward_tests::server::Server;
use keyward_tests::tokens::{self, hs256, now, with};
use serde_json::{Value, json};
use uuid::Uuid;

const REALM: &str = r#"Bearer realm="keyward""#;
const INVALID: &str = r#"Bearer realm="keyward", error="invalid_token""#;

#[tokio::test]
async fn without_a_credential_the_challenge_is_bare() {
    let server = Server::start().await;
    let answer = server.client().get(&server.tenant().keys_path()).send().await;
    assert_eq!(answer.expect_problem(401).header("www-authenticate"), REALM);
}

#[tokio::test]
async fn a_malformed_credential_is_refused() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let good = tenant.token();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let malformed = [
        "nonsense".to_owned(),
        "a.b.c".into(),
        good[..good.len() - 4].into(),
        format!("{signed}."),
        format!("{signed}.{}", signature.chars().rev().collect::<String>()),
        format!("{good}.x"),
        format!("{good} {good}"),
        format!("{}.{}.x", tokens::base64url("{}"), tokens::base64url("[]")),
        "x".repeat(20_000),
    ];
    for credential in malformed {
        let answer = tenant.with_credential(credential).request("GET").send().await;
        assert_eq!(answer.expect_problem(401).header("www-authenticate"), INVALID);
    }
}

#[tokio::test]
async fn another_scheme_is_no_credential_here() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let get = |value: String| {
        tenant.client().get(&tenant.keys_path()).header("authorization", value).send()
    };
    for value in ["", "Bearer", "Bearer ", "Basic c2s6", "Token x"] {
        let answer = get(value.into()).await.expect_problem(401);
        assert!(answer.header("www-authenticate").starts_with(REALM), "{answer:?}");
    }
    get(tenant.token().into()).await.expect_problem(401);
    get(format!("Basic {}", tenant.token())).await.expect_problem(401);
    // The name of a scheme is read in any case (RFC 9110, section 11.1).
    get(format!("bearer {}", tenant.token())).await.expect(200);
    get(format!("BEARER {}", tenant.token())).await.expect(200);
}

#[tokio::test]
async fn a_token_with_a_wrong_claim_is_refused() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let good = tokens::claims(&[tenant.workspace()]);
    for (claim, value) in [
        ("iss", json!("another")),
        ("iss", Value::Null),
        ("aud", json!("another")),
        ("aud", json!([])),
        ("aud", Value::Null),
        ("sub", Value::Null),
        ("exp", Value::Null),
        ("exp", json!("soon")),
        ("exp", json!(now() - 60)),
        ("exp", json!(0)),
        ("exp", json!(-1)),
        ("nbf", json!(now() + 600)),
        ("workspaces", json!(["not a uuid"])),
        ("workspaces", json!("x")),
    ] {
        let token = hs256(server.secret(), &with(good.clone(), claim, value.clone()));
        let answer = tenant.with_credential(token).request("GET").send().await;
        assert_eq!(answer.status, 401, "{claim}: {value}");
        assert_eq!(answer.expect_problem(401).header("www-authenticate"), INVALID);
    }
}

#[tokio::test]
async fn a_token_with_unusual_but_good_claims_is_accepted() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let good = tokens::claims(&[tenant.workspace()]);
    for (claim, value) in [
        ("aud", json!(["another", "keyward"])),
        ("exp", json!(now() - 1)),
        ("exp", json!(4_102_444_800.5)),
        ("nbf", json!(now() - 600)),
        ("iat", Value::Null),
        ("jti", json!("x")),
        ("scope", json!("openid  api_keys:read é")),
        ("workspaces", json!([Uuid::nil(), tenant.workspace()])),
    ] {
        let token = hs256(server.secret(), &with(good.clone(), claim, value.clone()));
        let answer = tenant.with_credential(token).request("GET").send().await;
        assert_eq!(answer.status, 200, "{claim}: {value}: {answer:?}");
    }
}

#[tokio::test]
async fn the_leeway_of_an_expired_token_is_five_seconds() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let call = async |exp: i64| {
        let claims = with(tokens::claims(&[tenant.workspace()]), "exp", exp);
        let token = hs256(server.secret(), &claims);
        tenant.with_credential(token).request("GET").send().await.status
    };
    assert_eq!(call(now() - 1).await, 200);
    assert_eq!(call(now() - 7).await, 401);
}

#[tokio::test]
async fn a_token_that_is_not_signed_with_the_secret_is_refused() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let (secret, claims) = (server.secret(), tokens::claims(&[tenant.workspace()]));
    for token in [
        tokens::unsigned(&claims),
        tokens::unsigned(&claims).replace("bm9uZS", "Tm9uZS"),
        hs256(&tokens::random_secret(), &claims),
        hs256("", &claims),
        tokens::hmac(Algorithm::HS384, secret, &claims),
        tokens::hmac(Algorithm::HS512, secret, &claims),
    ] {
        let answer = tenant.with_credential(token).request("GET").send().await;
        assert_eq!(answer.expect_problem(401).header("www-authenticate"), INVALID);
    }
}

#[tokio::test]
async fn a_missing_scope_is_named_in_the_challenge() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    let with_scope = |scope: Value| {
        let claims = with(tokens::claims(&[tenant.workspace()]), "scope", scope);
        tenant.with_credential(hs256(server.secret(), &claims))
    };
    let reader = with_scope(json!("api_keys:read orders:write"));
    reader.request("GET").send().await.expect(200);
    assert_lacks("api_keys:write", &reader.post(r#"{"name":"b"}"#).await);
    assert_lacks("api_keys:write", &reader.delete(key.id).await);

    let writer = with_scope(json!("api_keys:write"));
    assert_lacks("api_keys:read", &writer.request("GET").send().await);
    writer.post(r#"{"name":"b"}"#).await.expect(201);
    writer.revoke(key.id).await;

    for nothing in [json!(""), Value::Null, json!("api_keys"), json!("API_KEYS:READ")] {
        let nobody = with_scope(nothing);
        assert_lacks("api_keys:read", &nobody.request("GET").send().await);
        assert_lacks("api_keys:write", &nobody.post(r#"{"name":"b"}"#).await);
        assert_lacks("api_keys:write", &nobody.delete(key.id).await);
    }
}

#[tokio::test]
async fn a_token_is_good_for_its_own_workspaces_alone() {
    let server = Server::start().await;
    let (ours, theirs, stranger) = (server.tenant(), server.tenant(), server.tenant());
    let key = theirs.create("a").await;
    for workspaces in [json!([ours.workspace()]), json!([]), Value::Null] {
        let claims = with(tokens::claims(&[]), "workspaces", workspaces);
        let caller = theirs.with_credential(hs256(server.secret(), &claims));
        caller.request("GET").send().await.expect_problem(403);
        caller.post(r#"{"name":"b"}"#).await.expect_problem(403);
        caller.delete(key.id).await.expect_problem(403);
    }
    let both = tokens::claims(&[ours.workspace(), theirs.workspace()]);
    let both = hs256(server.secret(), &both);
    for tenant in [&ours, &theirs] {
        tenant.with_credential(&both).request("GET").send().await.expect(200);
    }
    stranger.with_credential(&both).request("GET").send().await.expect_problem(403);
    assert_eq!(theirs.list().await, [key.without_raw()]);
}

#[tokio::test]
async fn a_key_of_another_workspace_cannot_be_told_from_one_that_is_not_there() {
    let server = Server::start().await;
    let (ours, theirs) = (server.tenant(), server.tenant());
    let key = theirs.create("a").await;
    let detail = |answer: Answer| {
        let problem = answer.expect_problem(404).json();
        [problem["type"].clone(), problem["title"].clone(), problem["detail"].clone()]
    };
    let foreign = detail(ours.delete(key.id).await);
    let absent = detail(ours.delete(Uuid::from_bytes(tokens::random())).await);
    assert_eq!(foreign, absent);
    assert_eq!(theirs.verdict(key.raw()).await, "valid");
    theirs.revoke(key.id).await;
}

#[tokio::test]
async fn the_subject_becomes_the_account() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let uuid = "0d5c8f0e-3d1a-4b6e-9a7e-5d1a2b3c4d5e";
    for (subject, account) in [
        (uuid, uuid.to_owned()),
        ("auth0|someone", AccountId::from_subject("keyward", "auth0|someone").to_string()),
    ] {
        let claims = with(tokens::claims(&[tenant.workspace()]), "sub", subject);
        let caller = tenant.with_credential(hs256(server.secret(), &claims));
        assert_eq!(caller.create("a").await.created_by.to_string(), account);
    }
}

#[tokio::test]
async fn a_secret_is_rotated_without_refusing_tokens() {
    let (old, new) = (tokens::random_secret(), tokens::random_secret());
    let launch = Launch::new().without_secret();
    let server = launch.env("KEYWARD_TOKEN_SECRET", format!("{new},{old}")).start().await;
    let tenant = server.tenant();
    for secret in [&new, &old] {
        let token = hs256(secret, &tokens::claims(&[tenant.workspace()]));
        tenant.with_credential(token).request("GET").send().await.expect(200);
    }
    for secret in [format!("{new},{old}"), tokens::random_secret()] {
        let token = hs256(&secret, &tokens::claims(&[tenant.workspace()]));
        tenant.with_credential(token).request("GET").send().await.expect_problem(401);
    }
}

#[tokio::test]
async fn two_authorization_headers_are_refused() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    for second in [tenant.token(), "nobody", key.raw()] {
        tenant.request("GET").bearer(second).send().await.expect_problem(400);
        tenant.request("POST").bearer(second).json("{}").send().await.expect_problem(400);
        let auth = server.client().get("/api/v1/auth").bearer(key.raw()).bearer(second);
        auth.send().await.expect_problem(400);
    }
}

#[tokio::test]
async fn headers_that_are_not_text_are_refused() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let path = tenant.keys_path();
    let (client, token) = (server.client(), tenant.token());
    for bytes in [&b"Bearer \xff\xfe"[..], b"Bearer sk_live_\xc3", b"\x80"] {
        client.get(&path).header("authorization", bytes).send().await.expect_problem(400);
        let auth = client.get("/api/v1/auth").header("authorization", bytes);
        auth.send().await.expect_problem(400);
        let auth = client.get("/api/v1/auth").header("x-api-key", bytes);
        auth.send().await.expect_problem(400);
        let request = client.get(&path).bearer(token).header("x-workspace-id", bytes);
        request.send().await.expect_problem(400);
    }
}

fn assert_lacks(scope: &str, answer: &Answer) {
    let expected =
        format!(r#"Bearer realm="keyward", error="insufficient_scope", scope="{scope}""#);
    let answer = answer.clone().expect_problem(403);
    assert_eq!(answer.header("www-authenticate"), expected);
}
