//! `/api/v1/auth` and everything below it.

use keyward_tests::client::{Answer, Request};
use keyward_tests::records::sample;
use keyward_tests::server::Server;
use keyward_tests::tenant::KeyObject;
use keyward_tests::tokens;

const AUTH: &str = "/api/v1/auth";
const SCOPE: &str = "x-keyward-require-scope";
const WORKSPACE: &str = "x-keyward-require-workspace";
const BELOW: [&str; 4] =
    ["/api/v1/auth/", "/api/v1/auth/x", "/api/v1/auth/a/b%2Fc/", "/api/v1/auth//"];

#[tokio::test]
async fn a_good_key_opens_on_every_method_and_path() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create_with_scopes(&["orders:write", "orders:read"]).await;
    let methods =
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE", "X-Y"];
    for method in methods {
        for path in BELOW.into_iter().chain([AUTH]) {
            let answer = server.client().request(method, path).bearer(key.raw()).send().await;
            assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
            assert_opened(&answer, &key, "orders:read orders:write");
        }
    }
}

#[tokio::test]
async fn the_key_is_read_from_either_header() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let (key, other) = (tenant.create("a").await, tenant.create("b").await);
    let get = || server.client().get(AUTH);
    for request in [
        get().bearer(key.raw()),
        get().header("x-api-key", key.raw()),
        get().bearer(key.raw()).header("x-api-key", key.raw()),
        get().header("authorization", format!("bearer {}", key.raw())),
    ] {
        assert_opened(&request.send().await.expect(200), &key, "api_keys:read");
    }
    for request in [
        get().bearer(key.raw()).header("x-api-key", other.raw()),
        get().bearer(key.raw()).header("x-api-key", "nonsense"),
        get().bearer("nonsense").header("x-api-key", key.raw()),
        get().bearer(tenant.token()).header("x-api-key", key.raw()),
    ] {
        assert_refused(request.send().await);
    }
    let two = get().header("x-api-key", key.raw()).header("x-api-key", other.raw());
    assert_ne!(two.send().await.status, 200);
}

#[tokio::test]
async fn a_bad_key_is_refused_on_every_path() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let revoked = tenant.create("a").await;
    tenant.revoke(revoked.id).await;
    let unknown = sample(tenant.workspace().into()).plain;
    for path in BELOW.into_iter().chain([AUTH]) {
        for key in [revoked.raw(), &*unknown, "nonsense", tenant.token()] {
            assert_refused(server.client().get(path).bearer(key).send().await);
            assert_refused(server.client().post(path).header("x-api-key", key).send().await);
        }
        let answer = server.client().get(path).send().await.expect_problem(401);
        assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="keyward""#);
        assert_no_identity(&answer);
    }
}

#[tokio::test]
async fn a_deleted_key_is_refused_at_once() {
    let server = Server::start().await;
    let tenant = server.tenant();
    for _ in 0..50 {
        let key = tenant.create("a").await;
        assert_eq!(tenant.auth(key.raw()).await, 200);
        tenant.revoke(key.id).await;
        assert_eq!(tenant.auth(key.raw()).await, 401);
        assert_eq!(tenant.verdict(key.raw()).await, "revoked");
    }
}

#[tokio::test]
async fn demands_are_read_from_the_query_of_the_exact_path() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    let key = tenant.create_with_scopes(&["orders:read", "a+b", "u/v"]).await;
    let (own, foreign) = (tenant.workspace(), other.workspace());
    let ask = async |query: String| {
        server.client().get(&format!("{AUTH}?{query}")).bearer(key.raw()).send().await
    };
    for met in [
        "scope=orders:read".to_owned(),
        "scope=orders%3Aread".into(),
        "scope=a%2Bb&scope=orders:read&scope=u/v".into(),
        "scope=orders:read&scope=orders:read".into(),
        format!("workspace={own}"),
        format!("scope=orders:read&workspace={}", own.to_string().to_uppercase()),
    ] {
        ask(met).await.expect(200);
    }
    for unmet in ["scope=orders:write", "scope=orders:read&scope=x", "scope=api_keys:read"] {
        assert_lacks_scope(&ask(unmet.into()).await);
    }
    for unmet in [format!("workspace={foreign}"), format!("scope=orders:read&workspace={foreign}")]
    {
        let answer = ask(unmet).await.expect_problem(403);
        assert!(!answer.header("www-authenticate").contains("scope="), "{answer:?}");
        assert_no_identity(&answer);
    }
    for malformed in [
        format!("workspace={own}&workspace={own}"),
        format!("workspace={own}&workspace={foreign}"),
        "workspace=".into(),
        "workspace=x".into(),
        "scope=".into(),
        "scope=a%20b".into(),
        "scope=%ff".into(),
        format!("scope={}", "x".repeat(101)),
        "scopes=orders:read".into(),
        format!("workspace_id={own}"),
    ] {
        let answer = ask(malformed.clone()).await;
        assert_eq!(answer.status, 400, "{malformed}");
        answer.expect_problem(400);
    }
}

#[tokio::test]
async fn below_the_exact_path_the_query_is_the_end_clients() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    for path in BELOW {
        for query in ["scope=x", "workspace=x", "scope=", "a=b&workspace=1&workspace=2", "%ff"] {
            let request = server.client().get(&format!("{path}?{query}")).bearer(key.raw());
            request.send().await.expect(200);
        }
    }
}

#[tokio::test]
async fn demands_are_read_from_headers_on_every_path() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    let key = tenant.create_with_scopes(&["a", "b"]).await;
    let (own, foreign) = (tenant.workspace().to_string(), other.workspace().to_string());
    for path in [AUTH, BELOW[0], BELOW[1]] {
        let get = || server.client().get(path).bearer(key.raw());
        for met in [
            get().header(SCOPE, "a"),
            get().header(SCOPE, "b a"),
            get().header(WORKSPACE, &own),
            get().header(SCOPE, "a").header(WORKSPACE, &own),
        ] {
            assert_opened(&met.send().await.expect(200), &key, "a b");
        }
        assert_lacks_scope(&get().header(SCOPE, "c").send().await);
        assert_lacks_scope(&get().header(SCOPE, "a c").send().await);
        get().header(WORKSPACE, &foreign).send().await.expect_problem(403);
        for malformed in [
            get().header(WORKSPACE, "x"),
            get().header(WORKSPACE, ""),
            get().header(WORKSPACE, &own).header(WORKSPACE, &own),
            get().header(WORKSPACE, format!("{own}, {own}")),
            get().header(SCOPE, "x".repeat(101)),
            get().header(SCOPE, "\""),
            get().header(SCOPE, b"\xff"),
        ] {
            malformed.send().await.expect_problem(400);
        }
    }
}

#[tokio::test]
async fn demands_by_query_and_by_header_add_up() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create_with_scopes(&["a", "b"]).await;
    let ask = |query: &str, scope: &str| {
        let request = server.client().get(&format!("{AUTH}?{query}")).bearer(key.raw());
        request.header(SCOPE, scope).send()
    };
    ask("scope=a", "b").await.expect(200);
    assert_lacks_scope(&ask("scope=c", "b").await);
    assert_lacks_scope(&ask("scope=a", "c").await);
    let own = tenant.workspace().to_string();
    let request = server.client().get(&format!("{AUTH}?workspace={own}")).bearer(key.raw());
    // One demand in two places is a demand given twice.
    request.header(WORKSPACE, own).send().await.expect_problem(400);
}

#[tokio::test]
async fn the_caller_is_judged_before_the_demands() {
    let server = Server::start().await;
    let client = server.client();
    for query in ["scope=x", "scope=", "workspace=x"] {
        let path = format!("{AUTH}?{query}");
        client.get(&path).send().await.expect_problem(401);
        client.get(&path).bearer("nonsense").send().await.expect_problem(401);
    }
}

#[tokio::test]
async fn connect_is_not_allowed_and_neighbouring_paths_are_not_there() {
    let server = Server::start().await;
    let key = server.tenant().create("a").await;
    let mut raw = server.raw().await;
    let request = format!(
        "CONNECT {AUTH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        key.raw()
    );
    assert_eq!(raw.send(request).await.answer().await.status, 405);
    for path in ["/api/v1/authx", "/api/v1/auth%2Fx", "/api/v1/aut", "/api/v1/Auth", "/auth"] {
        server.client().get(path).bearer(key.raw()).send().await.expect_problem(404);
    }
}

#[tokio::test]
async fn a_body_is_of_no_interest() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    let post =
        |body: Vec<u8>| -> Request { server.client().post(AUTH).bearer(key.raw()).body(body) };
    post(vec![0xff; 1000]).send().await.expect(200);
    post(b"scope=x".to_vec()).send().await.expect(200);
    // The key is in the header; what the body holds is never a credential.
    let answer = server.client().post(AUTH).body(key.raw().as_bytes()).send().await;
    answer.expect_problem(401);
}

#[tokio::test]
async fn the_account_is_the_callers_and_not_the_keys() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let minter = tenant.create_with_scopes(&["api_keys:write"]).await;
    let key = tenant.with_credential(minter.raw()).create("minted").await;
    let answer = server.client().get(AUTH).bearer(key.raw()).send().await.expect(200);
    assert_eq!(answer.header("x-keyward-account-id"), tokens::ACCOUNT);
    assert_eq!(answer.header("x-keyward-scopes"), "");
}

fn assert_opened(answer: &Answer, key: &KeyObject, scopes: &str) {
    assert_eq!(answer.body, "");
    for (name, value) in [
        ("x-keyward-key-id", key.id.to_string()),
        ("x-keyward-workspace-id", key.workspace_id.to_string()),
        ("x-keyward-account-id", key.created_by.to_string()),
        ("x-keyward-scopes", scopes.to_owned()),
        ("cache-control", "no-store".to_owned()),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
}

fn assert_refused(answer: Answer) {
    let answer = answer.expect_problem(401);
    let challenge = r#"Bearer realm="keyward", error="invalid_token""#;
    assert_eq!(answer.header("www-authenticate"), challenge);
    assert_no_identity(&answer);
}

fn assert_lacks_scope(answer: &Answer) {
    let answer = answer.clone().expect_problem(403);
    let challenge = r#"Bearer realm="keyward", error="insufficient_scope", scope=""#;
    assert!(answer.header("www-authenticate").starts_with(challenge), "{answer:?}");
    assert_no_identity(&answer);
}

/// Nothing that a gateway could pass on as the client's identity.
fn assert_no_identity(answer: &Answer) {
    let named = answer.headers.keys().find(|name| name.as_str().starts_with("x-keyward-"));
    assert_eq!(named, None, "{answer:?}");
}
